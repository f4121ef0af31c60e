"""A client of the Claude API on httpx, as the official Python SDK is one.

It sends the headers that anthropic 0.121 sends, reads server-sent events as
that SDK does (bytes until a blank line, then field by field), and repeats a
failed request by its rule: twice, on 408, 409, 429, 5xx and lost connections,
unless x-should-retry says otherwise. It asks for nothing beyond Debian's
python3-httpx, so it runs where no Python package index can be reached.

Scenarios come as one JSON object per line on stdin and go out as one per line
on stdout, as those of the JavaScript clients beside it do.
"""

import email.utils
import json
import os
import platform
import random
import sys
import time

import httpx

MODEL = "claude-sonnet-5-5"
VERSION = "0.121.0"
MAX_RETRIES = 2
TIMEOUT = httpx.Timeout(timeout=600, connect=5.0)
TOOL = {
    "name": "lookup",
    "description": "Looks up the record of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "the name of the city"}},
        "required": ["city"],
    },
}


class APIError(Exception):
    """An answer of the API that says no; status is that of the response."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


def headers(retries, extra):
    return {
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": f"Anthropic/Python {VERSION}",
        "x-stainless-lang": "python",
        "x-stainless-package-version": VERSION,
        "x-stainless-os": "Linux",
        "x-stainless-arch": "x64",
        "x-stainless-runtime": platform.python_implementation(),
        "x-stainless-runtime-version": platform.python_version(),
        "x-stainless-async": "false",
        "x-stainless-retry-count": str(retries),
        "x-stainless-read-timeout": str(TIMEOUT.read),
        "anthropic-version": "2023-06-01",
        "x-api-key": os.environ["ANTHROPIC_API_KEY"],
        **extra,
    }


def should_retry(response):
    told = response.headers.get("x-should-retry")
    if told in ("true", "false"):
        return told == "true"
    return response.status_code in (408, 409, 429) or response.status_code >= 500


def retry_wait(response, retries):
    """Seconds until the next request; what the API names counts up to a minute."""
    named = named_wait(response.headers) if response is not None else None
    if named is not None and 0 < named <= 60:
        return named
    return min(0.5 * 2**retries, 8.0) * (1 - 0.25 * random.random())


def named_wait(h):
    try:
        return float(h["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        pass
    try:
        return float(h["retry-after"])
    except (KeyError, ValueError):
        pass
    date = email.utils.parsedate_tz(h.get("retry-after", ""))
    return email.utils.mktime_tz(date) - time.time() if date else None


class Client:
    def __init__(self):
        limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
        self.http = httpx.Client(
            base_url=os.environ["ANTHROPIC_BASE_URL"], timeout=TIMEOUT, limits=limits, follow_redirects=True
        )

    def send(self, params, extra):
        """Returns the response with its body unread if params ask for a stream."""
        stream = params.get("stream", False)
        for retries in range(MAX_RETRIES + 1):
            request = self.http.build_request("POST", "/v1/messages", json=params, headers=headers(retries, extra))
            response = None
            try:
                response = self.http.send(request, stream=stream)
            except httpx.TransportError:
                if retries == MAX_RETRIES:
                    raise
            else:
                if response.status_code < 400:
                    return response
                if retries == MAX_RETRIES or not should_retry(response):
                    response.read()
                    raise APIError(f"Error code: {response.status_code} - {response.text}", response.status_code)
                response.close()
            time.sleep(retry_wait(response, retries))

    def create(self, params, extra):
        return self.send(params, extra).json(), None

    def stream(self, params, extra):
        response = self.send({**params, "stream": True}, extra)
        try:
            return accumulate(response)
        finally:
            response.close()


def events(response):
    """Yields (event, data) for every event that is complete."""
    event, data = None, []
    for chunk in chunks(response.iter_bytes()):
        for line in chunk.decode("utf-8").splitlines():
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if not line:
                if event is not None or data:
                    yield event, "\n".join(data)
                event, data = None, []
            elif field == "event":
                event = value
            elif field == "data":
                data.append(value)


def chunks(parts):
    """Joins what the connection delivers until it ends with a blank line."""
    held = b""
    for part in parts:
        for line in part.splitlines(keepends=True):
            held += line
            if held.endswith((b"\r\r", b"\n\n", b"\r\n\r\n")):
                yield held
                held = b""
    if held:
        yield held


def accumulate(response):
    """Puts a message together from its events, and the text from its deltas."""
    message, text, partial = None, "", {}
    for event, raw in events(response):
        if event == "ping":
            continue
        data = json.loads(raw)
        if event == "error":
            raise APIError(raw, response.status_code)
        if event == "message_start":
            message = data["message"]
        elif event == "content_block_start":
            if data["index"] != len(message["content"]):
                raise ValueError(f"block {data['index']} follows {len(message['content'])} blocks")
            message["content"].append(data["content_block"])
        elif event == "content_block_delta":
            block, delta = message["content"][data["index"]], data["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
                text += delta["text"]
            elif delta["type"] == "input_json_delta":
                partial[data["index"]] = partial.get(data["index"], "") + delta["partial_json"]
        elif event == "content_block_stop":
            if data["index"] in partial:
                message["content"][data["index"]]["input"] = json.loads(partial[data["index"]] or "{}")
        elif event == "message_delta":
            message["stop_reason"] = data["delta"]["stop_reason"]
            message["usage"].update(data["usage"])
    if message is None or message["stop_reason"] is None:
        raise ValueError("the stream ended before the message did")
    return message, text


def run(client, scenario):
    mode, extra = scenario["mode"], scenario.get("headers", {})
    send = client.stream if mode.endswith("stream") else client.create
    params = {
        "model": MODEL,
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": scenario["prompt"]}],
    }
    used = None
    if mode.startswith("tools"):
        params["tools"] = [TOOL]
        asked, _ = send(params, extra)
        use = next(b for b in asked["content"] if b["type"] == "tool_use")
        used = use["input"]
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": f"record of {used['city']}"}
        params["messages"] += [{"role": "assistant", "content": asked["content"]}, {"role": "user", "content": [result]}]
    message, streamed = send(params, extra)
    text = "".join(b["text"] for b in message["content"] if b["type"] == "text")
    if streamed is not None and streamed != text:
        raise ValueError(f"deltas add up to {len(streamed)} characters, the message has {len(text)}")
    return {"text": text, "input": used, "stop": message["stop_reason"]}


def main():
    client = Client()
    for line in sys.stdin:
        scenario = json.loads(line)
        try:
            result = run(client, scenario)
        except Exception as err:  # whatever it is, the test shall see it
            result = {"error": f"{type(err).__name__}: {err}", "status": getattr(err, "status", 0)}
        print(json.dumps({"mode": scenario["mode"], **result}), flush=True)


if __name__ == "__main__":
    main()
