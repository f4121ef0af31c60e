package sim_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// batchView is a message batch as a client reads it.
type batchView struct {
	ID       string
	Type     string
	Status   string         `json:"processing_status"`
	Counts   map[string]int `json:"request_counts"`
	Expires  time.Time      `json:"expires_at"`
	Ended    *time.Time     `json:"ended_at"`
	Archived *time.Time     `json:"archived_at"`
	Canceled *time.Time     `json:"cancel_initiated_at"`
	Results  *string        `json:"results_url"`
}

// counts returns the counts that are not 0, such as "errored 1 succeeded 2".
func (b batchView) counts() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(b.Counts)) {
		if n := b.Counts[name]; n > 0 {
			words = append(words, fmt.Sprint(name, " ", n))
		}
	}
	return strings.Join(words, " ")
}

// lineView is a line of the results.
type lineView struct {
	ID     string `json:"custom_id"`
	Result struct {
		Type    string
		Message struct {
			ID, Type string
			Usage    struct {
				ServiceTier string `json:"service_tier"`
			}
		}
		Error struct {
			Type  string
			Error struct{ Type, Message string }
			ID    string `json:"request_id"`
		}
	}
}

// user does calls and reads the answers.
type customer struct {
	t  *testing.T
	do func(call) result
}

func inBubble(t *testing.T, api *sim.API) customer {
	return customer{t, func(c call) result { return do(t, api, "https://api.test", c) }}
}

// batch does a call that answers with a batch.
func (u customer) batch(method, path, body string) batchView {
	u.t.Helper()
	var b batchView
	u.read(call{method: method, path: path, body: body}, &b)
	return b
}

// read does a call and reads its answer.
func (u customer) read(c call, into any) {
	u.t.Helper()
	r := u.do(c)
	if r.status != 200 {
		u.t.Fatalf("%s %s: got %d %s %v", c.method, c.path, r.status, r.body, r.err)
	}
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		u.t.Fatalf("%s %s: %v in %s", c.method, c.path, err, r.body)
	}
}

// create makes a batch of n good requests.
func (u customer) create(n int) batchView {
	u.t.Helper()
	return u.batch("POST", "/v1/messages/batches", goodBatch(n))
}

func (u customer) get(b batchView) batchView {
	u.t.Helper()
	return u.batch("GET", "/v1/messages/batches/"+b.ID, "")
}

// results returns the lines of the results, by custom_id, and as they stand.
func (u customer) results(b batchView) (map[string]lineView, string) {
	u.t.Helper()
	r := u.do(call{method: "GET", path: "/v1/messages/batches/" + b.ID + "/results"})
	if got := r.header.Get("Content-Type"); r.status != 200 || got != "application/x-jsonl" {
		u.t.Fatalf("results: got %d %s %s", r.status, got, r.body)
	}
	lines := map[string]lineView{}
	for text := range strings.Lines(r.body) {
		var line lineView
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			u.t.Fatalf("%v in %s", err, text)
		}
		lines[line.ID] = line
	}
	return lines, r.body
}

// status does a call and returns what it is answered with.
func (u customer) status(method, path string) int {
	u.t.Helper()
	return u.do(call{method: method, path: path}).status
}

