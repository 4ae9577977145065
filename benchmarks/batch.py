"""Speed and memory of batches: prompts written and submitted, their output taken in.

A server of the Batch API on the loopback, in a process of its own, keeps its files on disk, and
answers each request with a verdict and 20 log-probabilities, as OpenAI's do.

    python benchmarks/batch.py --prompts 100000 --json out.json
"""

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console
from rich.table import Table

PAPER = 2_260_648  # answers of the paper's study
MODEL = "scripted-1"
_BLOCK = 1 << 20
_WORDS = ("Yes", "No", " Yes", " No", "yes", "no", "The", "It", "Y", "N")


def completion(number: int) -> dict[str, object]:
    """A verdict as OpenAI words it, another for each number."""
    tops = []
    for i in range(20):
        token = _WORDS[i] if i < len(_WORDS) else f" word{i}"
        log = round(-0.1 - 2.0 * i - (number % 97) / 1000, 6)
        tops.append({"token": token, "logprob": log, "bytes": list(token.encode())})
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Yes", "refusal": None, "annotations": []},
        "logprobs": {"content": [tops[0] | {"top_logprobs": tops}], "refusal": None},
        "finish_reason": "length",
    }
    usage = {"prompt_tokens": 130, "completion_tokens": 1, "total_tokens": 131}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [choice],
        "usage": usage,
        "system_fingerprint": "fp_0",
    }


