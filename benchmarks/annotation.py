"""How fast annotators answer p2, and how fast the cache gives answers back.

Ratios within one run, medians of interleaved rounds; models of the full shape with random weights
(what they answer does not matter, only that both ways answer the same).

    seq2seq  FLAN-T5-small's shape against `generate()` in batches of 8
    causal   Pythia-160m's shape, sharing a review's states between 23 descriptors, against not
    cache    store, replay, export and import of --answers answers (the paper's study: 2,260,648)
    xxl      FLAN-T5-XXL's shape on an accelerator, against the machine's measured matrix rate

    python benchmarks/annotation.py seq2seq causal cache --json out.json
    python benchmarks/annotation.py xxl --json out.json
"""

import argparse
import gzip
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from descry.annotators.prompts import Prompt, p2

ROOT = Path(__file__).parent.parent
PAPER = 86_948 * 26
NAMES = [
    "Comfort",
    "Size",
    "Price",
    "Quality",
    "Durability",
    "Battery",
    "Sound",
    "Taste",
    "Smell",
    "Color",
    "Shipping",
    "Packaging",
    "Design",
    "Music",
    "Books",
    "Games",
    "Toys",
    "Animals",
    "Food",
    "Clothing",
    "Fitness",
    "Beauty",
    "Electronics",
]
Figures = dict[str, float]


def reviews(path: Path, limit: int) -> list[str]:
    """Review texts of 10 to 200 words, drawn by a fixed seed."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    texts = []
    for file in files:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt") as lines:
            records = map(json.loads, lines)
            texts += [r.get("reviewText") or r.get("text") or "" for r in records]
    kept = sorted({text for text in texts if 10 <= len(text.split()) <= 200})
    random.Random(0).shuffle(kept)
    return kept[:limit]


def tokenizer_of(texts: list[str], size: int) -> object:
    """A byte-level BPE tokenizer in which Yes and No are one token each."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    words = ["Yes", "No", " Yes", " No"] * 1000
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    question = [prompt.text for prompt in p2(texts[:20], NAMES)]
    inner.train_from_iterator([*texts, *question, *words], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", model_max_length=2048
    )


