package tokens

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const opus = "claude-opus-5-5"

// prose is a text of some n tokens.
func prose(n int) string { return strings.Repeat("The keel keeps the ship upright, mate. ", n/12+1) }

// talk is a body of messages that are said in turn, by the user first.
func talk(said ...any) []byte {
	var messages []any
	for i, text := range said {
		messages = append(messages, map[string]any{"role": [...]string{"user", "assistant"}[i%2], "content": text})
	}
	b, err := json.Marshal(map[string]any{"max_tokens": 1024, "messages": messages, "system": prose(1000)})
	must(err)
	return b
}

// ask estimates a body.
func ask(e *Estimator, model string, body []byte, now time.Time) (Estimate, Scan) {
	var s Scanner
	s.Reset(model)
	_, _ = s.Write(body)
	return e.Estimate(&s, now), s.Scan()
}

func near(t *testing.T, what string, got, want, within int) {
	t.Helper()
	if got < want-within || got > want+within {
		t.Errorf("%s is %d, want %d ± %d", what, got, want, within)
	}
}

func TestEstimator_coldIsTheTable(t *testing.T) {
	var e Estimator
	est, scan := ask(&e, opus, talk("Hello"), epoch)
	if est.How != Weighed || est.Input != whole(scan.Tokens()) || est.Counted != est.Input || est.Cached != 0 || est.Marks != 0 {
		t.Errorf("cold: %+v, want the %v tokens of the table, all counted", est, scan.Tokens())
	}
	if est.Low >= est.Input || est.High <= est.Input {
		t.Errorf("cold: bounds %d and %d do not hold %d", est.Low, est.High, est.Input)
	}
	unknown, _ := ask(&e, "claude-next-9", talk("Hello"), epoch)
	if unknown.High <= est.High {
		t.Errorf("a model nobody knows is bounded by %d, want more than the %d of one that is known", unknown.High, est.High)
	}
}

func TestEstimator_anchors(t *testing.T) {
	answer := prose(200)
	first := talk("Question one")
	second := talk("Question one", answer, "Question two")
	var e Estimator
	_, scan := ask(&e, opus, first, epoch)
	// The API counts a tenth more than the table, and the answer as 400: it
	// has thought.
	truth := int(1.1 * scan.Tokens())
	e.Observe(opus, scan, Usage{Input: truth, Output: 207}, epoch)

	rest := frameOf(opus).further*2 + String(opus, "Question two")
	tests := []struct {
		reason string
		model  string
		body   []byte
		how    How
		want   int
		within int
	}{
		{"the next turn: what was reported, and what is new", opus, second, Anchored, truth + 207 + rest, 1},
		{"the same request again", opus, first, Anchored, truth, 0},
		{"cache_control and blocks change no content", opus, talk([]any{map[string]any{"type": "text", "text": "Question one", "cache_control": map[string]any{"type": "ephemeral"}}}, answer, "Question two"), Anchored, truth + 207 + rest, 1},
		{"another model", "claude-opus-5", second, Weighed, 0, 0},
		{"another question", opus, talk("Question 1", answer, "Question two"), Calibrated, 0, 0},
		{"another system prompt", opus, bytes.Replace(second, []byte(`"system":"The keel`), []byte(`"system":"The mast`), 1), Calibrated, 0, 0},
		{"tools came in", opus, bytes.Replace(second, []byte(`"max_tokens"`), []byte(`"tools":[{"name":"t"}],"max_tokens"`), 1), Calibrated, 0, 0},
		{"the answer was replaced by a longer one", opus, talk("Question one", prose(2000), "Question two"), Anchored, truth + int(1.1*float64(String(opus, prose(2000)))) + rest, 100},
	}
	for _, tt := range tests {
		est, _ := ask(&e, tt.model, tt.body, epoch)
		if again := tt.reason == "the same request again"; est.How == Anchored && (est.Further == 0) != again {
			t.Errorf("%s: %d messages are new", tt.reason, est.Further)
		}
		if est.How != tt.how {
			t.Errorf("%s: estimated by %v, want %v", tt.reason, est.How, tt.how)
		}
		if tt.want > 0 {
			near(t, tt.reason+": the input", est.Input, tt.want, tt.within)
		}
	}
}

