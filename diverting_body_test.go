package evenkeel_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestFallback_bodies: the caller's is closed once whoever has answered, and
// memory is given back when the answer begins.
func TestFallback_bodies(t *testing.T) {
	for _, rewinds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			api := sim.New(sim.Config{})
			tr := tripped(t, api, evenkeel.Config{Fallback: fallbacks()}, first)
			body := bodyOf(`,"stream":true`, "")
			own := &tracked{Reader: strings.NewReader(body)}
			req := newRequest(t, "POST", endpoint, body)
			if req.Body = own; !rewinds {
				req.GetBody = nil
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if s := tr.Snapshot(); s.Bodies != 0 || len(s.Calls) != 1 || s.Calls[0].Fallback != second || s.Calls[0].Model != first {
				t.Errorf("%d bytes of bodies are kept for %+v, whose answer has begun", s.Bodies, s.Calls)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if own.closed != 1 {
				t.Errorf("rewinds: %v: the caller's body was closed %d times, want once", rewinds, own.closed)
			}
			checkNothingLeft(t, tr, api)
		})
	}
}

// TestFallback_comesBackWithTheCallersBody, byte for byte, whatever form it was
// sent in, and with nothing left open of what the other model has answered.
func TestFallback_comesBackWithTheCallersBody(t *testing.T) {
	for name, cfg := range map[string]evenkeel.Config{"plain": {}, "as a stream": {Stream: evenkeel.Stream{Plain: true}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg.Fallback = fallbacks()
				api := sim.New(sim.Config{})
				tr := tripped(t, api, cfg, first)
				refuses := fails(second, 400, "")
				refuses.Body = strings.Repeat("no ", 100<<10)
				api.SetFaults(refuses)
				body := strings.Replace(bodyOf("", ""), first, `claude-opus-5\u002d5`, 1)
				a := mustSend(t, tr, newRequest(t, "POST", endpoint, body))
				at := api.Attempts()
				if len(at) != 2 || at[0].Model != second || at[1].Model != first || a.StatusCode != 200 || a.Header.Get(evenkeel.HeaderModel) != "" {
					t.Fatalf("got %d by %q, attempts %+v; want the first's answer after the other's", a.StatusCode, a.Header.Get(evenkeel.HeaderModel), at)
				}
				extra := int64(0)
				if name == "as a stream" {
					extra = int64(len(`"stream":true,`))
				}
				if at[1].BodyBytes != int64(len(body))+extra || at[1].Stream != (extra > 0) || gjson.Get(a.body, "model").Str != first {
					t.Errorf("sent %d bytes, a stream: %v; want %d", at[1].BodyBytes, at[1].Stream, int64(len(body))+extra)
				}
				if got := a.Header.Get(evenkeel.HeaderTrail); !strings.HasPrefix(got, "400@0ms/"+second+" 200@") || strings.HasSuffix(got, second) {
					t.Errorf("trail %q, want both attempts, and which of them was the other's", got)
				}
				checkNothingLeft(t, tr, api)
			})
		})
	}
}

