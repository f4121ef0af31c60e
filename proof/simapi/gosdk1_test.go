package simapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/toolrunner"
)

// goSDK1 is the official Go SDK, v1.
type goSDK1 struct{}

// goSDK1Task is one task with the client that does it.
type goSDK1Task struct {
	task
	api  anthropic.Client
	opts []option.RequestOption
	seen seen
}

func (goSDK1) do(ctx context.Context, t task) (seen, error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	g := &goSDK1Task{task: t}
	g.opts = []option.RequestOption{option.WithMaxRetries(t.Retries)}
	if t.Timeout > 0 {
		g.opts = append(g.opts, option.WithRequestTimeout(time.Duration(t.Timeout)*time.Millisecond))
	}
	for name, value := range t.Headers {
		g.opts = append(g.opts, option.WithHeader(name, value))
	}
	g.api = anthropic.NewClient(
		option.WithoutEnvironmentDefaults(), option.WithBaseURL(t.URL), option.WithAPIKey(t.Key),
		option.WithHTTPClient(&http.Client{Transport: transport}),
	)
	does := map[verb]func(context.Context) error{
		doMessage: g.message, doStream: g.stream, doLoop: g.loop, doLoopStream: g.loopStream,
		doConverse: g.converse, doConverseLive: g.converse, doCount: g.count,
		doModels: g.models, doModel: g.model, doRateLimits: g.rateLimits,
		doBatchCreate: g.batchCreate, doBatchGet: g.batchGet, doBatchList: g.batchList,
		doBatchCancel: g.batchCancel, doBatchDelete: g.batchDelete, doBatchResults: g.batchResults,
		doFileUpload: g.fileUpload, doFileGet: g.fileGet, doFileList: g.fileList, doFileDelete: g.fileDelete,
	}
	do := does[t.Do]
	if do == nil {
		return seen{}, fmt.Errorf("no verb %q", t.Do)
	}
	if err := do(ctx); err != nil {
		g.seen.Failure = failureOf1(err)
	}
	return g.seen, nil
}

// failureOf1 sorts an error as the SDK's documentation does: an
// *anthropic.Error, or what the transport said.
func failureOf1(err error) *failure {
	f := &failure{Class: fmt.Sprintf("%T", err), Text: err.Error()}
	if e, ok := errors.AsType[*anthropic.Error](err); ok {
		f.Class, f.Status, f.Type, f.RequestID = "anthropic.Error", e.StatusCode, string(e.Type()), e.RequestID
		f.Code, f.Message = errorOf(e.RawJSON())
		return f
	}
	f.Class = transportClass(err, f.Class)
	return f
}

func (g *goSDK1Task) params() (anthropic.MessageNewParams, error) {
	var p anthropic.MessageNewParams
	err := json.Unmarshal(g.Params, &p)
	return p, err
}

func (g *goSDK1Task) message(ctx context.Context) error {
	p, err := g.params()
	if err != nil {
		return err
	}
	_, err = g.send(ctx, p)
	return err
}

func (g *goSDK1Task) stream(ctx context.Context) error {
	p, err := g.params()
	if err != nil {
		return err
	}
	_, err = g.sendStream(ctx, p)
	return err
}

func (g *goSDK1Task) send(ctx context.Context, p anthropic.MessageNewParams) (*anthropic.Message, error) {
	m, err := g.api.Messages.New(ctx, p, g.opts...)
	if err == nil {
		g.seen.Messages = append(g.seen.Messages, messageOf1(*m))
	}
	return m, err
}

func (g *goSDK1Task) sendStream(ctx context.Context, p anthropic.MessageNewParams) (*anthropic.Message, error) {
	s := g.api.Messages.NewStreaming(ctx, p, g.opts...)
	defer func() { _ = s.Close() }()
	var m anthropic.Message
	for s.Next() {
		e := s.Current()
		if err := m.Accumulate(e); err != nil {
			return nil, err
		}
		if delta, ok := e.AsAny().(anthropic.ContentBlockDeltaEvent); ok {
			g.delta(delta.Delta)
		}
	}
	g.seen.Messages = append(g.seen.Messages, messageOf1(m))
	return &m, s.Err()
}

func (g *goSDK1Task) delta(d anthropic.RawContentBlockDeltaUnion) {
	switch d := d.AsAny().(type) {
	case anthropic.TextDelta:
		g.seen.Deltas.Text += d.Text
	case anthropic.ThinkingDelta:
		g.seen.Deltas.Thinking += d.Thinking
	case anthropic.SignatureDelta:
		g.seen.Deltas.Signature += d.Signature
	case anthropic.InputJSONDelta:
		g.seen.Deltas.JSON += d.PartialJSON
	case anthropic.CitationsDelta:
		g.seen.Deltas.Citations++
	}
}

