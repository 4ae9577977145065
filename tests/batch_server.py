"""A server of the Batch API on the loopback: files, batches, their output, and their misbehaviour.

As published: https://developers.openai.com/api/docs/guides/batch. Each request of a batch is
answered by a script, as servers.py has them for single requests.
"""

import json
import re
from collections import Counter
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from threading import Lock, Thread
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from servers import Quiet, Reply, error

COMPLETED, EXPIRED, CANCELLED, FAILED = "completed", "expired", "cancelled", "failed"


class BatchServer:
    """Files and batches, kept in memory; what it does of its own is in the attributes.

    Attributes:
        script: takes a request's body, and how often its prompt came before; gives a Reply.
        faults: of a route such as "POST /batches": a list of Replies to give in the place of the
            next answers; a Reply that is `done` does the work all the same.
        looks: how often a batch must be looked at before it ends.
        end: takes a batch's number and gives the status that it ends in.
        share: takes a batch's number: the share of its requests that are answered before it ends.
        edit: takes the lines of an output and an error file and gives others.
        room: how many batches may be under way; more fail with `token_limit_exceeded`.
        behind: address of another server that answers about files and batches in its place.
    """

    def __init__(self, script):
        self.script = script
        self.faults = {}
        self.looks = 1
        self.end = lambda number: COMPLETED
        self.share = lambda number: 1.0
        self.edit = lambda output, errors: (output, errors)
        self.room = 1_000_000
        self.behind = None
        self.files, self.batches = {}, {}
        self.calls = Counter()
        self.bodies = []  # of single requests
        self.asked = Counter()  # by prompt, in batches and alone
        self.headers = []
        self.lock = Lock()

    @property
    def submitted(self):
        """Requests of all batches that were not refused."""
        return [
            line
            for b in self.batches.values()
            if b["requests"] is not None
            for line in b["requests"]
        ]

    def route(self, method, path, handler):
        """What is answered to a request."""
        parts = urlsplit(path)
        way = parts.path.removeprefix("/v1")
        name = re.sub(r"/(file|batch)-\d+", "/{id}", way)
        with self.lock:
            self.calls[f"{method} {name}"] += 1
            self.headers.append({k.lower(): v for k, v in handler.headers.items()})
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        fault = next(iter(self.faults.get(f"{method} {name}", [])), None)
        if fault is not None:
            self.faults[f"{method} {name}"].pop(0)
            if not getattr(fault, "done", False):
                return fault
        if self.behind and way != "/chat/completions":
            return self._handed_on(method, path, raw, handler)
        with self.lock:
            said = self._answer(method, name, way, parse_qs(parts.query), raw, handler)
        return fault if fault is not None else said

    def _handed_on(self, method, path, raw, handler):
        headers = {name: handler.headers[name] for name in handler.headers if name != "Host"}
        url = self.behind + path.removeprefix("/v1")
        request = Request(url, raw or None, headers, method=method)
        try:
            with build_opener(ProxyHandler({})).open(request) as said:
                status, body = said.status, said.read()
        except HTTPError as refused:
            with refused:
                status, body = refused.code, refused.read()
        return Reply(body, status)

    def _answer(self, method, name, way, query, raw, handler):
        number = (re.search(r"(file|batch)-\d+", way) or [None])[0]
        match f"{method} {name}":
            case "POST /chat/completions":
                body = json.loads(raw)
                self.bodies.append(body)
                return self._chat(body)
            case "POST /files":
                return self._upload(raw, handler.headers["Content-Type"])
            case "POST /batches":
                return self._create(json.loads(raw))
            case "GET /batches":
                return self._list(query)
            case "GET /batches/{id}" if number in self.batches:
                return Reply(self._look(self.batches[number]))
            case "GET /files/{id}/content" if number in self.files:
                return Reply(self.files[number], headers={"Content-Type": "application/jsonl"})
        return error(404, f"No such {name.split('/')[1]}")

    def _chat(self, body):
        prompt = body["messages"][-1]["content"]
        before = self.asked[prompt]
        self.asked[prompt] += 1
        return self.script(body, before)

    def _upload(self, raw, kind):
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        parts = {
            part.get_param("name", header="content-disposition"): part
            for part in BytesParser(policy=HTTP).parsebytes(head + raw).iter_parts()
        }
        assert parts["purpose"].get_content().strip() == "batch"
        assert parts["file"].get_filename().endswith(".jsonl")
        return Reply(self._file(parts["file"].get_payload(decode=True), "batch"))

    def _file(self, content, purpose):
        name = f"file-{len(self.files)}"
        self.files[name] = content
        about = {"id": name, "object": "file", "bytes": len(content), "created_at": 0}
        return about | {"filename": "f.jsonl", "purpose": purpose}

    def _create(self, body):
        assert body["endpoint"] == "/v1/chat/completions" and body["completion_window"] == "24h"
        assert all(len(k) <= 64 and len(v) <= 512 for k, v in body["metadata"].items())
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        ids = [line["custom_id"] for line in lines]
        assert len(set(ids)) == len(ids)
        assert {(line["method"], line["url"]) for line in lines} == {
            ("POST", "/v1/chat/completions")
        }
        under_way = sum(b["status"] in ("validating", "in_progress") for b in self.batches.values())
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "status": "validating", "number": len(self.batches),
            "endpoint": body["endpoint"], "input_file_id": body["input_file_id"], "looks": 0,
            "completion_window": "24h", "created_at": 0, "metadata": body["metadata"],
            "requests": lines, "error_file_id": None, "output_file_id": None, "errors": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }  # fmt: skip
        if under_way >= self.room:
            told = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            self.batches[name] |= {"status": FAILED, "errors": {"data": [told]}, "requests": None}
        return Reply(self._shown(self.batches[name]))

    def _shown(self, batch):
        return {k: v for k, v in batch.items() if k not in ("requests", "looks", "number")}

    def _list(self, query):
        names = list(self.batches)[::-1]
        after = query.get("after", [None])[0]
        names = names[names.index(after) + 1 :] if after else names
        limit = int(query["limit"][0])
        data = [self._shown(self.batches[name]) for name in names[:limit]]
        return Reply({"object": "list", "data": data, "has_more": len(names) > limit})

    def _look(self, batch):
        if batch["status"] in ("validating", "in_progress"):
            batch["looks"] += 1
            batch["status"] = "in_progress"
            if batch["looks"] >= self.looks:
                self._finish(batch)
        return self._shown(batch)

    def _finish(self, batch):
        number, lines = batch["number"], batch["requests"]
        batch["status"] = self.end(number)
        answered = lines[: round(len(lines) * self.share(number))]
        output, errors = [], []
        for line in answered:
            reply = self._chat(line["body"])
            said = {"status_code": reply.status, "request_id": "r", "body": json.loads(reply.body)}
            entry = {"id": "x", "custom_id": line["custom_id"], "response": said, "error": None}
            (output if reply.status == 200 else errors).append(entry)
        batch["request_counts"] |= {"completed": len(output), "failed": len(errors)}
        if batch["status"] == FAILED:
            told = {"code": "invalid_request", "message": "the model does not exist", "line": 1}
            batch["errors"] = {"object": "list", "data": [told]}
        if batch["status"] == EXPIRED:
            told = {"code": "batch_expired", "message": "not executed within the window"}
            errors += [
                {"id": "x", "custom_id": line["custom_id"], "response": None, "error": told}
                for line in lines[len(answered) :]
            ]
        output, errors = self.edit(output, errors)
        for key, found in (("output_file_id", output), ("error_file_id", errors)):
            if found:
                batch[key] = self._file(written(found), "batch_output")["id"]


def written(lines):
    """Lines of a file; those that are bytes stand as they are."""
    return b"".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
    )


def done(reply):
    """A reply in the place of the usual one, whose work is done all the same."""
    reply.done = True
    return reply


@contextmanager
def serving_batches(script):
    """A server with its address in `url`, while the context lasts."""
    server = BatchServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self, method):
            reply = server.route(method, self.path, self)
            self.close_connection = reply.cut is not None
            reply(self)

        def do_POST(self):
            self._reply("POST")

        def do_GET(self):
            self._reply("GET")

        def log_message(self, *_):
            pass

    with Quiet(("127.0.0.1", 0), Handler) as listener:
        server.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
        thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
