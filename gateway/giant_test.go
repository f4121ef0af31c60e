package gateway

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// giant is an event that is passed before it is complete.
var giant = strings.Replace(streamed[3], `"b"`, `"`+strings.Repeat("b", 2*stream.MaxEvent)+`"`, 1)

// half of it is more than is held.
const half = 3 * stream.MaxEvent / 2

// giants is an upstream that pauses inside of an event and after it, or is
// lost inside of it.
type giants struct{ lost bool }

func (g giants) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	for _, piece := range []string{streamed[0], giant[:half], giant[half:], streamed[len(streamed)-1]} {
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		time.Sleep(time.Minute)
		if g.lost && strings.HasSuffix(piece, "bb") {
			panic(http.ErrAbortHandler)
		}
	}
}

// Nothing of ours is written inside of an event, however long upstream pauses
// there. If it is lost there, so is the caller's connection: half an event
// must not look like the end.
func TestGateway_saysNothingInsideAnEvent(t *testing.T) {
	for name, lost := range map[string]bool{"it goes on": false, "it is lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := &ends{}
				inMemory(t, giants{lost}, done, func(_ *evenkeel.Transport, r *bufio.Reader) {
					got, err := io.ReadAll(r)
					said := strings.ReplaceAll(string(got), string(ping), "")
					if !strings.Contains(string(got), giant[:half]) || !lost && !strings.Contains(string(got), giant) {
						t.Error("something was written inside of an event")
					}
					if lost {
						if err == nil || !strings.HasPrefix(streamed[0]+giant, said) || strings.Contains(said, "event: error") {
							t.Errorf("after %d bytes the stream ended with %v, want it to break", len(said), err)
						}
						return
					}
					if err != nil || said != streamed[0]+giant+streamed[len(streamed)-1] {
						t.Errorf("%d bytes came, and %v; want all", len(said), err)
					}
					if pings := (len(got) - len(said)) / len(ping); pings < 4 {
						t.Errorf("%d pings came in two minutes of silence between events, want 4 or more", pings)
					}
				})
				if want := map[bool]string{false: "ok", true: "stream_cut"}[lost]; done.Reason != want {
					t.Errorf("the call ended as %q, want %q", done.Reason, want)
				}
			})
		})
	}
}
