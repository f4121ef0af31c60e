package tokens

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// epoch is when all measured requests happen.
var epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// seenCall is a call that was scanned, with the true count of a family.
type seenCall struct {
	scan  Scan
	est   Estimate // before anything was learned
	truth int
}

// calls are requests of a traffic, scanned for a model, counted as truth does.
func calls(samples []sample, categories, model string, truth Family, n int) []seenCall {
	some := inTraffic(samples, categories)
	r := rand.New(rand.NewPCG(uint64(len(categories)), uint64(truth)))
	var s Scanner
	var e Estimator
	all := make([]seenCall, n)
	for i := range all {
		c := compose(r, some)
		s.Reset(model)
		_, _ = s.Write(c.body)
		all[i] = seenCall{s.Scan(), e.Estimate(&s, epoch), c.tokens[truth]}
	}
	return all
}

// estimateOf estimates a request that was scanned before, with no anchor.
func estimateOf(e *Estimator, scan Scan) float64 {
	sc, _ := e.scaleOf(scan.Model)
	texts, _ := sc.texts(scan.Sums)
	return texts + float64(scan.Fixed)
}

// boundsOf estimates it with its bounds.
func boundsOf(e *Estimator, scan Scan) Estimate {
	sc, _ := e.scaleOf(scan.Model)
	texts, relative := sc.texts(scan.Sums)
	return parts{texts: texts, relative: relative, fixed: scan.Fixed, messages: scan.Messages, marks: scan.Marks, bound: sc.bound}.estimate()
}

// coverage is how many requests were beyond their bounds, and how wide those are.
type coverage struct {
	n, above, below int
	widths          errs // High over Input
}

func (c *coverage) add(est Estimate, truth int) {
	c.n++
	if truth > est.High {
		c.above++
	}
	if truth < est.Low {
		c.below++
	}
	c.widths.add(float64(est.High), float64(est.Input))
}

func (c *coverage) shares() (above, below float64) { // in percent
	return 100 * float64(c.above) / float64(c.n), 100 * float64(c.below) / float64(c.n)
}

// covered is the coverage of ten requests after 100 observations.
func covered(c *coverage, all []seenCall, runs int) {
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 11))
		var e Estimator
		for n := range 110 {
			call := all[r.IntN(len(all))]
			if n >= 100 {
				c.add(boundsOf(&e, call.scan), call.truth)
			}
			e.Observe("", call.scan, Usage{Input: call.truth}, epoch)
		}
	}
}

// learnt are the errors after so many observations of calls, over ten
// requests each, in many runs.
func learnt(all []seenCall, runs int, after ...int) []errs {
	curves := make([]errs, len(after))
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 3))
		var e Estimator
		for n, k := 0, 0; k < len(after); n++ {
			c := all[r.IntN(len(all))]
			if n >= after[k] {
				curves[k].add(estimateOf(&e, c.scan), float64(c.truth))
				if n == after[k]+9 {
					k++
				}
			}
			e.Observe("", c.scan, Usage{Input: c.truth}, epoch)
		}
	}
	return curves
}

// switched are the errors after traffic of 250 requests changed to another
// tokenizer: in the requests up to each of the ends.
func switched(before, since []seenCall, runs int, ends ...int) []errs {
	curves := make([]errs, len(ends))
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 4))
		var e Estimator
		for range 250 {
			c := before[r.IntN(len(before))]
			e.Observe("", c.scan, Usage{Input: c.truth}, epoch)
		}
		for n, k := 0, 0; k < len(ends); n++ {
			c := since[r.IntN(len(since))]
			curves[k].add(estimateOf(&e, c.scan), float64(c.truth))
			e.Observe("", c.scan, Usage{Input: c.truth}, epoch)
			if n+1 == ends[k] {
				k++
			}
		}
	}
	return curves
}

// sumsLearnt are the errors of the sum of the 20 requests after 100.
func sumsLearnt(all []seenCall, runs int) (sums errs) {
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 6))
		var e Estimator
		var estimate, truth float64
		for n := range 120 {
			c := all[r.IntN(len(all))]
			if n >= 100 {
				estimate += estimateOf(&e, c.scan)
				truth += float64(c.truth)
			}
			e.Observe("", c.scan, Usage{Input: c.truth}, epoch)
		}
		sums.add(estimate, truth)
	}
	return sums
}

