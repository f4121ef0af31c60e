package sim_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// struckBy is an API on which one fault strikes every attempt.
func struckBy(f sim.Fault) sim.Config { return sim.Config{Faults: []sim.Rule{{Fault: f, Rate: 1}}} }

// dataOf returns the data of the n-th event of a stream, pings not counted.
func dataOf(body string, n int) string {
	for event := range strings.SplitSeq(body, "\n\n") {
		_, data, _ := strings.Cut(event, "data: ")
		if strings.HasPrefix(event, "event: ping") {
			continue
		}
		if n == 0 {
			return data
		}
		n--
	}
	return ""
}

func TestBytes_strikeWhereTheyAreCounted(t *testing.T) {
	stream := do(t, sim.New(sim.Config{}), "https://api.test", call{body: streamCall}).body
	plain := do(t, sim.New(sim.Config{}), "https://api.test", call{}).body
	for _, c := range []struct {
		name  string
		kind  sim.Kind
		bytes int
		body  string
		want  int // bytes that arrive
		is    func(error) bool
		end   sim.End
	}{
		{"reset inside an event", sim.ResetAfter, 700, streamCall, 700, isReset, sim.EndCut},
		{"reset at the first byte", sim.ResetAfter, 1, streamCall, 1, isReset, sim.EndCut},
		{"reset at the last byte but one", sim.ResetAfter, len(stream) - 1, streamCall, len(stream) - 1, isReset, sim.EndCut},
		{"closed inside an event", sim.CloseAfter, 700, streamCall, 700, isCut, sim.EndCut},
		{"a clean end inside an event", sim.EndAfter, 700, streamCall, 700, func(err error) bool { return err == nil }, sim.EndClean},
		{"garbage inside an event", sim.Garbage, 700, streamCall, 700 + 113, func(err error) bool { return err == nil }, sim.EndClean},
		{"as many as there are", sim.ResetAfter, len(stream), streamCall, len(stream), func(err error) bool { return err == nil }, sim.EndWhole},
		{"in a plain answer", sim.ResetAfter, 30, plainCall, 30, isReset, sim.EndCut},
		{"closed in a plain answer", sim.CloseAfter, 30, plainCall, 30, isCut, sim.EndCut},
		{"garbage in a plain answer", sim.Garbage, 30, plainCall, 30 + 113, func(err error) bool { return err == nil }, sim.EndClean},
		{"more than a plain answer has", sim.CloseAfter, 1 << 20, plainCall, len(plain), func(err error) bool { return err == nil }, sim.EndWhole},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothFaces(t, struckBy(sim.Fault{Kind: c.kind, Bytes: int64(c.bytes)}), func(t *testing.T, api *sim.API, do func(call) result) {
				r := do(call{body: c.body})
				if len(r.body) != c.want || !c.is(r.bodyErr) {
					t.Errorf("got %d bytes and %v, want %d", len(r.body), r.bodyErr, c.want)
				}
				a := ended(t, api)
				if a.End != c.end || (a.Fault == "") != (c.end == sim.EndWhole) {
					t.Errorf("recorded %q as %q, want %q", a.Fault, a.End, c.end)
				}
			})
		})
	}
}

func TestStall_atAByteWithPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 61*time.Second)
		defer cancel()
		api := sim.New(struckBy(sim.Fault{Kind: sim.StallAfter, Bytes: 100, Pings: true}))
		r := do(t, api, "https://api.test", call{body: streamCall, ctx: ctx})
		if got := strings.Count(r.body[100:], "event: ping"); got != 4 || !isDeadline(r.bodyErr) {
			t.Errorf("got %d pings and %v in %v, want 4 and the deadline", got, r.bodyErr, r.took)
		}
	})
}