// What a model's traffic has taught is an average: a conversation that lies
// beside it is likely to go on doing so.
func TestEstimator_aConversationStaysWithItsSubject(t *testing.T) {
	for _, off := range []float64{-0.05, 0, 0.05} {
		var e Estimator
		for n := range 50 { // of others, which are as the table has them
			_, scan := ask(&e, opus, talk(fmt.Sprint(n)), epoch)
			e.Observe("", scan, Usage{Input: whole(scan.Tokens())}, epoch)
		}
		_, scan := ask(&e, opus, talk("Question"), epoch)
		truth := whole(scan.Tokens() * (1 + off))
		e.Observe("", scan, Usage{Input: truth, Output: 9}, epoch)
		est, _ := ask(&e, opus, talk("Question", "Answer", prose(2000)), epoch)
		texts := est.Input - truth - 9 - 2*frameOf(opus).further
		near(t, fmt.Sprintf("what is new, in a conversation %v off,", off), texts, whole(float64(String(opus, prose(2000)))*(1+alike*off)), 20)
	}
}

func frameOf(model string) frame { return parse(model).frame() }

func TestEstimator_expectsWhatIsCached(t *testing.T) {
	said := func(ttl string, text any) []byte {
		block := []any{map[string]any{"type": "text", "text": "Question", "cache_control": map[string]any{"type": "ephemeral", "ttl": ttl}}}
		if text == nil {
			return talk(block)
		}
		return talk(block, "Answer", text)
	}
	tests := []struct {
		reason string
		model  string
		ttl    string
		next   []byte
		age    time.Duration
		cached int
	}{
		{"within five minutes", opus, "5m", said("5m", "And?"), 4 * time.Minute, 900},
		{"after five minutes", opus, "5m", said("5m", "And?"), 5 * time.Minute, 0},
		{"an hour was asked for", opus, "1h", said("1h", "And?"), 59 * time.Minute, 900},
		{"the next request does not use the cache", opus, "5m", talk("Question", "Answer", "And?"), time.Minute, 0},
		{"nothing is known", opus, "5m", said("5m", "And?")[1:], time.Minute, 0},
	}
	for _, tt := range tests {
		var e Estimator
		_, scan := ask(&e, tt.model, said(tt.ttl, nil), epoch)
		e.Observe("", scan, Usage{Input: 30, CacheWrite: 200, CacheRead: 700, Output: 10}, epoch)
		est, _ := ask(&e, tt.model, tt.next, epoch.Add(tt.age))
		if est.Cached != tt.cached || est.Counted != est.Input-tt.cached {
			t.Errorf("%s: %d of %d cached, %d counted; want %d cached", tt.reason, est.Cached, est.Input, est.Counted, tt.cached)
		}
	}
	// Haiku 3.5 counts them all the same.
	var e Estimator
	_, scan := ask(&e, "claude-3-5-haiku-20241022", said("5m", nil), epoch)
	e.Observe("", scan, Usage{Input: 30, CacheRead: 900, Output: 10}, epoch)
	if est, _ := ask(&e, "claude-3-5-haiku-20241022", said("5m", "And?"), epoch); est.Cached != 900 || est.Counted != est.Input {
		t.Errorf("on Haiku 3.5 %d of %d are counted, %d cached; want all counted, 900 cached", est.Counted, est.Input, est.Cached)
	}
}

func TestEstimator_doesNotLearnFromWhatSaysNothing(t *testing.T) {
	good := Usage{Input: 1000, CacheRead: 200}
	body := talk("Hello")
	with := func(old, replacement string) []byte {
		return bytes.Replace(body, []byte(old), []byte(replacement), 1)
	}
	tests := []struct {
		reason string
		body   []byte
		served string
		usage  Usage
		want   Lesson
	}{
		{"an ordinary answer", body, opus, good, Taught},
		{"the model is not named", body, "", good, Taught},
		{"the model is named with its date", body, opus + "-20261001", good, Taught},
		{"no usage", body, opus, Usage{Output: 5}, Empty},
		{"a negative one", body, opus, Usage{Input: 2000, CacheRead: -1}, Empty},
		{"a fallback answered", body, "claude-sonnet-5-5", good, Fallback},
		{"a model that is not understood answered", body, "other", good, Fallback},
		{"the fields of the cache are missing", body, opus, Usage{Input: 1000, Partial: true}, Partial},
		{"too small", []byte(`{"messages":[{"role":"user","content":"Hi"}]}`), opus, Usage{Input: 9}, Small},
		{"a server tool", with(`"Hello"`, `[{"type":"server_tool_use","input":{}}]`), opus, good, Uncertain},
		{"an image by URL", with(`"Hello"`, `[{"type":"image","source":{"type":"url","url":"u"}}]`), opus, Usage{Input: 9000}, Uncertain},
		{"a PDF", with(`"Hello"`, `[{"type":"document","source":{"type":"base64","data":"JVBERi0xLjcKMSAwIG9iag=="}}]`), opus, Usage{Input: 9000}, Uncertain},
		{"a body that was not seen to its end", body[:len(body)-1], opus, good, Cut},
		{"far from everything", body, opus, Usage{Input: 90_000}, Absurd},
	}
	for _, tt := range tests {
		var e Estimator
		_, scan := ask(&e, opus, tt.body, epoch)
		if got := e.Observe(tt.served, scan, tt.usage, epoch); got != tt.want {
			t.Errorf("%s: lesson %v, want %v", tt.reason, got, tt.want)
		}
		sc, how := e.scaleOf(opus)
		if changed := sc.s != priorOf(opus).s; changed != (tt.want == Taught) || (how == Calibrated) != (tt.want == Taught) {
			t.Errorf("%s: scale changed: %v, estimated by %v; want so only if taught", tt.reason, changed, how)
		}
	}
}

