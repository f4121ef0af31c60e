package tokens

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the measured errors into docs/tokens.md")

// Where the measured errors stand, and between which lines.
const (
	measuredFile  = "../docs/tokens.md"
	measuredBegin = "<!-- Written by: go generate ./tokens -->\n"
	measuredEnd   = "<!-- end of what is written -->\n"
)

// TestMeasured_isWhatTheDocumentSays holds the table of errors in the document
// against the ones that are measured now.
func TestMeasured_isWhatTheDocumentSays(t *testing.T) {
	b, err := os.ReadFile(measuredFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), measuredBegin)
	was, after, ok2 := strings.Cut(rest, measuredEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q", measuredFile, measuredBegin, measuredEnd)
	}
	is := measuredTable()
	if *update {
		if err := os.WriteFile(measuredFile, []byte(before+measuredBegin+is+measuredEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was != is {
		t.Errorf("%s says\n%s\nmeasured is\n%s\nwrite it with: go generate ./tokens", measuredFile, was, is)
	}
}

// measuredTable is the table of errors in Markdown.
func measuredTable() string {
	all := measured()
	var b strings.Builder
	row := func(what string, of func(m *figures) errs) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, f := range []Family{Claude47, Claude3} {
			e := of(&all[f])
			fmt.Fprintf(&b, " %.1f / %.1f / %.0f |", e.median(), e.p95(), e.at(1))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| error in %: median / p95 / worst | Claude 4.7 and later | Claude 3 … 4.6 |\n|---|---:|---:|\n")
	row("a text of 300 bytes and more", func(m *figures) errs { return m.texts })
	row("the same, characters divided by four", func(m *figures) errs { return m.quarter })
	for _, t := range traffics {
		row("a request: "+t.name+", nothing learned", func(m *figures) errs { return m.cold[t.name] })
		row("a request: "+t.name+", after 100", func(m *figures) errs { return m.after100[t.name] })
	}
	for _, t := range traffics {
		row("the sum of 20 requests: "+t.name+", nothing learned", func(m *figures) errs { return m.twenty[t.name] })
	}
	row("the sum of 20 requests of one sort, after 100", func(m *figures) errs { return m.twentyLater })
	row("a turn of a conversation, nothing known", func(m *figures) errs { return m.turnsCold })
	row("a turn, the one before is known: the second", func(m *figures) errs { return m.turns[0] })
	row("… third to fifth", func(m *figures) errs { return m.turns[1] })
	row("… sixth to twentieth", func(m *figures) errs { return m.turns[2] })
	row("… the second, after 100 mixed requests of others", func(m *figures) errs { return m.turnsLater[0] })
	row("given the other family's table: nothing learned", func(m *figures) errs { return m.wrong[0] })
	row("… after 10 mixed requests", func(m *figures) errs { return m.wrong[1] })
	row("… after 100", func(m *figures) errs { return m.wrong[2] })
	row("… a turn, the one before is known", func(m *figures) errs { return slices.Concat(m.turnsWrong[:]...) })
	row("a switch to this tokenizer after 250 requests: the first 3", func(m *figures) errs { return m.switched[0] })
	row("… 4 to 10", func(m *figures) errs { return m.switched[1] })
	row("… 11 to 30", func(m *figures) errs { return m.switched[2] })
	row("… 31 to 100", func(m *figures) errs { return m.switched[3] })
	b.WriteString("\n| requests above `High` / below `Low`, in %; `High` over `Input`, in % | Claude 4.7 and later | Claude 3 … 4.6 |\n|---|---:|---:|\n")
	for i, when := range [...]string{"nothing learned", "after 100", "a turn, the one before is known"} {
		fmt.Fprintf(&b, "| %s |", when)
		for _, f := range []Family{Claude47, Claude3} {
			c := &all[f].bounds[i]
			above, below := c.shares()
			fmt.Fprintf(&b, " %.1f / %.1f; %.1f |", above, below, c.widths.median())
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return b.String()
}