func TestGzip(t *testing.T) {
	unzip := func(t *testing.T, text string) string {
		t.Helper()
		z, err := gzip.NewReader(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(z)
		if err != nil {
			t.Errorf("not whole: %v", err)
		}
		return string(out)
	}
	for _, c := range []struct {
		name   string
		fault  sim.Fault
		body   string
		status int
		want   string // in what was compressed
	}{
		{"a stream", sim.Fault{Kind: sim.Gzip}, streamCall, 200, "event: message_stop"},
		{"a plain answer", sim.Fault{Kind: sim.Gzip}, plainCall, 200, `"stop_reason":"end_turn"`},
		{"an error", sim.Fault{Kind: sim.Gzip, Status: 529}, streamCall, 529, "overloaded_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothFaces(t, struckBy(c.fault), func(t *testing.T, api *sim.API, do func(call) result) {
				r := do(call{body: c.body, header: map[string]string{"accept-encoding": "identity"}})
				if r.status != c.status || r.header.Get("Content-Encoding") != "gzip" || r.bodyErr != nil {
					t.Fatalf("got %d %v %v, want %d, compressed", r.status, r.header, r.bodyErr, c.status)
				}
				if got := unzip(t, r.body); !strings.Contains(got, c.want) {
					t.Errorf("compressed was %s, want something with %s", got, c.want)
				}
				if a := ended(t, api); a.Fault != "gzip" || a.End != sim.EndWhole {
					t.Errorf("recorded %q, %q", a.Fault, a.End)
				}
			})
		})
	}
	t.Run("a stream still streams", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cfg := struckBy(sim.Fault{Kind: sim.Gzip})
			cfg.TokenTime = time.Second
			start := time.Now()
			resp, err := sim.New(cfg).RoundTrip(call{body: streamCall}.request(t, "https://api.test"))
			if err != nil {
				t.Fatal(err)
			}
			z, err := gzip.NewReader(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for p := make([]byte, 512); !bytes.Contains(got, []byte("-3")); {
				n, err := z.Read(p)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, p[:n]...)
			}
			if took := time.Since(start); took != 3*time.Second {
				t.Errorf("the third word came after %v, want 3s", took)
			}
			_ = resp.Body.Close()
		})
	})
}

func TestSlowBytes(t *testing.T) {
	for _, body := range []string{streamCall, plainCall} {
		synctest.Test(t, func(t *testing.T) {
			r := do(t, sim.New(struckBy(sim.Fault{Kind: sim.SlowBytes, Pace: 10 * time.Millisecond})), "https://api.test", call{body: body})
			if want := time.Duration(len(r.body)) * 10 * time.Millisecond; r.took != want || r.bodyErr != nil {
				t.Errorf("%d bytes took %v (%v), want %v", len(r.body), r.took, r.bodyErr, want)
			}
		})
	}
	onBothFaces(t, struckBy(sim.Fault{Kind: sim.SlowBytes, Pace: time.Microsecond}), func(t *testing.T, api *sim.API, do func(call) result) {
		r := do(call{body: streamCall})
		if !strings.Contains(r.body, "event: message_stop") || r.bodyErr != nil {
			t.Errorf("got %v: %s", r.bodyErr, r.body)
		}
		if a := ended(t, api); a.Fault != "slow_bytes" || a.End != sim.EndWhole {
			t.Errorf("recorded %q, %q", a.Fault, a.End)
		}
	})
}

func TestHugeEvent_keepsItsText(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  sim.Fault
		body   string
		event  int // that is huge
		size   int // with name and blank line; 0 for none
		record string
	}{
		{"a delta", sim.Fault{Kind: sim.HugeEvent, Events: 2, Size: 3 << 20}, streamCall, 2, 3 << 20, "huge_event 2"},
		{"the first event, as large as ever", sim.Fault{Kind: sim.HugeEvent}, streamCall, 0, 2 << 20, "huge_event 0"},
		{"a plain answer", sim.Fault{Kind: sim.HugeEvent, Size: 1 << 20}, plainCall, -1, 1 << 20, "huge_event 0"},
		{"smaller than the event", sim.Fault{Kind: sim.HugeEvent, Size: 10}, streamCall, -1, 0, ""},
		{"past the end", sim.Fault{Kind: sim.HugeEvent, Events: 99}, streamCall, -1, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothFaces(t, struckBy(c.fault), func(t *testing.T, api *sim.API, do func(call) result) {
				r := do(call{body: c.body})
				text := r.body
				if c.event >= 0 {
					text = dataOf(r.body, c.event)
				}
				if c.body == plainCall || c.event >= 0 {
					var v map[string]any
					if err := json.Unmarshal([]byte(text), &v); err != nil || v["type"] == "" {
						t.Errorf("the huge event is no event: %v", err)
					}
				}
				if got := len(r.body); got < c.size || got > c.size+8<<10 {
					t.Errorf("got %d bytes, want %d and the rest", got, c.size)
				}
				if c.body == streamCall {
					if err := sim.CheckText(textOf(r.body)); err != nil || !strings.Contains(r.body, "event: message_stop") {
						t.Errorf("the text is harmed: %v", err)
					}
				}
				if a := ended(t, api); a.Fault != c.record || a.End != sim.EndWhole {
					t.Errorf("recorded %q, %q, want %q", a.Fault, a.End, c.record)
				}
			})
		})
	}
}

