package claude

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

var scanTests = []struct {
	name, body string
	want       Body
}{
	{"nothing", ``, Body{}},
	{"an empty object", `{}`, Body{Complete: true}},
	{
		"all facts",
		`{"model":"claude-opus-5-5","stream":true,"max_tokens":1024,"mcp_servers":[{"url":"x"}],"speed":"fast"}`,
		Body{"claude-opus-5-5", true, 1024, true, true, true},
	},
	{
		"the model comes last, after what is long",
		`{"messages":[{"role":"user","content":"hi"}],"model":"m"}`,
		Body{Model: "m", Complete: true},
	},
	{
		"white space everywhere",
		" \r\n\t{ \"model\" :\n\"m\" , \"stream\"\t: true\n}\n ",
		Body{Model: "m", Stream: true, Complete: true},
	},
	{"the last of two counts", `{"model":"a","stream":true,"model":"b","stream":false}`, Body{Model: "b", Complete: true}},
	{"the last of two counts, of whatever type", `{"model":"a","max_tokens":5,"model":null,"max_tokens":{}}`, Body{Complete: true}},
	{
		"keys inside a value are not ours",
		`{"metadata":{"model":"x","stream":true,"speed":"fast"},"tools":[{"max_tokens":9,"mcp_servers":[1]}]}`,
		Body{Complete: true},
	},
	{"text that looks like a body", `{"system":"\",\"model\":\"x\",\"stream\":true,\"","model":"m"}`, Body{Model: "m", Complete: true}},
	{"a string that ends in an escaped backslash", `{"system":"a\\","model":"m"}`, Body{Model: "m", Complete: true}},
	{"a string that ends in an escaped quote", `{"system":"a\\\"","model":"m"}`, Body{Model: "m", Complete: true}},
	{"brackets in a string do not nest", `{"a":["]}]}{[{["],"model":"m"}`, Body{Model: "m", Complete: true}},
	{"an escaped key is the same key", `{"mod\u0065l":"m","\u0073tre\u0061m":true}`, Body{Model: "m", Stream: true, Complete: true}},
	{"an escaped model is unescaped", `{"model":"a\/\"\\\u00e9\ud83d\ude00\n"}`, Body{Model: "a/\"\\é😀\n", Complete: true}},
	{"a lone surrogate is replaced", `{"model":"\ud83d\u0041\ude00"}`, Body{Model: "\ufffdA\ufffd", Complete: true}},
	{"bytes that are not UTF-8 are replaced", "{\"model\":\"a\xff\xfeb\"}", Body{Model: "a\ufffd\ufffdb", Complete: true}},
	{"keys are case-sensitive", `{"Model":"m","STREAM":true}`, Body{Complete: true}},
	{"a prefix of a key is not the key", `{"mode":"m","models":"m","":"m"}`, Body{Complete: true}},
	{"stream as a string is not true", `{"stream":"true"}`, Body{Complete: true}},
	{"max_tokens as a float that is whole", `{"max_tokens":1024.0}`, Body{MaxTokens: 1024, Complete: true}},
	{"max_tokens with an exponent", `{"max_tokens":1e3}`, Body{MaxTokens: 1000, Complete: true}},
	{"max_tokens with a fraction", `{"max_tokens":1.5}`, Body{Complete: true}},
	{"max_tokens below zero", `{"max_tokens":-1}`, Body{Complete: true}},
	{"the largest max_tokens", `{"max_tokens":9223372036854775807}`, Body{MaxTokens: 9223372036854775807, Complete: true}},
	{"max_tokens that does not fit", `{"max_tokens":9223372036854775808}`, Body{Complete: true}},
	{"max_tokens that is endless", `{"max_tokens":` + strings.Repeat("1", 1000) + `}`, Body{Complete: true}},
	{"no server", `{"mcp_servers":[ ]}`, Body{Complete: true}},
	{"a server that is not an object", `{"mcp_servers":[ "x"]}`, Body{MCPServers: true, Complete: true}},
	{"servers that are nested", `{"mcp_servers":[[]],"model":"m"}`, Body{Model: "m", MCPServers: true, Complete: true}},
	{"servers as an object", `{"mcp_servers":{"a":1}}`, Body{Complete: true}},
	{"servers as null", `{"mcp_servers":null}`, Body{Complete: true}},
	{"another speed", `{"speed":"standard"}`, Body{Complete: true}},
	{"an escaped speed", `{"speed":"f\u0061st"}`, Body{Fast: true, Complete: true}},
	{"a speed longer than is kept", `{"speed":"fast` + strings.Repeat(" ", 300) + `"}`, Body{Complete: true}},
	{"a key longer than is kept", `{"` + strings.Repeat("model", 100) + `":"x"}`, Body{Complete: true}},
	{"a model longer than is kept", `{"model":"` + strings.Repeat("m", 300) + `"}`, Body{Model: strings.Repeat("m", 256), Complete: true}},
	{"a long model is not cut inside a character", `{"model":"` + strings.Repeat("m", 255) + `é"}`, Body{Model: strings.Repeat("m", 255), Complete: true}},
	{"nor inside a long one", `{"model":"` + strings.Repeat("m", 253) + `😀"}`, Body{Model: strings.Repeat("m", 253), Complete: true}},
	{"deeper than any stack", `{"a":` + strings.Repeat(`[{"a":`, 100000) + `1` + strings.Repeat(`}]`, 100000) + `,"model":"m"}`, Body{Model: "m", Complete: true}},

	{"cut in a string", `{"model":"m","system":"abc`, Body{Model: "m"}},
	{"cut in the model: not known", `{"model":"claude-op`, Body{}},
	{"cut in a number: not known", `{"max_tokens":10`, Body{}},
	{"cut before the last brace", `{"model":"m"`, Body{Model: "m"}},
	{"followed by more", `{"model":"m"}{`, Body{Model: "m"}},
	{"an array", `[{"model":"m"}]`, Body{}},
	{"a string", `"model"`, Body{}},
	{"form data", `model=m&stream=true`, Body{}},
	{"a colon is missing", `{"model" "m"}`, Body{}},
	{"a comma is missing", `{"model":"m" "stream":true}`, Body{Model: "m"}},
	{"a comma too many", `{"model":"m",}`, Body{Model: "m"}},
	{"a value is missing", `{"model":,"stream":true}`, Body{}},
	{"a byte order mark is no JSON", "\xef\xbb\xbf{\"model\":\"m\"}", Body{}},
}

