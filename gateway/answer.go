package gateway

import (
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/claude"
)

// The codes of calls that the gateway refuses; see [evenkeel.Code].
const (
	CodeTarget     evenkeel.Code = "EK-TARGET"      // not a request for a path of the API
	CodeHost       evenkeel.Code = "EK-HOST"        // addressed to a name that is not ours
	CodeOrigin     evenkeel.Code = "EK-ORIGIN"      // from a web page that is not allowed
	CodeHeaderSize evenkeel.Code = "EK-HEADER-SIZE" // more header than is read
	CodeClient     evenkeel.Code = "EK-CLIENT"      // no token of a client
	CodePath       evenkeel.Code = "EK-PATH"        // not among the paths of the client
	CodeBodySlow   evenkeel.Code = "EK-BODY-SLOW"   // the request body stopped coming
)

// longestRetryAfter is the most that an answer of ours asks a caller to wait.
// Official clients obey any value, and would freeze. What is longer is spread
// over the last tenth before it: callers turned away in one moment must not
// all come back in another.
const longestRetryAfter = 60 * time.Second

// refusal is an answer of our own, in the shape of the API.
type refusal struct {
	status     int
	kind       claude.ErrorType
	code       evenkeel.Code
	message    string        // what, why, what to do
	retryAfter time.Duration // 0: not said
	again      bool          // a client may try again; if not, it is told so
	hangUp     bool          // the connection is of no more use

	// Of calls that the Transport has given up.
	id, requestID, trail string
	attempts             int
	waited               time.Duration
}

var (
	refuseConnect = &refusal{
		status: http.StatusMethodNotAllowed, kind: claude.InvalidRequest, code: CodeTarget, hangUp: true,
		message: "CONNECT is not served: this is a gateway to one API, not a proxy. Use its address as base URL, and remove it from HTTPS_PROXY.",
	}
	refuseTarget = &refusal{
		status: http.StatusBadRequest, kind: claude.InvalidRequest, code: CodeTarget, hangUp: true,
		message: "The request names a whole URL or no path: this is a gateway to one API, not a proxy. Use its address as base URL, and remove it from HTTP_PROXY.",
	}
	refuseUpgrade = &refusal{
		status: http.StatusBadRequest, kind: claude.InvalidRequest, code: CodeTarget, hangUp: true,
		message: "Upgrade to another protocol is not served: answers come as plain HTTP or as event streams. Send the request without an Upgrade header.",
	}
	refuseHost = &refusal{
		status: http.StatusForbidden, kind: claude.Permission, code: CodeHost, hangUp: true,
		message: "The Host header names a machine that this gateway does not answer for, as a web page does that wants to reach a private address. " +
			"Call it by localhost or its address, or add the name to the gateway's hosts.",
	}
	refuseOrigin = &refusal{
		status: http.StatusForbidden, kind: claude.Permission, code: CodeOrigin,
		message: "The request comes from a web page that may not use this gateway. If it should, add its origin to the gateway's origins.",
	}
	refuseClient = &refusal{
		status: http.StatusUnauthorized, kind: claude.Authentication, code: CodeClient,
		message: "The request carries no token of a client of this gateway. Send yours as x-api-key or as Authorization: Bearer; whoever runs the gateway hands them out.",
	}
	refuseBody = &refusal{
		status: http.StatusBadRequest, kind: claude.InvalidRequest, code: evenkeel.CodeBody, hangUp: true,
		message: "The request body could not be read to its end: it was cut off, or is not what its header says. Send it again whole.",
	}
)

func refuseHeaderSize(limit int) *refusal {
	return &refusal{
		status: http.StatusRequestHeaderFieldsTooLarge, kind: claude.InvalidRequest, code: CodeHeaderSize, hangUp: true,
		message: fmt.Sprintf("The request header is larger than %d bytes, which neither this gateway nor the API reads. Send less: most often a cookie or a custom header has grown.", limit),
	}
}

