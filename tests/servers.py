"""A real HTTP server on the loopback that speaks as an OpenAI-compatible one, or fails as told."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

MODEL = "tiny-2026-01-01"  # that the server reports


def completion(text="Yes", *, finish="stop", top=None, model=MODEL, message=None, **changes):
    """A response: words, and with `top` ({token: log-probability}) those of the first token."""
    choice = {"index": 0, "finish_reason": finish, "message": message or {"content": text}}
    if top is not None:
        listed = [{"token": token, "logprob": log} for token, log in top.items()]
        choice["logprobs"] = {"content": [listed[0] | {"top_logprobs": listed}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {"model": model, "choices": [choice], "usage": usage} | changes


class Reply:
    """What the server does with one request."""

    def __init__(self, body, status=200, *, headers=None, after=0.0, cut=None):
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.headers, self.after, self.cut = status, headers or {}, after, cut

    def __call__(self, handler):
        time.sleep(self.after)
        if self.cut == "before":
            return
        handler.send_response(self.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        for name, value in (headers | self.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.body[: len(self.body) // 2] if self.cut else self.body)


def error(status, message, **rest):
    """An error as OpenAI words it; a retry need not wait long."""
    body = {"error": {"message": message, "type": "error"} | rest}
    return Reply(body, status, headers={"retry-after-ms": "10"})


class Server:
    """Counts what it is asked, and answers by a script.

    `script` takes a request's body, and how often its prompt has come before, and gives a Reply.
    """

    def __init__(self, script):
        self.script = script
        self.bodies, self.headers = [], []
        self.asked = Counter()  # by prompt
        self.active = self.most = 0
        self.lock = Lock()

    @property
    def requests(self):
        return len(self.bodies)

    def handle(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.bodies.append(body)
            self.headers.append({name.lower(): text for name, text in handler.headers.items()})
            self.active += 1
            self.most = max(self.most, self.active)
            before = self.asked[prompt]
            self.asked[prompt] += 1
        reply = self.script(body, before)
        handler.close_connection = reply.cut is not None
        try:
            reply(handler)
        finally:
            with self.lock:
                self.active -= 1


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that has gone is what some tests are about."""


@contextmanager
def serving(script):
    """A server with its address in `url`, while the context lasts."""
    server = Server(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            server.handle(self)

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


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def transformers_serve(model, log):
    """The transformers library's own server, and its address."""
    port = free_port()
    command = [Path(sys.executable).with_name("transformers"), "serve", model, "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                try:
                    direct.open(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
