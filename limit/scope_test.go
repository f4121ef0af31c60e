package limit_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// as returns a need of some credential.
func as(credential string, input int) limit.Need {
	n := need(input, 0)
	n.Credential, n.Own = credential, false
	return n
}

// owners lists the groups there are.
func owners(b *limit.Book, now time.Time) (list []string) {
	for _, g := range b.Groups(now) {
		list = append(list, fmt.Sprint(g.Of, " ", g.Owner, g.Workspace, " ", g.Class))
	}
	return list
}

// TestScope_keysOfAnOrganisationShareItsLimits: two keys are strangers until
// an answer says whose they are, and what both have charged counts then.
func TestScope_keysOfAnOrganisationShareItsLimits(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	l := claude.RateLimits{Input: window(60_000, 60_000, begin)}
	one := b.Acquire(begin, as("one", 1000))
	b.Observe(begin, one.ID, answered(begin, l))
	two := b.Acquire(begin, as("two", 20_000))
	flying := b.Acquire(begin, as("two", 10_000))
	if got := len(owners(b, begin)); got != 2 {
		t.Fatalf("%d groups, want one of the organisation and one of a stranger", got)
	}
	b.Observe(begin, two.ID, limit.Response{Status: 200, At: begin, Organization: "org"})
	if got, want := owners(b, begin), "organization org opus-5-5"; len(got) != 1 || got[0] != want {
		t.Fatalf("groups %v, want %q alone", got, want)
	}
	u := bucket(b, begin, "opus-5-5", limit.Input)
	if u.Level > 60_000-31_000 || u.Ledger.Outstanding != 31_000 {
		t.Errorf("level %v and %v outstanding, want all of 31,000 charged", u.Level, u.Ledger.Outstanding)
	}
	b.Settle(begin, flying.ID, limit.End{Outcome: limit.Refunded})
	if got := bucket(b, begin, "opus-5-5", limit.Input).Ledger; got.Outstanding != 21_000 || got.Refunded != 10_000 {
		t.Errorf("%+v: what was reserved before the merge is not given back after it", got)
	}
}

func TestScope_aMergeForgetsNoPause(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	one := b.Acquire(begin, as("one", 1))
	b.Observe(begin, one.ID, answered(begin, claude.RateLimits{Input: window(60_000, 60_000, begin)}))
	two := b.Acquire(begin, as("two", 1))
	three := b.Acquire(begin, as("two", 1))
	b.Settle(begin, three.ID, limit.End{Outcome: limit.Refused, RetryAfter: 9 * time.Second})
	b.Observe(begin, two.ID, limit.Response{Status: 200, At: begin, Organization: "org"})
	if got := b.Acquire(begin, as("one", 1)); got.Wait != 9*time.Second {
		t.Errorf("got %+v, want the pause that the other key was told", got)
	}
}

// TestScope_aMergeMixesNoAccounts: what an organisation has charged before a
// key joined it is not what was charged since that key's call began.
func TestScope_aMergeMixesNoAccounts(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	now := begin
	for range 100 {
		a := b.Acquire(now, as("one", 50_000))
		b.Observe(now, a.ID, answered(now, claude.RateLimits{Input: window(60_000, 60_000, now)}))
		b.Settle(now, a.ID, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 50_000}})
		now = now.Add(time.Minute)
	}
	long := b.Acquire(now, as("two", 100))
	short := b.Acquire(now, as("two", 100))
	b.Observe(now, short.ID, answered(now, claude.RateLimits{Input: window(60_000, 59_000, now)}))
	let := answered(now, claude.RateLimits{Input: window(60_000, 59_000, now)})
	now = now.Add(20 * time.Second)
	let.At = now // shows the level of when it was let in
	b.Observe(now, long.ID, let)
	if got := bucket(b, now, "opus-5-5", limit.Input).Level; got < 58_000 {
		t.Errorf("level %v of 60,000 of which nearly nothing is used", got)
	}
}

func TestScope_a401LeavesNothing(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	for i := range 100 {
		a := b.Acquire(begin, as(fmt.Sprint("made up ", i), 1))
		b.Observe(begin, a.ID, limit.Response{Status: http.StatusUnauthorized})
		b.Settle(begin, a.ID, limit.End{Outcome: limit.Refunded, Rejected: true})
	}
	if scopes, groups := b.Len(); scopes != 0 || groups != 0 {
		t.Errorf("%d credentials and %d groups are kept of keys that do not exist", scopes, groups)
	}
}

