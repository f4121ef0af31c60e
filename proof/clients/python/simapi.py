"""The tasks that the official SDKs do against the simulated API, done on httpx
as the official Python SDK (anthropic 0.121) does them.

It shares requests, retries and the reading of events with client.py beside it,
and has the error classes of that SDK: which one a status or a lost connection
raises is what its _client.py and _base_client.py say. Tasks come as one JSON
object per line on stdin, what was seen goes out as one per line on stdout.
"""

import copy
import json
import os
import sys
import time

import httpx

os.environ.setdefault("ANTHROPIC_BASE_URL", "http://127.0.0.1")  # each task brings its own
os.environ.setdefault("ANTHROPIC_API_KEY", "")

import client  # noqa: E402  (reads the environment)


class APIError(Exception):
    """The root; status, body and request_id are None where there was no answer."""

    def __init__(self, message, status=0, body=None, request_id=""):
        super().__init__(message)
        self.status, self.body, self.request_id = status, body, request_id


class APIConnectionError(APIError):
    pass


class APITimeoutError(APIConnectionError):
    pass


class APIStatusError(APIError):
    pass


def _status_error(name):
    return type(name, (APIStatusError,), {})


BY_STATUS = {
    400: _status_error("BadRequestError"),
    401: _status_error("AuthenticationError"),
    403: _status_error("PermissionDeniedError"),
    404: _status_error("NotFoundError"),
    409: _status_error("ConflictError"),
    413: _status_error("RequestTooLargeError"),
    422: _status_error("UnprocessableEntityError"),
    429: _status_error("RateLimitError"),
}
InternalServerError = _status_error("InternalServerError")
BY_STATUS[529] = type("OverloadedError", (InternalServerError,), {})


def status_error(status, raw, request_id):
    try:
        body = json.loads(raw)
    except ValueError:
        body = raw
    kind = BY_STATUS.get(status) or (InternalServerError if status >= 500 else APIStatusError)
    return kind(f"Error code: {status} - {raw}", status, body, request_id)