func goodBatch(n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"custom_id":"item-%d","params":%s}`, i, plainCall)
	}
	return `{"requests":[` + strings.Join(items, ",") + `]}`
}

func TestBatch_endsWhenAllIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{BatchTime: 10 * time.Minute}))
		b := u.create(4)
		one := "/v1/messages/batches/" + b.ID
		if b.Status != "in_progress" || b.counts() != "processing 4" || b.Ended != nil || b.Results != nil ||
			time.Until(b.Expires) != 24*time.Hour {
			t.Errorf("created %+v", b)
		}
		time.Sleep(10*time.Minute - time.Second)
		if b = u.get(b); b.Status != "in_progress" || b.counts() != "processing 4" {
			t.Errorf("a second before the end: %s, %s; want all processing until then", b.Status, b.counts())
		}
		if got, want := [...]int{u.status("DELETE", one), u.status("GET", one+"/results")}, [...]int{400, 404}; got != want {
			t.Errorf("deleting and reading it too early got %v, want %v", got, want)
		}
		time.Sleep(time.Second)
		b = u.get(b)
		if b.Status != "ended" || b.counts() != "succeeded 4" || b.Ended == nil || !b.Ended.Equal(time.Now()) {
			t.Errorf("at the end: %+v", b)
		}
		if want := "https://api.test" + one + "/results"; b.Results == nil || *b.Results != want {
			t.Errorf("results at %v, want %s", b.Results, want)
		}
		lines, _ := u.results(b)
		for i := range 4 {
			if r := lines[fmt.Sprintf("item-%d", i)].Result; r.Type != "succeeded" || r.Message.Type != "message" || r.Message.Usage.ServiceTier != "batch" {
				t.Errorf("item %d: %+v", i, r)
			}
		}
	})
}

func TestBatch_isForgottenByAndBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{}))
		b := u.create(2)
		one := "/v1/messages/batches/" + b.ID
		time.Sleep(29*24*time.Hour - time.Second)
		if lines, _ := u.results(b); len(lines) != 2 {
			t.Errorf("got %d results after almost 29 days, want 2", len(lines))
		}
		time.Sleep(time.Second)
		if got := u.status("GET", one+"/results"); got != 404 {
			t.Errorf("results after 29 days: got %d, want 404", got)
		}
		if b = u.get(b); b.Archived == nil || b.Results != nil || b.counts() != "succeeded 2" {
			t.Errorf("after 29 days: %+v, want it archived and still counted", b)
		}
		var gone struct{ ID, Type string }
		u.read(call{method: "DELETE", path: one}, &gone)
		if gone.ID != b.ID || gone.Type != "message_batch_deleted" {
			t.Errorf("deleted %+v", gone)
		}
		if got := u.status("GET", one); got != 404 {
			t.Errorf("after it was deleted: got %d, want 404", got)
		}
	})
}

func TestBatch_canceledMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{BatchTime: 100 * time.Minute}))
		b := u.create(100)
		time.Sleep(50 * time.Minute)
		cancel := "/v1/messages/batches/" + b.ID + "/cancel"
		if b = u.batch("POST", cancel, "{}"); b.Status != "canceling" || b.counts() != "processing 100" || b.Canceled == nil {
			t.Errorf("canceled: %+v", b)
		}
		time.Sleep(5*time.Minute - time.Second)
		if b = u.batch("POST", cancel, "{}"); b.Status != "canceling" || time.Since(*b.Canceled) < 4*time.Minute {
			t.Errorf("canceled again: %+v, want what it was", b)
		}
		time.Sleep(time.Second)
		if b = u.get(b); b.Status != "ended" || b.counts() != "canceled 45 succeeded 55" {
			t.Errorf("half of the work and what was in flight: %s, %s; want 55 done, 45 canceled", b.Status, b.counts())
		}
		lines, _ := u.results(b)
		kinds := map[string]int{}
		for _, line := range lines {
			kinds[line.Result.Type]++
		}
		if kinds["canceled"] != 45 || kinds["succeeded"] != 55 {
			t.Errorf("results are %v", kinds)
		}
		if got := u.status("POST", cancel); got != 400 {
			t.Errorf("canceling what has ended: got %d, want 400", got)
		}
	})
}

func TestBatch_expiresAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{BatchTime: 48 * time.Hour}))
		b := u.create(100)
		time.Sleep(24*time.Hour - time.Second)
		if got := u.get(b).Status; got != "in_progress" {
			t.Errorf("just before: %s", got)
		}
		time.Sleep(time.Second)
		if b = u.get(b); b.Status != "ended" || b.counts() != "expired 50 succeeded 50" || !b.Ended.Equal(b.Expires) {
			t.Errorf("after a day: %s, %s at %v; want half of it expired", b.Status, b.counts(), b.Ended)
		}
	})
}

func TestBatch_paramsAreCheckedWhenWorkedOn(t *testing.T) {
	good := `"model":"claude-opus-5-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]`
	api := sim.New(sim.Config{})
	u := inBubble(t, api)
	for _, c := range []struct{ name, params, wrong string }{
		{"good", `{` + good + `}`, ""},
		{"stream-false", `{` + good + `,"stream":false}`, ""},
		{"stream", `{` + good + `,"stream":true}`, "invalid_request_error"},
		{"speed", `{` + good + `,"speed":"fast"}`, "invalid_request_error"},
		{"fallbacks", `{` + good + `,"fallbacks":"default"}`, "invalid_request_error"},
		{"bill", `{` + good + `,"billing_policy":{"bill_to":"user_profile"}}`, "invalid_request_error"},
		{"no-tokens", strings.Replace(`{`+good+`}`, "9", "0", 1), "invalid_request_error"},
		{"no-model", `{}`, "invalid_request_error"},
		{"null", `null`, "invalid_request_error"},
		{"text", `"params"`, "invalid_request_error"},
		{"unknown-model", `{"model":"claude-7"}`, "not_found_error"},
	} {
		b := u.batch("POST", "/v1/messages/batches", `{"requests":[{"custom_id":"`+c.name+`","params":`+c.params+`}]}`)
		lines, _ := u.results(b)
		r := lines[c.name].Result
		if got := r.Error.Error.Type; got != c.wrong {
			t.Errorf("%s: got %q, want %q", c.name, got, c.wrong)
		}
		if c.wrong != "" && (r.Type != "errored" || r.Error.Type != "error" || !strings.HasPrefix(r.Error.ID, "req_") || r.Error.Error.Message == "") {
			t.Errorf("%s: got %+v, want the whole error answer", c.name, r)
		}
	}
}

