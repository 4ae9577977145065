"""How fast graphs are made of neurons, and how well they say where a neuron fires.

Neurons inside the feed-forward part (ffn_hidden) over real reviews, of the default model or of
another (`--model`), no augmentation. `published` is the algorithm of the paper, 20 texts a neuron,
half of them to make its graph; `code` what the public code of the paper does (each fifth length up
to 30), with a path only from tokens that are active in the whole text; `weighted` the shipped
graphs, from the same ten texts and all others of the corpus. Each is held against the tables of
tokens of its own texts, on the other ten texts, and on texts drawn by lot, which no graph has seen.
CPU-seconds are of the graphs and their scores, for `weighted` with the pass over the texts that
they are made from; finding the texts that excite neurons most is another, whatever the neurons.

`one by one` makes the published graphs with a forward pass for each prompt, as the public codes ask
their models, of a few neurons a layer.

    python benchmarks/n2g.py REVIEWS.jsonl.gz --json out.json
"""

import gzip
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from activations import Json, Row, Work, folder_for, report

from descry.activations.top_k import TopK
from descry.corpus.splits import HALVES, sentence_id
from descry.io.parquet import write_table
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256
from descry.models.hooked_model import HookedModel
from descry.n2g.batching import Prompt
from descry.n2g.build import Place, make_records, make_weighted, of_layers
from descry.n2g.explain import Settings, explain, halves, sample
from descry.n2g.layer_model import LayerNeurons
from descry.n2g.scoring import BASELINES, average, graph_scores
from descry.n2g.texts import Sentences
from descry.n2g.top_texts import token_activations
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
    sentences: int = 10_000,
    drawn: int = 300,
    neurons: int = 10,
    few: int = 0,
    model: str = MINILM,
    site: str = "ffn_hidden",
    layers: Annotated[str | None, typer.Option(help="Such as 0,5,10; all where not given.")] = None,
    dtype: str = "float32",
    seed: int = 0,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """CPU-seconds a neuron, and how well graphs and tables of tokens predict."""
    rows: list[Row] = []
    with folder_for(work) as folder:
        corpus = write_corpus(folder / "corpus.parquet", read_reviews(reviews, sentences))
        target = HookedModel(
            checkpoint_of(model),
            site=site,
            position="tokens",
            layers=None if layers is None else [int(layer) for layer in layers.split(",")],
            dtype=dtype,
            device="cpu",
            max_tokens=256,
        )
        lots = np.random.default_rng(seed)
        chosen = [
            sorted(lots.choice(target.neurons, neurons, replace=False)) for _ in target.layers
        ]
        job = Job.of(target, corpus, chosen, drawn, seed)
        rows += job.weighted()
        for name, changes in SETTINGS.items():
            rows += job.published(name, settings(changes))
        rows += ratios(job, few)
    told = {"model": Path(model).name, "sentences": sentences, "neurons": neurons, "site": site}
    report("n2g", rows, json_file, **told)


def checkpoint_of(model: str) -> Checkpoint:
    """The default model, or a folder or GGUF file of this machine."""
    if model == MINILM:
        return Checkpoint(MINILM, MINILM_COMMIT)
    return Checkpoint(model, contents_sha256(Path(model)))


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


