"""Stage graphs: what neurons respond to, as graphs of tokens (N2G) -> graphs.parquet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from descry.labels import Neurons
from descry.models import Checkpoint
from descry.n2g.activate import LayerNeurons
from descry.n2g.augment import Augmenter
from descry.n2g.explain import Settings
from descry.n2g.firing import firing_rows
from descry.n2g.making import Place, make_records, of_layers
from descry.n2g.plans import Prompt
from descry.n2g.records import Record, write_records
from descry.n2g.select import leading_rows
from descry.n2g.sentences import Sentences
from descry.n2g.shards import Shards
from descry.n2g.substitutes import MaskedLanguageModel, NearestWords, speller
from descry.n2g.summary import COLUMNS, layer_rows
from descry.scope import Choice, choose
from descry.storage import provenance
from descry.targets import Position, Target
from descry.tidy import write_csv

PACKAGES = ["h5py", "numpy", "pyarrow", "tokenizers", "torch", "transformers"]
_TARGET = ("site", "layers", "dtype", "device", "max_tokens")
Augment = str | dict[str, Any] | None
Progress = Callable[[str, int, int], None]


def run(
    corpus: Path,
    output: Path,
    scores: Path,
    *,
    section: dict[str, Any],
    extraction: dict[str, Any],
    neurons: Choice,
    seed: int,
    position: Position,
    bos: bool,
    augment: Augment,
    shard: int,
    progress: Progress,
    **numbers: Any,
) -> dict[str, int]:
    """Write graphs.parquet, and a CSV of mean scores; a killed run is gone on with.

    Args:
        extraction: section `activations` of params.yaml: the model, its site, layers and batches.
        neurons: names, how many to draw, or None for all; 0: files without a row.
        position: `tokens`, or where a sentence has its one activation.
        bos: as `LayerNeurons` takes it.
        augment: where substitutes come from: None, `embeddings`, or a masked language model.
        shard: neurons that are worked on together.
        numbers: the other fields of `Settings`.

    Raises:
        InputError: the model has no such neuron, site or mask, or an unfinished run was another.
    """
    if neurons == 0:
        write_records(output, [], provenance("graphs", section, [], PACKAGES))
        write_csv(scores, [], COLUMNS)
        return {"neurons": 0}
    checkpoint, batch_tokens = Checkpoint(**extraction["target"]), extraction["batch_tokens"]
    told = {name: extraction[name] for name in _TARGET}
    target = Target(checkpoint, position=position, **told)
    settings = Settings(seed=seed, **numbers)
    recorded = {"graphs": section, "activations": extraction}
    made = provenance("graphs", recorded, [corpus], PACKAGES) | {
        "weights": checkpoint.weights,
        "substitutes": Checkpoint(**augment).weights if isinstance(augment, dict) else None,
        "tokenizer": target.tokenizer_sha256,
        "site": extraction["site"],
        "position": position,
        "layers": target.layers,
    }
    augmenter = _augmenter(augment, target, settings, batch_tokens)
    chosen = sorted(set(choose(neurons, Neurons(tuple(target.layers), target.neurons), seed)))
    subjects = {
        row: LayerNeurons(
            of_layers(target, [target.layers[row]]), bos=bos, batch_tokens=batch_tokens
        )
        for row in sorted({row for row, _ in chosen})
    }
    job = _Job(corpus, target, subjects, settings, augmenter, progress)
    shards = Shards(output, made)
    records = job.records(shards, chosen, shard)
    write_records(output, job.with_firing(records), made)
    write_csv(scores, layer_rows(records), COLUMNS)
    shards.clear()
    return {"neurons": len(records), "with a path": sum(bool(r.graph.drawn) for r in records)}


def _augmenter(
    augment: Augment, target: Target, settings: Settings, batch_tokens: int
) -> Augmenter | None:
    if augment is None:
        return None
    propose: NearestWords | MaskedLanguageModel
    if isinstance(augment, dict):
        propose = MaskedLanguageModel(
            Checkpoint(**augment),
            number=settings.substitutes,
            probability=settings.probability,
            device=target.device,
            batch_tokens=batch_tokens,
        )
    else:
        matrix = target.model.get_input_embeddings().weight
        propose = NearestWords(target.tokenizer, matrix, number=settings.substitutes)
    return Augmenter(propose, speller(target.tokenizer))


@dataclass(frozen=True)
class _Job:
    """The neurons of some layers, and the corpus.

    Attributes:
        subjects: by the layer's row in the target's layers.
    """

    corpus: Path
    target: Target
    subjects: dict[int, LayerNeurons]
    settings: Settings
    augmenter: Augmenter | None
    progress: Progress

    @cached_property
    def sentences(self) -> Sentences:
        """All of the corpus, cut where a subject reads no further."""
        limit = min(subject.limit for subject in self.subjects.values())
        return Sentences(self.corpus, self.target.tokenizer, limit)

    def records(self, shards: Shards, chosen: Sequence[Place], size: int) -> list[Record]:
        """The graphs of the chosen neurons, `size` of a layer at a time."""
        leading = shards.texts(lambda: self._leading(chosen))
        found: list[Record] = []
        for number, places in enumerate(_parts(chosen, size)):
            rows = {chosen[place][1]: leading[place] for place in places}
            subject = self.subjects[chosen[places[0]][0]]
            found += shards.records(number, partial(self._made, subject, rows))
            self.progress("neurons", len(found), len(chosen))
        return found

    def _made(self, subject: LayerNeurons, leading: dict[int, np.ndarray]) -> list[Record]:
        return make_records(subject, leading, self.sentences, self.settings, self.augmenter)

    def _leading(self, chosen: Sequence[Place]) -> np.ndarray:
        """The rows of the sentences that excite each neuron most."""
        rows = list(self.subjects)
        target = of_layers(self.target, [self.target.layers[row] for row in rows])
        subject = self.subjects[rows[0]]
        return leading_rows(
            target,
            self._blocks("sentences"),
            (subject.before, subject.behind),
            [(rows.index(row), index) for row, index in chosen],
            size=self.settings.texts,
            batch_tokens=subject.batch_tokens,
        )

    def with_firing(self, records: Sequence[Record]) -> list[Record]:
        """The records with where in the corpus their graphs fire."""
        graphs = [record.graph for record in records]
        found = firing_rows(graphs, self._blocks("predictions"), firing=self.settings.firing)
        return [replace(record, fires=rows) for record, rows in zip(records, found, strict=True)]

    def _blocks(self, what: str) -> Iterator[list[Prompt]]:
        done = 0
        for block in self.sentences.blocks():
            yield block
            done += len(block)
            self.progress(what, done, self.sentences.number)


def _parts(chosen: Sequence[Place], size: int) -> list[list[int]]:
    """The places of the neurons in `chosen`, up to `size` of one layer together."""
    layers = [list(some) for _, some in groupby(range(len(chosen)), lambda k: chosen[k][0])]
    return [some[k : k + size] for some in layers for k in range(0, len(some), size)]
