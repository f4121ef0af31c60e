package tokens

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// scanIn scans a body in pieces that end at the cuts.
func scanIn(s *Scanner, hint string, body []byte, cuts ...int) Scan {
	s.Reset(hint)
	for _, cut := range cuts {
		cut = min(max(cut, 0), len(body))
		_, _ = s.Write(body[:cut])
		body = body[cut:]
	}
	_, _ = s.Write(body)
	return s.Scan()
}

// checkBody holds a scan against the reference, the cut body and other ways to
// write it.
func checkBody(t *testing.T, body []byte, seed uint64) {
	t.Helper()
	var s Scanner
	whole := scanIn(&s, "", body)
	tally, turn, forced := s.now, s.turn, s.forced

	r := rand.New(rand.NewPCG(seed, 1))
	var cuts []int
	for range r.IntN(5) {
		cuts = append(cuts, r.IntN(len(body)+1)/(1+r.IntN(4)))
	}
	if got := scanIn(&s, "", body, cuts...); got != whole {
		t.Errorf("cut at %v the body reads %+v, want %+v", cuts, got, whole)
	}
	if got := scanIn(&s, "", body, eachByte(len(body))...); got != whole {
		t.Errorf("byte by byte the body reads %+v, want %+v", got, whole)
	}
	if whole.Model != "" {
		if got := scanIn(&s, whole.Model, body); got != whole {
			t.Errorf("with its model known the body reads %+v, want %+v", got, whole)
		}
	}

	if !utf8.Valid(body) || !json.Valid(body) {
		return
	}
	n, err := parseNode(body)
	if err != nil || n.kind != '{' {
		return
	}
	var want reference
	want.body(n)
	if tally != want.tally {
		t.Errorf("scanned  %+v\nreference %+v", tally, want.tally)
	}
	if turn != want.turn || forced != want.forced || whole.Model != want.model || whole.Marks != want.marks {
		t.Errorf("scanned turn %v, forced %v, model %q, marks %b\nreference %v, %v, %q, %b",
			turn, forced, whole.Model, whole.Marks, want.turn, want.forced, want.model, want.marks)
	}
	if len(n.keys) > 0 && !utf8.ValidString(want.model) {
		return // a model cut inside a character is another one when written anew
	}
	var other strings.Builder
	n.write(&other, r)
	if got := scanIn(&s, "", []byte(other.String())); got != whole {
		t.Errorf("written as %q the body reads %+v, want %+v", other.String(), got, whole)
	}
}

func eachByte(n int) []int {
	cuts := make([]int, n)
	for i := range cuts {
		cuts[i] = 1
	}
	return cuts
}

// samples are bodies of all sorts.
func samples(tb testing.TB) []string {
	b, err := os.ReadFile("testdata/bodies.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	image := func(bytes string) string {
		return `{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"` +
			base64.StdEncoding.EncodeToString([]byte(bytes)) + `"}}]}]}`
	}
	for _, picture := range pictures {
		all = append(all, image(picture.bytes))
	}
	return append(all,
		`{"messages":[{"role":"user","content":`+strings.Repeat(`[{"content":`, 100)+`"deep"`+strings.Repeat(`}]`, 100)+`}]}`,
		`{"messages":[{"role":"user","content":[{"type":"tool_use","input":`+strings.Repeat(`[`, 3000)+strings.Repeat(`]`, 3000)+`}]}]}`,
		`{"messages":[{"role":"user","content":"`+strings.Repeat(`keel \n`, 700)+`"}]}`,
		`{"messages":[{"role":"user","content":"`+strings.Repeat(`The keel of the ship is long. `, 1000)+`"}]}`,
		`{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","data":"`+
			base64.StdEncoding.EncodeToString([]byte("%PDF-1.7\n"+strings.Repeat("keel", 40_000)+"5 0 obj<</Type /Pages /Kids[] /Count 17>>endobj"))+`"}}]}]}`,
	)
}

func TestScanner_agreesWithTheReference(t *testing.T) {
	for i, body := range samples(t) {
		for seed := range uint64(5) {
			checkBody(t, []byte(body), seed)
			checkBody(t, []byte(body[:len(body)*int(seed)/5]), seed)
		}
		if t.Failed() {
			t.Fatalf("with sample %d: %.300s", i, body)
		}
	}
}

