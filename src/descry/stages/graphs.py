"""Stage graphs: what neurons respond to, as graphs of tokens (N2G) -> graphs.parquet."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from descry.activations.store import refuse_another
from descry.errors import InputError
from descry.io.csv_rows import write_csv
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5, writing_hdf5
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Seed, Share, crossed
from descry.io.sharding import WHOLE, Shard
from descry.models.checkpoints import Checkpoint, quantized
from descry.models.dictionaries.dictionary import Dictionary
from descry.models.hooked_model import HookedModel
from descry.models.neurons import Neurons, choose
from descry.models.spec import Model, NeuronNames, Site
from descry.n2g.augment import Augmenter
from descry.n2g.batching import Prompt
from descry.n2g.build import Place, firing_rows, make_records, make_weighted, of_layers
from descry.n2g.checkpoint import Unfinished
from descry.n2g.explain import Settings
from descry.n2g.layer_model import LayerNeurons
from descry.n2g.substitutes import make_augmenter
from descry.n2g.tables import COLUMNS, Record, layer_rows, read_records, write_records
from descry.n2g.texts import BLOCK, Sentences
from descry.n2g.top_texts import leading_rows, token_activations

if TYPE_CHECKING:  # not its code: an edit of that stage is none of this one
    from descry.stages.activations import Activations

PACKAGES = ["h5py", "numpy", "pyarrow", "tokenizers", "torch", "transformers"]
_TARGET = {"site", "layers", "dtype", "device", "max_tokens", "sinks"}
TEXTS = "row"  # dataset: rows of the sentences that excite each neuron most
Progress = Callable[[str, int, int], None]
Group = dict[int, Place]  # neurons that are worked on together, by their place among the chosen


class Graphs(Section):
    """Graphs of what neurons respond to: N2G (Foote et al. 2023)."""

    method: Literal["weighted", "published"]
    site: Site | None
    neurons: NeuronNames | Seed | None
    seed: Seed
    position: Literal["tokens", "cls", "last", "mean", "max"]
    bos: bool
    texts: Count
    train: Count
    sampled: Count
    paths: Count
    keys: Annotated[float, Field(gt=0, le=1)]
    drop: Annotated[float, Field(ge=0, lt=1)]
    step: Count
    until: Count | None
    following: Annotated[int, Field(ge=0)]
    augment: Literal["embeddings"] | Model | None
    substituted: Share
    substitutes: Count
    probability: Share
    importance: Share
    activation: Annotated[float, Field(ge=0, lt=1)]
    confirmed: bool
    firing: Annotated[float, Field(gt=0, le=1)]
    max_gap: Annotated[int, Field(ge=0)]
    together: Count

    @model_validator(mode="after")
    def _train_and_texts(self) -> Self:
        if self.train > self.texts:
            raise crossed(f"graphs.train {self.train} is more than graphs.texts {self.texts}")
        if self.method == "weighted" and self.position != "tokens":
            raise crossed(
                f"graphs.position {self.position} needs graphs.method published: weights belong to"
                " tokens"
            )
        return self

    @property
    def used_augment(self) -> Literal["embeddings"] | Model | None:
        """Where other words come from; weighted graphs have none."""
        return self.augment if self.method == "published" else None

    @property
    def settings(self) -> Settings:
        """The numbers of the algorithm."""
        return Settings(**self.model_dump(include={field.name for field in fields(Settings)}))


def graph_neurons(
    params: Graphs,
    extraction: "Activations",
    *,
    corpus: Path,
    parts: Sequence[Path] = (),
    graphs: Path,
    scores: Path | None = None,
    shard: Shard = WHOLE,
    progress: Progress,
) -> dict[str, int]:
    """Write graphs.parquet, and a CSV of mean scores; resumes a killed run.

    Shard 0 writes which texts excite the neurons. Shards 1..n read that file as their part and
    write the graphs of their neurons. A run without a shard merges them.

    Args:
        params: with 0 neurons, the files have no row.
        extraction: the model, its site, layers and batches.
        scores: the CSV; None for a shard.
        shard, parts: as said above.

    Raises:
        InputError: the model has no such neuron, site or mask; or an unfinished run had other
        inputs
            or parameters.
    """
    if params.neurons == 0:
        made = provenance("graphs", params.model_dump(), [], PACKAGES)
        return _write(graphs, scores, [], made)
    checkpoint = Checkpoint(**extraction.target.model_dump())
    batch_tokens, settings = extraction.batch_tokens, params.settings
    site = params.site or extraction.site
    told = extraction.model_dump(include=_TARGET) | {"site": site}
    dictionary = _dictionary(params, extraction)
    target = HookedModel(checkpoint, position=params.position, dictionary=dictionary, **told)
    recorded = {"graphs": params.model_dump(), "activations": extraction.model_dump()}
    made = provenance("graphs", recorded, [corpus], PACKAGES) | {
        "weights": checkpoint.weights,
        **quantized(checkpoint),
        "substitutes": _weights(params.used_augment),
        "tokenizer": target.tokenizer_sha256,
        "site": site,
        "position": params.position,
        "method": params.method,
        "layers": target.layers,
        "neurons": target.neurons,
        **({"dictionary": dictionary.record(target.coders)} if dictionary else {}),
    }
    how = params.used_augment
    told_of = how.model_dump() if isinstance(how, Model) else how
    augmenter = make_augmenter(told_of, target, settings, batch_tokens)
    every = Neurons(tuple(target.layers), target.neurons)
    chosen = sorted(set(choose(params.neurons, every, params.seed)))
    subjects = {
        row: LayerNeurons(
            of_layers(target, [target.layers[row]]), bos=params.bos, batch_tokens=batch_tokens
        )
        for row in sorted({row for row, _ in chosen})
    }
    if parts and shard == WHOLE:
        return _write(graphs, scores, _gathered(parts, made), made)
    job = _Job(corpus, target, subjects, params, augmenter, progress)
    if shard.first:
        with writing_hdf5(graphs, made) as file:
            file.create_dataset(TEXTS, data=job.leading(chosen))
        return {"neurons": len(chosen)}
    unfinished = Unfinished(graphs, made)
    leading = _texts(parts[0], made) if parts else unfinished.texts(partial(job.leading, chosen))
    by_layer = params.method == "published"
    groups = _groups(chosen, params.together, by_layer)[shard.index :: shard.number]
    records = job.records(unfinished, leading, groups)
    counts = _write(graphs, scores, job.with_firing(records), made)
    unfinished.clear()
    return counts | {"sentences cut": job.sentences.cut}


def _dictionary(params: Graphs, extraction: "Activations") -> Dictionary | None:
    """Whose latents have graphs: the activations', unless graphs have a site of their own."""
    pinned = extraction.dictionary if params.site is None else None
    return Dictionary(**pinned.model_dump()) if pinned else None