// sums are the errors of the sum of 20 requests, cold.
func sums(all []seenCall, runs int) (e errs) {
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 8))
		var estimate, truth float64
		for range 20 {
			c := all[r.IntN(len(all))]
			estimate += float64(c.est.Counted)
			truth += float64(c.truth)
		}
		e.add(estimate, truth)
	}
	return e
}

// conversations are the errors of the turns of an agent's conversations, after
// a system prompt of five texts, each of whose requests has all that was said:
// cold, and anchored on the usage of the turn before, by turn: the second, the
// third to fifth, the rest. Before each of them the estimator has seen others.
func conversations(samples []sample, f Family, model string, others []seenCall, runs int) (cold errs, anchored [3]errs, bounds coverage) {
	var s Scanner
	samples = inTraffic(samples, traffics[0].categories)
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 5))
		some := someSorts(r, samples)
		said := func(texts int) (t turn) {
			for range texts {
				t.say(some[r.IntN(len(some))])
			}
			return t
		}
		var e Estimator
		for _, c := range others {
			e.Observe("", c.scan, Usage{Input: c.truth}, epoch)
		}
		system := said(5)
		var turns []turn
		last := 5 // second turns, of which a run has one, are what must be many
		if run%5 == 0 {
			last = 20
		}
		for n := 1; n <= last; n++ {
			turns = append(turns, said(1+r.IntN(3)))
			c := request(system, turns)
			s.Reset(model)
			_, _ = s.Write(c.body)
			est, scan := e.Estimate(&s, epoch), s.Scan()
			truth := float64(c.tokens[f])
			if n > 1 {
				part := 0
				if n > 2 {
					part = 1
				}
				if n > 5 {
					part = 2
				}
				anchored[part].add(float64(est.Input), truth)
				bounds.add(est, c.tokens[f])
				cold.add(scan.Tokens(), truth)
			}
			answer := said(1)
			turns = append(turns, answer)
			// An answer has some tokens around its text.
			e.Observe("", scan, Usage{Input: c.tokens[f], Output: answer.tokens[f] + 2 + r.IntN(5)}, epoch)
		}
	}
	return cold, anchored, bounds
}

// textErrors are the errors on single texts of 300 bytes and more, and those
// of a quarter of their characters.
func textErrors(samples []sample, f Family) (weighed, quarter errs) {
	for _, s := range samples {
		if len(s.Text) >= 300 {
			weighed.add(float64(f.Text([]byte(s.Text))), float64(s.tokens[f]))
			quarter.add(float64(utf8.RuneCountInString(s.Text))/4, float64(s.tokens[f]))
		}
	}
	return weighed, quarter
}

// measured are all figures that are promised, on the scoring half.
type figures struct {
	texts, quarter errs
	cold           map[string]errs // by traffic
	after100       map[string]errs
	wrong          []errs          // given the other table: after 0, 10, 100 observations
	switched       []errs          // to this family: requests 1 to 3, 4 to 10, 11 to 30, 31 to 100
	twenty         map[string]errs // sums of 20 requests by traffic, cold
	twentyLater    errs            // sums of 20 requests of all traffics, after 100
	turnsCold      errs
	turns          [3]errs
	turnsLater     [3]errs     // after 100 mixed requests of others
	turnsWrong     [3]errs     // given the other table
	bounds         [3]coverage // cold, after 100, of turns
}

var measured = sync.OnceValue(func() (all [families]figures) {
	_, scoring := halves()
	const n = 150
	for f := range all {
		family, m := Family(f), &all[f]
		m.texts, m.quarter = textErrors(scoring, family)
		m.cold, m.after100, m.twenty = map[string]errs{}, map[string]errs{}, map[string]errs{}
		var others []seenCall
		for _, traffic := range traffics {
			some := calls(scoring, traffic.categories, modelOf[f], family, n)
			var cold errs
			for _, c := range some {
				cold.add(float64(c.est.Input), float64(c.truth))
				m.bounds[0].add(c.est, c.truth)
			}
			m.cold[traffic.name] = cold
			covered(&m.bounds[1], some, 60)
			m.after100[traffic.name] = learnt(some, 30, 100)[0]
			m.twenty[traffic.name] = sums(some, 100)
			m.twentyLater = append(m.twentyLater, sumsLearnt(some, 30)...)
			if traffic.name == "mixed" {
				others = some[:100]
				other := calls(scoring, traffic.categories, modelOf[1-f], family, n)
				m.wrong = learnt(other, 40, 0, 10, 100)
				before := calls(scoring, traffic.categories, modelOf[1-f], 1-family, n)
				m.switched = switched(before, other, 40, 3, 10, 30, 100)
			}
		}
		const talks = 100 // fewer, and p95 of the second turn is chance
		m.turnsCold, m.turns, m.bounds[2] = conversations(scoring, family, modelOf[f], nil, talks)
		_, m.turnsLater, _ = conversations(scoring, family, modelOf[f], others, talks)
		_, m.turnsWrong, _ = conversations(scoring, family, modelOf[1-f], nil, talks/5)
	}
	return all
})

