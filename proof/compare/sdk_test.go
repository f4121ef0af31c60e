package compare

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
)

// TestSDKRule holds our copy of the SDK's rule against the SDK: the same
// failures lead both to as many attempts, at about the same moments, and to
// the same end. What is not copied well here would be a strawman there.
func TestSDKRule(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	retryAfter := func(name, value string) reply { return reply{status: 429, header: http.Header{name: {value}}} }
	for _, c := range []struct {
		why     string
		replies []reply // the last one is repeated
		least   []time.Duration
		most    []time.Duration // bounds of the waits between the attempts
		ok      bool
	}{
		{"an answer at once", []reply{{status: 200}}, nil, nil, true},
		{"two retries, and no more", []reply{{status: 529}}, []time.Duration{375 * ms, 750 * ms}, []time.Duration{500 * ms, s}, false},
		{"the third attempt is answered", []reply{{status: 500}, {status: 529}, {status: 200}}, []time.Duration{375 * ms, 750 * ms}, []time.Duration{500 * ms, s}, true},
		{"408 and 409 are retried as well", []reply{{status: 408}, {status: 409}, {status: 200}}, []time.Duration{375 * ms, 750 * ms}, []time.Duration{500 * ms, s}, true},
		{"400 is not", []reply{{status: 400}}, nil, nil, false},
		{"x-should-retry wins: no", []reply{{status: 529, header: http.Header{"X-Should-Retry": {"false"}}}}, nil, nil, false},
		{"x-should-retry wins: yes", []reply{{status: 400, header: http.Header{"X-Should-Retry": {"true"}}}, {status: 200}}, []time.Duration{375 * ms}, []time.Duration{500 * ms}, true},
		{"retry-after is obeyed, however long", []reply{retryAfter("Retry-After", "7200"), {status: 200}}, []time.Duration{2 * time.Hour}, []time.Duration{2 * time.Hour}, true},
		{"retry-after in milliseconds", []reply{retryAfter("Retry-After-Ms", "1500"), {status: 200}}, []time.Duration{1500 * ms}, []time.Duration{1500 * ms}, true},
		{"no connection", []reply{{err: errors.New("connection refused")}, {status: 200}}, []time.Duration{375 * ms}, []time.Duration{500 * ms}, true},
		{"a hang ends after ten minutes", []reply{{hang: true}, {status: 200}}, []time.Duration{perAttempt + 375*ms}, []time.Duration{perAttempt + 500*ms}, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			for name, ask := range map[string]func(http.RoundTripper) bool{"the SDK": askSDK, "our copy": askCopy} {
				synctest.Test(t, func(t *testing.T) {
					up := &scripted{replies: c.replies}
					if ok := ask(up); ok != c.ok {
						t.Errorf("%s: success = %v, want %v", name, ok, c.ok)
					}
					if got, want := len(up.at), len(c.least)+1; got != want {
						t.Fatalf("%s: %d attempts, want %d", name, got, want)
					}
					for i := range c.least {
						if got := up.at[i+1].Sub(up.at[i]); got < c.least[i] || got > c.most[i] {
							t.Errorf("%s: wait %d is %v, want %v to %v", name, i+1, got, c.least[i], c.most[i])
						}
					}
				})
			}
		})
	}
}

// reply is what one attempt gets.
type reply struct {
	status int
	header http.Header
	err    error
	hang   bool
}

// scripted answers attempts in order, at once, and notes when they came.
type scripted struct {
	replies []reply
	at      []time.Time
}

func (u *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	x := u.replies[min(len(u.at), len(u.replies)-1)]
	u.at = append(u.at, time.Now())
	switch {
	case x.hang:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case x.err != nil:
		return nil, x.err
	}
	body := message
	if x.status != http.StatusOK {
		body = overload
	}
	resp := answer(r, x.status, body)
	maps.Copy(resp.Header, x.header)
	return resp, nil
}

func askSDK(base http.RoundTripper) bool {
	client := anthropic.NewClient(
		option.WithAPIKey("key"), option.WithBaseURL("http://api.test/"),
		option.WithHTTPClient(&http.Client{Transport: base}),
	)
	m, err := client.Messages.New(context.Background(), anthropic.MessageNewParams{
		Model: "claude-opus-5-5", MaxTokens: 1024,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("What is two and two?"))},
	})
	return err == nil && len(m.Content) == 1 && strings.HasPrefix(m.Content[0].Text, "Four")
}

func askCopy(base http.RoundTripper) bool { return ask(sdkRule(nil, base), 0, question(0)) }
