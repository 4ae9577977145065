"""A language model's explanations of neurons, in delphi's way, beside descry's labels of the same.

    python benchmarks/explanations.py --model FILE.gguf [--results FOLDER] [--neurons 50]
        [--examples 6] [--keep FOLDER] [--json FILE]

Neurons with a label are drawn by seed. Of each the model gets exemplars of the calibration half,
the tokens above 30% of each one's highest activation in marks, in the prompt of delphi's
DefaultExplainer (PyPI: eai-delphi, Paulo et al. 2024), and its answer is read as delphi reads it.
The files are delphi's, and `descry score-explanations` scores them: on sentences of the other half,
by the run's annotator, beside the labels that the calibration half chose.

The model answers greedily through llama.cpp (PyPI: xllamacpp). With --keep a run that was stopped
goes on.
"""

import argparse
import importlib.util
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console

import descry
from descry.activations.exemplar_files import read_exemplars
from descry.annotators.prompt_cache.store import PromptCache
from descry.cli.console.explanations import show_compared_explanations
from descry.corpus.splits import CALIBRATION, draw
from descry.explanations.score import Settings, score_explanations
from descry.exports.target_tokens import TokenValues, target_of, token_values
from descry.io.csv_rows import defined
from descry.io.hashing import JSON
from descry.workflow.params import load

THRESHOLD = 0.3  # of the highest activation, above which delphi marks a token
FAILED = "Explanation could not be parsed."  # as delphi writes it
_EXPLANATION = re.compile(r"\[EXPLANATION\]:\s*(.*)", re.DOTALL)


def delphis_prompt() -> Callable[..., list[dict[str, str]]]:
    """build_prompt of delphi's default explainer; its package itself would import a GPU's."""
    found = importlib.util.find_spec("delphi")
    if found is None or not found.submodule_search_locations:
        sys.exit("install eai-delphi, whose prompt this is")
    folder = Path(next(iter(found.submodule_search_locations))) / "explainers/default"
    package = ModuleType("delphis")
    package.__path__ = [str(folder)]
    sys.modules["delphis"] = package
    return importlib.import_module("delphis.prompt_builder").build_prompt


def marked(read: TokenValues) -> str:
    """A text with its strongest tokens in marks."""
    own = [read.values[place] for place in read.own]
    bound, text, within = THRESHOLD * max(own), "", False
    for place in read.own:
        strong = read.values[place] > bound
        if strong != within:
            text += "<<" if strong else ">>"
            within = strong
        text += read.tokens[place]
    return text + (">>" if within else "")


def explained_by(model: Path, threads: int) -> Callable[[list[dict[str, str]]], str]:
    """What answers messages greedily."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.n_ctx, params.n_parallel, params.verbosity, params.warmup = 4096, 1, -1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)

    def ask(messages: list[dict[str, str]]) -> str:
        found = server.handle_chat_completions(
            {"messages": messages, "temperature": 0.0, "max_tokens": 80}
        )
        return str(found["choices"][0]["message"]["content"])

    return ask


def explain(
    run: Any, names: Sequence[str], folder: Path, model: Path, examples: int, threads: int
) -> JSON:
    """Write delphi's file of each neuron that has none yet."""
    files = {name: folder / _file(name) for name in names}
    names = [name for name in names if not files[name].exists()]
    if not names:  # nor is a server started, which must not end before it is asked something
        return {"seconds_each": None}
    build, half = delphis_prompt(), read_exemplars(run.path("exemplars.h5"), CALIBRATION)
    wanted = [(place := run.neurons.find(name), half[place][:examples].tolist()) for name in names]
    rows = sorted({row for _, some in wanted for row in some if row >= 0})
    texts = {row: run.corpus["text"][row].as_py() for row in rows}
    read = token_values(target_of(run), texts, wanted, 2048)
    answer, seconds = explained_by(model, threads), []
    for name, own in zip(names, read, strict=True):
        shown = "\n".join(f"Example {i}:  {marked(one)}" for i, one in enumerate(own.values(), 1))
        started = time.perf_counter()
        said = answer(build(examples=shown))
        seconds.append(time.perf_counter() - started)
        found = _EXPLANATION.search(said)
        files[name].write_text(json.dumps(found[1].strip() if found else FAILED))
    return {"seconds_each": float(np.mean(seconds))}


def _file(neuron: str) -> str:
    """What delphi calls the file of a neuron."""
    layer, index = neuron.removeprefix("L").split(":")
    return f"layers.{layer}.ffn_output_latent{index}.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--cache", type=Path, default=Path("cache/prompts"))
    parser.add_argument("--neurons", type=int, default=50)
    parser.add_argument("--examples", type=int, default=6)
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    run = descry.open(told.results)
    # Those that the half has labels of, which the explanations stand beside.
    labels = run.label_arrays()
    half = labels.splits[CALIBRATION].assigned.any(axis=2)
    labelled = [run.neurons.name(*place) for place in np.argwhere(half).tolist()]
    names = sorted(labelled, key=lambda name: draw(told.seed, f"explained:{name}"))[: told.neurons]
    spec = load(told.results.parent / "params.yaml").annotate.annotator.model_dump()
    with TemporaryDirectory() as scratch:
        folder = told.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        speed = explain(run, names, folder, told.model, told.examples, told.threads)
        with PromptCache(told.cache) as cache:
            how = Settings(sentences=told.sentences, seed=told.seed)
            found = score_explanations(run, folder, spec, cache=cache, settings=how)
    show_compared_explanations(found)
    for row in found.rows[:5]:
        Console().print(f"{row['neuron']} {row['labels']!r}: {row['explanation']!r}", markup=False)
    if told.json:
        value = {"explained": len(names), "scored": len(found.rows)} | speed
        value |= {"problems": dict(found.foreign.problems), "means": found.means}
        told.json.write_text(json.dumps(defined(value), indent=1) + "\n")


if __name__ == "__main__":
    main()
