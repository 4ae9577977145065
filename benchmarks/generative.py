"""How fast a real causal model answers p2 and p1, against llama.cpp's server and `generate()`.

Ratios within one run, medians of rounds in which all contenders take turns; the same prompts, in
the same chat template, for all of them. Processor seconds stand beside those of the clock: where
other work shares the cores, believe them, with `--threads 1` (threads that wait for each other
count as busy).

    p2   26 descriptors a review: in float32, in bfloat16, and (--gguf) by llama.cpp's server with
         its prefix cache and as many threads, asked in the ways of WAYS
    p1   topics in batches, against `generate()` for one prompt after another

llama.cpp comes with `pip install xllamacpp`, which the project does not need. Its wheel is built
without AVX-512 and AMX, and it computes with the quantised weights. On an accelerator the matrix
rate that p2 reaches is held against the machine's own:

    python benchmarks/generative.py FOLDER --gguf FILE.gguf --json out.json
    python benchmarks/generative.py FOLDER --parts p2 --device cuda --batch-tokens 65536
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from annotation import NAMES, Figures, report, reviews

from descry.annotators.factory import create
from descry.annotators.huggingface.annotator import GenerativeAnnotator
from descry.annotators.huggingface.causal import share
from descry.annotators.prompts import Prompt, p1, p2
from descry.annotators.templates import p1_template
from descry.io.hashing import sha256_file
from descry.models.checkpoints import contents_sha256

ROOT = Path(__file__).parent.parent
DESCRIPTORS = [*NAMES, "Customer service", "Ease of use", "Gifts"]
NEW_TOKENS = 40  # of an answer to p1
# Slots of llama.cpp's server, and whether a review's prompts come in one request.
WAYS = {"1 slot": (1, False), "1 slot, a review a request": (1, True), "4 slots": (4, True)}
LISTED = 200  # likeliest tokens that llama.cpp names

SERVER = """
import sys, time, xllamacpp
model, slots, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
params = xllamacpp.CommonParams()
params.model.path, params.n_parallel, params.n_ctx = model, slots, 2048 * slots
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
params.cache_ram_mib = 0  # a review that was seen in the round before is new again
params.verbosity = 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def annotator(model: Path, task: str, dtype: str, device: str, batch: int) -> GenerativeAnnotator:
    """The annotator as params.yaml would name it, loaded."""
    revision = contents_sha256(model) if model.is_dir() else sha256_file(model)
    told = {"kind": "transformers", "model": str(model), "revision": revision, "dtype": dtype}
    told |= {"device": device, "max_tokens": 1024, "max_new_tokens": NEW_TOKENS}
    made = create(told | {"batch_tokens": batch}, task)
    assert isinstance(made, GenerativeAnnotator)
    return made


def answers(who: GenerativeAnnotator, prompts: list[Prompt]) -> list[dict]:
    """Responses in the order of the prompts."""
    groups = who.answer(prompts, range(len(prompts)))
    found = {i: answer.response for group in groups for i, answer in group}
    return [found[i] for i in range(len(prompts))]