class Handler(BaseHTTPRequestHandler):
    """Files on disk, batches in memory."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    batches: dict[str, dict[str, object]] = {}  # noqa: RUF012

    def log_message(self, *_: object) -> None:
        pass

    def say(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        if self.path.endswith("/files"):
            name = f"file-{len(list(self.folder.iterdir()))}"
            with (self.folder / name).open("wb") as out:
                while left:
                    block = self.rfile.read(min(left, _BLOCK))
                    out.write(block)
                    left -= len(block)
            self.say({"id": name})
            return
        body = json.loads(self.rfile.read(left))
        if self.path.endswith("/chat/completions"):
            self.say(completion(0))
            return
        name = f"batch-{len(self.batches)}"
        number = self.answered(body["input_file_id"], f"{name}.out")
        counts = {"total": number, "completed": number, "failed": 0}
        self.batches[name] = {
            "id": name, "status": "in_progress", "output_file_id": f"{name}.out",
            "metadata": body["metadata"], "request_counts": counts,
        }  # fmt: skip
        self.say(self.batches[name])

    def answered(self, file: str, output: str) -> int:
        """Write the output of an input file; its lines."""
        said = [json.dumps(completion(i)) for i in range(97)]
        number = 0
        with (self.folder / file).open("rb") as lines, (self.folder / output).open("w") as out:
            for line in lines:
                if found := re.match(rb'\{"custom_id":"([0-9a-f]{64})"', line):
                    key = found[1].decode()
                    out.write(
                        f'{{"id": "batch_req_1", "custom_id": "{key}", "response": {{"status_code":'
                        f' 200, "request_id": "r", "body": {said[number % 97]}}}, "error": null}}\n'
                    )
                    number += 1
        return number

    def do_GET(self) -> None:
        if found := re.search(r"/files/([^/]+)/content", self.path):
            path = self.folder / found[1]
            self.send_response(200)
            self.send_header("Content-Type", "application/jsonl")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    self.wfile.write(block)
            return
        batch = self.batches[self.path.rsplit("/", 1)[-1]]
        if (self.folder / "go").exists():
            batch["status"] = "completed"
        self.say(batch)


def serve(folder: Path) -> None:
    """Serve until the process is ended; prints the port."""
    Handler.folder = folder
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        print(listener.server_address[1], flush=True)
        listener.serve_forever()


class _Times:
    """When each step of a run began, and what the processor had spent by then."""

    def __init__(self) -> None:
        self.at: dict[str, tuple[float, float]] = {}

    def mark(self, step: str) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.at[step] = time.perf_counter(), used.ru_utime + used.ru_stime

    def between(self, first: str, last: str) -> tuple[float, float]:
        a, b = self.at[first], self.at[last]
        return b[0] - a[0], b[1] - a[1]


def ask(url: str, files: Path, cache_folder: Path, number: int) -> dict[str, float]:
    """Write, submit and take in so many prompts, in this process; its figures."""
    import openai.resources  # a second or two, once

    from descry.annotators.client import AskOptions, answer_prompts
    from descry.annotators.counts import Counts
    from descry.annotators.factory import create
    from descry.annotators.openai_server.batch import run
    from descry.annotators.parsing.answers import parse_verdict
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.annotators.prompts import p2

    assert openai.resources
    run.SHORTEST = run.LONGEST = 0.05
    times = _Times()
    names = [f"descriptor {i}" for i in range(26)]
    sentences = [f"{i} " + "a word of some length " * 20 for i in range(-(-number // 26))]
    spec = {
        "kind": "openai", "model": MODEL, "revision": MODEL, "dtype": "unknown", "base_url": url,
        "api_key_env": None, "max_new_tokens": 40, "concurrency": 1, "timeout": 600.0,
        "retries": 0, "price": None, "mode": "batch",
    }  # fmt: skip
    tally, answers = Counts(), 0
    submit, wait, take = run.BatchRun._submit_all, run.BatchRun._wait, run.BatchRun._take_in
    taking = [0.0, 0.0]

    def submitting(self: run.BatchRun) -> None:
        times.at.setdefault("written", (0, 0)) == (0, 0) and times.mark("written")
        submit(self)

    def waiting(self: run.BatchRun) -> bool:
        times.mark("submitted")
        (files / "go").touch()
        return wait(self)

    def taken(self: run.BatchRun, *args: object) -> None:
        watch = _Times()
        watch.mark("a")
        take(self, *args)  # type: ignore[arg-type]
        watch.mark("b")
        for i, spent in enumerate(watch.between("a", "b")):
            taking[i] += spent

    run.BatchRun._submit_all, run.BatchRun._wait = submitting, waiting  # type: ignore[method-assign]
    run.BatchRun._take_in = taken  # type: ignore[method-assign]
    with PromptCache(cache_folder) as cache:
        times.mark("start")
        how = AskOptions("benchmark", cache, 0.0, False, lambda *_: None)
        check = partial(parse_verdict, min_mass=0.1)
        for chunk in answer_prompts(how, create(spec, "p2"), p2(sentences, names), check, tally):
            if "filled" not in times.at:
                times.mark("filled")
            answers += sum(response is not None for response in chunk.responses)
        times.mark("end")
    total = len(sentences) * len(names)
    assert answers == tally.asked == total, tally
    written, submitted = times.between("start", "written"), times.between("written", "submitted")
    read = times.between("filled", "end")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "prompts": float(total),
        "written: s": written[0],
        "written: prompts/s": total / written[0],
        "written: prompts per processor s": total / written[1],
        "submitted (with the server's own work): s": submitted[0],
        "taken in: s": taking[0],
        "taken in: answers/s": total / taking[0],
        "taken in: answers per processor s": total / taking[1],
        "read from the cache afterwards: s": read[0],
        "peak MB": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=PAPER)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    with tempfile.TemporaryDirectory(prefix="descry-benchmark-") as scratch:
        files = Path(scratch, "files")
        files.mkdir()
        command = [sys.executable, __file__, "--serve", str(files)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
                figures = ask(url, files, Path(scratch, "cache"), arguments.prompts)
            finally:
                server.terminate()
        sizes = [path.stat().st_size for path in files.iterdir()]
        figures["files of the server: MB"] = sum(sizes) / 1e6
    table = Table("what", "figure")
    for what, value in figures.items():
        table.add_row(what, f"{value:,.1f}")
    Console().print(table)
    if arguments.json:
        machine = {"cores": os.cpu_count(), "system": platform.platform()}
        told = {"machine": machine, "figures": figures}
        arguments.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
