"""Are labels right where the answer is known? Neurons that are made to fire on a descriptor.

In a copy of the default model (all-MiniLM-L6-v2) some neurons get other weights. One half of the
sample's sentences, with their gold labels, gives a direction for each descriptor: ridge regression
from the [CLS] vector that goes into a layer's second feed-forward matrix to the label. It is
written into a neuron's row of that matrix:

    new row = (1 - s) * old row + s * direction

for strengths s from 0 (untouched) to 1 (nothing else left), the direction scaled so that the
neuron's mean and deviation stay what they were. The copy is saved, pinned by its hash, and goes
through the real stages on the other half of the sentences: activations, exemplars, label.

A layer is planted in a copy of its own: what stands behind it would see the change, and directions
fitted to the untouched model would not be right there any more. One neuron a descriptor, else two
would be the same one at full strength.

Only half the sentences go through, so that by default a set is twice the share of them: as large as
in a run on the whole sample.

What annotates does so once, as that does not depend on the model: the embedded annotator, and the
gold labels themselves, an annotator without errors. By annotator, rule and strength it counts:

    P@1     the strongest label is the planted one, of all planted neurons (none counts as wrong)
    labelled P@1   the same, of those that have a label
    recall  the planted one is among the labels, of all planted neurons
    labels  of a planted neuron, and as AUROC how well it fires on its descriptor

A direction that does not carry over to new sentences plants nothing. Descriptors that can be read
off a layer (AUROC of at least --readable, cross-validated within the half that directions are
fitted on) are counted apart.

The nulls are the neurons of a copy with random weights: how many of them, and of their pairs with
a descriptor, get a label. Their activations are also permuted over all sentences, which leaves
nothing to find; among sentences of about one length, which leaves what length does; and within a
product category, which leaves what categories do.

    python benchmarks/planted.py --json out.json
    python benchmarks/planted.py --layers 5 --strengths 0,1 --neurons 10 --sentences 900
"""

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import h5py
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from descry.activations.store import DATA
from descry.annotators.annotations import writing_annotations
from descry.corpus.splits import CALIBRATION
from descry.evaluation.agreement import auroc
from descry.evaluation.gold import read_gold
from descry.io.json_files import write_json
from descry.io.parquet import read_table, write_table
from descry.io.provenance import provenance, versions
from descry.labels.assignment import ranks
from descry.labels.results import Labels, read_labels
from descry.labels.rules import RuleName
from descry.models.batching import quiet
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256
from descry.stages.activations import Activations, extract_activations
from descry.stages.annotate import Annotate, annotate_sentences
from descry.stages.corpus import Corpus, build_corpus
from descry.stages.exemplars import Exemplars, select_exemplars
from descry.stages.label import Label, label_neurons
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent
SAMPLE, GOLD, PARAMS = ROOT / "data/sample", ROOT / "data/gold.jsonl", ROOT / "params.yaml"
CATEGORIES = 18  # of the sample
RULES: tuple[RuleName, ...] = ("composition", "enrichment")
BY_GOLD, BY_EMBEDDED = "gold", "embedded"
NULLS = (
    "random weights",
    "permuted",
    "permuted among like length",
    "permuted within category",
)
FEWEST = 10  # sentences with a descriptor in the half for fitting, below which it is left out
PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03)  # per sentence, on features of mean squared norm 1
FOLDS = 5
NOMINAL = 0.01
LENGTHS = 20  # groups of like length, of equal size

JSON = dict[str, Any]