def _write(
    output: Path, scores: Path | None, records: Sequence[Record], made: JSON
) -> dict[str, int]:
    write_records(output, records, made)
    if scores:
        write_csv(scores, layer_rows(records), COLUMNS)
    return {"neurons": len(records), "with a path": sum(bool(r.graph.drawn) for r in records)}


def _texts(path: Path, made: JSON) -> np.ndarray:
    """The rows of each neuron's texts, as the shard before the first selected them."""
    refuse_another(path, made)
    with reading_hdf5(path, "graphs") as file:
        return np.asarray(file[TEXTS][:])


def _gathered(parts: Sequence[Path], made: JSON) -> list[Record]:
    """The records of all shards, in the order of layers and neurons."""
    found: list[Record] = []
    for path in parts:
        records, own = read_records(path)
        if own != made:
            raise InputError(f"{path}: of other inputs or params: remove it and run again")
        found += records
    return sorted(found, key=lambda record: (record.layer, record.graph.neuron))


def _weights(augment: str | Model | None) -> str | None:
    """The hash of the masked language model's weights, where substitutes come from one."""
    return Checkpoint(**augment.model_dump()).weights if isinstance(augment, Model) else None


@dataclass(frozen=True)
class _Job:
    """The neurons of some layers, and the corpus.

    Attributes:
        subjects: by the layer's row in the target's layers.
        kept: the activations at the tokens of each text, where they are known.
    """

    corpus: Path
    target: HookedModel
    subjects: dict[int, LayerNeurons]
    params: Graphs
    augmenter: Augmenter | None
    progress: Progress
    kept: dict[Prompt, np.ndarray] = field(default_factory=dict)

    @cached_property
    def sentences(self) -> Sentences:
        """All of the corpus, cut where a subject reads no further."""
        limit = min(subject.limit for subject in self.subjects.values())
        return Sentences(self.corpus, self.target.tokenizer, limit)

    def records(
        self, unfinished: Unfinished, leading: np.ndarray, groups: Sequence[Group]
    ) -> list[Record]:
        """The graphs of groups of neurons."""
        found: list[Record] = []
        total = sum(map(len, groups))
        for number, group in enumerate(groups):
            make = self._published if self.params.method == "published" else self._weighted
            found += unfinished.records(number, partial(make, group, leading))
            self.progress("neurons", len(found), total)
        return found

    def _published(self, group: Group, leading: np.ndarray) -> list[Record]:
        rows = {index: leading[place] for place, (_, index) in group.items()}
        ((layer, _), *_) = group.values()
        subject, texts = self.subjects[layer], self.sentences.texts
        return make_records(subject, rows, texts, self.params.settings, self.augmenter)

    def _weighted(self, group: Group, leading: np.ndarray) -> list[Record]:
        target, places = self._asked(group.values())
        return make_weighted(
            target,
            partial(self._computed, target, places),
            places,
            leading[list(group)],
            self.sampled,
            self.sentences.texts,
            self.params.settings,
            paths=self.params.paths,
            both_sides=self._any.both_sides,
        )

    @cached_property
    def sampled(self) -> np.ndarray:
        """Rows of the sentences that all weighted graphs are made from, ascending."""
        lots = np.random.default_rng(self.params.seed).permutation(self.sentences.number)
        return np.sort(lots[: self.params.sampled])

    @property
    def _any(self) -> LayerNeurons:
        return next(iter(self.subjects.values()))

    @property
    def _around(self) -> tuple[Sequence[int], Sequence[int]]:
        return self._any.before, self._any.behind

    def _asked(self, chosen: Iterable[Place]) -> tuple[HookedModel, list[Place]]:
        """The model with the layers of some neurons, and their places in it."""
        some = list(chosen)
        rows = sorted({row for row, _ in some})
        target = of_layers(self.target, [self.target.layers[row] for row in rows])
        return target, [(rows.index(row), index) for row, index in some]

    def leading(self, chosen: Sequence[Place]) -> np.ndarray:
        """The rows of the sentences that excite each neuron most."""
        target, places = self._asked(chosen)
        # A small run's weights are of the same activations: they are not computed again.
        params, number = self.params, self.sentences.number
        again = params.method == "weighted" and number <= params.sampled
        return leading_rows(
            target,
            self._blocks("sentences"),
            self._around,
            places,
            size=params.texts,
            batch_tokens=self._any.batch_tokens,
            kept=self.kept if again and len(chosen) <= params.together else None,
        )

    def _computed(
        self, target: HookedModel, places: Sequence[Place], prompts: Sequence[Prompt]
    ) -> np.ndarray:
        """The activations at all tokens; by the batches of `leading`, for the same digits."""
        found = [np.empty((0, len(places)), dtype=np.float32)]
        for first in range(0, len(prompts), BLOCK):
            block = prompts[first : first + BLOCK]
            if self.kept:
                found += [self.kept[prompt] for prompt in block if prompt]
                continue
            size = self._any.batch_tokens
            found.append(token_activations(target, block, self._around, places, batch_tokens=size))
        return np.concatenate(found)

    def with_firing(self, records: Sequence[Record]) -> list[Record]:
        """The records with where in the corpus their graphs fire."""
        graphs = [record.graph for record in records]
        found = firing_rows(graphs, self._blocks("predictions"), firing=self.params.firing)
        return [replace(record, fires=rows) for record, rows in zip(records, found, strict=True)]

    def _blocks(self, what: str) -> Iterator[list[Prompt]]:
        done = 0
        for block in self.sentences.blocks():
            yield block
            done += len(block)
            self.progress(what, done, self.sentences.number)


def _groups(chosen: Sequence[Place], size: int, by_layer: bool) -> list[Group]:
    """The chosen neurons, up to `size` together, of one layer where that is asked for."""
    layers = groupby(enumerate(chosen), lambda one: one[1][0] if by_layer else None)
    parts = [list(some) for _, some in layers]
    return [dict(some[k : k + size]) for some in parts for k in range(0, len(some), size)]