func TestScope_bounded(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	regular := b.Acquire(begin, as("regular", 1))
	b.Observe(begin, regular.ID, answered(begin, claude.RateLimits{Input: window(60_000, 30_000, begin)}))
	for i := range 30_000 {
		a := b.Acquire(begin, as(fmt.Sprint(i), 1))
		if i%2 == 0 {
			b.Observe(begin, a.ID, limit.Response{Status: 200, Organization: fmt.Sprint("org ", i)})
		}
		b.Settle(begin, a.ID, limit.End{Outcome: limit.Refunded})
		if i%100 == 0 { // in use, and so not forgotten
			a := b.Acquire(begin, as("regular", 1))
			b.Settle(begin, a.ID, limit.End{Outcome: limit.Refunded})
		}
	}
	if scopes, groups := b.Len(); scopes > 11_000 || groups > 20_000 {
		t.Errorf("%d credentials and %d groups are remembered", scopes, groups)
	}
	if a := b.Acquire(begin, as("regular", 50_000)); a.Reason != limit.Scarce {
		t.Errorf("got %+v: the limits of a key in use were forgotten", a)
	}
}

func TestScope_otherPathsHaveRequestsOfTheirOwn(t *testing.T) {
	b := configured(limit.Rates{RPM: 60})
	for range 10 {
		b.Acquire(begin, need(1, 1))
	}
	count := limit.Need{Credential: "hash", Own: true, Path: claude.CountTokens, Model: model, Input: 1e9, Sure: 1e9}
	a := b.Acquire(begin, count)
	if a.ID == 0 {
		t.Fatalf("counting is held by what messages used: %+v", a)
	}
	b.Observe(begin, a.ID, answered(begin, claude.RateLimits{Requests: window(60, 0, begin)}))
	if got := b.Acquire(begin, count); got.Reason != limit.Scarce || got.Kind != limit.Requests {
		t.Errorf("got %+v, want it held by its own requests", got)
	}
}

func TestScope_fastHasLimitsOfItsOwn(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	fast := as("key", 1000)
	fast.Fast = true
	a := b.Acquire(begin, fast)
	b.Observe(begin, a.ID, answered(begin, claude.RateLimits{FastInput: window(60_000, 1000, begin), PriorityInput: window(60, 0, begin)}))
	if got := b.Acquire(begin, fast); got.Kind != limit.Input || got.Reason != limit.Scarce {
		t.Errorf("got %+v, want it held by the input of fast mode", got)
	}
	usual := b.Acquire(begin, as("key", 5000))
	if usual.ID == 0 {
		t.Errorf("a usual call is held: %+v", usual)
	}
}

func TestScope_fastThatIsCountedAsUsual(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	fast := as("key", 1000)
	fast.Fast = true
	a := b.Acquire(begin, fast)
	b.Observe(begin, a.ID, answered(begin, claude.RateLimits{Input: window(60_000, 1000, begin)}))
	b.Settle(begin, a.ID, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 1000}})
	for _, n := range []limit.Need{fast, as("key", 1000)} {
		if got := b.Acquire(begin, n); got.Kind != limit.Input || got.Reason != limit.Scarce {
			t.Errorf("fast %v: got %+v, want it held by the usual limit", n.Fast, got)
		}
	}
}

// TestScope_workspace: tokens-* shows the tightest limit, and is the
// workspace's if it is not input and output summed.
func TestScope_workspace(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	a := b.Acquire(begin, as("key", 10))
	r := answered(begin, claude.RateLimits{Input: window(60_000, 60_000, begin), Output: window(20_000, 20_000, begin), Tokens: window(6000, 1000, begin)})
	r.Workspace = "wrk"
	b.Observe(begin, a.ID, r)
	if got := b.Acquire(begin, as("key", 3000)); got.Kind != limit.Tokens || got.Limit != 6000 {
		t.Errorf("got %+v, want it held by the workspace's tokens", got)
	}
	other := b.Acquire(begin, as("other", 10))
	r.Workspace, r.Limits.Tokens = "", window(80_000, 80_000, begin) // the sum
	b.Observe(begin, other.ID, r)
	if got := b.Acquire(begin, as("other", 3000)); got.ID == 0 {
		t.Errorf("a key of the default workspace is held: %+v", got)
	}
}