func TestBatch_refusedAtOnce(t *testing.T) {
	u := inBubble(t, sim.New(sim.Config{}))
	item := func(id string) string { return `{"custom_id":"` + id + `","params":{}}` }
	for _, c := range []struct{ name, requests string }{
		{"none", ``},
		{"no custom_id", `{"params":{}}`},
		{"custom_id with a space", item("a b")},
		{"custom_id too long", item(strings.Repeat("a", 65))},
		{"the same twice", item("a") + `,` + item("a")},
		{"no params", `{"custom_id":"a"}`},
		{"more than 100,000", strings.Repeat(item("a")+",", 100_000) + item("a")},
	} {
		r := u.do(call{path: "/v1/messages/batches", body: `{"requests":[` + c.requests + `]}`})
		if r.status != 400 || !strings.Contains(r.body, "invalid_request_error") {
			t.Errorf("%s: got %d %.200s", c.name, r.status, r.body)
		}
	}
}

func TestBatch_sameSeedSameResults(t *testing.T) {
	run := func(seed uint64) (order, text string) {
		synctest.Test(t, func(t *testing.T) {
			u := inBubble(t, sim.New(sim.Config{Seed: seed, OutputSpread: 0.7}))
			b := u.create(50)
			_, text = u.results(b)
			if _, again := u.results(b); again != text {
				t.Error("the results differ when they are read again")
			}
		})
		for line := range strings.Lines(text) {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, `{"custom_id":"item-`), `"`)
			order += id + " "
		}
		return order, text
	}
	order, text := run(1)
	if _, again := run(1); again != text {
		t.Error("the same seed gave other results")
	}
	other, _ := run(2)
	if other == order || strings.HasPrefix(order, "0 1 2 3 ") {
		t.Errorf("came in order %swith both seeds", order)
	}
}

func TestBatch_rulesStrikeItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := []sim.Rule{
			{Fault: sim.Fault{Status: 529}, Rate: 1, Path: "messages"},
			{Fault: sim.Fault{Status: 500}, Rate: 1, Path: "batch_items", Times: 3},
			{Fault: sim.Fault{Kind: sim.Expire}, Rate: 0.5, Path: "batch_items"},
		}
		for _, rule := range rules {
			if err := rule.Validate(); err != nil {
				t.Error(err)
			}
		}
		for _, wrong := range []sim.Rule{
			{Fault: sim.Fault{Kind: sim.Expire}, Rate: 1},
			{Fault: sim.Fault{Kind: sim.Hang}, Rate: 1, Path: "batch_items"},
		} {
			if wrong.Validate() == nil {
				t.Errorf("%s on path %q is no mistake", wrong.Kind, wrong.Path)
			}
		}
		u := inBubble(t, sim.New(sim.Config{Faults: rules}))
		b := u.get(u.create(1000))
		if b.Counts["errored"] != 3 || b.Counts["expired"] < 450 || b.Counts["expired"] > 550 {
			t.Errorf("got %s, want 3 errored and half expired", b.counts())
		}
		lines, _ := u.results(b)
		for id, line := range lines {
			if r := line.Result; r.Type == "errored" && r.Error.Error.Type != "api_error" {
				t.Errorf("%s: got %+v, want the error of the rule", id, r)
			}
		}
	})
}