func TestEstimator_anAliasMovesOn(t *testing.T) {
	var e Estimator
	body := talk(prose(3000))
	for range 30 {
		_, scan := ask(&e, opus, body, epoch)
		e.Observe(opus+"-20261001", scan, Usage{Input: int(1.2 * scan.Tokens())}, epoch)
	}
	sc, _ := e.scaleOf(opus)
	if dated, _ := e.scaleOf(opus + "-20261001"); sc.n != 30 || dated != sc {
		t.Errorf("the alias has %d observations, the model it meant %d, want 30 shared", sc.n, dated.n)
	}
	_, scan := ask(&e, opus, body, epoch)
	e.Observe(opus+"-20261101", scan, Usage{Input: int(scan.Tokens())}, epoch)
	if sc, _ := e.scaleOf(opus); sc.n != 1 {
		t.Errorf("the alias has %d observations after it moved, want 1", sc.n)
	}
	if sc, _ := e.scaleOf(opus + "-20261001"); sc.n != 30 {
		t.Errorf("the model it meant before has %d observations, want 30", sc.n)
	}
}

func TestEstimator_staysBounded(t *testing.T) {
	var e, models Estimator
	var s Scanner
	big := talk(prose(1500))
	for i := range maxAnchors + 500 {
		s.Reset(opus)
		_, _ = s.Write(talk(fmt.Sprint("Question ", i)))
		scan := s.Scan()
		e.Observe("", scan, Usage{Input: 1000 + i, Output: 1}, epoch)
		if i < 2*maxModels {
			_, scan := ask(&models, fmt.Sprint("model-", i), big, epoch)
			models.Observe("", scan, Usage{Input: 2500}, epoch)
		}
	}
	if n, m := len(e.anchors.list), len(e.anchors.byHash); n != maxAnchors || m != maxAnchors {
		t.Errorf("%d anchors, %d of them found, want %d", n, m, maxAnchors)
	}
	if n := len(*models.models.Load()); n != maxModels {
		t.Errorf("%d models, want %d", n, maxModels)
	}
	for _, i := range []int{0, 499, 500, maxAnchors + 499} {
		est, _ := ask(&e, opus, talk(fmt.Sprint("Question ", i)), epoch)
		if known := est.How == Anchored; known != (i >= 500) || known && est.Input != 1000+i {
			t.Errorf("request %d: %+v, want the newest %d to be known", i, est, maxAnchors)
		}
	}
}

func TestAnchors_keepWhatIsUsed(t *testing.T) {
	var a anchors
	for i := range uint64(maxAnchors) {
		a.put(anchor{hash: i})
	}
	a.find(0)
	a.put(anchor{hash: 1, input: 5}) // again
	for i := range uint64(10) {
		a.put(anchor{hash: maxAnchors + i})
	}
	for hash, want := range map[uint64]bool{0: true, 1: true, 2: false, 11: false, 12: true, maxAnchors + 9: true} {
		if got := a.find(hash) != nil; got != want {
			t.Errorf("anchor %d is kept: %v, want %v", hash, got, want)
		}
	}
	if got := a.find(1).input; got != 5 {
		t.Errorf("an anchor that was put again has %d tokens, want the new 5", got)
	}
}