func TestAccuracy(t *testing.T) {
	for f, m := range measured() {
		check := func(what string, e errs, median, p95 float64) {
			t.Helper()
			if got := e.median(); got > median {
				t.Errorf("%v, %s: median error %.2f %%, want at most %v", Family(f), what, got, median)
			}
			if got := e.p95(); got > p95 {
				t.Errorf("%v, %s: error at p95 %.2f %%, want at most %v", Family(f), what, got, p95)
			}
		}
		const any = 1000.0
		text := [families][2]float64{Claude3: {2.5, 11}, Claude47: {2.2, 9}}[f]
		check("texts of 300 bytes and more", m.texts, text[0], text[1])
		var cold, later errs
		for _, traffic := range traffics {
			cold = append(cold, m.cold[traffic.name]...)
			later = append(later, m.after100[traffic.name]...)
		}
		check("requests of all traffics, cold", cold, 1.5, 6)
		check("requests of all traffics, after 100", later, 1.5, 5)
		check("mixed requests, cold", m.cold["mixed"], 1.5, 6)
		check("mixed requests, after 100", m.after100["mixed"], 1.5, 5)
		check("sums of 20 mixed requests, cold", m.twenty["mixed"], any, 2)
		check("sums of 20 requests of all traffics, after 100", m.twentyLater, any, 2)
		for i, turns := range [...]string{"second turns", "third to fifth turns", "sixth to twentieth turns"} {
			check(turns+", anchored", m.turns[i], any, 1.5)
			check(turns+", anchored, after 100 requests of others", m.turnsLater[i], any, 1.5)
		}
		check("wrong table, after 10", m.wrong[1], 4, 20)
		check("wrong table, after 100", m.wrong[2], 3.5, 15)
		check("10 to 30 requests after a switch", m.switched[2], 5, any)
		check("more after a switch", m.switched[3], 5, any)
		for i, when := range [...]string{"cold", "after 100", "anchored"} {
			if above, below := m.bounds[i].shares(); above > 1 || below > 1 || m.bounds[i].n < 500 {
				t.Errorf("%v, %s: of %d requests %.1f %% above their bound, %.1f %% below, want at most one in a hundred", Family(f), when, m.bounds[i].n, above, below)
			}
		}
	}
}

// TestCorpus_isNotNamedElsewhere holds because a constant chosen for one text
// of the corpus would make the errors above worthless: no file but the corpus'
// own names one, be it code, a test, data or a document.
func TestCorpus_isNotNamedElsewhere(t *testing.T) {
	ids := map[string]bool{}
	for _, s := range readCorpus() {
		ids[s.ID] = true
	}
	word := regexp.MustCompile(`[A-Za-z0-9]+`)
	found := map[string]int{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // what another test has left and cleaned up
			return nil
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".tools", "node_modules", "rapid", "corpus"}, d.Name()):
			return filepath.SkipDir // what is not of the repository, and the corpus
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || bytes.IndexByte(b, 0) >= 0 { // or a table, or a program
			return nil
		}
		if err != nil {
			return err
		}
		found[filepath.Ext(path)]++
		for _, w := range word.FindAll(b, -1) {
			if ids[string(w)] {
				t.Errorf("%s names %s, a text of the corpus", path, w)
			}
		}
		return nil
	})
	if err != nil || found[".go"] < 500 || found[".md"] < 20 || found[".jsonl"] < 1 || len(ids) < 300 {
		t.Errorf("looked for %d ids in %v (%v), want all of them in all", len(ids), found, err)
	}
}
