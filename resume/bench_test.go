package resume

import "testing"

// BenchmarkTranscript is what following a stream costs that is not cut: per
// delta of a text.
func BenchmarkTranscript(b *testing.B) {
	tr := transcript(startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0))
	tr.MaxBytes = 1 << 30
	piece := []byte(texted(0, " harbor-12"))
	b.ReportAllocs()
	for b.Loop() {
		tr.Event(piece)
	}
	if tr.state() != "" {
		b.Fatal(tr.state())
	}
}

// BenchmarkSplice is what a delta of a continuation costs after the seam.
func BenchmarkSplice(b *testing.B) {
	tr := transcript(startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, "One"))
	s := tr.Splice()
	for _, e := range []string{startOf("msg_2", "claude-opus-5", 9, 1), textOpened(0), texted(0, " two")} {
		if _, err := s.Event(sse(e, "\n")); err != nil {
			b.Fatal(err)
		}
	}
	piece := sse(texted(0, " harbor-12"), "\n")
	b.ReportAllocs()
	for b.Loop() {
		if out, err := s.Event(piece); err != nil || len(out) == 0 {
			b.Fatal(err)
		}
	}
}