class Share(NamedTuple):
    """A share with Wilson's 95% interval; NaN of nothing."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "" if np.isnan(self.value) else f"{self.value:.3f} ({self.low:.2f}-{self.high:.2f})"


def share(part: int, whole: int) -> Share:
    """So many of so many."""
    from scipy.stats import binomtest

    if not whole:
        return Share(np.nan, np.nan, np.nan)
    found = binomtest(part, whole).proportion_ci(method="wilson")
    return Share(part / whole, float(found.low), float(found.high))


# Sentences, gold labels and annotations


def sections(top_percent: float | None = None, per_category: int | None = None) -> JSON:
    """The sections of the shipped params, on one processor, with what is given changed.

    Half the sentences go through: by default a set is twice the share of them, and so as large as
    it is in a run on all.
    """
    found: JSON = load(PARAMS).model_dump()
    del found["corpus"]["reviews"]
    found["activations"]["device"] = "cpu"
    found["label"]["compose"] = 0  # composed labels are not looked at
    found["exemplars"]["top_percent"] = top_percent or 2 * found["exemplars"]["top_percent"]
    if per_category is not None:
        found["corpus"]["per_category"] = per_category
    return found


@dataclass(frozen=True)
class Half:
    """Some of the sample's sentences.

    Attributes:
        corpus: as stage corpus writes it.
        gold: int8 [sentences, descriptors], of all that the gold labels name.
    """

    corpus: Path
    gold: np.ndarray

    def column(self, name: str) -> list[Any]:
        """A column of the corpus."""
        values: list[Any] = read_table(self.corpus, "corpus", [name])[name].to_pylist()
        return values


@dataclass(frozen=True)
class Study:
    """What every copy of the model is measured with.

    Attributes:
        work: a folder for all files.
        params: the sections of params.
        fitting: the half that directions are fitted on.
        held: the other one, which goes through the pipeline.
        names: the descriptors, those of the columns of `gold`.
    """

    work: Path
    params: JSON
    fitting: Half
    held: Half
    names: list[str]

    def annotations(self, annotator: str) -> Path:
        """The annotations of the held sentences, made at the first call."""
        path = self.work / f"{annotator}.annotations.h5"
        if not path.exists():
            by = self._by_gold if annotator == BY_GOLD else self._by_embedded
            by(path)
        return path

    def _by_gold(self, path: Path) -> None:
        """The gold labels in the form of annotations."""
        made = provenance("annotate", {"annotator": BY_GOLD}, [self.held.corpus], [])
        gold, ids = self.held.gold, self.held.column("id")
        every, known = np.ones(len(gold), dtype=bool), np.nonzero(gold >= 0)
        with writing_annotations(path, ids, self.names, every, every) as b:
            b.put(*known, gold[known] == 1, np.full(len(known[0]), np.nan))
            b.sign(made, {"name": BY_GOLD}, ["", ""])

    def _by_embedded(self, path: Path) -> None:
        """The answers of the annotator of the shipped params, which knows the names alone."""
        entries = [{"name": name, "phrases": {}} for name in self.names]
        descriptors = self.work / "descriptors.json"
        write_json(descriptors, {"made": {"stage": "cluster"}, "descriptors": entries})
        annotate_sentences(
            Annotate(**self.params["annotate"]),
            corpus=self.held.corpus,
            descriptors=descriptors,
            exemplars=self.work / "none.h5",  # not read where the scope is the corpus
            annotations=path,
            cache_folder=self.work / "cache",
            progress=silent,
        )


def silent(*_: object) -> None:
    """Progress that nobody follows."""


def prepare(work: Path, params: JSON, seed: int) -> Study:
    """Two halves of the sample, drawn by seed; the descriptors that the gold labels name.

    The held half goes through stage corpus once more, which cuts it into halves of its own.
    """
    section = Corpus(**params["corpus"] | {"seed": seed, "reviews": str(SAMPLE)})
    whole, fitting, held = (work / f"{name}.parquet" for name in ("whole", "fitting", "held"))
    build_corpus(section, reviews=[SAMPLE], corpus=whole)
    table = read_table(whole, "corpus")
    first = np.array([half == CALIBRATION for half in table["split"].to_pylist()])
    write_table(fitting, table.filter(first), {"stage": "corpus"})
    reviews = work / "held.jsonl"
    rows = table.filter(~first).select(["text", "category"]).to_pylist()
    reviews.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    build_corpus(section, reviews=[reviews], corpus=held)
    lines = GOLD.read_text(encoding="utf-8").splitlines()
    named = sorted({name for line in lines for name in json.loads(line)["labels"]})
    gold = _gold(fitting, named)
    kept = [i for i in range(len(named)) if (gold[:, i] == 1).sum() >= FEWEST]
    names = [named[i] for i in kept]
    halves = Half(fitting, gold[:, kept]), Half(held, _gold(held, names))
    return Study(work, params, *halves, names)


def _gold(path: Path, names: list[str]) -> np.ndarray:
    """The gold labels of a corpus.

    Raises:
        ValueError: some of its sentences have none.
    """
    gold = read_gold(GOLD, read_table(path, "corpus", ["id"])["id"].to_pylist(), names)
    if (gold < 0).any():
        raise ValueError(f"{GOLD}: no labels for some of the sample's sentences")
    return gold


# Directions, and copies of the model with them


@dataclass(frozen=True)
class Directions:
    """How a layer's descriptors are read off what goes into its second feed-forward matrix.

    Attributes:
        hidden: float64 [sentences, inputs], of the half for fitting.
        rows: float64 [descriptors, inputs].
        auroc: float64 [descriptors], cross-validated within that half.
    """

    hidden: np.ndarray
    rows: np.ndarray
    auroc: np.ndarray

    def best(self, number: int) -> list[int]:
        """The descriptors that are read best, best first."""
        ordered: list[int] = np.argsort(-self.auroc, kind="stable").tolist()
        return ordered[:number]

    def planted(
        self, old: tuple[np.ndarray, float], descriptor: int, strength: float
    ) -> tuple[np.ndarray, float]:
        """A neuron's row and bias with so much of a direction in it.

        What is mixed in has the mean and the deviation that the neuron had over these sentences.
        """
        before = self.hidden @ old[0]
        fires = self.hidden @ self.rows[descriptor]
        direction = self.rows[descriptor] * (before.std() / fires.std())
        shift = before.mean() - (self.hidden @ direction).mean()
        return (1 - strength) * old[0] + strength * direction, old[1] + strength * float(shift)


def directions(hidden: np.ndarray, gold: np.ndarray) -> Directions:
    """Ridge regression of every descriptor; the penalty by its leave-one-out error."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import cross_val_predict

    hidden = hidden.astype(np.float64)
    centred = hidden - hidden.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    truth = (gold == 1).astype(np.float64)
    penalties = np.array(PENALTIES) * len(hidden)
    ridge = RidgeCV(alphas=penalties, alpha_per_target=True)
    guessed = cross_val_predict(ridge, centred, truth, cv=FOLDS)
    found = [auroc(*pair) for pair in zip(guessed.T, (gold == 1).T, strict=True)]
    return Directions(hidden, ridge.fit(centred, truth).coef_, np.array(found))


