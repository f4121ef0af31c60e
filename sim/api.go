// Package sim is a simulated Claude API that fails on schedule.
//
// An [API] is one thing with two faces: a [net/http.RoundTripper] that uses no
// sockets, for tests in a testing/synctest bubble where a minute of overload
// passes in no time, and a [net/http.Handler] that does the same on real
// connections. Answers depend on the seed and the request alone; failures on
// the seed, the rules in force, and the number of the attempt.
//
// What fails, and how, is said in one of three ways, asked in this order:
//
//	sim-script: 529,529,200    a header of the request: replies for this call
//	NewScript, (*API).Script   replies for the next attempts, in order
//	Config.Faults, SetFaults   rules: a kind of failure, at a rate, for a time
//
// Every attempt is recorded, so that a test can ask what really went over the
// wire; see [API.Attempts]. A server also answers under /sim/, see
// [API.ServeHTTP].
//
// Shapes and numbers of the API come from platform.claude.com and the official
// Go SDK v2.13.0. It is a model of the interface, not of the intelligence: its
// prose is numbered words (see [CheckText]), its token counts are estimates.
//
// What a messages call is answered with, its request decides:
//
//	thinking, or a model that always thinks   a thinking block first
//	a tool of the client, and no result yet   its use; with "disable_parallel_tool_use":false, two
//	a server tool, and none of the client's   its use, its result, text that cites a search
//	documents with citations enabled          text that quotes them
//	an answer that was cut, and “continue”    the rest of it; a prefill gets it too
//	the documented trigger strings            a refusal, redacted thinking
//	cache_control                             usage of a prompt cache that lives as long as asked
//	thinking that is sent back                a 400, if it or what came before it was changed
//
// A call must find room in the limits of its organisation ([Limit], [Ramp],
// Config.SpendCap) and a slot of its model ([Capacity]); without them nothing is
// enforced, and the headers show generous limits.
package sim

import (
	"cmp"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim/internal/quota"
)

// Config describes a simulated API. The zero value is one that never fails,
// accepts every key, and answers at once.
type Config struct {
	// Seed decides which attempts a rule with a rate strikes, all ids, and
	// the words of the answers.
	Seed uint64

	// Models are the ids that exist; others are answered 404. Nil means
	// [Models].
	Models []string

	// Keys are the credentials that are accepted; others are answered 401.
	// Nil accepts every credential that is not empty.
	Keys []string

	// AdminKeys are the credentials that may ask for rate limits, and for
	// nothing else. Nil means those that begin with sk-ant-admin.
	AdminKeys []string

	// Forbidden are models that exist but must not be used: globs as of
	// [path.Match], or classes. Who names one is answered 403.
	Forbidden []string

	// Organization names the organisation a key belongs to, and Workspace the
	// workspace in it. Keys of one organisation share its limits, those of one
	// workspace its batches and files too. Nil gives each key an organisation
	// of its own and no workspace. They must be safe for concurrent use.
	Organization, Workspace func(key string) string

	// FirstToken is the time to the headers of a stream, which come with its
	// first event. TokenTime is the time from one token to the next. A plain
	// answer takes the sum, and its headers come when it is done. PingEvery
	// is the longest silence in a stream; 0 means 15 s (guess).
	FirstToken, TokenTime, PingEvery time.Duration

	// OutputTokens is the median length of the text of an answer that
	// max_tokens does not cut short, a token a word; 0 means 24. Thinking
	// comes on top, a third as long. OutputSpread is how far lengths spread: the
	// standard deviation of their logarithm. 0 makes all the same; 0.7 puts a
	// tenth of them above two and a half times the median.
	OutputTokens int
	OutputSpread float64

	// Limits are enforced per organisation, or workspace, and class of
	// models. Nil enforces nothing.
	Limits []Limit

	// Ramp limits how fast the input of an organisation may grow.
	Ramp Ramp

	// SpendCap is what an organisation may spend, in US dollars, before all
	// its calls are refused. 0 is no cap.
	SpendCap float64

	// Capacity is how much the API can do at once, all organisations
	// together. Nil is no bound.
	Capacity []Capacity

	// BatchTime is how long it takes to work on a message batch: its requests
	// are done one after another, evenly over that time, and what is left
	// after 24 h expires. 0 ends a batch as soon as somebody looks.
	BatchTime time.Duration

	// Other are the limits on what is not messages.
	Other OtherLimits

	// Record, if not nil, gets every attempt as a line of JSON when it has
	// ended: an [Attempt]. Writes are one line each and never concurrent; the
	// first that fails is the last.
	Record io.Writer

	// Script answers the first attempts, whatever they ask; see [NewScript].
	Script []Reply

	// Faults are in force from the start; see [API.SetFaults].
	Faults []Rule

	// KeepAttempts is how many records are kept; older ones are forgotten.
	// 0 means 100,000.
	KeepAttempts int
}

