package sim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// say posts messages and returns the text of the answer, as far as it came.
func say(api *sim.API, model, messages string) string {
	body := `{"model":"` + model + `","max_tokens":100,"stream":true,"messages":` + messages + `}`
	req, _ := http.NewRequest(http.MethodPost, "https://api.anthropic.com/v1/messages", strings.NewReader(body))
	req.Header.Set("x-api-key", "any")
	req.Header.Set("anthropic-version", "2023-06-01")
	resp, err := api.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	events, _ := io.ReadAll(resp.Body) // however it ends, what came is there
	var text strings.Builder
	for line := range strings.Lines(string(events)) {
		var event struct{ Delta struct{ Text string } }
		if data, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(data), &event) == nil {
			text.WriteString(event.Delta.Text)
		}
	}
	return text.String()
}

// A stream ends early and looks whole. The text tells, and a request that goes
// on from where it left off is answered with the rest.
func ExampleCheckWhole() {
	api := sim.NewScript(
		sim.Reply{Fault: sim.Fault{Kind: sim.EndAfter, Events: 6}, Tokens: 8},
		sim.Reply{Tokens: 8},
	)
	const question = `{"role":"user","content":"Tell me of the sea."}`

	part := say(api, "claude-sonnet-5", `[`+question+`]`)
	fmt.Println(part)
	fmt.Println(sim.CheckText(part), "·", sim.CheckWhole(part))

	rest := say(api, "claude-sonnet-5", `[`+question+`,{"role":"assistant","content":"`+part+`"},{"role":"user","content":"Continue."}]`)
	fmt.Println(rest)
	fmt.Println(sim.CheckWhole(part+" "+rest), "·", api.Attempts()[1].Continues)
	// Output:
	// water-1 grove-2 cedar-3 cedar-4
	// <nil> · sim: the text ends after 4 words without a full stop: it is not whole
	// lagoon-5 pebble-6 pebble-7 ocean-8.
	// <nil> · true
}

// A model that takes a prefill goes on within the message, with the space that
// belongs there.
func ExampleCheckText() {
	api := sim.New(sim.Config{OutputTokens: 5})
	const question = `{"role":"user","content":"Tell me of the sea."}`
	whole := say(api, "claude-haiku-4-5", `[`+question+`]`)
	part, _, _ := strings.Cut(whole, " ")
	rest := say(api, "claude-haiku-4-5", `[`+question+`,{"role":"assistant","content":"`+part+`"}]`)
	fmt.Printf("%q\n%q\n", part, rest)
	fmt.Println(part+rest == whole, sim.CheckText(part+rest))
	// Output:
	// "water-1"
	// " grove-2 cedar-3 cedar-4 lagoon-5."
	// true <nil>
}
