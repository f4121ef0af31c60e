package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/refit"
	"github.com/evenkeel-dev/evenkeel/tokens"
	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// testPieces are the texts of testTexts in pieces, with their counts.
const testPieces = "../../tokens/testdata/corpus/chunks.txt.gz"

// countedPieces reads the pieces of the corpus, with what they count by the families.
func countedPieces(t *testing.T) (all [2][]fit.Sample) {
	t.Helper()
	texts := map[string]string{}
	for _, line := range unpackedLines(t, testTexts) {
		var d struct{ ID, Text string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		texts[d.ID] = d.Text
	}
	for _, line := range unpackedLines(t, testPieces) {
		id, list, _ := strings.Cut(line, ",")
		rest := texts[id]
		for one := range strings.FieldsSeq(list) {
			var n, v3, v47 int
			if _, err := fmt.Sscanf(one, "%d/%d/%d", &n, &v3, &v47); err != nil {
				t.Fatal(err)
			}
			all[tokens.Claude3] = append(all[tokens.Claude3], fit.Sample{Text: rest[:n], Tokens: v3, Source: id})
			all[tokens.Claude47] = append(all[tokens.Claude47], fit.Sample{Text: rest[:n], Tokens: v47, Source: id})
			rest = rest[n:]
		}
	}
	return all
}

func unpackedLines(t *testing.T, name string) (lines []string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return lines
}

// What Claude has counted in half of the corpus makes a table that is nearly as
// good on the other half as the one that is shipped, which was made of more;
// and the errors that are printed are those that the other half has, too.
func TestRefit_countsOfTheCorpus(t *testing.T) {
	pieces := countedPieces(t)
	dir := t.TempDir()
	prior := filepath.Join(dir, "claude3.u8")
	if err := os.WriteFile(prior, tokens.Claude3.Weights(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason string
		family tokens.Family
		prior  string
		p95    float64 // of what the shipped table has; scripts that only the other half has need a prior
	}{
		{"from nothing", tokens.Claude3, "", 2},
		{"from nothing", tokens.Claude47, "", 2.2},
		{"from the older table", tokens.Claude47, prior, 1.5},
	} {
		t.Run(tt.family.String()+" "+tt.reason, func(t *testing.T) {
			given, kept := fit.Split(pieces[tt.family], 2, 7)
			var counts bytes.Buffer
			for _, s := range given {
				line, err := json.Marshal(map[string]any{"text": s.Text, "tokens": s.Tokens, "source": s.Source})
				if err != nil {
					t.Fatal(err)
				}
				counts.Write(append(line, '\n'))
			}
			out := filepath.Join(t.TempDir(), "t.u8")
			cmd := exec.Command("evenkeel", "tokens", "refit", "--json", "--counts", "-", "--out", out)
			if tt.prior != "" {
				cmd.Args = append(cmd.Args, "--prior", tt.prior)
			}
			cmd.Stdin, cmd.Env = &counts, append(cleanEnv(), "GORACE=atexit_sleep_ms=0")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			var result refitResult
			if err := json.Unmarshal(stdout, &result); err != nil {
				t.Fatal(err)
			}
			shipped, err := fit.Parse(tt.family.Weights())
			if err != nil {
				t.Fatal(err)
			}
			table, err := refit.ReadTable(out)
			if err != nil {
				t.Fatal(err)
			}
			is, want, reported := fit.Score(table, kept).Long, fit.Score(shipped, kept).Long, result.After.Long
			if is.Texts < 150 || reported.Texts < 15 {
				t.Errorf("errors of %d and of %d texts, want those of half of the corpus and of a tenth of the other", is.Texts, reported.Texts)
			}
			if got := is.Relative.Median; got > want.Relative.Median+0.01 {
				t.Errorf("median error %.4f, want not much more than the %.4f of the shipped table", got, want.Relative.Median)
			}
			if got := is.Relative.P95; got > want.Relative.P95*tt.p95 {
				t.Errorf("error at p95 %.4f, want at most %v times the %.4f of the shipped table", got, tt.p95, want.Relative.P95)
			}
			if got := reported.Relative.Median; math.Abs(got-is.Relative.Median) > 0.01 {
				t.Errorf("a median error of %.4f is reported, and is %.4f on texts that it never saw", got, is.Relative.Median)
			}
		})
	}
}