func refusePath(path string) *refusal {
	return &refusal{
		status: http.StatusForbidden, kind: claude.Permission, code: CodePath,
		message: fmt.Sprintf("The path %.200q may not be used with the key of this gateway, because others share that key. Use a key of your own, or have the path added to your client's paths.", path),
	}
}

func refuseHeader(name, want string) *refusal {
	return &refusal{
		status: http.StatusBadRequest, kind: claude.InvalidRequest, code: evenkeel.CodeBadHeader,
		message: fmt.Sprintf("The header %s cannot be read. Send %s, or leave it out.", name, want),
	}
}

func refuseSlowBody(stall time.Duration) *refusal {
	return &refusal{
		status: http.StatusRequestTimeout, kind: claude.InvalidRequest, code: CodeBodySlow, again: true, hangUp: true,
		message: fmt.Sprintf("The request body stopped coming: less than %d bytes in %v. Nothing was sent to the API. Send it again.", bodyProgress, stall),
	}
}

func draining() *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable, kind: claude.API, code: evenkeel.CodeDraining, again: true, hangUp: true, retryAfter: time.Second,
		message: "This gateway is going away and takes no new calls. Nothing was sent to the API. Try again: another instance, or the next, will answer.",
	}
}

// cutOff answers a call that outlived a drain. Whether it had been sent is not
// known here, so nothing is claimed, and a request that may have had effects is
// not asked for again.
func cutOff(r *http.Request) *refusal {
	no := draining()
	no.message = "This gateway has gone away while the call was under way; the API may have received it. Try again: another instance, or the next, will answer."
	path := claude.PathOf(r.Method, r.URL.Path)
	if r.Method != http.MethodGet && r.Method != http.MethodHead && path != claude.Messages && path != claude.CountTokens {
		no.again, no.retryAfter = false, 0
		no.message = "This gateway has gone away while the call was under way; the API may have received it. Look whether it took effect before you send it again."
	}
	return no
}

func unreachable(err error) *refusal {
	return &refusal{
		status: http.StatusBadGateway, kind: claude.API, code: evenkeel.CodeUnreachable,
		message: fmt.Sprintf("The upstream gave no answer: %v. Check the gateway's upstream and the network between.", err),
	}
}

// advice is what a caller can do about a call that was given up.
var advice = map[evenkeel.Code]string{
	evenkeel.CodeUnreachable: "The upstream could not be reached, or hung up before it began to answer. Check the gateway's upstream and the network; trying again at once will not help.",
	evenkeel.CodeStreamCut:   "The upstream was reached and broke off its answer each time, before anything of it could be passed on. Look at its status, and at what stands between; trying again at once will not help.",
	evenkeel.CodeTimeout:     "The upstream took the call and did not begin to answer in time. Stream long answers, or ask for fewer tokens; trying again at once will not help.",
	evenkeel.CodeBreaker:     "The upstream is failing for everyone, so calls are held back until a probe succeeds. Try again after retry-after, or allow a longer evenkeel-max-wait.",
	evenkeel.CodeQueueFull:   "Too many calls are waiting already. Try again after retry-after, or send fewer at once.",
	evenkeel.CodeMaxWait:     "The call would have had to wait longer than it may. Try again after retry-after, or allow a longer evenkeel-max-wait.",
	evenkeel.CodeDeadline:    "The call could not have been answered within its deadline. Try again after retry-after, or allow a longer deadline.",
	evenkeel.CodeLimit:       "The organisation's limit is used up for longer than the call may wait. Try again after retry-after, or allow a longer evenkeel-max-wait or deadline.",
	evenkeel.CodeLimitSize:   "No wait makes it pass: send less at once, or have the limit raised.",
	evenkeel.CodeCrowded:     "The upstream is overloaded and serves as many calls as it can. Try again after retry-after.",
	evenkeel.CodePaused:      "The API has asked everyone with this key to wait. Try again after retry-after.",
	evenkeel.CodeDraining:    "This gateway is going away. Try again: another instance, or the next, will answer.",
	evenkeel.CodeBadHeader:   "Correct the header, or leave it out.",
	evenkeel.CodeBody:        "The request body could not be read. Send it again whole.",
}

