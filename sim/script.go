package sim

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// A Reply is what one attempt of a script gets.
type Reply struct {
	// Status 200 is the proper answer to the request, plain or as a stream,
	// and to whatever the request lacks the script turns a blind eye. Any
	// other is answered with the error documented for it. 0, without a Body
	// or a Fault, treats the request as if there were no script: it is
	// checked, limited, and struck by rules.
	Status int

	After  time.Duration     // before it
	Header map[string]string // added to the answer
	Body   string            // replaces the body of the answer

	// ErrorType, Code and Message fill the error of a Status other than 200;
	// see Fault.
	ErrorType claude.ErrorType
	Code      claude.ErrorCode
	Message   string

	// Fault, if not zero, strikes instead of, or inside, the proper answer.
	// After, Header and the fields of the error above count for it too.
	Fault Fault

	// Tokens replaces Config.OutputTokens if not 0, TokenTime replaces
	// Config.TokenTime if not 0.
	Tokens    int
	TokenTime time.Duration
}

// fault returns the reply as one fault; its Kind is empty for a proper answer.
func (r Reply) fault() Fault {
	f := r.Fault.filled()
	if f.Kind == "" && (r.Status != 0 && r.Status != http.StatusOK || r.Body != "") {
		f.Kind = Status
	}
	if f.Status == 0 {
		f.Status = r.Status
	}
	if f.Type == "" {
		f.Type = r.ErrorType
	}
	if f.Code == "" {
		f.Code = r.Code
	}
	if f.Message == "" {
		f.Message = r.Message
	}
	if f.Body == "" {
		f.Body = r.Body
	}
	if f.Header == nil {
		f.Header = r.Header
	}
	f.After += r.After
	if f.Kind == Status && f.Status == 0 {
		f.Status = http.StatusOK // only a Body was given
	}
	return f
}

// script is a list of replies and how far it has been used.
type script struct {
	match   func(*http.Request) bool // nil matches all
	replies []Reply
	next    int
}

// Headers of requests by which a caller that is not written in Go steers.
const (
	headerScript = "Sim-Script" // replies for this call, see ParseScript
	headerCall   = "Sim-Call"   // which call an attempt belongs to
)

// keepCalls bounds the calls whose position in a sim-script is remembered.
const keepCalls = 100_000

// scripted returns the reply a script has for this attempt. Without a sim-call
// header, a call is known by its caller: all attempts with the same credential
// and the same script share one position.
func (a *API) scripted(r *http.Request, keyTag string) (Reply, bool, error) {
	if text := r.Header.Get(headerScript); text != "" {
		replies, err := ParseScript(text)
		if err != nil {
			return Reply{}, false, err
		}
		return replies[a.position(r, keyTag, len(replies))], true, nil
	}
	a.mu.Lock()
	scripts := a.scripts
	a.mu.Unlock()
	for _, s := range scripts {
		if s.match == nil || s.match(r) {
			return a.advance(s)
		}
	}
	return Reply{}, false, nil
}

// advance takes the next reply of s.
func (a *API) advance(s *script) (Reply, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(s.replies) == 0 {
		return Reply{}, false, nil
	}
	reply := s.replies[min(s.next, len(s.replies)-1)]
	s.next++
	return reply, true, nil
}

// position returns which of n replies this attempt gets, and counts it.
func (a *API) position(r *http.Request, keyTag string, n int) int {
	call := r.Header.Get(headerCall) + "\n" + keyTag + "\n" + r.Header.Get(headerScript)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) >= keepCalls {
		clear(a.asked)
	}
	at := a.asked[call]
	a.asked[call] = at + 1
	return min(at, n-1)
}

// ParseScript reads the replies of a sim-script header, separated by commas:
//
//	200  529  503            the answer with that status
//	429:7                    … with retry-after: 7
//	accept+502               … after the request has taken effect
//	hang  refuse  reset_before_headers  close_before_headers
//	reset_after:3  stall_after:3  error_event_at:0  …   a Kind, and Fault.Events
//	overload  rate_limit:7  spend_cap  …                a preset, see Presets
//	ok                       as if there were no script
//
// Conditions are no replies.
func ParseScript(text string) ([]Reply, error) {
	var replies []Reply
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		reply, err := parseReply(word)
		if err != nil {
			return nil, fmt.Errorf("sim-script: %q: %w", word, err)
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

func parseReply(word string) (Reply, error) {
	if word == "ok" {
		return Reply{}, nil
	}
	word, accept := strings.CutPrefix(word, "accept+")
	name, arg, hasArg := strings.Cut(word, ":")
	f, err := named(name)
	if err != nil {
		return Reply{}, err
	}
	if hasArg {
		if err := f.argue(arg); err != nil {
			return Reply{}, err
		}
	}
	f.Accept = accept
	if f.Kind.isCondition() {
		return Reply{}, fmt.Errorf("%s is a condition, no reply", f.Kind)
	}
	if err := (Rule{Fault: f}).Validate(); err != nil {
		return Reply{}, err
	}
	if isDigits(name) { // 200 is the proper answer, as of a Reply
		return Reply{Status: f.Status, Header: f.Header, Fault: Fault{Accept: accept}}, nil
	}
	return Reply{Fault: f}, nil
}