// FuzzScanner holds the Scanner against encoding/json and the same rules, for
// any body in pieces of any size.
//
// fuzz: 10m
func FuzzScanner(f *testing.F) {
	for i, body := range samples(f) {
		if len(body) < 3000 {
			f.Add([]byte(body), uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) { checkBody(t, body, seed) })
}

// made makes up a value, with keys and words that matter more often than not.
func made(r *rand.Rand, depth int) node {
	pick := func(words string) string {
		all := strings.Split(words, " ")
		return all[r.IntN(len(all))]
	}
	switch n := r.IntN(10); {
	case n < 4 || depth > 8:
		switch r.IntN(6) {
		case 0:
			return node{kind: '"', text: pick("user assistant any tool auto custom bash_20250124 web_search_20250305 1h 5m claude-opus-4-5 claude-sonnet-5 m")}
		case 1:
			return node{kind: '"', text: pick("text image document tool_use tool_result thinking redacted_thinking base64 url file content search_result mcp_tool_use web_fetch_tool_result strange")}
		case 2:
			p := pictures[r.IntN(len(pictures))].bytes
			return node{kind: '"', text: base64.StdEncoding.EncodeToString([]byte(p[:r.IntN(min(len(p), 400))]))}
		case 3:
			text := []rune("a B9 \n\"\\/\u007f \x00é船😀\ufffd{}[],:")
			s := strings.Builder{}
			for range r.IntN(40) << r.IntN(8) {
				s.WriteRune(text[r.IntN(len(text))])
			}
			return node{kind: '"', text: s.String()}
		case 4:
			return node{text: pick("0 -1.5e3 true false null 1024")}
		}
		return node{kind: '"', text: pick("JVBERi0 /9j/ UklGR keel " + strings.Repeat("long", 30))}
	case n < 6:
		v := node{kind: '['}
		for range r.IntN(4) {
			v.values = append(v.values, made(r, depth+1))
		}
		return v
	}
	v := node{kind: '{'}
	for range r.IntN(5) {
		key := pick("type type role text content content source source data data name input thinking cache_control ttl signature title " +
			"id description input_schema encrypted_content citations other strict format " + strings.Repeat("k", 70))
		v.keys = append(v.keys, key)
		v.values = append(v.values, made(r, depth+1))
	}
	return v
}

// madeBody makes up a body.
func madeBody(r *rand.Rand) node {
	keys := strings.Split("model system messages messages messages tools tools tool_choice output_config output_format mcp_servers container context_management cache_control other", " ")
	body := node{kind: '{'}
	for range r.IntN(7) {
		key := keys[r.IntN(len(keys))]
		v := made(r, 0)
		if (key == "messages" || key == "tools") && v.kind != '[' {
			v = node{kind: '[', values: []node{v, made(r, 1), made(r, 1)}}
		}
		body.keys, body.values = append(body.keys, key), append(body.values, v)
	}
	return body
}

// checkMade holds a body that was made up against the reference.
func checkMade(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	var body strings.Builder
	madeBody(r).write(&body, r)
	checkBody(t, []byte(body.String()), seed)
	if t.Failed() {
		t.Fatalf("with seed %d: %.2000s", seed, body.String())
	}
}

func TestScanner_agreesOnBodiesMadeUp(t *testing.T) {
	for seed := range uint64(200) {
		checkMade(t, seed)
	}
}

func FuzzScanner_bodiesMadeUp(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkMade)
}

func TestScanner_doesNotAllocate(t *testing.T) {
	for name, body := range bodies(t) {
		body := body[:min(len(body), 100_000)]
		for _, hint := range []string{"claude-opus-5-5", ""} {
			var s Scanner
			scanIn(&s, hint, body)
			if n := testing.AllocsPerRun(5, func() { scanIn(&s, hint, body) }); n != 0 {
				t.Errorf("scanning %s, hint %q, allocates %v times, want 0", name, hint, n)
			}
		}
	}
}