// answerTo is what a caller is told about a call that the Transport has ended.
func answerTo(e *evenkeel.Error) *refusal {
	no := &refusal{
		status: e.Status, kind: e.Kind, code: e.Code, message: e.Error(), retryAfter: e.RetryAfter,
		id: e.Call, requestID: e.RequestID, trail: e.Trail, attempts: e.Attempts, waited: e.Waited,
	}
	if no.status == 0 {
		no.status, no.kind = http.StatusBadGateway, claude.API
	}
	if more, ok := advice[e.Code]; ok {
		no.message += ". " + more
	}
	switch no.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, statusOverloaded, http.StatusRequestTimeout:
		no.again = true
	}
	if e.Code == evenkeel.CodeDraining {
		no.retryAfter = time.Second
	}
	return no
}

// statusOverloaded goes with overloaded_error (“Claude API errors”,
// platform.claude.com, 2026-09-26).
const statusOverloaded = 529

// refuse answers a call that was refused here, and says so in the log.
func (c *call) refuse(r *http.Request, no *refusal) {
	name := ""
	if c.client != nil {
		name = c.client.name
	}
	c.g.log.add(r.Context(), c.s.Log, no, name)
	c.answer(r, no)
}

// answer writes no to the caller.
func (c *call) answer(r *http.Request, no *refusal) {
	c.body.discard()
	h := c.w.Header()
	clear(h)
	if origin := r.Header.Get(headerOrigin); origin != "" && c.s.knowsHost(r) && !c.s.foreign(r) {
		h.Set("Access-Control-Allow-Origin", origin) // so that the page can read what went wrong
		h.Set("Vary", headerOrigin)
	}
	no.write(&c.w)
}

// write sends the answer. It is complete in itself: with the fields that
// every answer carries, and advice on trying again that is true.
func (no *refusal) write(w http.ResponseWriter) {
	id := no.id
	if id == "" {
		id = newID()
	}
	requestID := no.requestID
	if requestID == "" {
		requestID = id
	}
	body := no.body(requestID)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Request-Id", requestID)
	h.Set(evenkeel.HeaderID, id)
	h.Set(evenkeel.HeaderReason, string(no.code))
	h.Set(evenkeel.HeaderAttempts, strconv.Itoa(no.attempts))
	h.Set(evenkeel.HeaderQueued, strconv.FormatInt(no.waited.Milliseconds(), 10))
	if no.attempts > 1 && no.trail != "" {
		h.Set(evenkeel.HeaderTrail, no.trail)
	}
	if !no.again {
		h.Set("X-Should-Retry", "false")
	}
	if no.retryAfter > 0 {
		h.Set("Retry-After", seconds(no.retryAfter))
	}
	if no.hangUp {
		h.Set("Connection", "close")
	}
	w.WriteHeader(no.status)
	_, _ = w.Write(body) // whom it does not reach has gone
}

// envelope is the API's error answer.
type envelope struct {
	Type      string     `json:"type"`
	Error     errorField `json:"error"`
	RequestID string     `json:"request_id"`
}

type errorField struct {
	Type    claude.ErrorType `json:"type"`
	Message string           `json:"message"`
	Details details          `json:"details"`
}

type details struct {
	ErrorCode evenkeel.Code `json:"error_code"`
}

func (no *refusal) body(requestID string) []byte {
	b, err := json.Marshal(envelope{
		Type:      "error",
		Error:     errorField{Type: no.kind, Message: no.message, Details: details{ErrorCode: no.code}},
		RequestID: requestID,
	})
	if err != nil {
		panic(errors.Join(errors.New("gateway: strings do not marshal"), err))
	}
	return b
}

// seconds writes d as a Retry-After, rounded up: never earlier than meant,
// unless that is longer than any caller is asked to wait.
func seconds(d time.Duration) string {
	if d > longestRetryAfter {
		d = longestRetryAfter - rand.N(longestRetryAfter/10)
	}
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// newID names a call that no Transport has seen, as a Transport names calls.
func newID() string { return "ek_" + strings.ToLower(cryptorand.Text()[:16]) }
