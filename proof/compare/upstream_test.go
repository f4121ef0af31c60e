package compare

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// rejection is how long a 529 takes to arrive: 100 ms, a guess. It is an edge
// that says so, not a model.
const rejection = 100 * time.Millisecond

// headerCall tells the upstream which call an attempt belongs to.
const headerCall = "X-Call"

// upstream answers attempts as its cell says. It is a RoundTripper without a
// network, so that it runs in a bubble.
type upstream struct {
	cell
	begin    time.Time
	tries    []atomic.Int32 // attempts by call
	attempts atomic.Int64
	inFault  atomic.Int64 // attempts that began while all failed
}

// faulty says whether everything fails that begins at now.
func (u *upstream) faulty(now time.Time) bool {
	since := now.Sub(u.begin) - (length-u.whole)/2
	return since >= 0 && since < u.whole
}

// fails decides an attempt. It is the same for all policies.
func (u *upstream) fails(call, attempt int, now time.Time) bool {
	if u.whole > 0 {
		return u.faulty(now)
	}
	return rand.New(rand.NewPCG(u.seed, uint64(call)<<8|uint64(attempt))).Float64() < u.share
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	call, err := strconv.Atoi(r.Header.Get(headerCall))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	u.attempts.Add(1)
	if u.faulty(now) {
		u.inFault.Add(1)
	}
	wait, status, body := u.answer, http.StatusOK, message
	if u.fails(call, int(u.tries[call].Add(1)), now) {
		if u.kind == hanging {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		wait, status, body = rejection, 529, overload
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return answer(r, status, body), nil
}

const (
	message  = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"text","text":"Four."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"output_tokens":3}}`
	overload = `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}`
)

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}, "Request-Id": {"req_1"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       r,
	}
}
