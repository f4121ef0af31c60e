package sim_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// body is a request in the making.
type body map[string]any

// ask returns a messages call: fields in pairs, messages last.
func ask(model string, fields body, turns ...body) string {
	all := body{"model": model, "max_tokens": 1000, "messages": turns}
	maps.Copy(all, fields)
	out, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func user(content any) body      { return body{"role": "user", "content": content} }
func assistant(content any) body { return body{"role": "assistant", "content": content} }

// answer is a plain answer.
type answer struct {
	ID, Model   string
	Content     []content
	StopReason  string  `json:"stop_reason"`
	Sequence    *string `json:"stop_sequence"`
	StopDetails *struct{ Type, Category, Explanation string }
	Usage       struct {
		Input   int `json:"input_tokens"`
		Write   int `json:"cache_creation_input_tokens"`
		Read    int `json:"cache_read_input_tokens"`
		Created struct {
			Short int `json:"ephemeral_5m_input_tokens"`
			Long  int `json:"ephemeral_1h_input_tokens"`
		} `json:"cache_creation"`
		Output  int            `json:"output_tokens"`
		Tier    string         `json:"service_tier"`
		Geo     string         `json:"inference_geo"`
		Speed   string         `json:"speed"`
		Servers map[string]int `json:"server_tool_use"`
	}
}

// text is that of all text blocks.
func (a answer) text() (text string) {
	for _, c := range a.Content {
		text += c.Text
	}
	return text
}

func (a answer) kinds() string {
	var kinds []string
	for _, c := range a.Content {
		kinds = append(kinds, c.Type)
	}
	return strings.Join(kinds, " ")
}

// told returns the answer to a request, which must get one.
func told(t testing.TB, api *sim.API, body string) answer {
	t.Helper()
	r := do(t, api, "https://api.test", call{body: body})
	if r.status != 200 {
		t.Fatalf("got %d %s for %s", r.status, r.body, body)
	}
	var a answer
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

const older, newer = "claude-haiku-4-5", "claude-sonnet-5"

// Whatever a client asks with and wherever the answer was cut, what it has and
// the rest are the whole.
func TestContinuation_atEveryCut(t *testing.T) {
	question := user("Continue the story.\n\nIt was a dark night.")
	const goOn = "Your previous response was interrupted and ended with %q. Continue from where you left off."
	for _, c := range []struct {
		name  string
		model string
		turns func(partial string) []body
		seam  string // what the client puts between
	}{
		{"prefill", older, func(p string) []body { return []body{question, assistant(p)} }, ""},
		{"a turn after it", newer, func(p string) []body {
			return []body{question, assistant(p), user("Please go on.")}
		}, " "},
		{"a turn that quotes it", newer, func(p string) []body {
			return []body{question, user(fmt.Sprintf(goOn, p))}
		}, " "},
		{"a turn that quotes its end", newer, func(p string) []body {
			return []body{question, user(fmt.Sprintf(goOn, p[max(0, len(p)-20):]))}
		}, " "},
		{"a block that quotes it", newer, func(p string) []body {
			return []body{user([]body{{"type": "text", "text": question["content"]}, {"type": "text", "text": fmt.Sprintf(goOn, p)}})}
		}, " "},
		{"the question, and on", newer, func(p string) []body {
			return []body{user(question["content"].(string) + "\n\n" + fmt.Sprintf(goOn, p))}
		}, " "},
		{"a block of its own for the quotation", newer, func(p string) []body {
			return []body{question, user([]body{{"type": "text", "text": p}, {"type": "text", "text": "Continue."}})}
		}, " "},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := sim.New(sim.Config{Seed: 5, OutputTokens: 12})
			whole := told(t, api, ask(newer, nil, question)).text()
			if err := sim.CheckWhole(whole); err != nil {
				t.Fatal(err)
			}
			words := strings.Fields(whole)
			for n := 1; n < len(words); n++ {
				partial := strings.Join(words[:n], " ")
				body := ask(c.model, body{"max_tokens": 900, "metadata": body{"user_id": "x"}}, c.turns(partial)...)
				rest := told(t, api, body).text()
				if got := partial + c.seam + rest; got != whole {
					t.Fatalf("after %d words got %q, want %q", n, got, whole)
				}
				if last := last(api); !last.Continues || last.CutHistory {
					t.Errorf("after %d words recorded %+v, want a continuation", n, last)
				}
			}
		})
	}
}

