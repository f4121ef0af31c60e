// @langchain/anthropic over @langchain/core.
import { ChatAnthropic } from '@langchain/anthropic';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool as define } from '@langchain/core/tools';
import { maxTokens, model, seen, serve, tool } from './scenarios.mjs';

const chat = new ChatAnthropic({ model, maxTokens });
const lookup = define(async (input) => tool.run(input), { name: tool.name, description: tool.description, schema: tool.schema });
const withTool = chat.bindTools([lookup]);

const plain = async (runnable, messages, headers) => {
  const message = await runnable.invoke(messages, { headers });
  return { message, streamed: message.text };
};

const stream = async (runnable, messages, headers) => {
  let whole;
  let streamed = '';
  for await (const chunk of await runnable.stream(messages, { headers })) {
    whole = whole ? whole.concat(chunk) : chunk;
    streamed += chunk.text;
  }
  return { message: whole, streamed };
};

const stopOf = (m) => m.response_metadata.stop_reason ?? m.additional_kwargs.stop_reason;

const once = (send) => async (prompt, headers) => {
  const { message, streamed } = await send(chat, [new HumanMessage(prompt)], headers);
  return seen({ text: message.text, streamed, stop: stopOf(message) });
};

const turn = (send) => async (prompt, headers) => {
  const messages = [new HumanMessage(prompt)];
  const { message: asked } = await send(withTool, messages, headers);
  const use = asked.tool_calls.at(0);
  if (!use) throw new Error(`no tool call in an answer that stopped for ${stopOf(asked)}`);
  messages.push(asked, new ToolMessage({ tool_call_id: use.id, content: await lookup.invoke(use.args) }));
  const { message, streamed } = await send(withTool, messages, headers);
  return seen({ text: message.text, streamed, input: use.args, stop: stopOf(message) });
};

await serve({ plain: once(plain), stream: once(stream), tools: turn(plain), 'tools-stream': turn(stream) });
