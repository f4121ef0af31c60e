// The verbs of @anthropic-ai/sdk, shared by its two major versions, for the
// proof that it takes the simulated API for the real one: tasks come as one
// JSON object per line on stdin, what the SDK made of the answers goes out as
// one per line on stdout. The Go test that asks has the fields.

import { createInterface } from 'node:readline';

const tool = { name: 'lookup', description: 'Looks up the record of a city.' };

export async function serveTasks({ Anthropic, betaTool, toFile }) {
  for await (const line of createInterface({ input: process.stdin })) {
    const t = JSON.parse(line);
    const out = { messages: [], deltas: { text: '', thinking: '', signature: '', json: '', citations: 0 }, inputs: [], items: [] };
    const client = new Anthropic({
      baseURL: t.url, apiKey: t.key, maxRetries: t.retries, ...(t.timeout_ms ? { timeout: t.timeout_ms } : {}),
    });
    try {
      await verbs[t.do](client, t, out, { headers: t.headers }, { betaTool, toFile });
    } catch (err) {
      out.failure = failure(err);
    }
    process.stdout.write(JSON.stringify(out) + '\n');
  }
}

// failure is the error as the SDK's documentation tells to look at it.
function failure(err) {
  const body = err.error?.error;
  return {
    class: err.constructor.name,
    parents: parents(err).join(' '),
    status: err.status ?? 0,
    type: err.type ?? '',
    code: err.errorCode ?? body?.details?.error_code ?? '',
    request_id: err.requestID ?? '',
    message: err.apiMessage ?? body?.message ?? '',
    text: `${err.message}${err.cause ? `: ${err.cause.message}` : ''}`,
  };
}

// parents are the SDK's classes that err is an instance of, beside its own.
function parents(err) {
  const names = [];
  for (let c = Object.getPrototypeOf(err.constructor); c.name && c !== Error; c = Object.getPrototypeOf(c)) names.push(c.name);
  return names;
}

async function plain(client, params, out, options) {
  const message = await client.messages.create(params, options);
  out.messages.push(message);
  return message;
}

async function live(client, params, out, options) {
  const stream = client.messages.stream(params, options);
  const d = out.deltas;
  stream.on('text', (text) => { d.text += text; });
  stream.on('thinking', (text) => { d.thinking += text; });
  stream.on('signature', (text) => { d.signature += text; });
  stream.on('inputJson', (text) => { d.json += text; });
  stream.on('citation', () => { d.citations += 1; });
  const message = await stream.finalMessage();
  out.messages.push(message);
  return message;
}

async function converse(send, client, t, out, options) {
  const first = await send(client, t.params, out, options);
  const content = structuredClone(first.content);
  if (t.edit) content.filter((b) => b.type === 'thinking').forEach((b) => { b.thinking += ' edited'; });
  const messages = [...t.params.messages, { role: 'assistant', content }, { role: 'user', content: t.then }];
  await send(client, { ...t.params, messages }, out, options);
}

async function loop(stream, client, t, out, options, { betaTool }) {
  const { tools: _, ...params } = t.params;
  const runner = client.beta.messages.toolRunner({
    ...params,
    stream,
    max_iterations: 5,
    tools: [betaTool({
      ...tool,
      inputSchema: t.params.tools[0].input_schema,
      run: (input) => { out.inputs.push(input); return 'record'; },
    })],
  }, options);
  for await (const answer of runner) out.messages.push(stream ? await answer.finalMessage() : answer);
}

const batch = (b) => ({ id: b.id, type: b.type, status: b.processing_status, counts: b.request_counts, url: b.results_url ?? '' });
const file = (f) => ({ id: f.id, type: f.type, name: f.filename, size: f.size_bytes });
const model = (m) => ({ id: m.id, type: m.type, name: m.display_name, size: m.max_input_tokens });
const limit = (l) => ({ id: l.id, type: l.type, name: l.group.type, counts: Object.fromEntries(l.limits.map((v) => [v.type, v.value])) });
const result = (r) => ({
  id: r.custom_id,
  status: r.result.type,
  text: r.result.message?.content.map((b) => b.text ?? '').join('') ?? '',
  error: r.result.error?.error.type ?? '',
});

async function all(list, out, of) {
  for await (const entry of list) out.items.push(of(entry));
}

const verbs = {
  message: (c, t, out, o) => plain(c, t.params, out, o),
  stream: (c, t, out, o) => live(c, t.params, out, o),
  loop: (...args) => loop(false, ...args),
  loop_stream: (...args) => loop(true, ...args),
  converse: (...args) => converse(plain, ...args),
  converse_live: (...args) => converse(live, ...args),
  count: async (c, t, out, o) => { out.tokens = (await c.messages.countTokens(t.params, o)).input_tokens; },
  models: (c, t, out, o) => all(c.models.list({ limit: t.limit }, o), out, model),
  model: async (c, t, out, o) => { out.items.push(model(await c.models.retrieve(t.id, {}, o))); },
  batch_create: async (c, t, out, o) => { out.items.push(batch(await c.messages.batches.create(t.params, o))); },
  batch_get: async (c, t, out, o) => { out.items.push(batch(await c.messages.batches.retrieve(t.id, {}, o))); },
  batch_list: (c, t, out, o) => all(c.messages.batches.list({ limit: t.limit }, o), out, batch),
  batch_cancel: async (c, t, out, o) => { out.items.push(batch(await c.messages.batches.cancel(t.id, {}, o))); },
  batch_delete: async (c, t, out, o) => { out.items.push(await c.messages.batches.delete(t.id, {}, o)); },
  batch_results: async (c, t, out, o) => all(await c.messages.batches.results(t.id, {}, o), out, result),
  file_upload: async (c, t, out, o, { toFile }) => {
    const upload = await toFile(Buffer.from(t.then), t.name, { type: 'text/plain' });
    out.items.push(file(await c.files.upload({ file: upload }, o)));
  },
  file_get: async (c, t, out, o) => { out.items.push(file(await c.files.retrieveMetadata(t.id, {}, o))); },
  file_list: (c, t, out, o) => all(c.files.list({ limit: t.limit }, o), out, file),
  file_delete: async (c, t, out, o) => { out.items.push(await c.files.delete(t.id, {}, o)); },
  rate_limits: (c, t, out, o) => all(c.organization.rateLimits.list({}, o), out, limit),
};