// Of an answer that is whole already nothing is left to say: what asks for the
// rest gets an empty one, not another answer.
func TestContinuation_ofTheWhole(t *testing.T) {
	const goOn = "I have this of your reply: <partial>%s</partial>\n\nContinue it exactly where it ends."
	question := user("What is a keel?")
	for _, c := range []struct {
		name  string
		model string
		turns func(whole string) []body
		empty bool
	}{
		{"prefill", older, func(s string) []body { return []body{question, assistant(s)} }, true},
		{"a turn that quotes it", newer, func(s string) []body { return []body{question, user(fmt.Sprintf(goOn, s))} }, true},
		{"a turn that quotes its end", newer, func(s string) []body {
			return []body{question, user(fmt.Sprintf(goOn, s[len(s)-20:]))}
		}, true},
		{"the question, and on", newer, func(s string) []body {
			return []body{user("What is a keel?\n\n" + fmt.Sprintf(goOn, s))}
		}, true},
		{"a block of its own for the quotation", newer, func(s string) []body {
			return []body{question, user([]body{{"type": "text", "text": s}, {"type": "text", "text": "Continue."}})}
		}, true},
		{"a turn after it is a new one", newer, func(s string) []body {
			return []body{question, assistant(s), user("Please go on.")}
		}, false},
		{"a turn after it that quotes it is a new one", newer, func(s string) []body {
			return []body{question, assistant(s), user(fmt.Sprintf(goOn, s))}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := sim.New(sim.Config{Seed: 5, OutputTokens: 12})
			whole := told(t, api, ask(newer, nil, question)).text()
			rest := told(t, api, ask(c.model, nil, c.turns(whole)...))
			if got := rest.text(); rest.StopReason != "end_turn" || (got == "") != c.empty {
				t.Errorf("got %q and %s, want end_turn and an empty text: %v", got, rest.StopReason, c.empty)
			}
			if last := last(api); last.Continues != c.empty || last.CutHistory {
				t.Errorf("recorded as continuing: %v, as a cut history: %v; want %v, false", last.Continues, last.CutHistory, c.empty)
			}
		})
	}
}

func last(api *sim.API) sim.Attempt {
	all := api.Attempts()
	return all[len(all)-1]
}

// Thinking and tools before the text are no part of it.
func TestContinuation_afterThinkingAndTools(t *testing.T) {
	api := sim.New(sim.Config{OutputTokens: 12})
	thinks := body{"thinking": body{"type": "enabled"}, "tools": []body{{"name": "tide", "input_schema": body{"type": "object"}}}}
	turns := []body{user("hi")}
	uses := told(t, api, ask(older, thinks, turns...))
	turns = append(turns, assistant([]body{
		{"type": "thinking", "thinking": uses.Content[0].Thinking, "signature": uses.Content[0].Signature},
		{"type": "tool_use", "id": uses.Content[1].ID, "name": "tide", "input": body{}},
	}), user([]body{{"type": "tool_result", "tool_use_id": uses.Content[1].ID, "content": "high"}}))
	whole := told(t, api, ask(older, thinks, turns...))
	partial := strings.Join(strings.Fields(whole.text())[:5], " ")
	cut := assistant([]body{
		{"type": "thinking", "thinking": whole.Content[0].Thinking, "signature": whole.Content[0].Signature},
		{"type": "text", "text": partial},
	})
	prefilled := told(t, api, ask(older, thinks, append(slices.Clone(turns), cut)...))
	if got := partial + prefilled.text(); got != whole.text() || prefilled.kinds() != "text" {
		t.Errorf("after a prefill got %s %q, want %q", prefilled.kinds(), got, whole.text())
	}
	asked := told(t, api, ask("claude-opus-5-5", body{"tools": thinks["tools"]}, append(slices.Clone(turns), cut, user("Continue."))...))
	if got := partial + " " + asked.text(); got != whole.text() || asked.kinds() != "thinking text" {
		t.Errorf("after a turn got %s %q, want %q", asked.kinds(), got, whole.text())
	}
}

// A prefill goes on within a word too, and in a turn after a partial answer.
func TestContinuation_atEveryByte(t *testing.T) {
	api := sim.New(sim.Config{OutputTokens: 12})
	question := user("hi")
	whole := told(t, api, ask(older, nil, question)).text()
	for n := 1; n < len(whole); n++ {
		partial := whole[:n]
		if rest := told(t, api, ask(newer, nil, question, assistant(partial), user("continue"))).text(); strings.TrimRight(partial, " ")+rest != whole &&
			strings.TrimRight(partial, " ")+" "+rest != whole {
			t.Errorf("after %q got %q", partial, rest)
		}
		if strings.HasSuffix(partial, " ") { // refused
			continue
		}
		if rest := told(t, api, ask(older, nil, question, assistant(partial))).text(); partial+rest != whole {
			t.Errorf("after prefill %q got %q", partial, rest)
		}
	}
}

