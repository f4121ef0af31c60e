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
// It enforces one limit, requests per minute.
package sim

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"
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

	// Organization names the organisation a key belongs to. Keys of one
	// organisation share its limits and batches. Nil gives each key its own.
	// It must be safe for concurrent use.
	Organization func(key string) string

	// FirstToken is the time to the headers of a stream, which come with its
	// first event. TokenTime is the time from one token to the next. A plain
	// answer takes the sum, and its headers come when it is done. PingEvery
	// is the longest silence in a stream; 0 means 15 s (guess).
	FirstToken, TokenTime, PingEvery time.Duration

	// OutputTokens is the length of an answer that max_tokens does not cut
	// short. 0 means 24.
	OutputTokens int

	// RPM is the number of messages calls an organisation may start per
	// minute and model. It is enforced continuously, with a burst of a sixth
	// of it (10 s of rate, guess) and at least one. 0 enforces nothing.
	RPM int

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

// Models returns the ids an API knows by default: those the official SDK and
// the model pages named in November 2026.
func Models() []string {
	return []string{
		"claude-fable-5-2", "claude-mythos-5-2", "claude-fable-5-1", "claude-mythos-5-1",
		"claude-fable-5", "claude-mythos-5", "claude-opus-5-5", "claude-opus-5",
		"claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6",
		"claude-opus-4-5", "claude-opus-4-5-20251101",
		"claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6",
		"claude-sonnet-4-5", "claude-sonnet-4-5-20250929",
		"claude-haiku-5-5", "claude-haiku-4-5", "claude-haiku-4-5-20251001",
	}
}

// An API is a simulated Claude API. It starts no goroutine that outlives a
// request. All methods are safe for concurrent use. One that is used in a
// synctest bubble must be made in it, because it remembers when it began.
type API struct {
	cfg Config

	mu      sync.Mutex // guards all below
	began   time.Time
	calls   int
	log     ring
	rules   []Rule
	ruled   time.Time // when rules came into force
	scripts []*script
	asked   map[string]int // position in a sim-script header, by call
	rpm     int
	buckets map[bucketKey]*bucket
	batches []*batch
}

// New returns an API that behaves as cfg says. cfg is not checked: a rule that
// is wrong never strikes, see [Rule.Validate].
func New(cfg Config) *API {
	cfg.OutputTokens = cmp.Or(cfg.OutputTokens, defaultTokens)
	cfg.PingEvery = cmp.Or(cfg.PingEvery, defaultPing)
	if cfg.Models == nil {
		cfg.Models = Models()
	}
	a := &API{cfg: cfg, rpm: cfg.RPM}
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

// Reset forgets attempts, batches, limits used and positions in scripts, and
// starts Config.Script anew. Rules, and scripts set with [API.Script], stay.
// Attempts in flight end unrecorded.
func (a *API) Reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.began, a.calls = time.Now(), 0
	a.log = ring{limit: max(1, cmp.Or(a.cfg.KeepAttempts, defaultKeep))}
	a.asked = map[string]int{}
	a.buckets = map[bucketKey]*bucket{}
	a.batches = nil
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

// SetFaults replaces the rules in force. Their From and Until count from now.
func (a *API) SetFaults(rules ...Rule) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules, a.ruled = slices.Clone(rules), time.Now()
}

// ClearFaults removes all rules.
func (a *API) ClearFaults() { a.SetFaults() }

// Faults returns the rules in force.
func (a *API) Faults() []Rule {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.rules)
}

// SetRPM replaces Config.RPM. Buckets start full again.
func (a *API) SetRPM(rpm int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rpm = rpm
	a.buckets = map[bucketKey]*bucket{}
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