def read_hidden(study: Study, layers: list[int]) -> dict[int, np.ndarray]:
    """What goes into the second feed-forward matrices: by layer, [fitting sentences, inputs]."""
    path = study.work / "hidden.h5"
    section = study.params["activations"] | {"site": "ffn_hidden", "layers": layers}
    files = {"corpus": study.fitting.corpus, "activations": path}
    extract_activations(Activations(**section), **files, progress=silent)
    with h5py.File(path) as file:
        return {layer: file[DATA][:, place] for place, layer in enumerate(sorted(set(layers)))}


def write_copy(
    folder: Path, layer: int, neurons: dict[int, int], found: Directions, strength: float
) -> dict[str, str]:
    """Write a copy of the default model, and say what params call it.

    Args:
        neurons: the descriptor of each planted neuron of the layer.
    """
    import torch

    model, tokenizer = default_model()
    dense = model.encoder.layer[layer].output.dense
    weight, bias = (part.detach().numpy().astype(np.float64) for part in dense.parameters())
    for neuron, descriptor in neurons.items():
        old = weight[neuron], float(bias[neuron])
        weight[neuron], bias[neuron] = found.planted(old, descriptor, strength)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(weight))
        dense.bias.copy_(torch.from_numpy(bias))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"model": str(folder), "revision": contents_sha256(folder)}


def default_model() -> tuple[Any, Any]:
    """The default model, and its tokenizer."""
    quiet()
    from transformers import AutoModel, AutoTokenizer

    folder = Checkpoint(MINILM, MINILM_COMMIT).folder
    return AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


# The pipeline