// TestScope_workspaceThatCountsReads is told by the Rate Limits API.
func TestScope_workspaceThatCountsReads(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	a := b.Acquire(begin, as("key", 10))
	r := answered(begin, claude.RateLimits{Input: window(600_000, 600_000, begin)})
	r.Workspace = "wrk"
	b.Observe(begin, a.ID, r)
	b.Tell(begin, "org", []limit.Told{{Class: "opus-5-5", Workspace: "wrk", Rates: limit.Rates{ITPM: 6000, CountsReads: true}}})
	n := as("key", 100)
	n.Reads = 900
	if got := b.Acquire(begin, n); got.ID == 0 {
		t.Fatalf("held: %+v", got)
	}
	if got := b.Acquire(begin, n); got.Kind != limit.Input || got.Limit != 6000 {
		t.Errorf("got %+v, want it held by what it reads from the cache", got)
	}
}

func TestConfig_clients(t *testing.T) {
	b := limit.NewBook(limit.Config{
		Models:  map[string]limit.Rates{model: {RPM: 600}},
		Clients: map[string]map[string]limit.Rates{"web": {limit.ClassAny: {RPM: 6}}},
	})
	web := need(1, 1)
	web.Client = "web"
	if a := b.Acquire(begin, web); a.ID == 0 {
		t.Fatalf("held: %+v", a)
	}
	if got := b.Acquire(begin, web); got.Limit != 6 || got.Wait != 10*time.Second {
		t.Errorf("got %+v, want it held by the caller's own limit", got)
	}
	if a := b.Acquire(begin, need(1, 1)); a.ID == 0 {
		t.Errorf("somebody else is held: %+v", a)
	}
}

func TestConfig_theLowerLimitHolds(t *testing.T) {
	for _, tt := range []struct {
		why        string
		config     int64
		shown      int64
		want       int64
		from       limit.Source
		organised  bool
		fixed, own bool
	}{
		{why: "headers show less than we were told", config: 100, shown: 60, want: 60, from: limit.Headers, own: true},
		{why: "we are to use less than there is", config: 30, shown: 60, want: 30, from: limit.Configured, own: true},
		{why: "what is configured is for our own key", config: 30, shown: 60, want: 60, from: limit.Headers},
		{why: "or for an organisation by name", config: 30, shown: 60, want: 30, from: limit.Configured, organised: true},
		{why: "answers teach nothing", config: 100, shown: 60, want: 100, from: limit.Configured, own: true, fixed: true},
	} {
		rates := map[string]limit.Rates{model: {RPM: tt.config}}
		c := limit.Config{Models: rates, Fixed: tt.fixed}
		if tt.organised {
			c.Organizations = map[string]map[string]limit.Rates{"org": rates}
		}
		b := limit.NewBook(c)
		n := need(1, 1)
		n.Own = tt.own
		a := b.Acquire(begin, n)
		b.Observe(begin, a.ID, answered(begin, claude.RateLimits{Requests: window(tt.shown, tt.shown, begin)}))
		if got := bucket(b, begin, "opus-5-5", limit.Requests); got.Limit != tt.want || got.From != tt.from {
			t.Errorf("%s: %d from %v, want %d from %v", tt.why, got.Limit, got.From, tt.want, tt.from)
		}
	}
}

func TestConfigure_changesWhatIsThere(t *testing.T) {
	b := configured(limit.Rates{RPM: 600})
	a := b.Acquire(begin, need(1, 1))
	b.Configure(begin, limit.Config{Models: map[string]limit.Rates{model: {RPM: 6}}})
	if got := b.Acquire(begin, need(1, 1)); got.ID == 0 { // one is what it holds
		t.Errorf("held: %+v", got)
	}
	if got := b.Acquire(begin, need(1, 1)); got.Limit != 6 {
		t.Errorf("got %+v, want it held by the new limit", got)
	}
	b.Configure(begin, limit.Config{})
	b.Settle(begin, a.ID, limit.End{Outcome: limit.Settled})
	if got := b.Groups(begin)[0]; len(got.Buckets) != 0 || !got.Probing {
		t.Errorf("%+v: a limit that was taken back is still there", got)
	}
}

