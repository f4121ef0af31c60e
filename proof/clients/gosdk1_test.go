package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// goSDK1 is the official Go SDK, v1, as an application would use it.
type goSDK1 struct{ client anthropic.Client }

func newGoSDK1(baseURL string) driver {
	return goSDK1{anthropic.NewClient(option.WithBaseURL(baseURL), option.WithAPIKey(secretKey))}
}

func (c goSDK1) run(ctx context.Context, s scenario) (result, error) {
	var opts []option.RequestOption
	for k, v := range s.Headers {
		opts = append(opts, option.WithHeader(k, v))
	}
	params := anthropic.MessageNewParams{
		Model:     model,
		MaxTokens: maxTokens,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(s.Prompt))},
	}
	if !s.Mode.tools() {
		m, err := c.send(ctx, s.Mode, params, opts)
		return result{Text: textOf1(m), Stop: string(m.StopReason)}, err
	}
	params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
		Name: toolName, Description: anthropic.String(toolDescription),
		InputSchema: anthropic.ToolInputSchemaParam{Properties: toolProperties, Required: []string{"city"}},
	}}}
	asked, err := c.send(ctx, s.Mode, params, opts)
	if err != nil {
		return result{}, err
	}
	for _, block := range asked.Content {
		use, ok := block.AsAny().(anthropic.ToolUseBlock)
		if !ok {
			continue
		}
		var input map[string]any
		if err := json.Unmarshal(use.Input, &input); err != nil {
			return result{}, fmt.Errorf("tool input %q: %w", use.Input, err)
		}
		params.Messages = append(params.Messages, asked.ToParam(),
			anthropic.NewUserMessage(anthropic.NewToolResultBlock(use.ID, record(input), false)))
		m, err := c.send(ctx, s.Mode, params, opts)
		return result{Text: textOf1(m), Input: input, Stop: string(m.StopReason)}, err
	}
	return result{}, fmt.Errorf("no tool use in an answer that stopped for %q", asked.StopReason)
}

func (c goSDK1) send(ctx context.Context, m mode, params anthropic.MessageNewParams, opts []option.RequestOption) (anthropic.Message, error) {
	if !m.streams() {
		message, err := c.client.Messages.New(ctx, params, opts...)
		if err != nil {
			return anthropic.Message{}, err
		}
		return *message, nil
	}
	stream := c.client.Messages.NewStreaming(ctx, params, opts...)
	defer func() { _ = stream.Close() }()
	var message anthropic.Message
	for stream.Next() {
		if err := message.Accumulate(stream.Current()); err != nil {
			return message, err
		}
	}
	return message, stream.Err()
}

func textOf1(m anthropic.Message) string {
	var text strings.Builder
	for _, block := range m.Content {
		text.WriteString(block.Text)
	}
	return text.String()
}
