package fit_test

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// A family names a tokenizer of the corpus: a column of counts.csv.
type family string

const (
	claude3  family = "claude_v3"
	claude47 family = "claude_v47"
)

// corpus is the developers' set: whole texts, and the same texts in pieces.
type corpus struct {
	texts  map[family][]fit.Sample
	pieces map[family][]fit.Sample
	plain  []fit.Text
}

func readCorpus(tb testing.TB) corpus {
	tb.Helper()
	c := corpus{texts: map[family][]fit.Sample{}, pieces: map[family][]fit.Sample{}}
	texts := map[string]string{}
	lines(tb, "corpus.jsonl.gz", func(line string) {
		var d struct{ ID, Category, Text string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			tb.Fatal(err)
		}
		texts[d.ID] = d.Text
		c.plain = append(c.plain, fit.Text{Text: d.Text, Kind: d.Category, Source: d.ID})
	})
	counts := readCounts(tb)
	for _, f := range []family{claude3, claude47} {
		for _, t := range c.plain {
			c.texts[f] = append(c.texts[f], fit.Sample{Text: t.Text, Tokens: counts[f][t.Source], Source: t.Source})
		}
	}
	lines(tb, "chunks.txt.gz", func(line string) {
		id, list, _ := strings.Cut(line, ",")
		rest := texts[id]
		for one := range strings.FieldsSeq(list) { // bytes/claude_v3/claude_v47
			n := numbers(tb, strings.Split(one, "/"))
			for i, f := range []family{claude3, claude47} {
				c.pieces[f] = append(c.pieces[f], fit.Sample{Text: rest[:n[0]], Tokens: n[i+1], Source: id})
			}
			rest = rest[n[0]:]
		}
		if rest != "" {
			tb.Fatalf("the pieces of %s leave %d bytes", id, len(rest))
		}
	})
	if len(c.plain) < 300 || len(c.pieces[claude3]) < 6000 {
		tb.Fatalf("the corpus has %d texts and %d pieces: is it whole?", len(c.plain), len(c.pieces[claude3]))
	}
	return c
}

// readCounts reads, by family and text, how many tokens there are.
func readCounts(tb testing.TB) map[family]map[string]int {
	tb.Helper()
	f, err := os.Open(filepath.Join(corpusDir, "counts.csv"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	counts := map[family]map[string]int{}
	for column, name := range rows[0] {
		if family(name) != claude3 && family(name) != claude47 {
			continue
		}
		counts[family(name)] = map[string]int{}
		for _, row := range rows[1:] {
			counts[family(name)][row[0]] = numbers(tb, row[column:column+1])[0]
		}
	}
	return counts
}

const corpusDir = "../testdata/corpus"

func lines(tb testing.TB, name string, each func(string)) {
	tb.Helper()
	f, err := os.Open(filepath.Join(corpusDir, name))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	r := bufio.NewReader(z)
	for {
		line, err := r.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			each(line)
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func numbers(tb testing.TB, texts []string) []int {
	tb.Helper()
	all := make([]int, len(texts))
	for i, text := range texts {
		n, err := strconv.Atoi(text)
		if err != nil {
			tb.Fatal(err)
		}
		all[i] = n
	}
	return all
}
