package stream

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	start   = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"
	ping    = "event: ping\ndata: {\"type\": \"ping\"}\n\n"
	block   = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0}\n\n"
	delta   = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n"
	stopped = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n"
	stop    = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	failed  = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
)

func TestReader_state(t *testing.T) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	tests := []struct {
		name  string
		in    string
		out   string // "" means all of in
		state State
		whole bool
	}{
		{"a whole message", start + block + delta + stopped + stop, "", State{Events: 5, Content: true, Stopped: true, Finished: true}, true},
		{"with CRLF", crlf(start + delta + stop), "", State{Events: 3, Content: true, Finished: true}, true},
		{"a stop reason and then the end: complete for the field", start + delta + stopped, "", State{Events: 3, Content: true, Stopped: true}, true},
		{"cut after content", start + block + delta, "", State{Events: 3, Content: true}, false},
		{"before content only pings and starts", start + ping + block + ping, "", State{Events: 4}, false},
		{"an incomplete tail is dropped", start + delta + delta[:30], start + delta, State{Events: 2, Content: true}, false},
		{"the blank line of the last event is missing", start + strings.TrimSuffix(stop, "\n"), start, State{Events: 1}, false},
		{"comments are no events", ": keep-alive\n\n" + start, "", State{Events: 1}, false},
		{"unnamed events are told by their type", "data: {\"type\":\"message_stop\"}\n\n", "", State{Events: 1, Finished: true}, true},
		{"unknown events pass", "event: novelty\ndata: {}\n\n" + stop, "", State{Events: 2, Finished: true}, true},
		{"a null stop reason stops nothing", strings.Replace(stopped, `"end_turn"`, "null", 1), "", State{Events: 1, Content: true}, false},
		{"garbage without a blank line", "\x00\xffgarbage", "-", State{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(tt.in))
			got, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.in
			switch tt.out {
			case "":
			case "-":
				want = ""
			default:
				want = tt.out
			}
			if string(got) != want {
				t.Errorf("passed %q, want %q", got, want)
			}
			if r.State() != tt.state || r.State().Whole() != tt.whole {
				t.Errorf("state %+v whole %v, want %+v %v", r.State(), r.State().Whole(), tt.state, tt.whole)
			}
		})
	}
}

func TestReader_errorEvent(t *testing.T) {
	r := NewReader(strings.NewReader(start + failed))
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	if got := r.State().Error.Type; got != "overloaded_error" {
		t.Errorf("error type %q, want overloaded_error", got)
	}
	if r.State().Whole() {
		t.Error("a stream that ended in an error is called whole")
	}
}

// TestReader_leavesAtOnce checks that an event is returned as soon as its
// blank line has come, and nothing of the next before it is complete.
func TestReader_leavesAtOnce(t *testing.T) {
	pr, pw := io.Pipe()
	r := NewReader(pr)
	got := make(chan string)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				got <- string(buf[:n])
			}
			if err != nil {
				close(got)
				return
			}
		}
	}()
	for _, part := range []string{start + ping[:10], ping[10:] + delta, stop} {
		if _, err := io.WriteString(pw, part); err != nil {
			t.Fatal(err)
		}
		if s := <-got; !strings.HasSuffix(s, "\n\n") {
			t.Errorf("returned %q, which does not end where an event ends", s)
		}
	}
	_ = pw.Close()
	if s, open := <-got; open {
		t.Errorf("returned %q after the end", s)
	}
}

func TestReader_giantEvent(t *testing.T) {
	for _, eol := range []string{"\n", "\r\n"} {
		giant := "event: content_block_start" + eol + "data: " + strings.Repeat("x", 3*MaxEvent) + eol + eol
		rest := strings.ReplaceAll(delta+stop, "\n", eol)
		r := NewReader(strings.NewReader(giant + rest))
		got, err := io.ReadAll(r)
		if err != nil || string(got) != giant+rest {
			t.Fatalf("passed %d bytes, %v; want %d", len(got), err, len(giant+rest))
		}
		if !r.State().Finished || r.Broken() {
			t.Errorf("after the giant: %+v, broken %v", r.State(), r.Broken())
		}
		cut := NewReader(strings.NewReader(giant[:2*MaxEvent]))
		if n, _ := io.Copy(io.Discard, cut); n != 2*MaxEvent || !cut.Broken() {
			t.Errorf("cut inside a giant: %d bytes passed, broken %v; want all of them, true", n, cut.Broken())
		}
	}
}