// converse sends the answer back as the SDK makes a parameter of it, with
// another turn of the user.
func (g *goSDK1Task) converse(ctx context.Context) error {
	p, err := g.params()
	if err != nil {
		return err
	}
	send := g.send
	if g.Do == doConverseLive {
		send = g.sendStream
	}
	m, err := send(ctx, p)
	if err != nil {
		return err
	}
	back := m.ToParam()
	if g.Edit {
		for _, b := range back.Content {
			if b.OfThinking != nil {
				b.OfThinking.Thinking += " edited"
			}
		}
	}
	p.Messages = append(p.Messages, back, anthropic.NewUserMessage(anthropic.NewTextBlock(g.Then)))
	_, err = send(ctx, p)
	return err
}

func (g *goSDK1Task) loopParams() (anthropic.BetaToolRunnerParams, []anthropic.BetaTool, error) {
	var p anthropic.BetaToolRunnerParams
	if err := json.Unmarshal(g.Params, &p.BetaMessageNewParams); err != nil {
		return p, nil, err
	}
	p.MaxIterations = 5
	tool, err := toolrunner.NewBetaToolFromBytes(lookup, "Looks up the record of a city.", []byte(lookupSchema),
		func(_ context.Context, in map[string]any) (anthropic.BetaToolResultBlockParamContentUnion, error) {
			raw, err := json.Marshal(in)
			g.seen.Inputs = append(g.seen.Inputs, raw)
			return anthropic.BetaToolResultBlockParamContentUnion{
				OfText: &anthropic.BetaTextBlockParam{Text: "record"},
			}, err
		})
	return p, []anthropic.BetaTool{tool}, err
}

func (g *goSDK1Task) loop(ctx context.Context) error {
	p, tools, err := g.loopParams()
	if err != nil {
		return err
	}
	for m, err := range g.api.Beta.Messages.NewToolRunner(tools, p, g.opts...).All(ctx) {
		if err != nil {
			return err
		}
		g.seen.Messages = append(g.seen.Messages, rawMessage(m.RawJSON()))
	}
	return nil
}

func (g *goSDK1Task) loopStream(ctx context.Context) error {
	p, tools, err := g.loopParams()
	if err != nil {
		return err
	}
	for events, err := range g.api.Beta.Messages.NewToolRunnerStreaming(tools, p, g.opts...).AllStreaming(ctx) {
		if err != nil {
			return err
		}
		var m anthropic.BetaMessage
		for e, err := range events {
			if err != nil {
				return err
			}
			if err := m.Accumulate(e); err != nil {
				return err
			}
		}
		if m.ID != "" { // the last turn is followed by an empty one
			g.seen.Messages = append(g.seen.Messages, rawMessage(m.RawJSON()))
		}
	}
	return nil
}

func messageOf1(m anthropic.Message) message {
	out := message{ID: m.ID, Model: string(m.Model), Role: string(m.Role), Stop: string(m.StopReason)}
	out.Usage.Input, out.Usage.Output = int(m.Usage.InputTokens), int(m.Usage.OutputTokens)
	out.Usage.CacheRead, out.Usage.CacheWrite = int(m.Usage.CacheReadInputTokens), int(m.Usage.CacheCreationInputTokens)
	for _, b := range m.Content {
		out.Block = append(out.Block, blockOf1(b))
	}
	return out
}

// blockOf1 takes what a block says from its own type, so that one which the
// SDK does not know by type shows.
func blockOf1(b anthropic.ContentBlockUnion) block {
	switch b := b.AsAny().(type) {
	case anthropic.TextBlock:
		out := block{Type: string(b.Type), Text: b.Text}
		for _, c := range b.Citations {
			out.Citations = append(out.Citations, citation{Type: c.Type, Cited: c.CitedText, URL: c.URL})
		}
		return out
	case anthropic.ThinkingBlock:
		return block{Type: string(b.Type), Thinking: b.Thinking, Signature: b.Signature}
	case anthropic.ToolUseBlock:
		return block{Type: string(b.Type), ID: b.ID, Name: b.Name, Input: b.Input}
	case anthropic.ServerToolUseBlock:
		input, err := json.Marshal(b.Input)
		if err != nil {
			return block{Type: "unreadable: " + err.Error()}
		}
		return block{Type: string(b.Type), ID: b.ID, Name: string(b.Name), Input: input}
	case anthropic.WebSearchToolResultBlock:
		return block{Type: string(b.Type), ToolUseID: b.ToolUseID, Results: json.RawMessage(b.Content.RawJSON())}
	}
	return block{Type: "unknown: " + b.Type}
}