// textOf returns the text of the deltas of a stream.
func textOf(body string) string {
	var text strings.Builder
	for event := range strings.SplitSeq(body, "\n\n") {
		_, data, _ := strings.Cut(event, "data: ")
		var v struct{ Delta struct{ Text string } }
		if json.Unmarshal([]byte(data), &v) == nil {
			text.WriteString(v.Delta.Text)
		}
	}
	return text.String()
}

func TestDuplicateEvent(t *testing.T) {
	whole := do(t, sim.New(sim.Config{}), "https://api.test", call{body: streamCall}).body
	onBothFaces(t, struckBy(sim.Fault{Kind: sim.DuplicateEvent, Events: 3}), func(t *testing.T, api *sim.API, do func(call) result) {
		r := do(call{body: streamCall})
		if got, want := countEvents(r.body), countEvents(whole)+1; got != want || dataOf(r.body, 3) != dataOf(r.body, 4) {
			t.Errorf("got %d events, want %d with the fourth twice:\n%s", got, want, r.body)
		}
		if err := sim.CheckText(textOf(r.body)); err == nil {
			t.Error("a word that came twice went unnoticed")
		}
		if a := ended(t, api); a.Fault != "duplicate_event 3" || a.End != sim.EndWhole {
			t.Errorf("recorded %q, %q", a.Fault, a.End)
		}
		do(call{})
		if a := api.Attempts()[1]; a.Fault != "" {
			t.Errorf("a plain answer has no events, and is recorded as struck by %q", a.Fault)
		}
	})
}

func TestOddDate_tellsTheSameWait(t *testing.T) {
	fault := sim.Fault{Kind: sim.OddDate, Status: 429, Header: map[string]string{"retry-after": "7"}}
	onBothFaces(t, struckBy(fault), func(t *testing.T, api *sim.API, do func(call) result) {
		r := do(call{})
		date, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", r.header.Get("Date"))
		again, err2 := time.Parse(time.ANSIC, r.header.Get("Retry-After"))
		if err != nil || err2 != nil {
			t.Fatalf("Date %q, Retry-After %q: %v, %v", r.header.Get("Date"), r.header.Get("Retry-After"), err, err2)
		}
		if got := again.Sub(date); got != 7*time.Second {
			t.Errorf("Retry-After is %v after Date, want 7s", got)
		}
		if off := time.Until(date).Round(time.Hour); off != -24*time.Hour || r.status != 429 {
			t.Errorf("got %d dated %v from now, want 429 and a day ago", r.status, off)
		}
	})
}

func TestHeaders_ofAnAnswer(t *testing.T) {
	fault := sim.Fault{Status: 429, Header: map[string]string{"Retry-After": "7", "request-id": "", "X-Should-Retry": "false"}}
	onBothFaces(t, struckBy(fault), func(t *testing.T, api *sim.API, do func(call) result) {
		h := do(call{}).header
		if _, ok := h["Request-Id"]; ok || h.Get("Retry-After") != "7" || h.Get("X-Should-Retry") != "false" {
			t.Errorf("got %v, want two more headers and no request id", h)
		}
	})
	onBothFaces(t, struckBy(sim.Fault{Kind: sim.ErrorEventAt, Header: map[string]string{"via": "1.1 x"}}), func(t *testing.T, api *sim.API, do func(call) result) {
		for _, body := range []string{plainCall, streamCall} {
			if got := do(call{body: body}).header.Get("Via"); got != "1.1 x" {
				t.Errorf("via is %q", got)
			}
		}
	})
}