func TestScanBody(t *testing.T) {
	for _, tt := range scanTests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ScanBody([]byte(tt.body)); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestScanner_seesTheSameHoweverTheBodyIsCut(t *testing.T) {
	for _, tt := range scanTests {
		t.Run(tt.name, func(t *testing.T) {
			var s Scanner
			if _, err := io.Copy(&s, iotest.OneByteReader(strings.NewReader(tt.body))); err != nil {
				t.Fatal(err)
			}
			if got := s.Body(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestScanner_isCompleteAtTheLastByte: a body whose caller went away half-way
// must never pass for a whole one.
func TestScanner_isCompleteAtTheLastByte(t *testing.T) {
	const body = `{"model":"m","messages":[{"content":"}"}],"n":1.5e3,"stream":true}`
	var s Scanner
	for i := range len(body) {
		if s.Body().Complete {
			t.Fatalf("complete after %q", body[:i])
		}
		_, _ = s.Write([]byte{body[i]})
	}
	if !s.Body().Complete {
		t.Error("not complete at the end")
	}
}

func TestScanner_takesEverythingItIsGiven(t *testing.T) {
	for _, body := range []string{``, `{"a":1}`, `not json, and a lot of it`} {
		var s Scanner
		if n, err := s.Write([]byte(body)); n != len(body) || err != nil {
			t.Errorf("Write(%q) = %d, %v, want %d, nil", body, n, err, len(body))
		}
	}
}

// escaped is n bytes of JSON string content in which every other byte is
// special: a search that starts over at each escape takes hours here.
func escaped(n int) string { return strings.Repeat(`\"`, n/2) }

func TestScanner_allocatesNothing(t *testing.T) {
	for name, body := range map[string][]byte{
		"a known model":    message1MB(),
		"many escapes":     []byte(`{"system":"` + escaped(100_000) + `","stream":true}`),
		"many models":      []byte(`{` + strings.Repeat(`"model":"x","max_tokens":1.5e1,"speed":"fast",`, 1000) + `"model":"claude-opus-5-5"}`),
		"a hostile number": []byte(`{"max_tokens":` + strings.Repeat("9", 100_000) + `}`),
		"not JSON":         bytes.Repeat([]byte(`]"{`), 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			r := bytes.NewReader(body)
			got := testing.AllocsPerRun(5, func() {
				var s Scanner
				r.Reset(body)
				if _, err := io.Copy(&s, r); err != nil {
					t.Fatal(err)
				}
				_ = s.Body()
			})
			// The Scanner itself: it escapes into an io.Writer here.
			if got > 1 {
				t.Errorf("%v allocations, want at most 1", got)
			}
		})
	}
}

// oracle reads the same facts with encoding/json; ok is false where that
// finds no JSON object.
func oracle(doc []byte) (b Body, ok bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(doc, &m) != nil || m == nil {
		return Body{}, false
	}
	var speed string
	var servers []json.RawMessage
	_ = json.Unmarshal(m["model"], &b.Model)
	_ = json.Unmarshal(m["stream"], &b.Stream)
	_ = json.Unmarshal(m["speed"], &speed)
	_ = json.Unmarshal(m["mcp_servers"], &servers)
	if n := m["max_tokens"]; len(n) <= maxNumber {
		b.MaxTokens = wholeNumber(n)
	}
	b.MCPServers, b.Fast, b.Complete = len(servers) > 0, speed == "fast", true
	return b, true
}

func FuzzScanner(f *testing.F) {
	for _, tt := range scanTests {
		if len(tt.body) < 1000 {
			f.Add([]byte(tt.body), uint16(3))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, size uint16) {
		got := ScanBody(doc)
		var s Scanner
		for rest := doc; len(rest) > 0; {
			n := min(len(rest), int(size%64)+1)
			_, _ = s.Write(rest[:n])
			rest = rest[n:]
		}
		if split := s.Body(); split != got {
			t.Errorf("cut: got %+v, want %+v", split, got)
		}
		if len(got.Model) > maxText || !utf8.ValidString(got.Model) || got.MaxTokens < 0 {
			t.Errorf("out of bounds: %+v", got)
		}
		want, ok := oracle(doc)
		if !ok {
			return
		}
		if len(want.Model) >= maxText/6 { // its text may be longer than is kept
			want.Model, got.Model = "", ""
		}
		if got != want {
			t.Errorf("got %+v, encoding/json %+v", got, want)
		}
	})
}

func message4KB() []byte { return messageOf(4 << 10) }
func message1MB() []byte { return messageOf(1 << 20) }

// messageOf is a conversation of n bytes as agents send them: long texts with
// line ends and quotes in them, in the nesting of the Messages API.
func messageOf(n int) []byte {
	text := strings.Repeat(`func main() {\n\tfmt.Println(\"the quick brown fox jumps over the lazy dog, again and again\")\n}\n`, 20)
	var b bytes.Buffer
	b.WriteString(`{"max_tokens":4096,"system":[{"type":"text","text":"` + text[:900] + `"}],"messages":[`)
	for b.Len() < n-len(text) {
		b.WriteString(`{"role":"user","content":[{"type":"text","text":"` + text + `"}]},`)
	}
	b.WriteString(`{"role":"user","content":"end"}],"model":"claude-opus-5-5","stream":true}`)
	return b.Bytes()
}

func BenchmarkScanner(b *testing.B) {
	for _, bm := range []struct {
		name string
		body []byte
	}{
		{"body=4KB", message4KB()},
		{"body=1MB", message1MB()},
		{"body=1MB/one_string", []byte(`{"system":"` + strings.Repeat("x", 1<<20) + `","model":"claude-opus-5-5"}`)},
		{"body=1MB/all_escapes", []byte(`{"system":"` + escaped(1<<20) + `","model":"claude-opus-5-5"}`)},
		{"body=1MB/all_brackets", []byte(`{"a":` + strings.Repeat("[", 1<<19) + strings.Repeat("]", 1<<19) + `}`)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bm.body)))
			for b.Loop() {
				if !ScanBody(bm.body).Complete {
					b.Fatal("not complete")
				}
			}
		})
	}
}