def t5(shape: str, device: str, dtype: str):  # noqa: ANN201
    """FLAN-T5 with random weights. Yes and No get large rows, so that greedy answers are theirs."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, T5Config

    sizes = {
        "small": {"d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
        "xxl": {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64},
    }[shape]
    config = T5Config(
        vocab_size=32128, d_kv=64, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForSeq2SeqLM.from_config(config, dtype=getattr(torch, dtype)).eval()


def loudest(head: object, words: tuple[int, int]) -> None:
    """Make the rows of two words opposite and large: one of them is always the likeliest."""
    import torch

    with torch.no_grad():
        row = torch.randn_like(head.weight[0]) * head.weight.std() * 30
        head.weight[words[0]], head.weight[words[1]] = row, -row


def timed(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every way, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
            print(f"{name}: {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)
    return seconds


def said(groups: Iterator[list[tuple[int, dict]]], size: int) -> list[dict]:
    found = dict(pair for group in groups for pair in group)
    return [found[i] for i in range(size)]


def seq2seq(source: list[str], sentences: int, rounds: int, batch_tokens: int) -> Figures:
    """Our p2 against generate() in batches of 8, all sentences for one descriptor after another.

    generate() is timed twice: as it comes (random weights never write an end, so it goes to its
    limit of 20 new tokens), and stopped after two, a word and the end: FLAN-T5's own answer.
    """
    texts = source[:sentences]
    from descry.annotators.huggingface.model import Loaded
    from descry.annotators.huggingface.seq2seq import Seq2Seq

    names = NAMES[:2]
    grid = p2(texts, names)
    prompts = [grid[i] for i in range(len(grid))]
    tokenizer = tokenizer_of(source, 8000)
    words = tuple(tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in ("Yes", "No"))
    models = {dtype: t5("small", "cpu", dtype) for dtype in ("float32", "bfloat16")}
    loudest(models["float32"].lm_head, words)
    models["bfloat16"].load_state_dict(models["float32"].state_dict())
    by_descriptor = [prompts[i::2][j] for i in range(2) for j in range(len(texts))]
    answers: dict[str, dict[Prompt, bool]] = {}

    def generate(order: list[Prompt], **limit: int) -> None:
        chosen = []
        for start in range(0, len(order), 8):
            batch = [prompt.text for prompt in order[start : start + 8]]
            padded = tokenizer(batch, padding=True, return_tensors="pt")
            out = models["float32"].generate(
                **padded, do_sample=False, output_scores=True, return_dict_in_generate=True, **limit
            )
            # The words' scores, not the token: random weights may like a third one best.
            chosen += (out.scores[0][:, words[0]] > out.scores[0][:, words[1]]).tolist()
        answers["generate"] = dict(zip(order, chosen, strict=True))

    def ours(dtype: str) -> None:
        loaded = Loaded(tokenizer, models[dtype], batch_tokens)
        ids = tokenizer([prompt.text for prompt in prompts])["input_ids"]
        groups = Seq2Seq(loaded, words).score(prompts, ids, range(len(prompts)))
        found = said(groups, len(prompts))
        answers[dtype] = {p: r["yes"] > r["no"] for p, r in zip(prompts, found, strict=True)}

    ours("float32"), ours("bfloat16")  # warm-up
    work = {
        "generate": lambda: generate(by_descriptor),
        "generate, 2 tokens": lambda: generate(by_descriptor, max_new_tokens=2),
        "generate, 2 tokens, sorted by sentence": lambda: generate(prompts, max_new_tokens=2),
        "float32": lambda: ours("float32"),
        "bfloat16": lambda: ours("bfloat16"),
    }
    seconds = {name: statistics.median(s) for name, s in timed(work, rounds).items()}
    found = {f"answers/s, {name}": len(prompts) / s for name, s in seconds.items()}
    for dtype in ("float32", "bfloat16"):
        for base in list(work)[:3]:
            found[f"{dtype} against {base}"] = seconds[base] / seconds[dtype]
        same = [answers[dtype][prompt] == answers["generate"][prompt] for prompt in prompts]
        found[f"{dtype}: share of answers as generate's"] = statistics.mean(same)
    return found


def causal(source: list[str], sentences: int, rounds: int, batch_tokens: int) -> Figures:
    """A review's states shared between 23 descriptors, against one prompt a row."""
    texts = source[:sentences]
    import torch
    from transformers import AutoModelForCausalLM, GPTNeoXConfig

    from descry.annotators.huggingface.causal import Causal
    from descry.annotators.huggingface.model import Loaded

    tokenizer = tokenizer_of(source, 8000)
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=3072, max_position_embeddings=2048, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    grid = p2(texts, NAMES)
    prompts = [grid[i] for i in range(len(grid))]
    found: dict[str, list[dict]] = {}

    def ours(share: bool) -> None:
        loaded = Loaded(tokenizer, model, batch_tokens)
        encoded = tokenizer([prompt.text for prompt in prompts], add_special_tokens=False)
        words = tuple(
            tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in (" Yes", " No")
        )
        scorer = Causal(loaded, words, share=share)
        groups = scorer.score(prompts, encoded["input_ids"], range(len(prompts)))
        found["shared" if share else "alone"] = said(groups, len(prompts))

    work = {"not shared": lambda: ours(False), "shared": lambda: ours(True)}
    seconds = {name: statistics.median(s) for name, s in timed(work, rounds).items()}
    pairs = zip(found["shared"], found["alone"], strict=True)
    apart = max(abs(a[word] - b[word]) for a, b in pairs for word in ("yes", "no"))
    return {f"answers/s, {name}": len(prompts) / s for name, s in seconds.items()} | {
        "shared against not shared": seconds["not shared"] / seconds["shared"],
        "largest difference of a log-probability": apart,
    }


FILL = """
import math, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from annotation import Scripted, grid, asking
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.client import ask; from descry.annotators.counts import Tally
with PromptCache(Path({folder!r})) as cache:
    for slab in ask(asking(cache, replay={replay}), Scripted(), grid({answers}), len, Tally()):
        pass
"""


class Scripted:
    """An annotator that costs nothing, for the cache's own speed."""

    frame = ("", "")
    server = price = None
    packages = ()
    quantization = None

    @property
    def identity(self):  # noqa: ANN201
        from descry.annotators.base import Identity

        return Identity("scripted", "scripted", "0" * 40, "float32", "{}")

    def answer(self, prompts, wanted):  # noqa: ANN001, ANN201
        from descry.annotators.base import Answer

        for start in range(0, len(wanted), 512):
            rows = sorted(wanted)[start : start + 512]
            yield [
                (i, Answer({"yes": -0.1 - i / 1e6, "no": -2.3, "rest": -4.6}, (130, 1)))
                for i in rows
            ]


def asking(cache, replay: bool):  # noqa: ANN001, ANN201
    from descry.annotators.client import AskOptions

    return AskOptions("benchmark", cache, 0.0, replay, lambda *_: None)


