package clients

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// The two libraries on top of the API take the simulated one for the real one
// with nothing between: they get whole answers, retry an overload on their own,
// and raise an error with the status that came. The SDKs have a proof of their
// own, package simapi.
func TestLibraries_onTheSimulatedAPI(t *testing.T) {
	t.Parallel()
	for _, c := range clients {
		if !slices.Contains([]string{"@ai-sdk/anthropic", "@langchain/anthropic"}, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(sim.New(sim.Config{}))
			t.Cleanup(api.Close)
			d := c.start(t, &stack{url: api.URL})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, m := range []mode{plain, streaming, tools, toolsStream} {
				got, err := d.run(ctx, scenario{Mode: m, Prompt: secretPrompt})
				if err != nil {
					t.Errorf("%s: %v", m, err)
					continue
				}
				checkAnswer(t, m, got)
			}
			got, err := d.run(ctx, scenario{Mode: plain, Prompt: secretPrompt, Headers: map[string]string{"sim-script": "529,529,ok"}})
			if err != nil {
				t.Errorf("overloaded twice: %v", err)
			}
			checkAnswer(t, plain, got)
			got, err = d.run(ctx, scenario{Mode: plain, Prompt: secretPrompt, Headers: map[string]string{"sim-script": "400"}})
			if err == nil || got.Status != 400 && !strings.Contains(got.Error, "invalid_request_error") {
				t.Errorf("got %+v (%v), want an error with status 400", got, err)
			}
		})
	}
}
