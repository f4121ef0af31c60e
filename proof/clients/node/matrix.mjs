// @anthropic-ai/sdk, newest 1.x, reading streams that break: one JSON object
// per line on stdin, {"url": …, "ask": …}; one per line on stdout with what the
// SDK made of the answer. The Go test that asks has the fields. After a whole
// answer it takes the next turn, which must be accepted.
import { createInterface } from 'node:readline';
import Anthropic from '@anthropic-ai/sdk';

for await (const line of createInterface({ input: process.stdin })) {
  const { url, ask } = JSON.parse(line);
  const client = new Anthropic({ baseURL: url, maxRetries: 0 });
  const seen = { text: '', stop: '', error: '', type: '', id: '' };
  try {
    const { stream, ...params } = JSON.parse(ask); // stream() asks for one
    const s = client.messages.stream(params);
    s.on('text', (delta) => { seen.text += delta; });
    const message = await s.finalMessage();
    seen.stop = message.stop_reason ?? '';
    const text = message.content.filter((b) => b.type === 'text').map((b) => b.text).join('');
    if (text !== seen.text) throw new Error(`deltas add up to ${seen.text.length} characters, the message has ${text.length}`);
    const next = [{ role: 'assistant', content: message.content }, { role: 'user', content: 'And then?' }];
    await client.messages.create({ ...params, messages: [...params.messages, ...next] });
  } catch (err) {
    seen.error = err.message;
    seen.type = err.type ?? err.name;
    seen.id = err.requestID ?? err.error?.request_id ?? '';
  }
  process.stdout.write(JSON.stringify(seen) + '\n');
}