def grid(answers: int):  # noqa: ANN201
    """Prompts about sentences of the real mean length, 26 a sentence."""
    names = [f"descriptor {i}" for i in range(26)]
    sentences = [f"{i} " + "a word of some length " * 20 for i in range(-(-answers // 26))]
    return p2(sentences, names)


def measured(script: str) -> tuple[float, float]:
    """Seconds and peak memory (GB) of a script in a process of its own."""
    before = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", script])
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, script
    return time.perf_counter() - before, usage.ru_maxrss / 2**20


def cache(answers: int) -> Figures:
    """Store, replay, export and import, at half the answers and at all: linear or not."""
    here, found = str(Path(__file__).parent), {}
    for part, size in (("half", answers // 2), ("all", answers)):
        with tempfile.TemporaryDirectory(prefix="descry-benchmark-") as scratch:
            folder, copy, out = f"{scratch}/cache", f"{scratch}/copy", f"{scratch}/answers"
            fill = {"here": here, "folder": folder, "answers": size}
            steps = {
                "store": FILL.format(replay=False, **fill),
                "replay": FILL.format(replay=True, **fill),
                "export": "from pathlib import Path\n"
                "from descry.annotators.prompt_cache.store import PromptCache\n"
                "from descry.annotators.prompt_cache.jsonl import export\n"
                f"with PromptCache(Path({folder!r})) as c: export(c, Path({out!r}))",
                "import": "from pathlib import Path\n"
                "from descry.annotators.prompt_cache.store import PromptCache\n"
                "from descry.annotators.prompt_cache.jsonl import load\n"
                f"with PromptCache(Path({copy!r})) as c: assert not load(c, [Path({out!r})])[1]",
            }
            for step, script in steps.items():
                seconds, peak = measured(script)
                found[f"{step}, {part}: s"], found[f"{step}, {part}: GB"] = seconds, peak
                print(f"{step} of {size}: {seconds:.1f} s", file=sys.stderr, flush=True)
            found[f"export, {part}: MB"] = sum(f.stat().st_size for f in Path(out).iterdir()) / 1e6
            found[f"database, {part}: MB"] = Path(folder, "cache.db").stat().st_size / 1e6
    return {"answers": float(answers)} | found


def xxl(source: list[str], sentences: int, rounds: int, batch_tokens: int) -> Figures:
    """FLAN-T5-XXL's shape in bfloat16 on an accelerator."""
    texts = source[:sentences]
    import torch

    from descry.annotators.huggingface.model import Loaded
    from descry.annotators.huggingface.seq2seq import Seq2Seq

    if not torch.cuda.is_available():
        raise SystemExit("xxl: no accelerator on this machine")
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    rates = []
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(20):
            a @ a
        torch.cuda.synchronize()
        rates.append(20 * 2 * 8192**3 / (time.perf_counter() - start))
    peak = statistics.median(rates)
    tokenizer = tokenizer_of(source, 8000)
    model = t5("xxl", "cuda", "bfloat16")
    loaded = Loaded(tokenizer, model, batch_tokens)
    prompts = list(p2(texts, NAMES))
    ids = tokenizer([prompt.text for prompt in prompts])["input_ids"]
    words = tuple(tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in ("Yes", "No"))

    def ours() -> None:
        said(Seq2Seq(loaded, words).score(prompts, ids, range(len(prompts))), len(prompts))
        torch.cuda.synchronize()

    ours()  # warm-up
    seconds = statistics.median(timed({"ours": ours}, rounds)["ours"])
    matrices = {
        side: sum(m.weight.numel() for m in part.modules() if isinstance(m, torch.nn.Linear))
        for side, part in (("encoder", model.encoder), ("decoder", model.decoder))
    }
    tokens = sum(map(len, ids))
    # Two operations a weight and token; the decoder runs for one token, but its cross-attention
    # reads keys and values of every encoder token; the attention's own products come on top.
    cross = sum(
        layer.layer[1].EncDecAttention.k.weight.numel() * 2 for layer in model.decoder.block
    )
    work = 2 * (matrices["encoder"] + cross) * tokens
    work += 2 * (matrices["decoder"] - cross) * len(prompts)
    work += sum(4 * len(i) ** 2 * 64 * 64 * 24 for i in ids)
    speed = len(prompts) / seconds
    return {
        "matrix rate, TFLOP/s": peak / 1e12,
        "answers/s": speed,
        "tokens/s": tokens / seconds,
        "share of the matrix rate": work / seconds / peak,
        "hours for 2.26 million answers": PAPER / speed / 3600,
        "peak GB": torch.cuda.max_memory_allocated() / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=["seq2seq", "causal", "cache", "xxl"])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--reviews", type=Path, default=ROOT / "data/sample")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--answers", type=int, default=PAPER, help="of the cache's part")
    arguments = parser.parse_args()
    # The tokenizer learns from many reviews and the question: it cuts them as a real one would.
    source = reviews(arguments.reviews, 5000)
    how = source, arguments.sentences, arguments.rounds, arguments.batch_tokens
    parts = {
        "seq2seq": lambda: seq2seq(*how),
        "causal": lambda: causal(*how),
        "cache": lambda: cache(arguments.answers),
        "xxl": lambda: xxl(*how),
    }
    figures = {part: parts[part]() for part in arguments.parts}
    report(figures, arguments.sentences, arguments.json)


def report(figures: dict[str, dict[str, float]], sentences: int, json_file: Path | None) -> None:
    """Print the figures of each part, and write them where that is wanted."""
    table = Table("part", "what", "figure")
    for part, found in figures.items():
        for what, value in found.items():
            table.add_row(part, what, f"{value:,.3f}")
    Console().print(table)
    if json_file:
        machine = {"cores": os.cpu_count(), "system": platform.platform()}
        told = {"machine": machine, "sentences": sentences, "figures": figures}
        json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