// The defaults of Config.
const (
	defaultPing   = 15 * time.Second
	defaultTokens = 24
	defaultKeep   = 100_000
)

// An API is a simulated Claude API. It starts no goroutine that outlives a
// request. All methods are safe for concurrent use. One that is used in a
// synctest bubble must be made in it, because it remembers when it began.
type API struct {
	cfg    Config
	record *recorder // has a lock of its own

	mu       sync.Mutex // guards all below
	began    time.Time
	calls    int
	log      ring
	rules    []*force
	scripts  []*script
	asked    map[string]int // position in a sim-script header, by call
	limits   []Limit
	pools    map[poolKey]*quota.Pool
	accounts map[string]*account
	servers  map[string]*server
	batches  []*batch
	files    []*file
	gates    map[gateKey]*gate

	memory  memory        // of prompts and answers; has a lock of its own
	threads conversations // has a lock of its own
}

// New returns an API that behaves as cfg says. cfg is not checked: a rule that
// is wrong never strikes, see [Rule.Validate].
func New(cfg Config) *API {
	cfg.OutputTokens = cmp.Or(cfg.OutputTokens, defaultTokens)
	cfg.PingEvery = cmp.Or(cfg.PingEvery, defaultPing)
	if cfg.Models == nil {
		cfg.Models = Models()
	}
	a := &API{cfg: cfg, limits: cfg.Limits, record: newRecorder(cfg.Record), servers: map[string]*server{}}
	a.Reset()
	a.SetFaults(cfg.Faults...)
	return a
}

// NewScript returns an API that answers its attempts with replies, in order,
// on whatever path they come. The last one repeats for ever; end with an empty
// Reply to go on with proper answers.
func NewScript(replies ...Reply) *API { return New(Config{Script: replies}) }

// Calls returns the number of attempts seen since New or Reset, those refused
// a connection included.
func (a *API) Calls() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// Batches returns the number of message batches that exist, in all
// organisations, whatever their creators were told.
func (a *API) Batches() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.batches)
}

// Attempts returns the records of the attempts, oldest first, those in flight
// included. The records are the caller's.
func (a *API) Attempts() []Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.all()
}

// Reset forgets attempts, batches, files, limits used, the prompt cache and
// positions in scripts, and starts Config.Script anew. Rules, and scripts set with [API.Script], stay.
// Attempts in flight end unrecorded.
func (a *API) Reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.began, a.calls = time.Now(), 0
	a.log = ring{limit: max(1, cmp.Or(a.cfg.KeepAttempts, defaultKeep))}
	a.asked = map[string]int{}
	a.pools = map[poolKey]*quota.Pool{}
	a.accounts = map[string]*account{}
	a.gates = map[gateKey]*gate{}
	a.batches, a.files = nil, nil
	a.memory.reset()
	a.threads.reset()
	old := a.scripts
	a.scripts = nil // a new slice: attempts may be reading the old one
	for _, s := range old {
		if s.match != nil {
			a.scripts = append(a.scripts, &script{match: s.match, replies: s.replies})
		}
	}
	if len(a.cfg.Script) > 0 {
		a.scripts = append(a.scripts, &script{replies: a.cfg.Script})
	}
}

// Script answers the attempts that match with replies, in order; the last one
// repeats for ever. Of several scripts the first that matches is used. match
// sees the request as it came, must not read its body, and may be called
// concurrently.
func (a *API) Script(match func(*http.Request) bool, replies ...Reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scripts = append([]*script{{match: match, replies: slices.Clone(replies)}}, a.scripts...)
}