// The rest may be cut again, and the rest of that asked for.
func TestContinuation_again(t *testing.T) {
	api := sim.New(sim.Config{OutputTokens: 30})
	question := user("hi")
	whole := told(t, api, ask(newer, nil, question)).text()
	turns := []body{question}
	var parts []string
	for range 10 {
		a := told(t, api, ask(newer, body{"max_tokens": 4}, turns...))
		parts = append(parts, a.text())
		if a.StopReason == "end_turn" {
			break
		}
		turns = append(turns, assistant(a.text()), user("Go on."))
	}
	if got := strings.Join(parts, " "); got != whole || len(parts) != 8 {
		t.Errorf("got %q in %d parts, want %q in 8", got, len(parts), whole)
	}
	turns = append(turns, assistant(parts[len(parts)-1]), user("And now?"))
	next := told(t, api, ask(newer, nil, turns...)).text()
	if err := sim.CheckWhole(next); err != nil || next == whole {
		t.Errorf("a new question got %q (%v)", next, err)
	}
	if a := last(api); a.Continues || a.CutHistory {
		t.Errorf("recorded %+v for a new question", a)
	}
}

func TestContinuation_isNotANewTurn(t *testing.T) {
	api := sim.New(sim.Config{OutputTokens: 12})
	question := user("hi")
	whole := told(t, api, ask(newer, nil, question)).text()
	cut := strings.Join(strings.Fields(whole)[:5], " ")
	limited := told(t, api, ask(newer, body{"max_tokens": 7}, question)).text()
	for _, c := range []struct {
		name           string
		turns          []body
		continues, cut bool
	}{
		{"a whole answer, then more", []body{question, assistant(whole), user("Please continue.")}, false, false},
		{"a new question after a cut", []body{question, assistant(cut), user("What is the tide?")}, false, true},
		{"the cut further back", []body{question, assistant(cut), user("So?"), assistant("Hm."), user("Well?")}, false, true},
		{"cut by max_tokens, as asked", []body{question, assistant(limited), user("What is the tide?")}, false, false},
		{"nobody's answer", []body{question, assistant("cedar-1 keel-2"), user("What?")}, false, false},
		{"a quotation of nothing", []body{question, user("continue cedar-1 keel-2 tide-3 cedar-4 cedar-5")}, false, false},
		{"a cut that is gone on with", []body{question, assistant(cut), user("Continue.")}, true, false},
	} {
		a := told(t, api, ask(newer, nil, c.turns...))
		if err := sim.CheckWhole(a.text()); (err == nil) == c.continues {
			t.Errorf("%s: got %q (%v)", c.name, a.text(), err)
		}
		if got := last(api); got.Continues != c.continues || got.CutHistory != c.cut {
			t.Errorf("%s: recorded continues %v, cut %v", c.name, got.Continues, got.CutHistory)
		}
	}
}

// Neither model, length, stream, tools, thinking nor marks for the cache change
// what is said, or an attempt could not be continued by another.
func TestText_dependsOnTheConversation(t *testing.T) {
	api := sim.New(sim.Config{OutputTokens: 20, OutputSpread: 0.7})
	want := told(t, api, ask(newer, nil, user("hi"))).text()
	for _, same := range []string{
		ask("claude-opus-5-5", nil, user("hi")),
		ask(newer, body{"max_tokens": 500, "metadata": body{"user_id": "u"}, "temperature": 0.5}, user("hi")),
		ask(newer, body{"thinking": body{"type": "adaptive"}}, user("hi")),
		ask(newer, nil, user([]body{{"type": "text", "text": "hi", "cache_control": body{"type": "ephemeral"}}})),
		strings.ReplaceAll(ask(newer, nil, user("hi")), `"hi"`, `"h\u0069"`),
	} {
		if got := told(t, api, same).text(); got != want {
			t.Errorf("%s got %q, want %q", same, got, want)
		}
	}
	for _, other := range []string{
		ask(newer, nil, user("ho")), ask(newer, body{"system": "s"}, user("hi")), ask(newer, nil, user("hi"), user("hi")),
	} {
		if got := told(t, api, other).text(); got == want {
			t.Errorf("%s got the same %q", other, got)
		}
	}
}

// Lengths spread as Config says: the median, and at 0.7 a tenth of them above
// two and a half times it.
func TestLengths_spread(t *testing.T) {
	api := sim.New(sim.Config{OutputTokens: 100, OutputSpread: 0.7, KeepAttempts: 1})
	var lengths []int
	for i := range 1000 {
		lengths = append(lengths, told(t, api, ask(newer, body{"max_tokens": 100_000}, user(fmt.Sprint(i)))).Usage.Output)
	}
	slices.Sort(lengths)
	if median, high := lengths[500], lengths[900]; median < 93 || median > 107 || high < 220 || high > 275 {
		t.Errorf("got a median of %d and a ninth decile of %d, want about 100 and 245", median, high)
	}
}
