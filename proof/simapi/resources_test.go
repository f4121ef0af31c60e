package simapi

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// ids returns the ids of a list.
func ids(list []item) []string {
	out := make([]string, len(list))
	for i, it := range list {
		out[i] = it.ID
	}
	return out
}

func TestCountTokens_isTheInputOfTheCall(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{})
		params := ask(nil)
		delete(params, "max_tokens")
		counted := does(t, d, s.task(t, doCount, params)).Tokens
		if used := does(t, d, s.task(t, doMessage, ask(nil))).Messages[0].Usage.Input; counted != used || used == 0 {
			t.Errorf("counted %d tokens, the call had %d", counted, used)
		}
	})
}

// The pager of the SDK asks for page after page, and gets every model once.
func TestModels_page(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{})
		list := s.task(t, doModels, nil)
		list.Limit = 3
		all := does(t, d, list).Items
		// An alias can be asked for, and is not listed beside what it stands for.
		want := slices.DeleteFunc(sim.Models(), func(id string) bool {
			return slices.ContainsFunc(sim.Models(), func(other string) bool { return strings.HasPrefix(other, id+"-20") })
		})
		if got := ids(all); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := s.Calls(), (len(want)+2)/3; got != want {
			t.Errorf("%d requests for the list, want %d", got, want)
		}
		one := does(t, d, s.named(doModel, model)).Items[0]
		if want := (item{ID: model, Type: "model", Name: "Claude Sonnet 5.5", Size: 1_000_000}); one.ID != want.ID || one.Type != want.Type || one.Name != want.Name || one.Size != want.Size {
			t.Errorf("got %+v, want %+v", one, want)
		}
		if got := fails(t, d, s.named(doModel, "claude-nobody-1")); got.Status != 404 || got.Type != "not_found_error" {
			t.Errorf("got %+v, want a 404 not_found_error", got)
		}
	})
}

// batchOf is a batch of as many requests as it has ids.
func batchOf(customIDs ...string) body {
	var list []any
	for _, id := range customIDs {
		list = append(list, body{"custom_id": id, "params": ask(nil)})
	}
	return body{"requests": list}
}

func TestBatches_fromCreateToDelete(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		created := does(t, d, s.task(t, doBatchCreate, batchOf("a", "b", "c"))).Items[0]
		if created.Type != "message_batch" || created.Status != "in_progress" || created.Counts["processing"] != 3 {
			t.Errorf("created %+v, want a message_batch in progress with 3 requests", created)
		}
		ended := does(t, d, s.named(doBatchGet, created.ID)).Items[0]
		if ended.Status != "ended" || ended.Counts["succeeded"] != 3 || ended.URL == "" {
			t.Errorf("got %+v, want it ended with 3 succeeded and a results_url", ended)
		}
		results := does(t, d, s.named(doBatchResults, created.ID)).Items
		slices.SortFunc(results, func(a, b item) int { return strings.Compare(a.ID, b.ID) }) // they come in any order
		if got := ids(results); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Fatalf("results of %q, want of a, b and c", got)
		}
		for _, r := range results {
			if n := len(strings.Fields(r.Text)); r.Status != "succeeded" || n != words {
				t.Errorf("result %s is %s with %d words, want succeeded with %d", r.ID, r.Status, n, words)
			}
		}
		if got := does(t, d, s.named(doBatchDelete, created.ID)).Items[0]; got.ID != created.ID || got.Type != "message_batch_deleted" {
			t.Errorf("got %+v, want message_batch_deleted", got)
		}
		if got := fails(t, d, s.named(doBatchGet, created.ID)); got.Status != 404 || got.Type != "not_found_error" {
			t.Errorf("got %+v, want a 404 not_found_error", got)
		}
	})
}