// What was accepted has happened, whatever its caller was told.
func TestAccept_theAnswerIsLost(t *testing.T) {
	batch := call{path: "/v1/messages/batches", body: `{"requests":[{"custom_id":"a","params":{"model":"claude-opus-5-5"}}]}`}
	for _, c := range []struct {
		fault sim.Fault
		want  int // batches that exist
		is    func(result) bool
	}{
		{sim.Fault{Status: 502, Accept: true}, 1, func(r result) bool { return r.status == 502 }},
		{sim.Fault{Status: 502}, 0, func(r result) bool { return r.status == 502 }},
		{sim.Fault{Kind: sim.ResetBeforeHeaders, Accept: true}, 1, func(r result) bool { return isReset(r.err) }},
		{sim.Fault{Kind: sim.CloseBeforeHeaders, Accept: true}, 1, func(r result) bool { return isCut(r.err) }},
		{sim.Fault{Kind: sim.CloseBeforeHeaders}, 0, func(r result) bool { return isCut(r.err) }},
		{sim.Fault{Kind: sim.ResetInHeaders}, 1, func(r result) bool { return isCut(r.err) }},
		{sim.Fault{Kind: sim.ResetAfter}, 1, func(r result) bool { return isReset(r.bodyErr) }},
	} {
		onBothFaces(t, struckBy(c.fault), func(t *testing.T, api *sim.API, do func(call) result) {
			if r := do(batch); !c.is(r) || api.Batches() != c.want {
				t.Errorf("%v: got %d, %v, and %d batches, want %d", c.fault, r.status, errors.Join(r.err, r.bodyErr), api.Batches(), c.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		cfg := struckBy(sim.Fault{Status: 502, Accept: true})
		cfg.FirstToken, cfg.TokenTime, cfg.OutputTokens = time.Second, time.Second, 10
		api := sim.New(cfg)
		if r := do(t, api, "https://api.test", call{}); r.took != 11*time.Second || api.Attempts()[0].OutputTokens != 10 {
			t.Errorf("a lost message took %v and %d tokens, want what it took to make: 11s and 10", r.took, api.Attempts()[0].OutputTokens)
		}
	})
}

func TestTimes_countOnlyWhatWasStruck(t *testing.T) {
	long := strings.Replace(streamCall, `100`, `3`, 1) // three tokens: eight events
	api := sim.New(sim.Config{Faults: []sim.Rule{{Fault: sim.Fault{Kind: sim.ResetAfter, Events: 12}, Rate: 1, Times: 2}}})
	var got []string
	for _, body := range []string{long, streamCall, long, streamCall, streamCall} {
		do(t, api, "https://api.test", call{body: body})
	}
	for _, a := range api.Attempts() {
		got = append(got, a.Fault)
	}
	if want := ",reset_after 12,,reset_after 12,"; strings.Join(got, ",") != want {
		t.Errorf("struck %q, want the first two that were long enough", got)
	}
}

func TestNamedRules_haveTheirOwnStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{})
		set := func(story string) {
			rules, err := sim.ParseStory(story)
			if err != nil {
				t.Fatal(err)
			}
			if err := api.SetFault(rules[0]); err != nil {
				t.Fatal(err)
			}
		}
		ask := func() int { return do(t, api, "https://api.test", call{}).status }
		set("529 for 10s named one")
		time.Sleep(6 * time.Second)
		set("503 for 10s named two")
		if got := ask(); got != 529 {
			t.Errorf("got %d, want the one that was set first", got)
		}
		time.Sleep(6 * time.Second)
		if got := ask(); got != 503 {
			t.Errorf("after 12s got %d, want 503: the other began 6s later", got)
		}
		set("500 for 10s named one") // in the place it had
		if got := ask(); got != 500 || len(api.Faults()) != 2 {
			t.Errorf("got %d with %d rules, want 500 with 2", got, len(api.Faults()))
		}
		if !api.ClearFault("one") || api.ClearFault("one") || api.ClearFault("") {
			t.Error("want one to be there once")
		}
		if got := ask(); got != 503 {
			t.Errorf("got %d, want 503", got)
		}
		if err := api.SetFault(sim.Rule{Name: "two", Fault: sim.Fault{Kind: "explode"}}); err == nil || len(api.Faults()) != 1 {
			t.Errorf("a rule that is wrong was set: %v", err)
		}
	})
}

