package sdk_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/sdk"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// Two overloaded answers become one slow success. A program that talks to the
// real API leaves Base, Backoff and the key out.
func ExampleNew() {
	api := sim.NewScript(sim.Reply{Status: 529}, sim.Reply{Status: 529}, sim.Reply{Status: 200})
	opts, err := sdk.New(evenkeel.Config{Base: api, Backoff: backoff.Exponential{Base: time.Millisecond}})
	if err != nil {
		log.Fatal(err)
	}
	client := anthropic.NewClient(append(opts, option.WithAPIKey("sk-ant-example"))...)
	message, err := client.Messages.New(context.Background(), anthropic.MessageNewParams{
		Model:     anthropic.ModelClaudeSonnet5_5,
		MaxTokens: 1024,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Which way is north?"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.StopReason, "after", api.Calls(), "attempts")
	// Output: end_turn after 3 attempts
}

// Options are for a Transport of one's own: shared by several clients,
// reconfigured while they work, or watched.
func ExampleOptions() {
	api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.ResetBeforeHeaders}}, sim.Reply{Status: 200})
	transport, err := evenkeel.New(evenkeel.Config{Base: api, Backoff: backoff.Exponential{Base: time.Millisecond}})
	if err != nil {
		log.Fatal(err)
	}
	client := anthropic.NewClient(append(sdk.Options(transport), option.WithAPIKey("sk-ant-example"))...)
	stream := client.Messages.NewStreaming(context.Background(), anthropic.MessageNewParams{
		Model:     anthropic.ModelClaudeSonnet5_5,
		MaxTokens: 1024,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Which way is north?"))},
	})
	var message anthropic.Message
	for stream.Next() {
		if err := message.Accumulate(stream.Current()); err != nil {
			log.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.StopReason, "after", api.Calls(), "attempts")
	// Output: end_turn after 2 attempts
}