// A batch that is worked on can be canceled, but not deleted; what was not
// reached comes back canceled.
func TestBatches_canceled(t *testing.T) {
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{BatchTime: 40 * time.Second}) // canceled, it ends within a twentieth
		id := does(t, d, s.task(t, doBatchCreate, batchOf("a", "b", "c"))).Items[0].ID
		if got, want := fails(t, d, s.named(doBatchDelete, id)), status("BadRequestError", "BadRequestError", "BadRequestError").of(c.sdk); got.Class != want || got.Type != "invalid_request_error" {
			t.Errorf("deleted in progress: got %+v, want %s", got, want)
		}
		if got := does(t, d, s.named(doBatchCancel, id)).Items[0]; got.Status != "canceling" || got.Counts["processing"] != 3 {
			t.Errorf("got %+v, want it canceling with all of its requests processing", got)
		}
		var b item
		for deadline := time.Now().Add(30 * time.Second); b.Status != "ended" && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			b = does(t, d, s.named(doBatchGet, id)).Items[0]
		}
		if b.Status != "ended" || b.Counts["canceled"] == 0 || b.Counts["canceled"]+b.Counts["succeeded"] != 3 {
			t.Errorf("got %+v, want it ended with canceled requests", b)
		}
		for _, r := range does(t, d, s.named(doBatchResults, id)).Items {
			b.Counts[r.Status]--
		}
		if b.Counts["canceled"] != 0 || b.Counts["succeeded"] != 0 {
			t.Errorf("counts and results differ by %v", b.Counts)
		}
	})
}

// A request that cannot be answered comes back errored, and harms no other.
func TestBatches_erroredRequest(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{})
		mixed := batchOf("good", "bad")
		mixed["requests"].([]any)[1].(body)["params"] = ask(body{"model": "claude-nobody-1"})
		id := does(t, d, s.task(t, doBatchCreate, mixed)).Items[0].ID
		got := map[string]string{}
		for _, r := range does(t, d, s.named(doBatchResults, id)).Items {
			got[r.ID] = r.Status + " " + r.Error
		}
		if want := map[string]string{"good": "succeeded ", "bad": "errored not_found_error"}; !maps.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestBatches_page(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{})
		var want []string
		for range 5 {
			want = append(want, does(t, d, s.task(t, doBatchCreate, batchOf("one"))).Items[0].ID)
		}
		slices.Reverse(want) // the newest comes first
		list := s.task(t, doBatchList, nil)
		list.Limit = 2
		if got := ids(does(t, d, list).Items); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestFiles_fromUploadToDelete(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{})
		var want []string
		for _, name := range []string{"one.txt", "two.txt", "three.txt"} {
			up := s.task(t, doFileUpload, nil)
			up.Name, up.Then = name, "Hello from "+name
			got := does(t, d, up).Items[0]
			if got.Type != "file" || got.Name != name || got.Size != len(up.Then) || got.ID == "" {
				t.Errorf("got %+v, want a file %s of %d bytes", got, name, len(up.Then))
			}
			if again := does(t, d, s.named(doFileGet, got.ID)).Items[0]; again.Name != got.Name || again.Size != got.Size {
				t.Errorf("asked for %+v, got %+v", got, again)
			}
			want = append(want, got.ID)
		}
		list := s.task(t, doFileList, nil)
		list.Limit = 2
		got := ids(does(t, d, list).Items)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
		if gone := does(t, d, s.named(doFileDelete, want[0])).Items[0]; gone.ID != want[0] || gone.Type != "file_deleted" {
			t.Errorf("got %+v, want file_deleted", gone)
		}
		if got := fails(t, d, s.named(doFileGet, want[0])); got.Status != 404 {
			t.Errorf("got %+v, want a 404", got)
		}
	})
}

func TestRateLimits_areThoseInForce(t *testing.T) {
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{Limits: []sim.Limit{{Models: "sonnet-5-5", RPM: 60, ITPM: 30_000, OTPM: 8_000}}})
		list := s.task(t, doRateLimits, nil)
		if got, want := fails(t, d, list), status("PermissionDeniedError", "PermissionDeniedError", "PermissionDeniedError").of(c.sdk); got.Class != want || got.Status != 403 || got.Type != "permission_error" {
			t.Errorf("with a plain key: got %+v, want %s with status 403", got, want)
		}
		list.Key = "sk-ant-admin01-0123456789"
		entries := does(t, d, list).Items
		limited := slices.ContainsFunc(entries, func(e item) bool {
			return e.Type == "rate_limit" && e.Name == "model_group" &&
				slices.Equal(slices.Sorted(maps.Values(e.Counts)), []int{60, 8_000, 30_000})
		})
		if !limited {
			t.Errorf("got %+v, want a model_group with the limits 60, 8000 and 30000 among them", entries)
		}
	})
}
