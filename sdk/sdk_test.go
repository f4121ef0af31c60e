package sdk_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sdk"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func newClient(t *testing.T, api *sim.API) anthropic.Client {
	t.Helper()
	opts, err := sdk.New(evenkeel.Config{Base: api})
	if err != nil {
		t.Fatal(err)
	}
	return anthropic.NewClient(append(opts, option.WithAPIKey("sk-ant-test"), option.WithoutEnvironmentDefaults())...)
}

func question() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model:     anthropic.ModelClaudeSonnet5_5,
		MaxTokens: 1024,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Which way is north?"))},
	}
}

func TestNew_retriesHaveOneOwner(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply sim.Reply
		want  int // attempts
	}{
		{"overloaded for good: six attempts, not three times six", sim.Reply{Status: 529}, 6},
		{"a request that cannot succeed", sim.Reply{Status: http.StatusBadRequest}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			api := sim.NewScript(c.reply)
			client := newClient(t, api)
			_, err := client.Messages.New(t.Context(), question())
			answer, ok := errors.AsType[*anthropic.Error](err)
			if !ok || answer.StatusCode != c.reply.Status {
				t.Errorf("%s: got %v, want the API's %d", c.name, err, c.reply.Status)
			}
			if got := api.Calls(); got != c.want {
				t.Errorf("%s: made %d attempts, want %d", c.name, got, c.want)
			}
		})
	}
}

func TestNew_errorWithoutAnAnswerIsOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.Refuse}})
		client := newClient(t, api)
		_, err := client.Messages.New(t.Context(), question())
		ours, ok := errors.AsType[*evenkeel.Error](err)
		if !ok {
			t.Fatalf("got %v, want an *evenkeel.Error inside", err)
		}
		if ours.Code != evenkeel.CodeUnreachable || ours.Attempts != 6 {
			t.Errorf("got %s after %d attempts, want %s after 6", ours.Code, ours.Attempts, evenkeel.CodeUnreachable)
		}
		if got, want := api.Calls(), 6; got != want {
			t.Errorf("made %d attempts in all, want %d: the SDK must not ask again", got, want)
		}
	})
}

// The SDK gives a plain call 10 minutes. Waits are planned within them, and
// what the API said last comes back before the SDK's clock cuts the call.
func TestNew_staysWithinTheSDKsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Status: 529, After: 110 * time.Second, Header: map[string]string{"Retry-After": "55"}})
		client := newClient(t, api)
		start := time.Now()
		_, err := client.Messages.New(t.Context(), question())
		took := time.Since(start)
		answer, ok := errors.AsType[*anthropic.Error](err)
		if !ok || answer.StatusCode != 529 {
			t.Errorf("got %v, want the API's 529", err)
		}
		if took < 8*time.Minute || took >= 10*time.Minute {
			t.Errorf("took %v, want the 10 minutes used and not exceeded", took)
		}
	})
}

// A stream has no timeout of the SDK: one that flows is not cut.
func TestNew_longStreamsFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tokens = 100
		api := sim.NewScript(sim.Reply{Status: 529}, sim.Reply{Tokens: tokens, TokenTime: 30 * time.Second})
		client := newClient(t, api)
		start := time.Now()
		stream := client.Messages.NewStreaming(t.Context(), question())
		var text strings.Builder
		for stream.Next() {
			text.WriteString(stream.Current().Delta.Text)
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if got := len(strings.Fields(text.String())); got != tokens {
			t.Errorf("got %d words, want %d", got, tokens)
		}
		if err := sim.CheckText(text.String()); err != nil {
			t.Error(err)
		}
		if got, least := time.Since(start), 40*time.Minute; got < least {
			t.Errorf("took %v, want at least %v, or this proves nothing", got, least)
		}
	})
}

func TestNew_namesEveryMistake(t *testing.T) {
	opts, err := sdk.New(evenkeel.Config{MaxAttempts: -1})
	if err == nil || opts != nil {
		t.Errorf("got %d options and %v, want an error", len(opts), err)
	}
}
