// Package tokens puts the estimate of evenkeel's package tokens beside the
// tokenizers for Go that people use in its place, and beside characters divided
// by four: how fast, and how far off what Claude counts.
//
//	go test -run '^$' -bench . ./tokens
//
// The others count another maker's tokens, so each is also given its best
// chance: one ratio, fitted on half of the corpus; errors are told of the
// other half. They take turns with the estimate on the same texts, so that
// whatever else the machine does slows both.
package tokens

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pkoukk/tiktoken-go"
	offline "github.com/pkoukk/tiktoken-go-loader"
	"github.com/tiktoken-go/tokenizer"

	"github.com/evenkeel-dev/evenkeel/tokens"
)

// corpus is where the texts and their counts are.
const corpus = "../../tokens/testdata/corpus/"

// text is one of the corpus, with what Claude 4.7 and later count.
type text struct {
	ID, Text string
	tokens   float64
}

// halves are the texts of 300 bytes and more, parted as the tests of package
// tokens part them.
var halves = sync.OnceValues(func() (fitting, scoring []text) {
	counts := counted()
	f, err := os.Open(corpus + "corpus.jsonl.gz")
	must(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(err)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var t text
		must(json.Unmarshal(lines.Bytes(), &t))
		t.tokens = counts[t.ID]
		h := fnv.New32a()
		_, _ = h.Write([]byte(t.ID))
		switch {
		case len(t.Text) < 300:
		case h.Sum32()%2 == 0:
			fitting = append(fitting, t)
		default:
			scoring = append(scoring, t)
		}
	}
	must(lines.Err())
	return fitting, scoring
})

func counted() map[string]float64 {
	c, err := os.Open(corpus + "counts.csv")
	must(err)
	defer c.Close()
	rows, err := csv.NewReader(c).ReadAll()
	must(err)
	column := slices.Index(rows[0], "claude_v47")
	counts := map[string]float64{}
	for _, row := range rows[1:] {
		counts[row[0]], err = strconv.ParseFloat(row[column], 64)
		must(err)
	}
	return counts
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

const model = "claude-opus-5-5"

// counter is one way to count the tokens of a text.
type counter struct {
	name  string
	count func(string) int
}

func estimate(s string) int { return tokens.String(model, s) }

// others are what people use in Go. Their vocabularies are in their binaries.
var others = sync.OnceValue(func() []counter {
	tiktoken.SetBpeLoader(offline.NewOfflineLoader())
	all := []counter{{"chars÷4", func(s string) int { return (utf8.RuneCountInString(s) + 3) / 4 }}}
	for _, encoding := range []tokenizer.Encoding{tokenizer.Cl100kBase, tokenizer.O200kBase} {
		codec, err := tokenizer.Get(encoding)
		must(err)
		all = append(all, counter{"tiktoken-go/tokenizer-" + codec.GetName(), func(s string) int {
			n, err := codec.Count(s)
			must(err)
			return n
		}})
	}
	pkoukk, err := tiktoken.GetEncoding(tiktoken.MODEL_CL100K_BASE)
	must(err)
	return append(all, counter{"pkoukk/tiktoken-go-cl100k_base", func(s string) int { return len(pkoukk.EncodeOrdinary(s)) }})
})

// quantiles are the median and the 95th percentile of errors in percent, of
// counts that are scaled by a ratio.
func quantiles(c counter, texts []text, ratio float64) (median, p95 float64) {
	var e []float64
	for _, t := range texts {
		e = append(e, 100*math.Abs(ratio*float64(c.count(t.Text))/t.tokens-1))
	}
	slices.Sort(e)
	return e[len(e)/2], e[len(e)*95/100]
}

// ratio is the median of what Claude counts for each token of a counter.
func ratio(c counter, texts []text) float64 {
	var r []float64
	for _, t := range texts {
		r = append(r, t.tokens/float64(max(1, c.count(t.Text))))
	}
	slices.Sort(r)
	return r[len(r)/2]
}

func TestEstimate_isCloserThanAnyScaledTokenizer(t *testing.T) {
	fitting, scoring := halves()
	median, p95 := quantiles(counter{"evenkeel", estimate}, scoring, 1)
	for _, c := range others() {
		m, p := quantiles(c, scoring, ratio(c, fitting))
		t.Logf("%-36s median %5.1f %%, p95 %5.1f %%; the estimate %.1f and %.1f", c.name, m, p, median, p95)
		if m <= 2*median || p <= 2*p95 {
			t.Errorf("%s, scaled, is %.1f %% off in the median and %.1f %% at p95, less than twice the estimate's %.1f and %.1f", c.name, m, p, median, p95)
		}
	}
}

// BenchmarkText counts the corpus.
func BenchmarkText(b *testing.B) {
	fitting, scoring := halves()
	size := 0
	for _, t := range scoring {
		size += len(t.Text)
	}
	run := func(c counter) time.Duration {
		start := time.Now()
		for _, t := range scoring {
			c.count(t.Text)
		}
		return time.Since(start)
	}
	ours := counter{"evenkeel", estimate}
	for _, c := range append([]counter{ours}, others()...) {
		b.Run("by="+c.name, func(b *testing.B) {
			var theirs, own time.Duration
			for b.Loop() {
				theirs += run(c)
				own += run(ours)
			}
			b.ReportMetric(0, "ns/op") // of both: it says nothing
			b.ReportMetric(float64(size)*float64(b.N)/theirs.Seconds()/1e6, "MB/s")
			b.ReportMetric(theirs.Seconds()/own.Seconds(), "×time")
			b.ReportMetric(testing.AllocsPerRun(1, func() { run(c) })/float64(len(scoring)), "allocs/text")
			median, p95 := quantiles(c, scoring, 1)
			b.ReportMetric(median, "%median")
			b.ReportMetric(p95, "%p95")
			median, p95 = quantiles(c, scoring, ratio(c, fitting))
			b.ReportMetric(median, "%median-scaled")
			b.ReportMetric(p95, "%p95-scaled")
		})
	}
}

// BenchmarkBody reads a request of 300 KB of the corpus, as what else could
// read it does.
func BenchmarkBody(b *testing.B) {
	_, scoring := halves()
	var messages []map[string]string
	n := 0
	for i := 0; n < 300_000; i++ {
		t := scoring[i%len(scoring)].Text
		n += len(t)
		messages = append(messages, map[string]string{"role": []string{"user", "assistant"}[i%2], "content": t})
	}
	body, err := json.Marshal(map[string]any{"model": model, "max_tokens": 1024, "messages": messages})
	must(err)
	var s tokens.Scanner
	ours := func() {
		s.Reset(model)
		_, _ = s.Write(body)
		_ = s.Scan()
	}
	ways := []struct {
		name string
		read func()
	}{
		{"evenkeel", ours},
		{"json.Valid", func() { json.Valid(body) }},
		{"json.Unmarshal", func() {
			var v any
			must(json.Unmarshal(body, &v))
		}},
	}
	for _, way := range ways {
		b.Run("by="+way.name, func(b *testing.B) {
			var theirs, own time.Duration
			for b.Loop() {
				start := time.Now()
				way.read()
				theirs += time.Since(start)
				start = time.Now()
				ours()
				own += time.Since(start)
			}
			b.ReportMetric(0, "ns/op") // of both: it says nothing
			b.ReportMetric(float64(len(body))*float64(b.N)/theirs.Seconds()/1e6, "MB/s")
			b.ReportMetric(theirs.Seconds()/own.Seconds(), "×time")
			b.ReportMetric(testing.AllocsPerRun(3, way.read), "allocs/body")
		})
	}
}