func TestConditions_strikeNoAttempt(t *testing.T) {
	rules, err := sim.ParseStory("slots 50%\nslowdown 3x\nothers 40%\n503")
	if err != nil {
		t.Fatal(err)
	}
	api := sim.New(sim.Config{Faults: rules})
	if got := do(t, api, "https://api.test", call{}).status; got != 503 {
		t.Errorf("got %d, want that of the first rule that is no condition", got)
	}
}

func TestRule_organization(t *testing.T) {
	api := sim.New(sim.Config{
		Organization: func(key string) string { return map[string]string{"a": "acme-1", "b": "other"}[key] },
		Faults:       []sim.Rule{{Fault: sim.Fault{Status: 529}, Rate: 1, Organization: "acme-*"}},
	})
	for key, want := range map[string]int{"a": 529, "b": 200} {
		if got := do(t, api, "https://api.test", call{header: map[string]string{"x-api-key": key}}).status; got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
}

func TestRule_modelClass(t *testing.T) {
	api := sim.New(sim.Config{Faults: []sim.Rule{{Fault: sim.Fault{Status: 529}, Rate: 1, Models: "opus-4"}}})
	for model, want := range map[string]int{"claude-opus-4-8": 529, "claude-opus-4-6": 529, "claude-opus-5-5": 200} {
		if got := do(t, api, "https://api.test", call{body: strings.Replace(plainCall, "claude-opus-4-5", model, 1)}).status; got != want {
			t.Errorf("%s: got %d, want %d", model, got, want)
		}
	}
}

// A HEAD has headers and nothing that could be struck.
func TestHead_isWhole(t *testing.T) {
	onBothFaces(t, struckBy(sim.Fault{Kind: sim.Gzip}), func(t *testing.T, api *sim.API, do func(call) result) {
		r := do(call{method: http.MethodHead, path: "/api/hello"})
		if a := ended(t, api); r.status != 200 || len(r.body) != 0 || a.End != sim.EndWhole {
			t.Errorf("got %d, %q, recorded %q", r.status, r.body, a.End)
		}
	})
}

// Same seed, same requests: the same bytes in the log, whatever strikes.
func TestLog_isTheSameAgain(t *testing.T) {
	run := func(seed uint64) string {
		var log bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			var rules []sim.Rule
			for i, kind := range sim.Kinds() {
				f := sim.Fault{Kind: kind, After: time.Duration(i) * time.Millisecond}
				if i%2 == 0 {
					f.Events = 4
				}
				rules = append(rules, sim.Rule{Fault: f, Rate: 0.5, Times: 10})
			}
			cfg := sim.Config{Seed: seed, TokenTime: 20 * time.Millisecond, FirstToken: time.Second, Faults: rules}
			api := sim.New(cfg)
			for i := range 400 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				body := []string{plainCall, streamCall}[i%2]
				do(t, api, "https://api.test", call{body: body, ctx: ctx, header: map[string]string{"sim-call": strconv.Itoa(i / 3)}})
				cancel()
			}
			kinds := map[string]bool{}
			out := json.NewEncoder(&log)
			for _, a := range api.Attempts() {
				if kind, _, _ := strings.Cut(a.Fault, " "); kind != "" {
					kinds[kind] = true
				}
				if err := out.Encode(a); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := len(kinds), 22; got != want {
				t.Errorf("%d kinds struck, want %d, all but conditions: %v", got, want, slices.Sorted(maps.Keys(kinds)))
			}
		})
		return log.String()
	}
	first := run(1)
	if run(1) != first {
		t.Error("the same seed writes another log")
	}
	if run(2) == first {
		t.Error("another seed writes the same log")
	}
}
