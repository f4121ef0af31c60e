// @ai-sdk/anthropic, driven by ai as its documentation shows.
import { anthropic } from '@ai-sdk/anthropic';
import { generateText, isStepCount, jsonSchema, streamText, tool as define } from 'ai';
import { maxTokens, model, seen, serve, tool } from './scenarios.mjs';

const common = { model: anthropic(model), maxOutputTokens: maxTokens };
const tooled = {
  ...common,
  tools: {
    [tool.name]: define({
      description: tool.description,
      inputSchema: jsonSchema(tool.schema),
      execute: async (input) => tool.run(input),
    }),
  },
  stopWhen: isStepCount(2),
};

const plain = (options) => async (prompt, headers) => {
  const result = await generateText({ ...options, prompt, headers });
  return seen({ text: result.text, input: inputOf(result.steps), stop: result.finishReason });
};

const stream = (options) => async (prompt, headers) => {
  let failure;
  let streamed = '';
  // streamText reports errors to a callback and ends the stream quietly.
  const result = streamText({ ...options, prompt, headers, onError: ({ error }) => { failure = error; } });
  for await (const delta of result.textStream) streamed += delta;
  if (failure) throw failure;
  const steps = await result.steps;
  const written = steps.map((s) => s.text).join('');
  if (streamed !== written) throw new Error(`deltas add up to ${streamed.length} characters, the steps have ${written.length}`);
  return seen({ text: steps.at(-1).text, input: inputOf(steps), stop: await result.finishReason });
};

const inputOf = (steps) => steps.flatMap((s) => s.toolCalls).at(0)?.input ?? null;

await serve({ plain: plain(common), stream: stream(common), tools: plain(tooled), 'tools-stream': stream(tooled) });
