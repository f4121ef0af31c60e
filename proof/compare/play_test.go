package compare

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// result is what one policy made of a cell.
type result struct {
	calls    int
	attempts int
	took     []time.Duration // by the calls that succeeded, sorted
	inFault  struct{ calls, attempts int }
}

func (r result) succeeded() int { return len(r.took) }

func (r result) success() float64 { return float64(r.succeeded()) / float64(r.calls) }

func (r result) perCall() float64 { return float64(r.attempts) / float64(r.calls) }

// quantile is the time to success that a share q of the successes had.
func (r result) quantile(q float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	return r.took[min(int(q*float64(len(r.took))), len(r.took)-1)]
}

// play runs the calls of c through p, in no time.
func play(t *testing.T, c cell, p policy) (r result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		arrivals := arrivals(c)
		took := make([]time.Duration, len(arrivals)) // 0: failed
		up := &upstream{cell: c, begin: time.Now(), tries: make([]atomic.Int32, len(arrivals))}
		through, body := p.over(t, up), question(c.max)
		var wg sync.WaitGroup
		for i, at := range arrivals {
			time.Sleep(time.Until(up.begin.Add(at)))
			if up.faulty(time.Now()) {
				r.inFault.calls++
			}
			wg.Go(func() {
				start := time.Now()
				if ask(through, i, body) {
					took[i] = time.Since(start)
				}
			})
		}
		wg.Wait()
		r.calls, r.attempts = len(arrivals), int(up.attempts.Load())
		r.inFault.attempts = int(up.inFault.Load())
		r.took = slices.DeleteFunc(took, func(d time.Duration) bool { return d == 0 })
		slices.Sort(r.took)
	})
	return r
}

// arrivals are the moments at which calls arrive: a Poisson process.
func arrivals(c cell) (list []time.Duration) {
	r := rand.New(rand.NewPCG(c.seed, 0))
	for at := 0.0; ; {
		at += r.ExpFloat64() / c.perSecond
		if at >= length.Seconds() {
			return list
		}
		list = append(list, time.Duration(at*float64(time.Second)))
	}
}

// question is the body of the calls.
func question(maxTokens int) string {
	return fmt.Sprintf(`{"model":"claude-opus-5-5","max_tokens":%d,"messages":[{"role":"user","content":"What is two and two?"}]}`,
		cmp.Or(maxTokens, 1024))
}

// ask makes one call and reports whether it was answered.
func ask(through http.RoundTripper, call int, body string) bool {
	r, err := http.NewRequest(http.MethodPost, "http://api.test/v1/messages", strings.NewReader(body))
	if err != nil {
		return false
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "Anthropic-Version": {"2023-06-01"},
		"X-Api-Key": {"key"}, headerCall: {strconv.Itoa(call)},
	}
	resp, err := through.RoundTrip(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK && string(text) == message
}