class Task:
    def __init__(self, task):
        self.task = task
        timeout = task["timeout_ms"] / 1000 if task["timeout_ms"] else 600
        self.http = httpx.Client(base_url=task["url"], timeout=timeout, follow_redirects=True)
        self.out = {
            "messages": [],
            "deltas": {"text": "", "thinking": "", "signature": "", "json": "", "citations": 0},
            "inputs": [],
            "items": [],
        }

    def run(self):
        with self.http:
            getattr(self, self.task["do"])()
        return self.out

    # Requests.

    def send(self, method, path, stream=False, **kwargs):
        extra = {**(self.task.get("headers") or {}), "x-api-key": self.task["key"]}
        for retries in range(self.task["retries"] + 1):
            headers = client.headers(retries, extra)
            if "files" in kwargs:
                del headers["content-type"]
            response, failure = None, None
            try:
                response = self.http.send(self.http.build_request(method, path, headers=headers, **kwargs), stream=stream)
                if response.status_code < 400:
                    return response
                response.read()
                failure = status_error(response.status_code, response.text, response.headers.get("request-id", ""))
            except httpx.TimeoutException as err:
                failure = APITimeoutError("Request timed out.")
                failure.__cause__ = err
            except httpx.TransportError as err:
                failure = APIConnectionError("Connection error.")
                failure.__cause__ = err
            if retries == self.task["retries"] or response is not None and not client.should_retry(response):
                raise failure
            time.sleep(client.retry_wait(response, retries))

    def ask(self, params):
        message = self.send("POST", "/v1/messages", json=params).json()
        self.out["messages"].append(message)
        return message

    def ask_live(self, params):
        response = self.send("POST", "/v1/messages", stream=True, json={**params, "stream": True})
        try:
            message = self.accumulate(response)
        finally:
            response.close()
        self.out["messages"].append(message)
        return message

    def accumulate(self, response):
        message, partial, deltas = None, {}, self.out["deltas"]
        for event, raw in client.events(response):
            if event == "ping":
                continue
            if event == "error":
                raise status_error(response.status_code, raw, response.headers.get("request-id", ""))
            data = json.loads(raw)
            if event == "message_start":
                message = data["message"]
            elif event == "content_block_start":
                message["content"].append(data["content_block"])
            elif event == "content_block_delta":
                delta, block = data["delta"], message["content"][data["index"]]
                if delta["type"] == "input_json_delta":
                    deltas["json"] += delta["partial_json"]
                    partial[data["index"]] = partial.get(data["index"], "") + delta["partial_json"]
                elif delta["type"] == "citations_delta":
                    deltas["citations"] += 1
                    block["citations"] = (block.get("citations") or []) + [delta["citation"]]
                else:
                    what = delta["type"].removesuffix("_delta")
                    deltas[what] += delta[what]
                    block[what] += delta[what]
            elif event == "content_block_stop":
                if data["index"] in partial:
                    message["content"][data["index"]]["input"] = json.loads(partial[data["index"]] or "{}")
            elif event == "message_delta":
                message["stop_reason"] = data["delta"]["stop_reason"]
                message["usage"].update(data["usage"])
        return message

    # Verbs.

    def message(self):
        self.ask(self.task["params"])

    def stream(self):
        self.ask_live(self.task["params"])

    def loop(self, ask=None):
        params, ask = copy.deepcopy(self.task["params"]), ask or self.ask
        for _ in range(5):
            answer = ask(params)
            uses = [b for b in answer["content"] if b["type"] == "tool_use"]
            if not uses:
                return
            self.out["inputs"] += [use["input"] for use in uses]
            results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "record"} for use in uses]
            params["messages"] += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results}]

    def loop_stream(self):
        self.loop(self.ask_live)

    def converse(self, ask=None):
        params, ask = copy.deepcopy(self.task["params"]), ask or self.ask
        content = copy.deepcopy(ask(params)["content"])
        for block in content:
            if self.task.get("edit") and block["type"] == "thinking":
                block["thinking"] += " edited"
        params["messages"] += [{"role": "assistant", "content": content}, {"role": "user", "content": self.task["then"]}]
        ask(params)

    def converse_live(self):
        self.converse(self.ask_live)

    def count(self):
        self.out["tokens"] = self.send("POST", "/v1/messages/count_tokens", json=self.task["params"]).json()["input_tokens"]

    def pages(self, path, cursor, entry):
        """Follows a list page by page: after_id and last_id, or page and next_page."""
        query = {"limit": self.task["limit"]} if self.task.get("limit") else {}
        while True:
            page = self.send("GET", path, params=query).json()
            self.out["items"] += [entry(e) for e in page["data"]]
            following = page["last_id"] if cursor == "after_id" and page["has_more"] else page.get("next_page")
            if not following or not page["data"]:
                return
            query[cursor] = following

    def one(self, method, path, entry, **kwargs):
        self.out["items"].append(entry(self.send(method, path, **kwargs).json()))

    def named(self, path):
        return f"{path}/{self.task['id']}"

    def models(self):
        self.pages("/v1/models", "after_id", model)

    def model(self):
        self.one("GET", self.named("/v1/models"), model)

    def batch_create(self):
        self.one("POST", BATCHES, batch, json=self.task["params"])

    def batch_get(self):
        self.one("GET", self.named(BATCHES), batch)

    def batch_cancel(self):
        self.one("POST", self.named(BATCHES) + "/cancel", batch)

    def batch_delete(self):
        self.one("DELETE", self.named(BATCHES), dict)

    def batch_list(self):
        self.pages(BATCHES, "after_id", batch)

    def batch_results(self):
        url = self.send("GET", self.named(BATCHES)).json()["results_url"]
        if not url:
            raise APIError("No batch `results_url`; has it finished processing?")
        lines = self.send("GET", url).text.splitlines()
        self.out["items"] += [result(json.loads(line)) for line in lines]

    def file_upload(self):
        self.one("POST", "/v1/files", file, files={"file": (self.task["name"], self.task["then"].encode(), "text/plain")})

    def file_get(self):
        self.one("GET", self.named("/v1/files"), file)

    def file_delete(self):
        self.one("DELETE", self.named("/v1/files"), dict)

    def file_list(self):
        self.pages("/v1/files", "page", file)

    def rate_limits(self):
        self.pages("/v1/organizations/rate_limits", "page", limit)


BATCHES = "/v1/messages/batches"


def model(m):
    return {"id": m["id"], "type": m["type"], "name": m["display_name"], "size": m["max_input_tokens"]}


def batch(b):
    return {
        "id": b["id"], "type": b["type"], "status": b["processing_status"],
        "counts": b["request_counts"], "url": b["results_url"] or "",
    }


def file(f):
    return {"id": f["id"], "type": f["type"], "name": f["filename"], "size": f["size_bytes"]}


def limit(entry):
    values = {v["type"]: v["value"] for v in entry["limits"]}
    return {"id": entry["id"], "type": entry["type"], "name": entry["group"]["type"], "counts": values}


def result(line):
    r = line["result"]
    text = "".join(b.get("text", "") for b in r.get("message", {}).get("content", []))
    return {"id": line["custom_id"], "status": r["type"], "text": text, "error": r.get("error", {}).get("error", {}).get("type", "")}


def failure(err):
    body = err.body if isinstance(getattr(err, "body", None), dict) else {}
    error = body.get("error") or {}
    return {
        "class": type(err).__name__,
        "parents": " ".join(c.__name__ for c in type(err).__mro__[1:] if issubclass(c, APIError)),
        "status": getattr(err, "status", 0),
        "type": error.get("type", ""),
        "code": (error.get("details") or {}).get("error_code", ""),
        "request_id": getattr(err, "request_id", ""),
        "message": error.get("message", ""),
        "text": f"{err}: {err.__cause__}" if err.__cause__ else str(err),
    }


def main():
    for line in sys.stdin:
        task = Task(json.loads(line))
        try:
            out = task.run()
        except Exception as err:  # whatever it is, the test shall see it
            out = {**task.out, "failure": failure(err)}
        print(json.dumps(out), flush=True)


if __name__ == "__main__":
    main()
