package resume

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// story is a message that a random stream brings: some thinking, texts of
// numbered words, perhaps a tool call.
type story struct {
	words  []string // each with the white space before it
	events []string
}

var names = strings.Fields("amber basin über cedar ветер delta ember fjord grove café harbor")

// write makes a message of n words in one or more blocks. plainly parts them
// by single spaces; otherwise by what texts have.
func write(r *rand.Rand, model string, plainly bool) story {
	s := story{events: []string{startOf("msg_1", model, 9, 1), ping}}
	index := 0
	block := func(begin string, deltas ...string) {
		s.events = append(s.events, opened(index, begin))
		for _, d := range deltas {
			s.events = append(s.events, delta(index, d))
		}
		s.events = append(s.events, stopped(index))
		index++
	}
	if r.IntN(3) == 0 && model != modelFor(true) {
		block(`{"type":"thinking","thinking":"","signature":""}`, `{"type":"thinking_delta","thinking":"so"}`, `{"type":"signature_delta","signature":"s"}`)
	}
	style := r.IntN(3) // white space comes with the next word, with the one before, or by itself
	for range 1 + r.IntN(3) {
		var deltas, pieces []string
		for range 1 + r.IntN(8) {
			word := names[r.IntN(len(names))] + "-" + strconv.Itoa(len(s.words)+1)
			part := ""
			if len(s.words) > 0 {
				parts := []string{" ", "\n", "\n\n", ", ", ". "}
				if plainly {
					parts = parts[:1]
				}
				part = parts[r.IntN(len(parts))]
			}
			s.words = append(s.words, part+word)
			switch {
			case style == 0:
				pieces = append(pieces, part+word)
			case style == 1 && len(pieces) > 0:
				pieces[len(pieces)-1] += part
				pieces = append(pieces, word)
			default:
				pieces = append(append(pieces, strings.Split(part, "")...), word)
			}
		}
		for _, piece := range pieces {
			deltas = append(deltas, `{"type":"text_delta","text":`+quote(piece)+`}`)
		}
		block(`{"type":"text","text":""}`, deltas...)
	}
	if r.IntN(3) == 0 {
		block(`{"type":"tool_use","id":"t","name":"n","input":{}}`, `{"type":"input_json_delta","partial_json":"{}"}`)
	}
	s.events = append(s.events, ended("end_turn", 50), last)
	return s
}

func (s story) text() string { return strings.Join(s.words, "") }

// The forms in which a continuation gives the rest.
const (
	exact    = iota // as it is
	bare            // without its first space
	again           // after the last words once more
	thinking        // after a thinking block
	divided         // in several blocks of text
	forms
)

// continuation is a stream with the rest in a form. delivered is what comes
// before the rest, as the model was shown it.
func continuation(r *rand.Rand, model, delivered, rest string, form int) []string {
	events := []string{startOf("msg_2", model, 13, 1), ping}
	index := 0
	block := func(text string) {
		events = append(events, textOpened(index))
		for text != "" {
			n := 1 + r.IntN(9)
			for n < len(text) && text[n]&0xc0 == 0x80 {
				n++
			}
			n = min(n, len(text))
			events = append(events, texted(index, text[:n]))
			text = text[n:]
		}
		events = append(events, stopped(index))
		index++
	}
	switch form {
	case bare:
		rest = strings.TrimPrefix(rest, " ")
	case again:
		rest = lastWords(r, delivered, model) + rest
	case thinking:
		events = append(events, opened(0, `{"type":"thinking","thinking":""}`), delta(0, `{"type":"signature_delta","signature":"s"}`), stopped(0))
		index++
	case divided:
		half := strings.LastIndex(rest, " ")
		if half > 0 {
			block(rest[:half])
			rest = rest[half:]
		}
	}
	block(rest)
	return append(events, ended("end_turn", 20), last)
}

// lastWords returns some words from the end of text, as many as pass for a
// repetition; "" if there are not enough.
func lastWords(r *rand.Rand, text, model string) string {
	least := leastAsked
	if model == modelFor(true) {
		least = leastPrefill
	}
	var begins []int // of words, with enough after them
	for i, c := range text {
		if (i == 0 || c == ' ' || c == '\n') && utf8.RuneCountInString(strings.TrimSpace(text[i:])) >= least && len(text)-i < window {
			begins = append(begins, i)
		}
	}
	if len(begins) == 0 {
		return ""
	}
	return text[begins[r.IntN(len(begins))]:]
}

// testCuts cuts a random message after every event, and continues it where
// that is allowed.
func testCuts(t *testing.T, a, b uint64, prefill bool, form int) (continued int) {
	t.Helper()
	r := rand.New(rand.NewPCG(a, b))
	model := modelFor(prefill)
	s := write(r, model, form == bare)
	for n := range s.events {
		cut := s.events[:n]
		tr := transcript(cut...)
		body, err := tr.Request([]byte(request(model, "")))
		text, open := deliveredIn(cut)
		if allowed := open && text != ""; allowed != (err == nil) {
			t.Fatalf("%v after\n%s", err, strings.Join(cut, "\n"))
		}
		if err != nil {
			continue
		}
		continued++
		if !json.Valid(body) {
			t.Fatalf("body is %s", body)
		}
		shown := text
		if prefill {
			shown = trim(text)
		}
		rest := spliced(t, tr.Splice(), continuation(r, model, shown, s.text()[len(shown):], form)...)
		got := received(t, append(append([]string(nil), cut...), rest...)...)
		if got.text() != s.text() || got.ID != "msg_1" || got.Usage.Input != 22 || int64(got.Usage.Output) != tr.Output()+20 {
			t.Fatalf("seed %d: cut after %q, got %q with usage %+v\nwant %q", a, text, got.text(), got.Usage, s.text())
		}
	}
	return continued
}

