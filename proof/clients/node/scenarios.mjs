// What every JavaScript client is asked to do, and how it is asked: one JSON
// object per line on stdin, {"mode": …, "prompt": …, "headers": {…}}; one per
// line on stdout, with the text that arrived, or the error that the client
// raised. Clients
// take the address and the key from their own environment variables, as an
// application would.

import { createInterface } from 'node:readline';

export const model = 'claude-sonnet-5-5';
export const maxTokens = 1024;

// The one tool that the tests know. Its answer is made from the input, so
// that a client which lost the input on the way shows it.
export const tool = {
  name: 'lookup',
  description: 'Looks up the record of a city.',
  schema: {
    type: 'object',
    properties: { city: { type: 'string', description: 'the name of the city' } },
    required: ['city'],
  },
  run: (input) => `record of ${input.city}`,
};

// serve answers scenarios one after another until stdin ends. modes maps the
// name of a mode to a function of the prompt and of the headers to send along,
// which steer the simulated API; it resolves to the result.
export async function serve(modes) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { mode, prompt, headers } = JSON.parse(line);
    let result;
    try {
      result = await modes[mode](prompt, headers);
    } catch (err) {
      result = { error: `${err.name}: ${err.message}`, status: err.status ?? err.statusCode ?? 0 };
    }
    process.stdout.write(JSON.stringify({ mode, ...result }) + '\n');
  }
}

// seen is a result: the text, the input of the tool call, if there was one,
// and why the model stopped. streamed is the text put together from deltas.
export function seen({ text, input = null, stop, streamed = text }) {
  if (streamed !== text) {
    return { error: `deltas add up to ${streamed.length} characters, the message has ${text.length}`, status: 0 };
  }
  return { text, input, stop };
}