def write_exemplars(study: Study, matrix: Path) -> Path:
    """Exemplars of the held sentences, out of their activations."""
    path = matrix.with_suffix(".exemplars.h5")
    section = Exemplars(**study.params["exemplars"])
    files = {"corpus": study.held.corpus, "activations": matrix}
    select_exemplars(section, None, **files, exemplars=path)
    return path


def labels_of(study: Study, sets: Path, annotator: str, rule: RuleName) -> Labels:
    """The label table of some exemplars."""
    names = "labels.parquet", "composed.parquet", "neurons.json"
    label_neurons(
        Label(**study.params["label"] | {"rule": rule}),
        corpus=study.held.corpus,
        exemplars=sets,
        annotations=study.annotations(annotator),
        **{name.partition(".")[0]: study.work / name for name in names},
    )
    return read_labels(study.work / names[0])


def write_activations(study: Study, path: Path, untrained: int | None, **changed: Any) -> Path:
    """Activations of the held sentences."""
    section = Activations(**study.params["activations"] | changed)
    files = {"corpus": study.held.corpus, "activations": path}
    extract_activations(section, **files, progress=silent, untrained=untrained)
    return path


# Planted neurons


@dataclass(frozen=True)
class Planted:
    """What became of a planted neuron under an annotator and a rule.

    Attributes:
        readable: AUROC of the direction within the half for fitting.
        fires: AUROC of the neuron itself on the held half, for its descriptor's gold labels.
        top: its strongest label; None where it has none.
        found: whether the descriptor is among its labels.
        labels: how many it has.
    """

    layer: int
    neuron: int
    descriptor: str
    strength: float
    annotator: str
    rule: str
    readable: float
    fires: float
    top: str | None
    found: bool
    labels: int

    @property
    def right(self) -> bool:
        """Whether its strongest label is the planted one."""
        return self.top == self.descriptor


@dataclass(frozen=True)
class Plan:
    """What is planted, where, and by which annotators and rules it is looked for.

    Attributes:
        neurons: of a layer; None for one a descriptor. Fewer get the best readable descriptors.
    """

    layers: list[int]
    strengths: list[float]
    neurons: int | None
    seed: int
    annotators: tuple[str, ...] = (BY_GOLD, BY_EMBEDDED)
    rules: tuple[RuleName, ...] = RULES


def plant(study: Study, plan: Plan, said: Callable[[str], None]) -> list[Planted]:
    """Plant neurons layer by layer and strength by strength, and label them."""
    hidden = read_hidden(study, plan.layers)
    results = []
    for layer, values in hidden.items():
        found = directions(values, study.fitting.gold)
        chosen = found.best(plan.neurons or len(study.names))
        rng = np.random.default_rng([plan.seed, layer])
        width = default_model()[0].config.hidden_size
        places = rng.permutation(width)[: len(chosen)].tolist()
        neurons = dict(zip(places, chosen, strict=True))
        for strength in plan.strengths:
            said(f"layer {layer}, strength {strength:g}")
            results += _measured(study, plan, layer, neurons, found, strength)
    return results


def _measured(
    study: Study,
    plan: Plan,
    layer: int,
    neurons: dict[int, int],
    found: Directions,
    strength: float,
) -> list[Planted]:
    """One copy of the model through the pipeline."""
    folder = study.work / f"layer{layer}-strength{strength:g}"
    target = write_copy(folder, layer, neurons, found, strength)
    matrix = write_activations(
        study, folder / "activations.h5", None, target=target, layers=[layer]
    )
    with h5py.File(matrix) as file:
        fires = {
            neuron: auroc(file[DATA][:, 0, neuron], study.held.gold[:, descriptor] == 1)
            for neuron, descriptor in neurons.items()
        }
    sets = write_exemplars(study, matrix)
    results = []
    for annotator in plan.annotators:
        for rule in plan.rules:
            answers = Answers(labels_of(study, sets, annotator, rule), rule)
            for neuron, descriptor in neurons.items():
                name, readable = study.names[descriptor], float(found.auroc[descriptor])
                own = answers.of(neuron)
                results.append(
                    Planted(
                        layer=layer,
                        neuron=neuron,
                        descriptor=name,
                        strength=strength,
                        annotator=annotator,
                        rule=rule,
                        readable=readable,
                        fires=fires[neuron],
                        top=own[0] if own else None,
                        found=name in own,
                        labels=len(own),
                    )
                )
    shutil.rmtree(folder)
    return results