func TestBatch_queueIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{BatchTime: time.Hour, Other: sim.OtherLimits{BatchQueue: 10}}))
		u.create(8)
		if r := u.do(call{path: "/v1/messages/batches", body: goodBatch(4)}); r.status != 429 || !strings.Contains(r.body, "rate_limit_error") {
			t.Errorf("12 of 10: got %d %s, want 429", r.status, r.body)
		}
		u.create(2)
		other := u.do(call{path: "/v1/messages/batches", body: goodBatch(4), header: map[string]string{"x-api-key": "other"}})
		if other.status != 200 {
			t.Errorf("another organisation: got %d, want 200", other.status)
		}
		time.Sleep(30 * time.Minute)
		u.create(5) // half of the others are done
		time.Sleep(2 * time.Hour)
		u.create(10)
	})
}

func TestBatches_areTheWorkspaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{
			Organization: func(string) string { return "org" },
			Workspace:    func(key string) string { return strings.TrimPrefix(key, "key-") },
		}))
		as := func(key, workspace, method, path, body string) result {
			h := map[string]string{"x-api-key": key}
			if workspace != "" {
				h["anthropic-workspace-id"] = workspace
			}
			return u.do(call{method: method, path: path, body: body, header: h})
		}
		var b batchView
		r := as("key-a", "", "POST", "/v1/messages/batches", goodBatch(1))
		if err := json.Unmarshal([]byte(r.body), &b); err != nil || r.header.Get("Anthropic-Workspace-Id") != "a" {
			t.Fatalf("created %s %v", r.body, r.header)
		}
		one := "/v1/messages/batches/" + b.ID
		for _, c := range []struct {
			name, key, workspace string
			want                 int
		}{
			{"its own", "key-a", "", 200},
			{"its own, named", "key-a", "a", 200},
			{"another workspace of the organisation", "key-b", "", 404},
			{"a workspace the key does not belong to", "key-b", "a", 403},
			{"a key of no workspace", "key-", "", 404},
			{"a key of no workspace that names one", "key-", "a", 200},
		} {
			for _, path := range []string{one, one + "/results"} {
				if got := as(c.key, c.workspace, "GET", path, "").status; got != c.want {
					t.Errorf("%s: %s got %d, want %d", c.name, path, got, c.want)
				}
			}
		}
		for key, want := range map[string]bool{"key-a": true, "key-b": false} {
			if got := strings.Contains(as(key, "", "GET", "/v1/messages/batches", "").body, b.ID); got != want {
				t.Errorf("listed for %s: %v, want %v", key, got, want)
			}
		}
	})
}

// Results are made as they are read: however many there are, only the requests
// are held.
func TestBatchResults_ofAHundredThousandRequests(t *testing.T) {
	api := sim.New(sim.Config{})
	srv := httptest.NewServer(api)
	defer srv.Close()
	const n = 100_000
	u := customer{t, func(c call) result { return do(t, http.DefaultTransport, srv.URL, c) }}
	b := u.get(u.create(n))
	if b.counts() != "succeeded 100000" || !strings.HasPrefix(*b.Results, srv.URL) {
		t.Fatalf("got %s, results at %s", b.counts(), *b.Results)
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	resp, err := http.DefaultTransport.RoundTrip(call{method: "GET", path: strings.TrimPrefix(*b.Results, srv.URL)}.request(t, srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	whole := n
	if raceDetector {
		whole = n / 10 // then leave: holding everything would show by now
	}
	lines, most, size := 0, int64(0), 0
	for scan := bufio.NewScanner(resp.Body); lines < whole && scan.Scan(); {
		size += len(scan.Bytes())
		if lines++; lines%(whole/5) == 0 {
			most = max(most, heap()-before)
		}
	}
	if lines != whole {
		t.Errorf("got %d lines, want %d", lines, whole)
	}
	if !raceDetector {
		if rest, err := io.Copy(io.Discard, resp.Body); rest != 0 || err != nil {
			t.Errorf("%d more bytes (%v), want the end", rest, err)
		}
	}
	if limit := int64(12 << 20); most > limit || n/whole*size < 4*int(limit) {
		t.Errorf("held %d bytes more while %d were sent, want at most %d", most, size, limit)
	}
}
