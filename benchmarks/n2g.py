"""How fast graphs are made of neurons, and how well they say where a neuron fires.

The default model's feed-forward neurons over real reviews, 20 texts each, without augmentation;
`published` is the shipped setting, `code` what the public code of the paper does (each fifth length
up to 30), with a path only from tokens that are active in the whole text. CPU-seconds are of the
graphs and their scores alone; finding the texts is a pass over the corpus, whatever the neurons.

`one by one` makes the same graphs with a forward pass for each prompt, as the public codes ask
their models, of a few neurons a layer.

    python benchmarks/n2g.py REVIEWS.jsonl.gz --json out.json
"""

import gzip
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import typer
from activations import Json, Row, Work, folder_for, report

from descry.corpus.splits import HALVES, sentence_id
from descry.io.parquet import write_table
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.hooked_model import HookedModel
from descry.n2g.batching import Prompt
from descry.n2g.build import make_records, of_layers
from descry.n2g.explain import Settings, explain, halves, sample
from descry.n2g.layer_model import LayerNeurons
from descry.n2g.scoring import BASELINES, average
from descry.n2g.texts import Sentences
from descry.n2g.top_texts import leading_rows
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent
SETTINGS: dict[str, dict[str, Any]] = {
    "published": {},
    "code": {"step": 5, "until": 30, "confirmed": True},
}
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class OneByOne:
    """Neurons that are asked about a prompt at a time."""

    def __init__(self, subject: LayerNeurons) -> None:
        self._subject = subject
        self.mask, self.limit = subject.mask, subject.limit
        self.both_sides, self.whole = subject.both_sides, subject.whole

    def __call__(
        self, prompts: Sequence[Prompt], neurons: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        each = zip(prompts, neurons, strict=True)
        return [self._subject([prompt], [some])[0] for prompt, some in each]


@app.command()
def main(
    reviews: Path,
    sentences: int = 3000,
    neurons: int = 20,
    few: int = 2,
    seed: int = 0,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """CPU-seconds a neuron, and firing P, R, F1 of the graphs and of both look-up tables."""
    rows: list[Row] = []
    with folder_for(work) as folder:
        corpus = write_corpus(folder / "corpus.parquet", read_reviews(reviews, sentences))
        target = HookedModel(
            Checkpoint(MINILM, MINILM_COMMIT),
            site="ffn_output",
            position="tokens",
            layers=None,
            dtype="float32",
            device="cpu",
            max_tokens=256,
        )
        lots = np.random.default_rng(seed)
        chosen = [
            sorted(lots.choice(target.neurons, neurons, replace=False)) for _ in target.layers
        ]
        for name, changes in SETTINGS.items():
            rows += layers(target, corpus, chosen, settings(changes), name)
        rows += ratios(target, corpus, chosen, few)
    report("n2g", rows, json_file, sentences=sentences, neurons=neurons)


def read_reviews(path: Path, number: int) -> list[str]:
    """The first reviews of 10 to 60 words, each once."""
    found: dict[str, None] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            text = " ".join(json.loads(line)["text"].split())
            if 10 <= len(text.split()) <= 60:
                found[text] = None
            if len(found) == number:
                break
    return list(found)


def write_corpus(path: Path, texts: Sequence[str]) -> Path:
    ids = [sentence_id(text) for text in texts]
    halves = [HALVES[row % 2] for row in range(len(texts))]
    write_table(path, pa.table({"id": ids, "text": list(texts), "split": halves}), {})
    return path


def settings(changes: dict[str, Any]) -> Settings:
    """The shipped numbers, or some others."""
    told = load(ROOT / "params.yaml").graphs.model_dump() | changes
    return Settings(**{name: told[name] for name in Settings.__dataclass_fields__})


def subject_of(target: HookedModel, row: int) -> LayerNeurons:
    return LayerNeurons(of_layers(target, [target.layers[row]]), bos=True, batch_tokens=2048)


def leading(
    target: HookedModel, sentences: Sentences, subject: LayerNeurons, row: int, some: Any
) -> Any:
    """The rows of the texts that excite some neurons of a layer most."""
    found = leading_rows(
        of_layers(target, [target.layers[row]]),
        sentences.blocks(),
        (subject.before, subject.behind),
        [(0, int(index)) for index in some],
        size=20,
        batch_tokens=2048,
    )
    return dict(zip(map(int, some), found, strict=True))


def layers(
    target: HookedModel, corpus: Path, chosen: Sequence[Any], numbers: Settings, name: str
) -> list[Row]:
    """A row a layer, and one over all."""
    rows: list[Row] = []
    every: list[dict[str, Any]] = []
    spent = 0.0
    for row, some in enumerate(chosen):
        subject = subject_of(target, row)
        sentences = Sentences(corpus, target.tokenizer, subject.limit)
        texts = leading(target, sentences, subject, row, some)
        start = time.process_time()
        records = make_records(subject, texts, sentences.texts, numbers, None)
        seconds = time.process_time() - start
        spent += seconds
        every += [record.scores for record in records]
        found = figures([record.scores for record in records])
        rows.append({"settings": name, "layer": str(row), "cpu_s": seconds / len(some)} | found)
        print(f"{name}, layer {row}: {seconds / len(some):.2f} s", file=sys.stderr, flush=True)
    whole = {"settings": name, "layer": "all", "cpu_s": spent / sum(map(len, chosen))}
    return [*rows, whole | figures(every)]


def figures(scores: Sequence[dict[str, Any]]) -> Row:
    """Mean precision, recall and F1 of the graphs, and the F1 of the look-up tables."""
    graph = average([score["graph"] for score in scores])
    found: Row = {"P": graph.precision, "R": graph.recall, "F1": graph.f1, "Pearson": graph.pearson}
    return found | {f"F1 {n}": average([score[n] for score in scores]).f1 for n in BASELINES}


def ratios(target: HookedModel, corpus: Path, chosen: Sequence[Any], few: int) -> list[Row]:
    """The CPU-seconds of one by one, of a few neurons, in those of the batches."""
    numbers, spent = settings({}), {"batched": 0.0, "one by one": 0.0}
    for row, some in enumerate(chosen):
        subject = subject_of(target, row)
        sentences = Sentences(corpus, target.tokenizer, subject.limit)
        texts = {
            neuron: halves(sentences.texts(rows.tolist()), train=10, seed=0)[0]
            for neuron, rows in leading(target, sentences, subject, row, some[:few]).items()
        }
        for name, asked in (("batched", subject), ("one by one", OneByOne(subject))):
            start = time.process_time()
            explain(sample(texts, asked), asked, numbers, None)
            spent[name] += time.process_time() - start
    number = few * len(chosen)
    rows: list[Row] = [
        {"settings": name, "layer": "all", "cpu_s": seconds / number}
        for name, seconds in spent.items()
    ]
    ratio = spent["one by one"] / spent["batched"]
    return [*rows, {"settings": "one by one, times batched", "cpu_s": ratio}]


if __name__ == "__main__":
    app()