func TestEstimator_doesNotAllocate(t *testing.T) {
	var e Estimator
	var s Scanner
	first, second := talk("One"), talk("One", prose(300), "Two")
	_, scan := ask(&e, opus, first, epoch)
	e.Observe("", scan, Usage{Input: 1100, Output: 300}, epoch)
	if est, _ := ask(&e, opus, second, epoch); est.How != Anchored {
		t.Fatalf("the second turn is estimated by %v, want an anchor", est.How)
	}
	for _, body := range [][]byte{first, second, talk("Other")} {
		if n := testing.AllocsPerRun(100, func() {
			s.Reset(opus)
			_, _ = s.Write(body)
			e.Estimate(&s, epoch)
		}); n != 0 {
			t.Errorf("an estimate allocates %v times, want 0", n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = e.Count(t.Context(), epoch, opus, body) }); n != 0 {
			t.Errorf("Count allocates %v times, want 0", n)
		}
	}
}

func TestEstimator_takesManyAtOnce(t *testing.T) {
	var e Estimator
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			model := []string{opus, "claude-sonnet-5", "new"}[i%3]
			for n := range 50 {
				body := talk(prose(600), "yes", fmt.Sprint(n))
				est, scan := ask(&e, model, body, epoch)
				e.Observe("", scan, Usage{Input: est.Input, Output: 3}, epoch)
				state, err := e.MarshalBinary()
				if err != nil || e.Text(model, body).Input <= 0 || n == 25 && e.UnmarshalBinary(state) != nil {
					t.Error("the state cannot be saved and read", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestEstimator_stateSurvives(t *testing.T) {
	var e Estimator
	for i, model := range []string{opus, "claude-haiku-4-5", "something-else"} {
		for n := range 20 {
			_, scan := ask(&e, model, talk(prose(500+100*n)), epoch)
			e.Observe("", scan, Usage{Input: int((1 + 0.02*float64(i+n)) * scan.Tokens())}, epoch)
		}
	}
	state, err := e.MarshalBinary()
	if err != nil || len(state) > 3*300 {
		t.Errorf("three models are saved in %d bytes, %v; want at most 300 for each", len(state), err)
	}
	var read Estimator
	if err := read.UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{opus, "claude-haiku-4-5", "something-else"} {
		was, _ := e.scaleOf(model)
		is, how := read.scaleOf(model)
		if *was != *is || how != Calibrated {
			t.Errorf("%s: read as %+v, want %+v", model, is, was)
		}
	}
	again, _ := read.MarshalBinary()
	if !bytes.Equal(state, again) {
		t.Error("saved again, the state is another")
	}
	// Scales of a table that was replaced since are worth nothing.
	at := bytes.Index(state, []byte(opus)) + len(opus)
	state[at]++
	if err := read.UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	if sc, how := read.scaleOf(opus); how != Weighed || sc.n != 0 {
		t.Errorf("scales of another table were taken: %+v", sc)
	}
}

func FuzzEstimator_UnmarshalBinary(f *testing.F) {
	var e Estimator
	_, scan := ask(&e, opus, talk(prose(1000)), epoch)
	e.Observe("", scan, Usage{Input: 2000}, epoch)
	state, err := e.MarshalBinary()
	must(err)
	f.Add(state)
	f.Add(state[:len(state)-1])
	f.Add([]byte(stateMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Estimator
		if e.UnmarshalBinary(b) != nil {
			return
		}
		for range 5 {
			est, scan := ask(&e, opus, talk(prose(1000)), epoch)
			if est.Input < 0 || est.Low > est.Input || est.High < est.Input {
				t.Fatalf("a state was taken that estimates %+v", est)
			}
			e.Observe("", scan, Usage{Input: 1900}, epoch)
		}
	})
}

func TestScale_recoversFromASwitch(t *testing.T) {
	sc := prior(tables[Claude47](), true)
	texts := Sums{Letters: 8000, Digits: 500, Signs: 2000, Wide: 10, Raw: 900}
	for range 200 {
		sc, _ = sc.learn(texts, texts.Total())
	}
	for n := range patience + 1 {
		got, _ := sc.texts(texts)
		if off := math.Abs(got/(1.35*texts.Total()) - 1); n == patience && off > 0.02 {
			t.Errorf("after %d requests of another tokenizer the estimate is %.1f %% off, want at most 2 %%", n, 100*off)
		}
		sc, _ = sc.learn(texts, 1.35*texts.Total())
	}
}

// One prompt template makes requests of one composition for months: what they
// do not tell apart must not drift.
func TestScale_oneSortForeverMovesNothing(t *testing.T) {
	texts := Sums{Letters: 8000, Digits: 500, Signs: 2000, Wide: 10, Raw: 900}
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 9))
		sc := prior(tables[Claude47](), true)
		for range 5000 {
			sc, _ = sc.learn(texts, texts.Total()*(1+0.12*(2*r.Float64()-1)))
			got, _ := sc.texts(texts)
			if off := math.Abs(got/texts.Total() - 1); off > 0.12 || !sc.sound() {
				t.Fatalf("seed %d: the estimate is %.0f %% off, factors %.2f", seed, 100*off, sc.s)
			}
		}
		for _, s := range sc.s {
			if s < 0.8 || s > 1.25 {
				t.Errorf("seed %d: factors %.2f, want them about 1", seed, sc.s)
				break
			}
		}
	}
}

func TestScale_boundHoldsWhatIsSeen(t *testing.T) {
	texts := Sums{Letters: 8000, Digits: 500, Signs: 2000, Wide: 10, Raw: 900}
	r := rand.New(rand.NewPCG(9, 9))
	widths := map[float64]float64{}
	for _, spread := range []float64{0.005, 0.12} { // half of the width that requests spread over
		sc := prior(tables[Claude47](), true)
		outside, n := 0, 0
		for i := range 2000 {
			truth := texts.Total() * (1 + spread*(2*r.Float64()-1))
			tokens, relative := sc.texts(texts)
			p := parts{texts: tokens, relative: relative, bound: sc.bound}.estimate()
			if i > 300 {
				n++
				if truth > float64(p.High) || truth < float64(p.Low) {
					outside++
				}
				widths[spread] += float64(p.High - p.Low)
			}
			sc, _ = sc.learn(texts, truth)
		}
		if share := float64(outside) / float64(n); share > 0.02 {
			t.Errorf("spread over ± %v, %.1f %% lie outside of their bounds, want about one in a hundred", spread, 100*share)
		}
	}
	if widths[0.005] >= widths[0.12]/1.3 {
		t.Errorf("bounds of calm traffic are %.0f wide, of wild traffic %.0f", widths[0.005], widths[0.12])
	}
}

func TestScale_staysSound(t *testing.T) {
	// Whatever is observed, for however long, factors stay within their bounds
	// and what is idle does not wind up.
	sc := prior(tables[Claude47](), false)
	for n := range 3000 {
		texts := []Sums{{Letters: 5000}, {Raw: 1}, {Digits: 1e9}, {Letters: 400, Wide: 3}, {Signs: 1e-3}}[n*7%5]
		ratio := []float64{1, 1.4, 0.01, 50, 0.7}[n*3%11%5]
		sc, _ = sc.learn(texts, ratio*texts.Total())
		if !sc.sound() {
			t.Fatalf("after %d observations: %+v", n+1, sc)
		}
		if tokens, deviation := sc.texts(texts); math.IsNaN(tokens) || math.IsNaN(deviation) {
			t.Fatalf("after %d observations texts are %v ± %v", n+1, tokens, deviation)
		}
	}
}

func TestEstimate_ofNothing(t *testing.T) {
	var e Estimator
	for _, body := range []string{"", "{}", "[]", "nonsense", `{"messages":[]}`, `{"messages":[{"role":"user","content":""}]}`} {
		est, scan := ask(&e, opus, []byte(body), epoch)
		if est.Input != scan.Fixed || est.Low > est.Input || est.High < est.Input {
			t.Errorf("%q: %+v, want the frame of %d", body, est, scan.Fixed)
		}
	}
	if est := e.Text(opus, nil); est.Input != 0 || est.Low != 0 || est.High != 0 {
		t.Errorf("no text: %+v, want nothing", est)
	}
}

func TestMarks_widenBounds(t *testing.T) {
	var e Estimator
	plain, _ := ask(&e, opus, talk("Hello"), epoch)
	marked, _ := ask(&e, opus, bytes.Replace(talk("Hello"), []byte(`"Hello"`), []byte(`[{"type":"web_search_tool_result","content":[{"type":"text","text":"Hello"}]}]`), 1), epoch)
	if marked.Marks != Server || marked.High-marked.Input <= 2*(plain.High-plain.Input) {
		t.Errorf("with a server tool %+v, want a wider bound than %+v", marked, plain)
	}
	if got := []How{Weighed, Calibrated, Anchored, Counted}; !slices.IsSorted(got) {
		t.Error("ways to know are not in order")
	}
}
