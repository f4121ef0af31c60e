package tokens

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
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
			return node{kind: '"', text: pick("text image document tool_use tool_result thinking redacted_thinking base64 url file content search_result mcp_tool_use web_fetch_tool_result server_tool_use bash_code_execution_tool_result_error tool_reference web_search_result compaction strange")}
		case 2:
			p := pictures[r.IntN(len(pictures))].bytes
			if r.IntN(2) == 0 {
				p = dataOf(r)
			}
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

// dataOf makes up what "data" may hold: an image of any size, or a PDF of parts
// that say how many pages it has, or seem to.
func dataOf(r *rand.Rand) string {
	side := func() uint32 { return uint32(math.Exp(r.Float64()*math.Log(1<<14))) << (r.IntN(8) / 7 * r.IntN(19)) }
	bytes := func(n int) string { return string(binary.LittleEndian.AppendUint64(nil, r.Uint64())[:n]) }
	switch r.IntN(12) {
	case 0, 1, 2:
		return "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + be32(side()) + be32(side()) + rest
	case 3:
		return "GIF89a" + le16(uint16(side())) + le16(uint16(side())) + rest
	case 4:
		return "RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(7) + "\x9d\x01\x2a" + bytes(4) + rest
	case 5:
		return "RIFF\x00\x00\x00\x00WEBPVP8L" + bytes(4) + "\x2f" + bytes(4) + rest
	case 6:
		return "RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(8) + bytes(6) + rest
	}
	parts := []string{
		"/Type", "/Type /Pages", "/Type\n/Pages", "/Pages", "/Count 12", "/Count\t7", "/Count 9999", "/Count", "/Linearized", "/N 5", "/N x",
		"obj", "endobj", ">>", " ", strings.Repeat("keel", 1+r.IntN(3000)), strings.Repeat("\x00", r.IntN(1<<r.IntN(19)+1)),
	}
	var pdf strings.Builder
	pdf.WriteString("%PDF-1.7\n")
	for range r.IntN(25) {
		pdf.WriteString(parts[r.IntN(len(parts))])
	}
	return pdf.String()
}

func TestServerBlock_agreesWithTheReference(t *testing.T) {
	for word := range strings.FieldsSeq("server_tool_use mcp_tool_use mcp_tool_result container_upload tool_reference compaction web_search_result web_fetch_result " +
		"code_execution_result bash_code_execution_result web_search_tool_result x_tool_result_error tool_result_error tool_use x_result tool_reference_x strange") {
		if got, want := serverBlock([]byte(word)), serverWord.MatchString(word); got != want {
			t.Errorf("%s belongs to a server: %v, by the reference %v", word, got, want)
		}
	}
}

func TestScanner_agreesOnMediaMadeUp(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 7))
		data := dataOf(r)
		body := `{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}}]}]}`
		var s Scanner
		scanIn(&s, "", []byte(body), r.IntN(len(body)))
		var want reference
		n, err := parseNode([]byte(body))
		must(err)
		if want.body(n); s.now != want.tally || s.marks != want.marks {
			t.Errorf("seed %d, %.60q: scanned %+v, reference %+v", seed, data, s.now, want.tally)
		}
	}
}

func TestScanner_agreesOnBodiesMadeUp(t *testing.T) {
	for seed := range uint64(200) {
		checkMade(t, seed)
	}
}

// FuzzScanner_bodiesMadeUp does the same with bodies that are made of what
// matters, which a fuzzer seldom comes upon.
//
// fuzz: 10m
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