@dataclass(frozen=True)
class Answers:
    """The labels of a layer's neurons, strongest first."""

    labels: Labels
    rule: RuleName

    @cached_property
    def _ranks(self) -> np.ndarray:
        split = self.labels.splits["all"]
        # The rate q has ties, p behind it almost none; both fall as a label gets surer.
        return ranks(split.f[0] if self.rule == "composition" else -split.p[0])

    def of(self, neuron: int) -> list[str]:
        """A neuron's labels."""
        own = np.flatnonzero(self.labels.splits["all"].assigned[0, neuron])
        ordered = own[np.argsort(self._ranks[neuron, own])]
        return [self.labels.descriptors[place] for place in ordered]


def summary(planted: Iterable[Planted], readable: float) -> list[JSON]:
    """Shares of the planted neurons by annotator, rule, strength: of all, and of the readable."""
    groups: dict[tuple[str, str, float, str], list[Planted]] = {}
    for one in planted:
        kinds = ["all", *(["readable"] if one.readable >= readable else [])]
        for kind in kinds:
            groups.setdefault((one.annotator, one.rule, one.strength, kind), []).append(one)
    order = sorted(groups, key=lambda key: (key[3], key[0] != BY_GOLD, *key[:3]))
    return [
        dict(zip(("annotator", "rule", "strength", "descriptors"), key, strict=True))
        | shares_of(groups[key])
        for key in order
    ]


def shares_of(planted: list[Planted]) -> JSON:
    """What is said of a group of planted neurons."""
    right, labelled = sum(one.right for one in planted), sum(one.labels > 0 for one in planted)
    return {
        "neurons": len(planted),
        "fires": float(np.nanmean([one.fires for one in planted])),
        "p_at_1": share(right, len(planted)),
        "labelled_p_at_1": share(right, labelled),
        "recall": share(sum(one.found for one in planted), len(planted)),
        "labels": float(np.mean([one.labels for one in planted])),
    }


# Neurons with nothing planted


def nulls(study: Study, plan: Plan, said: Callable[[str], None]) -> list[JSON]:
    """How many labels the neurons of a copy with random weights get.

    The weights are drawn as stage untrained draws them; its matrix is kept, to be permuted.
    """
    matrix = write_activations(study, study.work / "untrained.h5", plan.seed)
    words = np.array([len(text.split()) for text in study.held.column("text")])
    ordered = np.argsort(words, kind="stable")
    like = np.empty(len(words), dtype=np.int64)
    like[ordered] = np.arange(len(words)) * LENGTHS // len(words)
    category = np.unique(study.held.column("category"), return_inverse=True)[1]
    groups = dict(zip(NULLS, (None, np.zeros_like(like), like, category), strict=True))
    rows = []
    for name, within in groups.items():
        said(name)
        sets = write_exemplars(study, _permuted(matrix, within, plan.seed))
        rows += [
            {"neurons": name, "annotator": annotator, "rule": rule}
            | false_labels(labels_of(study, sets, annotator, rule))
            for annotator in plan.annotators
            for rule in plan.rules
        ]
    return rows


def _permuted(matrix: Path, groups: np.ndarray | None, seed: int) -> Path:
    """A copy in which each neuron's activations are permuted within groups of sentences."""
    if groups is None:
        return matrix
    path = matrix.with_name("permuted.h5")
    shutil.copy(matrix, path)
    rng = np.random.default_rng([seed, *b"permuted"])
    with h5py.File(path, "r+") as file:
        values = file[DATA][:]
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            values[rows] = rng.permuted(values[rows], axis=0)
        file[DATA][:] = values
    return path


