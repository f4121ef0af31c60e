package tokens

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// bodies are the contents of [contents] as messages, and what else a body can
// be full of.
func bodies(tb testing.TB) map[string][]byte {
	message := func(content any) []byte {
		b, err := json.Marshal(map[string]any{
			"model": "claude-opus-5-5", "max_tokens": 1024,
			"messages": []any{map[string]any{"role": "user", "content": content}},
		})
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	all := map[string][]byte{}
	for name, text := range contents() {
		all[name] = message(strings.ToValidUTF8(string(text), "?"))
	}
	prose := contents()["prose"][:200_000]
	escaped := strings.Builder{}
	for _, c := range prose {
		fmt.Fprintf(&escaped, `\u%04x`, c)
	}
	all["escaped"] = []byte(strings.Replace(string(message("KEEL")), "KEEL", escaped.String(), 1))
	all["newlines"] = message(strings.Repeat("\n", 500_000))
	all["code"] = message(strings.Repeat("\tif err != nil {\n\t\treturn fmt.Errorf(\"keel: %w\", err)\n\t}\n", 20_000))
	image := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x04\x00\x00\x00\x03\x00"), contents()["random"]...)
	all["image"] = message([]any{map[string]any{"type": "image", "source": map[string]any{
		"type": "base64", "media_type": "image/png", "data": base64.StdEncoding.EncodeToString(image),
	}}})
	all["pdf"] = message([]any{map[string]any{"type": "document", "source": map[string]any{
		"type": "base64", "media_type": "application/pdf", "data": base64.StdEncoding.EncodeToString(append([]byte("%PDF-1.7\n"), image...)),
	}}})
	schema := map[string]any{
		"name": "read_file", "description": "Reads a file and returns its text.",
		"input_schema": map[string]any{"type": "object", "properties": map[string]any{"path": map[string]any{"type": "string", "description": "Where the file is."}}, "required": []string{"path"}},
	}
	tools := make([]any, 3000)
	for i := range tools {
		tools[i] = schema
	}
	b, err := json.Marshal(map[string]any{"tools": tools, "messages": []any{}})
	if err != nil {
		tb.Fatal(err)
	}
	all["tools"] = b
	return all
}

func BenchmarkScanner(b *testing.B) {
	all := bodies(b)
	scan := func(hint string, body []byte) func() {
		var s Scanner
		run := func() {
			s.Reset(hint)
			for p := body; len(p) > 0; {
				n := min(len(p), 32<<10) // as a copy from a connection writes
				_, _ = s.Write(p[:n])
				p = p[n:]
			}
			_ = s.Scan()
		}
		run() // allocates what it keeps
		return run
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, hint := range []string{"claude-opus-5-5", ""} {
			b.Run("content="+name+"/hinted="+fmt.Sprint(hint != ""), func(b *testing.B) {
				besideProse(b, len(all[name]), scan(hint, all[name]), len(all["prose"]), scan(hint, all["prose"]))
			})
		}
	}
}

// BenchmarkEstimate is the whole way of a request whose conversation is known,
// for one of 100 KB.
func BenchmarkEstimate(b *testing.B) {
	first, next := talk(prose(25_000)), talk(prose(25_000), "Yes.", "And?")
	var e Estimator
	_, scan := ask(&e, opus, first, epoch)
	e.Observe("", scan, Usage{Input: 26_000, Output: 9}, epoch)
	var s Scanner
	b.SetBytes(int64(len(next)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset(opus)
		_, _ = s.Write(next)
		e.Estimate(&s, epoch)
	}
}
