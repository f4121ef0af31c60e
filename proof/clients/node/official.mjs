// The modes of @anthropic-ai/sdk, shared by its two major versions.

import { maxTokens, model, seen, serve, tool } from './scenarios.mjs';

const tools = [{ name: tool.name, description: tool.description, input_schema: tool.schema }];
const textOf = (message) => message.content.filter((b) => b.type === 'text').map((b) => b.text).join('');

export function serveOfficial(Anthropic) {
  const client = new Anthropic();

  const plain = async (params, headers) => {
    const message = await client.messages.create({ model, max_tokens: maxTokens, ...params }, { headers });
    return { message, streamed: textOf(message) };
  };
  const stream = async (params, headers) => {
    let streamed = '';
    const s = client.messages.stream({ model, max_tokens: maxTokens, ...params }, { headers });
    s.on('text', (delta) => { streamed += delta; });
    return { message: await s.finalMessage(), streamed };
  };
  const once = (send) => async (prompt, headers) => {
    const { message, streamed } = await send({ messages: [{ role: 'user', content: prompt }] }, headers);
    return seen({ text: textOf(message), streamed, stop: message.stop_reason });
  };
  const turn = (send) => async (prompt, headers) => {
    const messages = [{ role: 'user', content: prompt }];
    const { message: asked } = await send({ tools, messages }, headers);
    const use = asked.content.find((b) => b.type === 'tool_use');
    if (!use) throw new Error(`no tool_use in an answer that stopped for ${asked.stop_reason}`);
    messages.push({ role: 'assistant', content: asked.content });
    messages.push({ role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: tool.run(use.input) }] });
    const { message, streamed } = await send({ tools, messages }, headers);
    return seen({ text: textOf(message), streamed, input: use.input, stop: message.stop_reason });
  };

  return serve({ plain: once(plain), stream: once(stream), tools: turn(plain), 'tools-stream': turn(stream) });
}