// deliveredIn reads the text of events in another way than the transcript: it
// returns all of it, and whether a block of text is open.
func deliveredIn(events []string) (text string, open bool) {
	for _, e := range events {
		var v struct {
			Type         string
			ContentBlock struct{ Type string } `json:"content_block"`
			Delta        struct{ Text string }
		}
		if err := json.Unmarshal([]byte(e), &v); err != nil {
			panic(err)
		}
		switch v.Type {
		case "content_block_start":
			open = v.ContentBlock.Type == "text"
		case "content_block_stop":
			open = false
		}
		text += v.Delta.Text
	}
	return text, open
}

// allowedForm leaves out what no seam can mend: a prefill is continued where
// it ends, so that a space which is missing was meant to be.
func allowedForm(prefill bool, form int) bool { return !prefill || form != bare }

func TestSplice_everyCut(t *testing.T) {
	continued := 0
	for seed := range uint64(12) {
		for form := range forms {
			for _, prefill := range []bool{false, true} {
				if allowedForm(prefill, form) {
					continued += testCuts(t, seed, 1, prefill, form)
				}
			}
		}
	}
	if continued < 500 {
		t.Errorf("only %d cuts were continued", continued)
	}
}

func FuzzCuts(f *testing.F) {
	f.Add(uint64(1), uint64(2), false, uint8(again))
	f.Fuzz(func(t *testing.T, a, b uint64, prefill bool, form uint8) {
		if allowedForm(prefill, int(form%forms)) {
			testCuts(t, a, b, prefill, int(form%forms))
		}
	})
}

// FuzzSplice holds for any events: no panic, and whole events of valid JSON.
func FuzzSplice(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for form := range forms {
		var all strings.Builder
		for _, e := range continuation(r, "claude-opus-5", "One two", " three four", form) {
			all.Write(sse(e, "\n"))
		}
		f.Add(all.String(), "One two", false)
	}
	f.Add("data: {\"type\":\"message_start\",\ndata:\"message\":{\"usage\":{\"a\":{\"b\":1e9}}}}\r\n\r\ndata: {\"type\":\"message_delta\"}\n\n", "x\n", true)
	f.Fuzz(func(t *testing.T, stream, delivered string, prefill bool) {
		tr := transcript(startOf("msg_1", modelFor(prefill), 9, 1), textOpened(0), texted(0, delivered))
		if _, err := tr.Request([]byte(request(modelFor(prefill), ""))); err != nil {
			return
		}
		s := tr.Splice()
		for e := range strings.SplitSeq(stream, "\n\n") {
			raw := e + "\n\n"
			out, err := s.Event([]byte(raw))
			if err != nil {
				if !errors.Is(err, ErrUpstream) && !errors.Is(err, ErrMalformed) {
					t.Fatalf("%v is neither", err)
				}
				return
			}
			if string(out) != raw { // what passes as it came is not ours to judge
				split(t, out)
			}
		}
	})
}

// FuzzRequest holds for any body and any stream: no panic, a valid body with
// one message more and nothing else changed but max_tokens.
func FuzzRequest(f *testing.F) {
	const stream = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}`
	f.Add(request("claude-opus-5", ""), stream)
	f.Add(" \n"+request("claude-opus-4-5", `,"thinking":{"type":"disabled"}`), stream+"\n"+texted(0, "\u00e9 \n"))
	f.Add(`{"messages":[{"role":"user"}],"stream":true,"model":"claude-opus-5","max_tokens":-1,"x":[{}]}`, stream)
	f.Fuzz(func(t *testing.T, body, stream string) {
		tr := transcript(append([]string{startOf("m", "claude-opus-5", 9, 5)}, strings.Split(stream, "\n")...)...)
		got, err := tr.Request([]byte(body))
		if err != nil {
			if _, ok := errors.AsType[Reason](err); !ok {
				t.Fatalf("%v is no reason", err)
			}
			return
		}
		var was, is map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &was); err != nil {
			return // deeper than encoding/json goes
		}
		if err := json.Unmarshal(got, &is); err != nil {
			t.Fatalf("%s became %s: %v", body, got, err)
		}
		var before, after []json.RawMessage
		if json.Unmarshal(was["messages"], &before) != nil || json.Unmarshal(is["messages"], &after) != nil || len(after) != len(before)+1 {
			t.Fatalf("%s became %s", body, got)
		}
		for key, value := range was {
			if key != "messages" && key != "max_tokens" && string(is[key]) != string(value) {
				t.Errorf("%s was %s and is %s", key, value, is[key])
			}
		}
	})
}