@dataclass(frozen=True)
class Job:
    """Neurons of all layers, and the texts that excite them most.

    Attributes:
        places: of the neurons; leading: int [neurons, 20], rows of their texts.
        known: the neurons' activations at the tokens of each text, by the text.
        lot: rows of texts that no graph is made from.
        pass_s: CPU-seconds that it took to compute the activations.
    """

    target: HookedModel
    sentences: Sentences
    subject: LayerNeurons
    places: list[Place]
    leading: np.ndarray
    known: dict[Prompt, np.ndarray]
    lot: np.ndarray
    pass_s: float

    @classmethod
    def of(
        cls, target: HookedModel, corpus: Path, chosen: Sequence[Any], drawn: int, seed: int
    ) -> "Job":
        subject = subject_of(target, 0)
        sentences = Sentences(corpus, target.tokenizer, subject.limit)
        lot = np.random.default_rng(seed).choice(sentences.number, drawn, replace=False)
        places = [(row, int(index)) for row, some in enumerate(chosen) for index in some]
        prompts = [prompt for block in sentences.blocks() for prompt in block]
        around = subject.before, subject.behind
        start = time.process_time()
        values = token_activations(target, prompts, around, places, batch_tokens=2048)
        seconds = time.process_time() - start
        each = np.split(values, np.cumsum([len(prompt) for prompt in prompts])[:-1])
        leaders = TopK(len(places), 20)
        highest = np.stack([one.max(axis=0, initial=-np.inf) for one in each])
        highest[lot] = -np.inf
        leaders.add(highest, np.arange(len(prompts)))
        known = dict(zip(prompts, each, strict=True))
        top = leaders.finalize()[0]
        return cls(target, sentences, subject, places, top, known, np.sort(lot), seconds)

    def weighted(self) -> list[Row]:
        """Rows of both kinds of held texts."""
        sampled = np.setdiff1d(np.arange(self.sentences.number), self.lot)
        by_lot = np.tile(self.lot, (len(self.places), 1))
        start = time.process_time()
        own = self._weighted(self.leading, sampled, settings({}))
        seconds = time.process_time() - start + self.pass_s
        others = self._weighted(by_lot, sampled, settings({"train": 0}))
        return self._rows("weighted", own, others, [seconds / len(self.places)] * len(own))

    def _weighted(self, leading: np.ndarray, sampled: np.ndarray, numbers: Settings) -> list[Any]:
        records = make_weighted(
            self.target,
            lambda prompts: np.concatenate([self.known[prompt] for prompt in prompts]),
            self.places,
            leading,
            sampled,
            self.sentences.texts,
            numbers,
            paths=load(ROOT / "params.yaml").graphs.paths,
            both_sides=self.subject.both_sides,
        )
        return [record.scores for record in records]

    def published(self, name: str, numbers: Settings) -> list[Row]:
        """Likewise."""
        own, others, seconds = [], [], []
        lot = self.sentences.texts(self.lot.tolist())
        for row in range(len(self.target.layers)):
            subject = subject_of(self.target, row)
            texts = self.texts(row)
            start = time.process_time()
            records = make_records(subject, texts, self.sentences.texts, numbers, None)
            seconds += [(time.process_time() - start) / len(texts)] * len(texts)
            own += [record.scores for record in records]
            known = {
                neuron: halves(self.sentences.texts(some.tolist()), train=10, seed=0)[0]
                for neuron, some in texts.items()
            }
            told = sample(known, subject)
            asked = sample(dict.fromkeys(texts, lot), subject)
            for record in records:
                k = record.graph.neuron
                train, held = ([(t.tokens, v) for t, v in some[k]] for some in (told, asked))
                scores = graph_scores(record.graph, train, held, firing=numbers.firing)
                others.append(scores)
        return self._rows(name, own, others, seconds)

    def texts(self, row: int) -> dict[int, np.ndarray]:
        """The rows of the texts of a layer's neurons."""
        pairs = zip(self.places, self.leading, strict=True)
        return {index: some for (layer, index), some in pairs if layer == row}

    def _rows(
        self, name: str, own: list[Any], others: list[Any], seconds: list[float]
    ) -> list[Row]:
        found: list[Row] = []
        for layer in [*range(len(self.target.layers)), "all"]:
            some = [k for k, (row, _) in enumerate(self.places) if layer in (row, "all")]
            spent = float(np.mean([seconds[k] for k in some]))
            for held, scores in (("leading", own), ("by lot", others)):
                number = layer if isinstance(layer, str) else self.target.layers[layer]
                told = {"graphs": name, "held": held, "layer": str(number), "cpu_s": spent}
                found.append(told | figures([scores[k] for k in some]))
        print(f"{name}: {found[-2:]}", file=sys.stderr, flush=True)
        return found


def figures(scores: Sequence[dict[str, Any]]) -> Row:
    """Mean scores of the graphs, and F1 and correlation of the look-up tables."""
    graph = average([score["graph"] for score in scores])
    found: Row = {"neurons": sum(score["graph"].fires > 0 for score in scores)}
    found |= {"P": graph.precision, "R": graph.recall, "F1": graph.f1, "r": graph.pearson}
    for name in BASELINES:
        table = average([score[name] for score in scores])
        found |= {f"F1 {name}": table.f1, f"r {name}": table.pearson}
    return found


def ratios(job: Job, few: int) -> list[Row]:
    """The CPU-seconds of one by one, of a few neurons, in those of the batches."""
    if not few:
        return []
    numbers, spent = settings({}), {"batched": 0.0, "one by one": 0.0}
    for row in range(len(job.target.layers)):
        subject = subject_of(job.target, row)
        texts = {
            neuron: halves(job.sentences.texts(rows.tolist()), train=10, seed=0)[0]
            for neuron, rows in list(job.texts(row).items())[:few]
        }
        for name, asked in (("batched", subject), ("one by one", OneByOne(subject))):
            start = time.process_time()
            explain(sample(texts, asked), asked, numbers, None)
            spent[name] += time.process_time() - start
    number = few * len(job.target.layers)
    rows: list[Row] = [
        {"graphs": name, "layer": "all", "cpu_s": seconds / number}
        for name, seconds in spent.items()
    ]
    ratio = spent["one by one"] / spent["batched"]
    return [*rows, {"graphs": "one by one, times batched", "cpu_s": ratio}]


if __name__ == "__main__":
    app()
