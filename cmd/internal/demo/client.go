package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// client makes calls as an application does that uses an official SDK with
// its defaults. The rule is that of anthropic-sdk-go v2.13.0
// (internal/requestconfig) and @anthropic-ai/sdk 1.12.0 (src/client.ts):
//
//   - two retries, after 408, 409, 429, every status from 500 on, a connection
//     that fails, an attempt that takes too long, and a plain body that breaks
//     off; x-should-retry wins over the status
//   - a wait of 0.5 s · 2ⁿ, at most 8 s, minus up to a quarter of it;
//     retry-after-ms and retry-after (seconds or a date) are obeyed as they
//     stand
//   - the limit is on the whole of a plain attempt, and on the headers of a
//     stream; a stream that breaks after its headers is an error, not a retry
//   - x-stainless-retry-count and x-stainless-timeout go with each attempt
type client struct {
	base  string // URL without a slash at its end
	key   string
	limit time.Duration // of one attempt
	http  *http.Client
}

const sdkRetries = 2

func newClient(base, key string, limit time.Duration) *client {
	return &client{base: base, key: key, limit: limit, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, // a load must not wait for ports
		IdleConnTimeout:     time.Minute,
	}}}
}

// request is one call: who it is, and what it asks.
type request struct {
	name   string // sent as sim-call, which the door reads
	body   []byte
	stream bool
}

// call makes one call and returns how it ended: "" is success, anything else
// the error its caller sees. The error is that of ctx: the call was not over.
func (c *client) call(ctx context.Context, r request) (string, error) {
	for n := 0; ; n++ {
		got := c.attempt(ctx, r, n)
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if got.kind == "" || !got.again || n == sdkRetries {
			return got.kind, nil
		}
		wait := got.after
		if wait < 0 {
			wait = ownBackoff(n, rand.Float64())
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", ctx.Err()
		}
	}
}

// ownBackoff is the wait before retry n, counted from 0; jitter is in [0, 1).
func ownBackoff(n int, jitter float64) time.Duration {
	wait := math.Min(0.5*math.Pow(2, float64(n)), 8)
	return time.Duration(wait * (1 - 0.25*jitter) * float64(time.Second))
}

// ending is how an attempt ended.
type ending struct {
	kind  string        // "" is success
	again bool          // the rule retries it
	after time.Duration // as the API asked; negative if it did not
}

// Ends that have no status.
const (
	lostConnection = "connection failed"
	tookTooLong    = "timeout"
	brokenStream   = "stream broke off"
	brokenBody     = "answer broke off"
)

var errLimit = errors.New("attempt took too long")

func (c *client) attempt(ctx context.Context, r request, n int) ending {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(c.limit, func() { cancel(errLimit) })
	defer timer.Stop()
	resp, err := c.http.Do(c.request(ctx, r, n))
	if err != nil {
		return failed(ctx, lostConnection)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return refused(resp)
	}
	if r.stream {
		timer.Stop()
		return ending{kind: readStream(resp.Body)}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return failed(ctx, brokenBody)
	}
	return ending{}
}

func (c *client) request(ctx context.Context, r request, n int) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/messages", bytes.NewReader(r.body))
	if err != nil {
		panic(err) // base is a URL of a listener of ours
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(claude.HeaderVersion, "2026-10-21")
	req.Header.Set(claude.HeaderAPIKey, c.key)
	req.Header.Set(claude.HeaderStainlessRetryCount, strconv.Itoa(n))
	req.Header.Set(claude.HeaderStainlessTimeout, strconv.Itoa(int(c.limit.Seconds())))
	req.Header.Set(headerCall, r.name)
	return req
}

func failed(ctx context.Context, kind string) ending {
	if errors.Is(context.Cause(ctx), errLimit) {
		kind = tookTooLong
	}
	return ending{kind: kind, again: true, after: -1}
}

// refused is the end of an attempt that got another status than 200.
func refused(resp *http.Response) ending {
	var body struct {
		Error struct{ Type claude.ErrorType }
	}
	// What is not JSON has no type, and is told by its status alone.
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&body)
	return ending{
		kind:  statusText(resp.StatusCode, body.Error.Type),
		again: retries(resp.StatusCode, resp.Header),
		after: askedWait(resp.Header, time.Now()),
	}
}

func retries(status int, h http.Header) bool {
	switch h.Get(claude.HeaderShouldRetry) {
	case "true":
		return true
	case "false":
		return false
	}
	return status == http.StatusRequestTimeout || status == http.StatusConflict ||
		status == http.StatusTooManyRequests || status >= 500
}

// askedWait is the wait the API asks for; negative if it asks for none.
func askedWait(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get(claude.HeaderRetryAfterMs), 64); err == nil {
		return max(0, time.Duration(ms*float64(time.Millisecond)))
	}
	v := h.Get(claude.HeaderRetryAfter)
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		return max(0, time.Duration(s*float64(time.Second)))
	}
	if date, err := http.ParseTime(v); err == nil {
		return max(0, date.Sub(now))
	}
	return -1
}

// readStream reads a stream to its end: "" if it is whole.
func readStream(body io.Reader) string {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	whole := false
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var event struct {
			Type  string
			Error struct{ Type claude.ErrorType }
		}
		if json.Unmarshal([]byte(data), &event) != nil {
			return brokenStream
		}
		if event.Type == "error" {
			return "error event " + string(event.Error.Type)
		}
		whole = whole || event.Type == "message_stop"
	}
	if lines.Err() != nil || !whole {
		return brokenStream
	}
	return ""
}
