// Package streams holds that a stream is the same with and without evenkeel in
// between: byte for byte, and as the message that an official client makes of it.
package streams

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/gateway"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// upstream answers with the stream that is in the context of the request, in
// pieces that a seed says.
type upstream struct{}

type answer struct {
	stream string
	seed   uint64
}

type answerKey struct{}

func (upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	a := r.Context().Value(answerKey{}).(answer)
	random := rand.New(rand.NewPCG(a.seed, 1))
	pieces := []int{4, 100, 5000}
	if len(a.stream) > stream.MaxEvent { // four bytes at a time would take as long as 300 others
		pieces = []int{100, 5000, 200_000}
	}
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Request: r,
		Header: http.Header{"Content-Type": {"text/event-stream"}, "Request-Id": {"req_1"}},
		Body:   io.NopCloser(&chopped{random, a.stream, pieces[random.IntN(len(pieces))]}),
	}, nil
}

// chopped gives a stream out in pieces of random sizes.
type chopped struct {
	*rand.Rand
	left string
	most int
}

func (c *chopped) Read(p []byte) (int, error) {
	if c.left == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+c.IntN(c.most))], c.left)
	c.left = c.left[n:]
	return n, nil
}

// message is what the SDK makes of a stream.
func message(ctx context.Context, rt http.RoundTripper) (anthropic.Message, error) {
	client := anthropic.NewClient(option.WithoutEnvironmentDefaults(), option.WithAPIKey("sk"), option.WithBaseURL("http://api.test/"),
		option.WithMaxRetries(0), option.WithHTTPClient(&http.Client{Transport: rt}))
	s := client.Messages.NewStreaming(ctx, anthropic.MessageNewParams{
		Model: "claude-opus-5-5", MaxTokens: 64, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))},
	})
	defer func() { _ = s.Close() }()
	var m anthropic.Message
	for s.Next() {
		if err := m.Accumulate(s.Current()); err != nil {
			return m, err
		}
	}
	return m, s.Err()
}

// last remembers the end of the last call.
type last struct{ observe.Event }

func (l *last) Observe(e observe.Event) {
	if e.Kind == observe.CallDone {
		l.Event = e
	}
}

const request = `{"model":"claude-opus-5-5","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"hi"}]}`

// rig is evenkeel as a library and as a gateway.
type rig struct {
	library *evenkeel.Transport
	gateway *gateway.Gateway
	done    last
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{}
	var err error
	if r.library, err = evenkeel.New(evenkeel.Config{Base: upstream{}, Observer: &r.done}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.library.Close() })
	if r.gateway, err = gateway.New(gateway.Config{Transport: r.library, Upstream: &url.URL{Scheme: "http", Host: "api.test"}}); err != nil {
		t.Fatal(err)
	}
	return r
}

// passes says what the library or the gateway made of a stream; "" if nothing.
func (r *rig) passes(ctx context.Context, t *testing.T, byGateway bool) string {
	t.Helper()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/messages", strings.NewReader(request))
	req.Host = "localhost"
	req.Header.Set("X-Api-Key", "sk")
	if byGateway {
		w := httptest.NewRecorder()
		r.gateway.ServeHTTP(w, req)
		return w.Body.String()
	}
	req.URL.Scheme, req.URL.Host = "http", "api.test"
	resp, err := r.library.RoundTrip(req) //nolint:contextcheck // it is in the request
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(got)
}

// TestStreams_theSame passes streams of all kinds of blocks and events,
// written and chopped in every way. The first half is always the same; the
// seed of the other is told.
func TestStreams_theSame(t *testing.T) {
	fresh := uint64(time.Now().UnixNano())
	t.Logf("%d streams, one in %d read by the SDK too; the seed of the second half is %d", count, sdkEvery, fresh)
	r := newRig(t)
	var bytes, blocks, giants int
	kinds := map[string]int{}
	for n := range uint64(count) {
		seed := fresh
		if n < count/2 {
			seed = 1
		}
		m := random{Rand: rand.New(rand.NewPCG(seed, n))}.stream()
		bytes, blocks, giants = bytes+len(m.bytes), blocks+m.blocks, giants+m.giants
		for kind, n := range m.kinds {
			kinds[kind] += n
		}
		ctx := context.WithValue(t.Context(), answerKey{}, answer{m.bytes, n})
		if got := r.passes(ctx, t, n%8 == 0); got != m.bytes {
			t.Fatalf("seed %d, stream %d: %d bytes became %d:\n%q\nwant\n%q", seed, n, len(m.bytes), len(got), got, m.bytes)
		}
		if u := r.done.Usage; r.done.Reason != "ok" || u.Output != m.output {
			t.Fatalf("seed %d, stream %d: told as %s with %d tokens, want ok with %d, of %q", seed, n, r.done.Reason, u.Output, m.output, m.bytes)
		}
		if n%sdkEvery != 0 {
			continue
		}
		want, err := message(ctx, upstream{})
		if err != nil || len(want.Content) != m.blocks || string(want.StopReason) != m.stop {
			t.Fatalf("seed %d, stream %d: without evenkeel %d blocks, stop reason %q, %v: the stream is not valid", seed, n, len(want.Content), want.StopReason, err)
		}
		got, err := message(ctx, r.library)
		if err != nil || got.RawJSON() != want.RawJSON() || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d, stream %d: another message, %v:\n%s\nwant\n%s", seed, n, err, got.RawJSON(), want.RawJSON())
		}
	}
	t.Logf("%d MB in %d blocks, %d events of more than a MiB: %v", bytes>>20, blocks, giants, kinds)
	if giants < 3 || len(kinds) < 18 {
		t.Errorf("%d events were passed as they come, of %d kinds of blocks: what is made is not what is meant", giants, len(kinds))
	}
}