func TestParseTold(t *testing.T) {
	for _, tt := range []struct {
		why, body string
		want      []limit.Told
		page      string
	}{
		{
			"groups", `{"data":[{"id":"rl_1","type":"rate_limit","group":{"type":"model_group","id":"g","display_name":"Claude Opus 4.x"},
			"models":["claude-opus-4-8","claude-opus-4-5","claude-opus-5-5"],"limits":[{"type":"requests_per_minute","value":10},
			{"type":"input_tokens_per_minute_cache_aware","value":20},{"type":"output_tokens_per_minute","value":30},{"type":"tool_uses_per_second","value":9},
			{"type":"fast_itpmca","value":7},{"type":"fast_otpm","value":8}]}],"next_page":"p2"}`,
			[]limit.Told{
				{Class: "opus-4", Rates: limit.Rates{RPM: 10, ITPM: 20, OTPM: 30}, Fast: limit.Rates{ITPM: 7, OTPM: 8}},
				{Class: "opus-5-5", Rates: limit.Rates{RPM: 10, ITPM: 20, OTPM: 30}, Fast: limit.Rates{ITPM: 7, OTPM: 8}},
			},
			"p2",
		},
		{
			"the flat form of before", `{"data":[{"group_type":"token_count","models":null,"limits":[{"type":"requests_per_minute","value":2000}]},
			{"group_type":"batch","models":null,"limits":[{"type":"requests_per_minute","value":50},{"type":"enqueued_batch_requests","value":5}]},
			{"group_type":"files","models":null,"limits":[{"type":"requests_per_minute","value":500}]}],"next_page":null}`,
			[]limit.Told{{Class: limit.ClassCountTokens, Rates: limit.Rates{RPM: 2000}}, {Class: limit.ClassBatches, Rates: limit.Rates{RPM: 50}}},
			"",
		},
		{
			"a workspace whose input counts cache reads", `{"data":[{"rate_limit_id":"rl","workspace_id":"wrk","group":{"type":"model_group"},"models":["claude-opus-5-5"],
			"limits":[{"type":"input_tokens_per_minute","value":5,"org_limit":9}]}]}`,
			[]limit.Told{{Class: "opus-5-5", Workspace: "wrk", Rates: limit.Rates{ITPM: 5, CountsReads: true}}},
			"",
		},
		{"values that are no limits", `{"data":[{"group":{"type":"model_group"},"models":["m"],"limits":[{"type":"requests_per_minute","value":-1},{"type":"output_tokens_per_minute","value":1.5}]}]}`, nil, ""},
	} {
		got, page, err := limit.ParseTold([]byte(tt.body))
		if err != nil || page != tt.page || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %+v, %q, %v; want %+v, %q", tt.why, got, page, err, tt.want, tt.page)
		}
	}
	if _, _, err := limit.ParseTold([]byte("<html>")); err == nil {
		t.Error("what is no JSON is taken for an answer")
	}
}

func FuzzParseTold(f *testing.F) {
	f.Add([]byte(`{"data":[{"group":{"type":"model_group"},"models":["claude-opus-5-5",""],"limits":[{"type":"requests_per_minute","value":10}]}]}`))
	f.Add([]byte(`{"data":[{"group_type":"batch","limits":[{"type":"requests_per_minute","value":1e3}]}],"next_page":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, _, err := limit.ParseTold(body)
		if err != nil {
			return
		}
		for _, told := range list {
			if told.Class == "" || told.Rates.RPM < 0 || told.Rates.ITPM < 0 || told.Rates.OTPM < 0 {
				t.Errorf("%+v", told)
			}
		}
		limit.NewBook(limit.Config{}).Tell(begin, "org", list)
	})
}

// A credential of ours stays so when others tell whose it is before its first
// attempt: what is configured for it holds.
func TestBook_belongsAndIsOurs(t *testing.T) {
	b := limit.NewBook(limit.Config{Shared: true, Models: map[string]limit.Rates{"*": {RPM: 60}}})
	now := time.Unix(1_800_000_000, 0)
	b.Belongs(now, "key", "org", "", true)
	a := b.Acquire(now, limit.Need{Credential: "key", Own: true, Path: claude.Messages, Model: "claude-opus-5-5"})
	c, ok := b.Claim(now, a.ID)
	if !ok || c.Organization != "org" || len(c.Parts) != 1 || c.Parts[0].Asks[limit.Requests].Cap != 60 {
		t.Errorf("claims %+v, want 60 requests a minute of org", c)
	}
}