// TestReader_onlyLineEndsDecide feeds byte by byte: however a giant's line end
// is split from the bytes that were returned before, its end is found.
func TestReader_onlyLineEndsDecide(t *testing.T) {
	in := "data: " + strings.Repeat("y", MaxEvent+10) + "\r\n\r\n" + stop + stop[:8]
	r := NewReader(iotest.OneByteReader(strings.NewReader(in)))
	var got bytes.Buffer
	buf := make([]byte, 1)
	for {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if want := strings.TrimSuffix(in, stop[:8]); got.String() != want {
		t.Errorf("passed %d bytes, want %d: all but the incomplete tail", got.Len(), len(want))
	}
}

// endless is a stream that never ends: events, again and again.
type endless struct {
	events string
	at     int
}

func (e *endless) Read(p []byte) (n int, _ error) {
	for n < len(p) {
		copied := copy(p[n:], e.events[e.at:])
		n += copied
		e.at = (e.at + copied) % len(e.events)
	}
	return n, nil
}

const (
	blockStop = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
	counted   = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"input_tokens\":9,\"output_tokens\":12}}\n\n"
)

// inLines divides the data of an event into lines.
func inLines(event string) string { return strings.Replace(event, ",", ",\ndata: ", 2) }

// unnamed is an event without its first line.
func unnamed(event string) string { return event[strings.IndexByte(event, '\n')+1:] }

// streams are what BenchmarkReader reads.
var streams = []struct{ name, event string }{
	{"text", delta},
	{"text-crlf", strings.ReplaceAll(delta, "\n", "\r\n")},
	{"text-and-comments", delta + ": keep-alive\n\n" + ping},
	{"tool-input-32KB", strings.Replace(delta, "hi", strings.Repeat(`\"key\": 1, `, 3000), 1)},
	{"giant-2MB", strings.Replace(delta, "hi", strings.Repeat("x", 2*MaxEvent), 1)},
}

// rarer are streams of events that come once for a block or a message, or are
// written as the API does not, but may. They are slower.
var rarer = []struct{ name, event string }{
	{"data-in-lines", inLines(delta)},
	{"data-in-lines-crlf", strings.ReplaceAll(inLines(delta), "\n", "\r\n")},
	{"tool-input-32KB-in-lines", inLines(strings.Replace(delta, "hi", strings.Repeat(`\"key\": 1, `, 3000), 1))},
	{"unnamed", unnamed(delta)},
	{"unnamed-in-lines", unnamed(inLines(delta))},
	{"block-start", block},
	{"block-stop", blockStop},
	{"block-start-and-stop-unnamed", unnamed(block) + unnamed(blockStop)},
	{"message-delta", counted},
	{"message-delta-in-lines", inLines(counted) + unnamed(counted)},
	{"all-kinds", block + inLines(delta) + blockStop + ping + ": keep-alive\n\n" + counted + unnamed(ping)},
}

// warm returns a reader that has seen content, and has grown as far as it will.
func warm(tb testing.TB, events string, p []byte) *Reader {
	tb.Helper()
	r := NewReader(&endless{events: events})
	for n := 0; n < 3*len(events)+1<<20; {
		more, err := r.Read(p)
		if err != nil {
			tb.Fatal(err)
		}
		n += more
	}
	return r
}

func TestReader_allocatesNothingPerEvent(t *testing.T) {
	p := make([]byte, 32<<10)
	for _, s := range slices.Concat(streams, rarer) {
		r := warm(t, s.event, p)
		before := r.State().Events
		allocs := testing.AllocsPerRun(1000, func() { _, _ = r.Read(p) })
		if events := r.State().Events - before; allocs != 0 || events == 0 {
			t.Errorf("%s: %v allocations a read in %d events, want none", s.name, allocs, events)
		}
	}
}

// BenchmarkReader reads a megabyte of a stream that flows. At least 1 GB/s is
// promised, and no allocation per event.
func BenchmarkReader(b *testing.B) {
	for _, s := range streams {
		b.Run("events="+s.name, func(b *testing.B) {
			p := make([]byte, 32<<10)
			r := warm(b, s.event, p)
			begun, read := r.State().Events, 0
			b.ReportAllocs()
			for b.Loop() {
				for n := 0; n < 1<<20; {
					more, err := r.Read(p)
					if err != nil {
						b.Fatal(err)
					}
					n += more
					read += more
				}
			}
			events := max(1, r.State().Events-begun)
			b.ReportMetric(float64(read)/b.Elapsed().Seconds()/1e9, "GB/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
		})
	}
}