def false_labels(labels: Labels) -> JSON:
    """The share of pairs of neuron and descriptor that are labels, and of neurons with any.

    Beside them the share of pairs that are enriched at 1% each: without a correction for their
    number, it shows what neurons respond to that is too little for a label.
    """
    split = labels.splits["all"]
    assigned = split.assigned.reshape(len(labels.neurons), -1)
    often = Counter(dict(zip(labels.descriptors, assigned.sum(axis=0).tolist(), strict=True)))
    return {
        "pairs": share(int(assigned.sum()), assigned.size),
        "nominal": share(int((split.p < NOMINAL).sum()), split.p.size),
        "labelled": share(int(assigned.any(axis=1).sum()), len(assigned)),
        "most": {name: number for name, number in often.most_common(2) if number},
    }


# What is said


WIDTH = 150  # of the tables, where they do not go to a terminal
PLANTED_COLUMNS = {
    "annotator": "annotator",
    "rule": "rule",
    "strength": "strength",
    "neurons": "neurons",
    "fires": "AUROC",
    "p_at_1": "P@1",
    "labelled_p_at_1": "labelled P@1",
    "recall": "recall",
    "labels": "labels",
}
NULL_COLUMNS = {
    "neurons": "neurons",
    "annotator": "annotator",
    "rule": "rule",
    "pairs": "pairs labelled",
    "labelled": "neurons labelled",
    "nominal": "pairs with p < 0.01",
    "most": "most often",
}


def show(title: str, rows: list[JSON], columns: dict[str, str]) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    for key, heading in columns.items():
        table.add_column(heading, overflow="fold", no_wrap=key != "most")
    for row in rows:
        table.add_row(*(_shown(row[key]) for key in columns))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return f"{value:.2f}" if type(value) is float else str(value)


def report(planted: list[JSON], false: list[JSON]) -> None:
    """Print all tables."""
    for kind in dict.fromkeys(row["descriptors"] for row in planted):
        rows = [row for row in planted if row["descriptors"] == kind]
        show(f"planted neurons, {kind} descriptors (95% intervals)", rows, PLANTED_COLUMNS)
    show("neurons with random weights, nothing planted", false, NULL_COLUMNS)


def plain(value: Any) -> Any:
    """For JSON: shares as objects, what is undefined as null."""
    if isinstance(value, Share):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def numbers(text: str) -> list[float]:
    """A list such as 0,0.5,1.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text}: write numbers with commas between them") from None


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
    strengths: Annotated[str, typer.Option(help="how much of a row is planted")] = "0,0.25,0.5,1",
    neurons: Annotated[
        int | None, typer.Option(min=1, help="planted in a layer; default one a descriptor")
    ] = None,
    layers: Annotated[str, typer.Option(help="each in a copy of its own")] = "0,1,2,3,4,5",
    seed: Annotated[int, typer.Option(help="draws halves, neurons and random weights")] = 0,
    sentences: Annotated[
        int, typer.Option(min=CATEGORIES, help="of the sample, both halves together")
    ] = 1800,
    top_percent: Annotated[
        float | None, typer.Option(help="default twice that of params.yaml")
    ] = None,
    readable: Annotated[float, typer.Option(help="AUROC from which on one is readable")] = 0.8,
) -> None:
    """Measure how well planted neurons are found, and how often nothing is."""
    start, console = time.monotonic(), Console(stderr=True)
    plan = Plan([int(n) for n in numbers(layers)], numbers(strengths), neurons, seed)
    params = sections(top_percent, sentences // CATEGORIES)
    with tempfile.TemporaryDirectory(prefix="descry-planted-") as work:
        study = prepare(Path(work), params, seed)
        halves = f"{len(study.fitting.gold)} + {len(study.held.gold)} sentences"
        console.print(f"{halves}, {len(study.names)} descriptors")
        planted = plant(study, plan, console.print)
        false = nulls(study, plan, console.print)
    found = summary(planted, readable)
    report(found, false)
    seconds = time.monotonic() - start
    console.print(f"{seconds:.0f} s")
    if json_file:
        options = asdict(plan) | {"sentences": sentences, "readable": readable}
        value = {
            "options": options | {name: params[name] for name in ("exemplars", "label")},
            "versions": versions(["numpy", "scikit-learn", "torch", "transformers"]),
            "seconds": seconds,
            "planted": found,
            "nulls": false,
            "neurons": [asdict(one) for one in planted],
        }
        write_json(json_file, plain(value))


if __name__ == "__main__":
    typer.run(main)