// TestFallback_plainAsAStream: a plain call stays what it is for its caller, and
// what cannot be assembled of the other model is remembered of that one.
func TestFallback_plainAsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			model := gjson.GetBytes(body, "model").Str
			how := " plain"
			if gjson.GetBytes(body, "stream").Bool() {
				how = " stream"
			}
			asked = append(asked, model+how)
			switch {
			case model == first:
				return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"90"}}, Body: http.NoBody}, nil
			case how == " plain":
				return reply("application/json", `{"type":"message"}`), nil
			}
			return reply("text/event-stream", strings.Join([]string{
				`{"type":"message_start","message":{"id":"msg_1","content":[]}}`,
				`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
				`{"type":"content_block_delta","index":0,"delta":{"type":"scent_delta","scent":"salt"}}`,
			}, "\n\n")), nil
		})
		seen := &recorder{}
		cfg := evenkeel.Config{Base: base, Observer: seen, Fallback: fallbacks(), Stream: evenkeel.Stream{Plain: true}}
		tr := newTransport(t, cfg)
		a := mustSend(t, tr, newRequest(t, "POST", endpoint, bodyOf("", "")))
		if want := []string{first + " stream", second + " stream", second + " plain"}; !slices.Equal(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
		if a.body != `{"type":"message"}` || a.Header.Get(evenkeel.HeaderModel) != second {
			t.Errorf("got %q by %q, want the plain answer of %s", a.body, a.Header.Get(evenkeel.HeaderModel), second)
		}
		if e := seen.last(observe.PassedOn); e.Model != second || !slices.Equal(tr.Snapshot().PassedOn, []string{second}) {
			t.Errorf("told %+v of %v, want %s", e, tr.Snapshot().PassedOn, second)
		}
		if got := tr.Snapshot().Bodies; got != 0 {
			t.Errorf("%d bytes of bodies are left", got)
		}
	})
}

// counted is a body that counts those that are open.
type counted struct {
	io.Reader
	open *int
}

func (c counted) Close() error { *c.open--; return nil }

// TestFallback_closesWhatItForgets: answers longer than what is kept of one.
func TestFallback_closesWhatItForgets(t *testing.T) {
	for _, here := range []int{429, 529} { // it is over when it comes back, or waits
		synctest.Test(t, func(t *testing.T) {
			open := 0
			base := roundTrip(func(r *http.Request) (*http.Response, error) {
				body, _ := io.ReadAll(r.Body)
				status, h := here, http.Header{"Retry-After": {"90"}}
				if gjson.GetBytes(body, "model").Str == second {
					status, h = 400, http.Header{}
				}
				open++
				return &http.Response{StatusCode: status, Header: h, Body: counted{strings.NewReader(strings.Repeat("no ", 100<<10)), &open}}, nil
			})
			tr := newTransport(t, evenkeel.Config{Base: base, Fallback: fallbacks()})
			a := mustSend(t, tr, newRequest(t, "POST", endpoint, bodyOf("", "")))
			if a.StatusCode != here || open != 0 {
				t.Errorf("got %d, and %d answers are open; want %d and none", a.StatusCode, open, here)
			}
		})
	}
}

// needs is an Admission that keeps what it is asked for.
type needs struct {
	call.Admission
	mu  sync.Mutex
	all []call.Need
}

func (n *needs) Admit(ctx context.Context, now time.Time, need call.Need) call.Decision {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, need)
	return n.Admission.Admit(ctx, now, need)
}

// TestFallback_cost: the other model is asked at its own cost, in its own tokens.
func TestFallback_cost(t *testing.T) {
	const older = "claude-haiku-4-5" // another tokenizer
	body := bodyOf("", `,{"role":"user","content":"`+strings.Repeat("some words of a document ", 1000)+`"}`)
	run := func(body string) call.Need {
		var last call.Need
		synctest.Test(t, func(t *testing.T) {
			adm := &needs{Admission: call.NewMemory(call.MemoryConfig{})}
			api := sim.New(sim.Config{})
			api.SetFaults(fails(first, 429, "90"))
			tr := newTransport(t, evenkeel.Config{Base: api, Admission: adm, Fallback: []evenkeel.Fallback{{From: first, To: older}}})
			req := newRequest(t, "POST", endpoint, body)
			req.GetBody = nil
			mustSend(t, tr, req)
			last = adm.all[len(adm.all)-1]
			if len(adm.all) == 2 && adm.all[0].Cost.Input <= last.Cost.Input {
				t.Errorf("costs %d tokens of the first and %d of the other, want fewer", adm.all[0].Cost.Input, last.Cost.Input)
			}
		})
		return last
	}
	want := run(strings.Replace(body, first, older, 1))
	got := run(body)
	if got.Key != want.Key || got.Cost.Input != want.Cost.Input || got.Cost.Sure != want.Cost.Sure || got.Cost.MaxTokens != want.Cost.MaxTokens {
		t.Errorf("asked with %+v, want %+v", got, want)
	}
	if got.Cost.Bytes < want.Cost.Bytes+int64(len(body)) {
		t.Errorf("keeps %d bytes, want both bodies of %d", got.Cost.Bytes, len(body))
	}
}
