// Package bench says what evenkeel costs where nothing fails: the time and
// memory of a call beside those of a bare RoundTripper, of failsafe-go with
// comparable policies, and of the official SDK's own stack; and the CPU of the
// gateway beside that of a plain reverse proxy.
//
//	go test -run '^$' -bench . ./bench
//
// The stacks take turns within one measurement, so that whatever else the
// machine does slows all of them.
package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"

	"github.com/evenkeel-dev/evenkeel"
)

// upstream answers at once, without a network.
type upstream struct{}

const message = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"text","text":"Four."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"output_tokens":3}}`

func (upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	_ = r.Body.Close()
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}, "Request-Id": {"req_1"}},
		Body:          io.NopCloser(strings.NewReader(message)),
		ContentLength: int64(len(message)),
		Request:       r,
	}, nil
}

// stack is one way to make a call.
type stack struct {
	name string
	call func(body []byte) error
}

// stacks returns what is compared. The first is the bare RoundTripper.
func stacks(tb testing.TB) []stack {
	tr, err := evenkeel.New(evenkeel.Config{Base: upstream{}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = tr.Close() })
	client := anthropic.NewClient(
		option.WithAPIKey("key"), option.WithBaseURL("http://api.test/"),
		option.WithHTTPClient(&http.Client{Transport: upstream{}}),
	)
	return []stack{
		{"bare", through(upstream{})},
		{"evenkeel", through(tr)},
		{"failsafe-go", through(failsafe())},
		{"sdk", func(body []byte) error {
			var resp *http.Response
			if err := client.Post(context.Background(), "v1/messages", bytes.NewReader(body), &resp); err != nil {
				return err
			}
			return take(resp)
		}},
	}
}

// failsafe is failsafe-go v0.9.8 with the policies that come nearest: six
// attempts, 1 s to 60 s, a budget of 20 %, a breaker at 20 % of at least 20
// calls in a minute that opens for five.
func failsafe() http.RoundTripper {
	retry := failsafehttp.NewRetryPolicyBuilder().
		WithMaxAttempts(6).WithBackoff(time.Second, time.Minute).
		WithBudget(budget.NewBuilder().WithMaxRate(0.2).Build()).
		Build()
	breaker := circuitbreaker.NewBuilder[*http.Response]().
		HandleIf(func(r *http.Response, err error) bool { return err != nil || r.StatusCode >= 500 }).
		WithFailureRateThreshold(0.20, 20, time.Minute).
		WithDelay(5 * time.Minute).WithSuccessThreshold(3).
		Build()
	return failsafehttp.NewRoundTripper(upstream{}, retry, breaker)
}

// through makes calls as an SDK's HTTP client does: a request with a GetBody,
// an answer that is read and closed.
func through(rt http.RoundTripper) func([]byte) error {
	return func(body []byte) error {
		r, err := http.NewRequest(http.MethodPost, "http://api.test/v1/messages", bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header = http.Header{
			"Content-Type": {"application/json"}, "Anthropic-Version": {"2023-06-01"}, "X-Api-Key": {"key"},
			"X-Stainless-Retry-Count": {"0"}, "X-Stainless-Timeout": {"600"},
		}
		resp, err := rt.RoundTrip(r)
		if err != nil {
			return err
		}
		return take(resp)
	}
}

func take(resp *http.Response) error {
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != int64(len(message))) {
		return fmt.Errorf("status %d with %d bytes", resp.StatusCode, n)
	}
	return err
}

// sizes are the bodies of requests: a chat, and a long document.
var sizes = []struct {
	name  string
	bytes int
}{{"4KB", 4 << 10}, {"1MB", 1 << 20}}

// request is a messages request of about n bytes: turns of a few hundred bytes
// of text, as chats have them, with line ends and quotes to be escaped.
func request(n int) []byte {
	const sentence = "The quick brown fox jumps over the lazy dog, and the dog lets it happen. "
	text := strings.Repeat(sentence, 3) + `\n\"` + strings.Repeat(sentence, 3) + `\"`
	var b bytes.Buffer
	b.WriteString(`{"model":"claude-opus-5-5","max_tokens":1024,"messages":[`)
	for b.Len() < n-1000 {
		b.WriteString(`{"role":"user","content":"` + text + `"},{"role":"assistant","content":[{"type":"text","text":"It does."}]},`)
	}
	b.WriteString(`{"role":"user","content":"` + strings.Repeat("x", max(0, n-b.Len()-30)) + `"}]}`)
	return b.Bytes()
}

func BenchmarkCall(b *testing.B) {
	for _, size := range sizes {
		body := request(size.bytes)
		for _, s := range stacks(b) {
			b.Run("body="+size.name+"/stack="+s.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := s.call(body); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkInTurns measures all stacks in turns, and reports for each how much
// more CPU time a call takes than one of the bare RoundTripper: medians of all
// rounds, garbage collection included, waiting for a busy machine not.
func BenchmarkInTurns(b *testing.B) {
	for _, size := range sizes {
		body := request(size.bytes)
		b.Run("body="+size.name, func(b *testing.B) {
			list := stacks(b)
			calls := max(4, 2_000_000/size.bytes)
			took := make([][]float64, len(list))
			for b.Loop() {
				for i, s := range list {
					start := cpuTime(b)
					for range calls {
						if err := s.call(body); err != nil {
							b.Fatal(err)
						}
					}
					took[i] = append(took[i], float64((cpuTime(b)-start).Nanoseconds())/float64(calls))
				}
			}
			bare := median(took[0])
			b.ReportMetric(0, "ns/op") // of a round: says nothing
			b.ReportMetric(bare, "bare-cpu-ns")
			for i, s := range list[1:] {
				b.ReportMetric(median(took[i+1])-bare, s.name+"-over-bare-cpu-ns")
			}
		})
	}
}

func cpuTime(tb testing.TB) time.Duration {
	d, err := cpuUsed()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// TestCost holds the part of the cost that no noise can blur: what a
// successful call allocates.
func TestCost(t *testing.T) {
	list := stacks(t)
	bare, ours := list[0], list[1]
	mustCall := func(s stack, body []byte) {
		if err := s.call(body); err != nil {
			t.Fatal(err)
		}
	}
	small := request(4 << 10)
	allocs := testing.AllocsPerRun(200, func() { mustCall(ours, small) }) -
		testing.AllocsPerRun(200, func() { mustCall(bare, small) })
	if t.Logf("%v allocations over a bare RoundTripper", allocs); allocs > 30 {
		t.Errorf("%v allocations over a bare RoundTripper, want at most 30", allocs)
	}
	large := request(1 << 20)
	size := func(s stack) uint64 { return bytesPerRun(50, func() { mustCall(s, large) }) }
	more := int64(size(ours)) - int64(size(bare))
	if t.Logf("%d bytes over a bare RoundTripper for a body of 1 MB", more); more > 64<<10 {
		t.Errorf("%d bytes over a bare RoundTripper for a body of 1 MB: it is copied", more)
	}
}

// bytesPerRun is testing.AllocsPerRun for bytes.
func bytesPerRun(runs int, f func()) uint64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / uint64(runs)
}
