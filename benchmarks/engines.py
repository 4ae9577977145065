"""A GGUF file by llama.cpp beside the transformers library: do both say the same, and how fast.

    python benchmarks/engines.py --model FILE.gguf [--results FOLDER] [--sentences 20]
        [--descriptors 5] [--json FILE]

p2 about sentences of a run, drawn by seed, and its first descriptors. Needs xllamacpp.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import descry
from descry.annotators.base import Annotator
from descry.annotators.factory import create
from descry.annotators.prompts import Prompts, p2
from descry.corpus.splits import draw
from descry.io.hashing import JSON
from descry.models.checkpoints import contents_sha256


def asked(annotator: Annotator, prompts: Prompts) -> tuple[np.ndarray, float]:
    """Log-probabilities of Yes and No, float [prompts, 2], and answers a second.

    The first prompt, with which the model is loaded, does not count.
    """
    list(annotator.answer([prompts[0]], {0}))
    every = list(range(len(prompts)))
    started = time.perf_counter()
    found = dict(one for group in annotator.answer(prompts, set(every)) for one in group)
    rate = len(every) / (time.perf_counter() - started)
    answers = [found[row].response for row in every]
    return np.array([[one["yes"], one["no"]] for one in answers]), rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--descriptors", type=int, default=5)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    run = descry.open(told.results)
    texts = sorted(run.corpus["text"].to_pylist(), key=lambda text: draw(0, text))
    prompts = p2(texts[: told.sentences], list(run.descriptors)[: told.descriptors])
    common = {"model": str(told.model), "revision": contents_sha256(told.model)}
    common |= {"max_tokens": 512, "max_new_tokens": 32}
    specs: dict[str, JSON] = {
        "llama_cpp": {"kind": "llama_cpp", "version": version("xllamacpp")},
        "transformers": {
            "kind": "transformers",
            "dtype": "float32",
            "device": "cpu",
            "batch_tokens": 2048,
        },
    }
    found = {name: asked(create(spec | common, "p2"), prompts) for name, spec in specs.items()}
    (ours, fast), (theirs, slow) = found["llama_cpp"], found["transformers"]
    odds = [(of[:, 0] - of[:, 1]) for of in (ours, theirs)]
    value = {
        "prompts": len(prompts),
        "answers_a_second": {"llama_cpp": fast, "transformers": slow},
        "same_answer": float(np.mean((odds[0] > 0) == (odds[1] > 0))),
        "log_odds_apart": {
            "median": float(np.median(np.abs(odds[0] - odds[1]))),
            "most": float(np.abs(odds[0] - odds[1]).max()),
        },
        "correlation": float(np.corrcoef(*odds)[0, 1]),
    }
    print(json.dumps(value, indent=1))
    if told.json:
        told.json.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