def timed(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds and processor seconds of every way, medians of turns; servers' are counted, too."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            before, start = cpu(), time.perf_counter()
            run()
            found[name].append((time.perf_counter() - start, cpu() - before))
            shown = " s, ".join(f"{seconds:.1f}" for seconds in found[name][-1])
            print(f"{name}: {shown} s of processors", file=sys.stderr, flush=True)
    return {
        name: (statistics.median(s for s, _ in took), statistics.median(c for _, c in took))
        for name, took in found.items()
    }


def cpu() -> float:
    """Processor seconds of this process and of its servers."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children())]
    return sum(time.user + time.system for time in times)


def speeds(took: dict[str, tuple[float, float]], number: int) -> Figures:
    """Answers a second and a processor second."""
    return {
        f"answers/{unit}, {name}": number / seconds[i]
        for i, unit in enumerate(("s", "processor s"))
        for name, seconds in took.items()
    }


def ratios(took: dict[str, tuple[float, float]], name: str, slower: str, against: str) -> Figures:
    """How much faster one is than another, by the clock and by the processors."""
    by = [slow / fast for slow, fast in zip(took[slower], took[name], strict=True)]
    return {f"{name} against {against}": by[0], f"{name} against {against}, processors": by[1]}


@contextmanager
def llama(model: Path, slots: int, threads: int):  # noqa: ANN201
    """llama.cpp's server in a process of its own: asks it, prompts as token ids."""
    command = [sys.executable, "-c", SERVER, str(model), str(slots), str(threads)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        address = process.stdout.readline().strip() + "/completion"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask(prompts: list[list[int]]) -> list[dict]:
            body = {"prompt": prompts if len(prompts) > 1 else prompts[0], "n_predict": 1}
            body |= {"temperature": 0, "n_probs": LISTED, "cache_prompt": True}
            sent = urllib.request.Request(address, json.dumps(body).encode())
            sent.add_header("Content-Type", "application/json")
            with direct.open(sent) as reply:
                said = json.loads(reply.read())
            said = said if isinstance(said, list) else [said]
            return sorted(said, key=lambda answer: answer["index"])

        try:
            yield ask
        finally:
            process.stdin.close()


def listed(answer: dict, words: tuple[int, int]) -> float | None:
    """The log-odds of Yes and No of an answer of llama.cpp; None where it does not list both."""
    top = answer["completion_probabilities"][0]["top_logprobs"]
    logp = {entry["id"]: entry["logprob"] for entry in top}
    return logp[words[0]] - logp[words[1]] if all(word in logp for word in words) else None


def verdicts(arguments: argparse.Namespace, texts: list[str]) -> Figures:
    """p2: answers a second of each contender, ratios, and how far their numbers are apart."""
    import numpy as np
    import torch

    prompts = list(p2(texts, DESCRIPTORS))
    kinds = ("float32", "bfloat16") if arguments.device == "cpu" else ("bfloat16",)
    ours = {
        dtype: annotator(arguments.model, "p2", dtype, arguments.device, arguments.batch_tokens)
        for dtype in kinds
    }
    said: dict[str, list] = {}
    work: dict[str, Callable[[], object]] = {}
    for dtype, who in ours.items():
        answers(who, prompts[: 2 * len(DESCRIPTORS)])  # loads it, and warms up
        work[dtype] = lambda who=who, dtype=dtype: said.update({dtype: answers(who, prompts)})
    encoder = ours[kinds[0]].encoder
    ids, _ = encoder.fitted(prompts)
    with ExitStack() as stack:
        for name, (slots, whole) in WAYS.items() if arguments.gguf else ():
            ask = stack.enter_context(llama(arguments.gguf, slots, torch.get_num_threads()))
            step = len(DESCRIPTORS) if whole else 1
            ask(ids[-1:])
            work[f"llama.cpp, {name}"] = lambda ask=ask, step=step, name=name: said.update(
                {
                    f"llama.cpp, {name}": [
                        answer
                        for start in range(0, len(ids), step)
                        for answer in ask(ids[start : start + step])
                    ]
                }
            )
        took = timed(work, arguments.rounds)
    found = speeds(took, len(prompts))
    theirs = [name for name in work if name not in ours]
    odds = {dtype: np.array([r["yes"] - r["no"] for r in said[dtype]]) for dtype in ours}
    if theirs:
        best = min(theirs, key=lambda name: took[name][1])
        for dtype in ours:
            found |= ratios(took, dtype, best, "the best of llama.cpp")
        words = encoder.words(encoder.render(prompts[0]))
        logs = [listed(answer, words) for answer in said[best]]
        both = np.array([odd is not None for odd in logs])
        odds["llama.cpp"] = np.array([np.nan if odd is None else odd for odd in logs])
        found["llama.cpp: share that lists Yes and No"] = float(both.mean())
    exact = odds[kinds[0]]
    for name, other in odds.items():
        told = np.isfinite(other)
        found[f"share of Yes, {name}"] = float((other[told] > 0).mean())
        if name != kinds[0]:
            same = (other[told] > 0) == (exact[told] > 0)
            found[f"{name}: same answers as {kinds[0]}"] = float(same.mean())
            found[f"{name}: correlation of log-odds"] = float(
                np.corrcoef(other[told], exact[told])[0, 1]
            )
            found[f"{name}: mean difference of log-odds"] = float(
                np.abs(other[told] - exact[told]).mean()
            )
    who = ours[kinds[-1]]
    rows = share(prompts, ids)
    read = sum(row.length for row in rows)
    weights = who._loaded.model
    head = weights.get_output_embeddings().weight.numel()
    # Two operations a weight and token, the vocabulary's matrix for answers alone; what attention
    # multiplies comes on top and is not counted.
    inner = sum(m.weight.numel() for m in weights.modules() if isinstance(m, torch.nn.Linear))
    operations = 2 * (inner - head) * read + 2 * head * len(prompts)
    rate = matrix_rate(arguments.device, kinds[-1])
    found["tokens of a prompt"] = statistics.mean(map(len, ids))
    found["tokens read an answer"] = read / len(prompts)
    found[f"matrix rate, {kinds[-1]}: TFLOP/s"] = rate / 1e12
    found[f"share of it, {kinds[-1]}"] = operations / took[kinds[-1]][0] / rate
    return found


def matrix_rate(device: str, dtype: str) -> float:
    """Operations a second of a large matrix product, all threads."""
    import torch

    size = 8192 if device.startswith("cuda") else 2048
    a = torch.randn(size, size, device=device, dtype=getattr(torch, dtype))
    rates = []
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(5):
            a @ a
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        rates.append(10 * size**3 / (time.perf_counter() - start))
    return max(rates)


def topics(arguments: argparse.Namespace, texts: list[str]) -> Figures:
    """p1 in batches, against `generate()` for one prompt after another."""
    import torch

    shown = {"sentence": texts[-1], "concepts": ["Price", "Quality", "Shipping"]}
    example = p1_template(5, [shown])
    prompts = list(p1(texts[:-1], example))
    said: dict[str, list[str]] = {}
    work: dict[str, Callable[[], object]] = {}
    for dtype in ("float32", "bfloat16") if arguments.device == "cpu" else ("bfloat16",):
        who = annotator(arguments.model, "p1", dtype, arguments.device, arguments.batch_tokens)
        answers(who, prompts[:2])
        model, tokenizer = who._loaded.model, who.encoder.tokenizer
        ids = who.encoder.fitted(prompts)[0]

        def alone(model=model, tokenizer=tokenizer, dtype=dtype, ids=ids) -> None:  # noqa: ANN001
            texts = []
            with torch.inference_mode():
                for own in ids:
                    told = torch.tensor([own], device=model.device)
                    out = model.generate(
                        told,
                        attention_mask=torch.ones_like(told),
                        do_sample=False,
                        max_new_tokens=NEW_TOKENS,
                        pad_token_id=tokenizer.pad_token_id,
                    )
                    texts.append(tokenizer.decode(out[0, len(own) :], skip_special_tokens=True))
            said[f"one by one, {dtype}"] = [text.strip() for text in texts]

        work[f"one by one, {dtype}"] = alone
        work[f"in batches, {dtype}"] = lambda who=who, dtype=dtype: said.update(
            {f"in batches, {dtype}": [response["text"] for response in answers(who, prompts)]}
        )
    took = timed(work, arguments.rounds)
    found = speeds(took, len(prompts))
    for name in list(work)[::2]:
        other = name.replace("one by one", "in batches")
        found |= ratios(took, other, name, "one by one")
        differ = [a != b for a, b in zip(said[name], said[other], strict=True)]
        found[f"{other}: share of other answers"] = statistics.mean(differ)
    return found


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder or GGUF of a causal model")
    parser.add_argument("--gguf", type=Path, help="the same model for llama.cpp's server")
    parser.add_argument("--parts", nargs="+", choices=["p2", "p1"], default=["p2", "p1"])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--reviews", type=Path, default=ROOT / "data/sample")
    parser.add_argument("--sentences", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of every contender; all cores where missing")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    texts = reviews(arguments.reviews, arguments.sentences)
    parts = {"p2": verdicts, "p1": topics}
    figures = {part: parts[part](arguments, texts) for part in arguments.parts}
    report(figures, arguments.sentences, arguments.json)


if __name__ == "__main__":
    main()
