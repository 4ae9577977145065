"""Stage interventions: what labelled neurons change at the output -> interventions.json, .csv.

The model is loaded, and labels are known: the stage also writes exemplar_words.parquet, top
sentences of the labelled neurons word by word.
"""

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from descry.activations.exemplar_files import read_ends, read_exemplars
from descry.activations.exemplar_words import TABLE, Exemplars, exemplar_words
from descry.activations.word_effects import measure
from descry.annotators.annotations import Annotations, read_annotations
from descry.corpus.splits import CALIBRATION, HALVES, VALIDATION, draw, split_rows
from descry.corpus.units import language, plain_texts
from descry.errors import InputError
from descry.evaluation.effects import (
    Beside,
    Distribution,
    Embedding,
    Outcome,
    Trial,
    beside,
    measured,
    others_like,
    token_spread,
)
from descry.io.csv_rows import Row, defined, write_csv
from descry.io.hashing import JSON
from descry.io.json_files import read_json, write_json
from descry.io.kept import FOLDER, Kept, content
from descry.io.parquet import read_table, table_provenance, write_table
from descry.io.provenance import provenance
from descry.io.provenance import recorded as recorded_path
from descry.io.section import Count, Section, Seed
from descry.labels.results import Labels, read_labels
from descry.models.checkpoints import Checkpoint, quantized
from descry.models.devices import may_have_gpu, pick_device
from descry.models.dictionaries.dictionary import Dictionary
from descry.models.heads import NoHeadError, load_headed
from descry.models.hooked_model import HookedModel
from descry.models.intervention import Edit, editable
from descry.models.spec import NeuronNames
from descry.models.unembedding import output_weights

if TYPE_CHECKING:
    from descry.stages.activations import Activations  # not its code, as in stage graphs

PACKAGES = ["h5py", "numpy", "pyarrow", "tokenizers", "torch", "transformers"]
WAYS = ("ablated", "raised")
KINDS = ("label", "other")  # sentences of the label, and others
MEASURES = ("distance", "towards")
COLUMNS = ["neuron", "descriptor", "intervention", "kind", "sentences"]
COLUMNS += [f"{name}{whose}" for name in MEASURES for whose in ("", "_others")]
_AMONG = 10  # first exemplars of a half whose words may be tried: as many as the explorer shows
_SPREAD = 200  # sentences whose tokens give the neurons' means and deviations
Progress = Callable[[str, int, int], None]


class Interventions(Section):
    """What labelled neurons change at the output (evaluation/effects.py)."""

    enabled: bool
    neurons: NeuronNames | Count | None
    others: Count
    sentences: Annotated[int, Field(ge=2)]
    raised: Annotated[float, Field(gt=0)]
    words: Annotated[int, Field(ge=0)]
    seed: Seed


class _Subject(NamedTuple):
    """A labelled neuron, the others of its layer, and the sentences of each kind (rows)."""

    name: str
    layer: int
    descriptor: str
    indices: list[int]  # its own first
    sentences: dict[str, list[int]]


def intervene(
    params: Interventions,
    extraction: "Activations",
    *,
    corpus: Path,
    descriptors: Path,
    annotations: Path,
    exemplars: Path,
    labels: Path,
    metrics: Path,
    effects: Path,
    words: Path,
    progress: Progress,
    cache_folder: Path | None = None,
) -> dict[str, Any]:
    """Edit neurons, and write what the words of the labelled neurons' top sentences do.

    See `_edit` for `metrics` and `effects`, and `_write_words` for `words`.

    Args:
        cache_folder: of the prompt cache; beside it stays what took long, for another run.

    Raises:
        InputError: files of different runs, or a neuron that does not exist.
    """
    why = None if params.enabled else "not enabled (interventions.enabled)"
    if extraction.dictionary is not None:
        why = "a dictionary's latents are not edited, a site's own neurons are"
    recorded = {"interventions": params.model_dump(), "activations": extraction.model_dump()}
    counts, hooked = {"neurons": 0}, None
    store = Kept(cache_folder and cache_folder.with_name(FOLDER), PACKAGES)
    if why is None:
        paths = corpus, descriptors, annotations, labels
        counts, hooked = _edit(params, extraction, store, *paths, metrics, effects, progress)
    else:
        made = provenance("interventions", recorded, [], PACKAGES)
        write_json(metrics, {"made": made, "undefined": why})
        write_csv(effects, [], COLUMNS)
    return counts | _write_words(
        params, extraction, store, hooked, corpus, exemplars, labels, words, progress
    )


class _Edited(NamedTuple):
    """What was measured, in values of JSON.

    Attributes:
        subjects: the fields of each `_Subject`.
        means: `Means`, as lists.
    """

    subjects: list[list[Any]]
    means: list[Any]
    measures: dict[str, str]


def _edit(
    params: Interventions,
    extraction: "Activations",
    store: Kept,
    corpus: Path,
    descriptors: Path,
    annotations: Path,
    labels: Path,
    metrics: Path,
    effects: Path,
    progress: Progress,
) -> tuple[dict[str, Any], HookedModel | None]:
    """Measure what changes at the output when labelled neurons are set to their mean, or raised.

    Each neuron is tested with the surest label of its calibration half, on sentences of the other
    half: some with the label, and some without. It is compared with other neurons of the layer that
    write about as much and do not have the label. `effects` has a row per neuron, intervention and
    kind of sentences: how many sentences, distance and towards, and the means of the other neurons.
    `metrics` has, for each kind and for their difference, the means over neurons, and the interval
    of how much they are above the other neurons.

    Returns:
        what the terminal shows, and the model if it was loaded.
    """
    recorded = {"interventions": params.model_dump(), "activations": extraction.model_dump()}
    made = provenance(
        "interventions", recorded, [corpus, descriptors, annotations, labels], PACKAGES
    )
    checkpoint = Checkpoint(**extraction.target.model_dump())
    table = read_labels(labels)
    model: list[HookedModel] = []

    def compute() -> JSON:
        found, hooked = _measured(
            params, extraction, table, corpus, descriptors, annotations, progress
        )
        model.append(hooked)
        return found._asdict()

    paths = corpus, descriptors, annotations
    depends = [made["inputs"][recorded_path(path)] for path in paths]
    value = store.value(
        compute, "edits", may_have_gpu(), checkpoint.weights, recorded, depends, content(labels)
    )
    found = _Edited(**value)
    subjects = [_Subject(*one) for one in found.subjects]
    means = np.array(found.means).reshape(-1, len(WAYS), len(KINDS), 2, len(MEASURES))
    made |= {"weights": checkpoint.weights, **quantized(checkpoint)}
    told = _summary(means, params.seed)
    said: JSON = {"made": made, "neurons": len(subjects)}
    said |= {"measures": found.measures}
    write_json(metrics, defined(said | {way: _as_json(of) for way, of in told.items()}))
    write_csv(effects, _rows(subjects, means), COLUMNS)
    return _counts(subjects, told), model[0] if model else None


def _measured(
    params: Interventions,
    extraction: "Activations",
    table: Labels,
    corpus: Path,
    descriptors: Path,
    annotations: Path,
    progress: Progress,
) -> tuple[_Edited, HookedModel]:
    """Choose neurons and sentences, and measure what the edits do."""
    b = read_annotations(annotations)
    sentences = read_table(corpus, "corpus", ["id", "text", "split"])
    texts, ids = plain_texts(sentences["text"].to_pylist(), corpus), sentences["id"].to_pylist()
    if b.ids != ids:
        raise InputError(f"{annotations}: made of another {corpus.name}")
    held = split_rows(sentences["split"].to_pylist())[VALIDATION]
    phrases = {
        entry["name"]: [entry["name"], *entry["phrases"]]
        for entry in read_json(descriptors, "cluster")["descriptors"]
    }
    lots = sorted(held.tolist(), key=lambda row: draw(params.seed, f"spread:{ids[row]}"))
    some = [texts[row] for row in lots[:_SPREAD]]
    checkpoint = Checkpoint(**extraction.target.model_dump())
    hooked, outcome = _loaded(checkpoint, extraction, some)
    mean, deviation = token_spread(hooked, some)
    size = deviation * _lengths(hooked, deviation.shape)
    subjects = _subjects(params, table, b, held, ids, size)
    aims = {one.descriptor: outcome.aim(phrases[one.descriptor]) for one in subjects}
    trials, place = list[Trial](), list[tuple[int, str]]()
    for number, one in enumerate(subjects):
        row = table.neurons.layers.index(one.layer)
        edits = [Edit(one.layer, i, 0.0, float(mean[row, i])) for i in one.indices]
        raised = params.raised * deviation[row]
        edits += [Edit(one.layer, i, 1.0, float(raised[i])) for i in one.indices]
        for kind in KINDS:
            rows = [texts[row] for row in one.sentences[kind]]
            for tokens in hooked.tokenize(rows):
                trials.append(Trial(tokens, edits, aims[one.descriptor]))
                place.append((number, kind))
    with editable(hooked):
        effects = measured(
            outcome, trials, hooked.device, lambda n: progress("sentences", n, len(trials))
        )
    means = _means(subjects, place, effects).tolist()
    measures = {"distance": outcome.distance, "towards": outcome.towards}
    return _Edited([*map(list, subjects)], means, measures), hooked


def _write_words(
    params: Interventions,
    extraction: "Activations",
    store: Kept,
    hooked: HookedModel | None,
    corpus: Path,
    exemplars: Path,
    labels: Path,
    words: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write what the words of top sentences do, of each neuron with a label in the whole corpus.

    Sentences are of the first `_AMONG` exemplars of either half; columns are those of
    `exemplar_words`. With unit `token` there is no row, as an exemplar is itself a token:
    `undefined` of what made the file says so.

    Args:
        hooked: the model, where it is loaded.
    """
    recorded = {"interventions": params.model_dump(), "activations": extraction.model_dump()}
    why = None if params.words else "not asked for (interventions.words)"
    if why is None and extraction.unit == "token":
        why = "an exemplar is itself a token (activations.unit)"
    if why is not None:
        made = provenance("interventions", recorded, [], PACKAGES) | {"undefined": why}
        write_table(words, TABLE.empty_table(), made)
        return {}
    sets = [one for end in read_ends(exemplars) for one in _leading(exemplars, labels, end)]
    checkpoint = Checkpoint(**extraction.target.model_dump())
    how = measure(extraction.position)
    made = provenance("interventions", recorded, [corpus, exemplars, labels], PACKAGES)
    made |= {"weights": checkpoint.weights, **quantized(checkpoint), "measure": how}

    def compute() -> pa.Table:
        model = copy(hooked or _hooked(checkpoint, extraction))
        model.position = extraction.position
        sentences = read_table(corpus, "corpus", ["text"])
        return exemplar_words(
            model,
            plain_texts(sentences["text"].to_pylist(), corpus),
            language(table_provenance(sentences)),
            sets,
            params.words,
            extraction.batch_tokens,
            lambda done, of: progress("sentences word by word", done, of),
        )

    hashed, asked = made["inputs"][recorded_path(corpus)], [list(one) for one in sets]
    found = store.table(
        compute, "words", may_have_gpu(), checkpoint.weights, recorded, hashed, asked
    )
    write_table(words, found, made)
    return {"sentences word by word": len(pc.unique(found["row"]))}


def _leading(exemplars: Path, labels: Path, end: str) -> list[Exemplars]:
    """The first exemplars, of both halves, of the neurons with a label in the whole corpus."""
    sets = [read_exemplars(exemplars, half, end)[:, :, :_AMONG] for half in HALVES]
    labelled = read_labels(labels, end).splits["all"].assigned.any(axis=2)
    first = np.concatenate(sets, axis=2)
    return [
        Exemplars(end, layer, neuron, [row for row in first[layer, neuron].tolist() if row >= 0])
        for layer, neuron in np.argwhere(labelled).tolist()
    ]


def _loaded(
    checkpoint: Checkpoint, extraction: "Activations", some: Sequence[str]
) -> tuple[HookedModel, Outcome]:
    """The model in float32, and what is read at its output."""
    try:
        headed = load_headed(checkpoint, "float32", pick_device(extraction.device))
    except NoHeadError:
        hooked = _hooked(checkpoint, extraction)
        return hooked, Embedding(hooked, some)
    hooked = HookedModel.of(headed.model, headed.tokenizer, **_at_every_token(extraction))
    return hooked, Distribution(hooked, headed.model, headed.masked)


def _hooked(checkpoint: Checkpoint, extraction: "Activations") -> HookedModel:
    pinned = extraction.dictionary
    return HookedModel(
        checkpoint,
        dtype="float32",
        device=extraction.device,
        dictionary=Dictionary(**pinned.model_dump()) if pinned else None,
        **_at_every_token(extraction),
    )


def _at_every_token(extraction: "Activations") -> dict[str, Any]:
    told = extraction.model_dump(include={"site", "layers", "max_tokens", "sinks"})
    return told | {"position": "tokens"}


def _lengths(hooked: HookedModel, shape: tuple[int, ...]) -> np.ndarray:
    """The length of each neuron's output weights, [layers, neurons]; 1 where it has none."""
    found = np.ones(shape)
    paths = hooked.found_site.paths
    if hooked.found_site.input:
        for row, layer in enumerate(hooked.layers):
            # Layers that share a module are as many calls of the one.
            module = hooked.model.get_submodule(paths[min(layer, len(paths) - 1)])
            weights = output_weights(module)
            if weights is not None:
                found[row] = np.linalg.norm(weights, axis=1)
    return found


def _subjects(
    params: Interventions,
    table: Labels,
    b: Annotations,
    held: np.ndarray,
    ids: list[str],
    size: np.ndarray,
) -> list[_Subject]:
    """The neurons that are tried out, layer by layer."""
    half, every = table.splits[CALIBRATION], table.neurons
    labelled = [every.name(*place) for place in np.argwhere(half.assigned.any(axis=2)).tolist()]
    chosen = params.neurons
    if not isinstance(chosen, list):
        chosen = sorted(labelled, key=lambda name: draw(params.seed, f"neuron:{name}"))[:chosen]
    found = []
    for row, index in sorted({every.find(name) for name in chosen}):
        own = np.flatnonzero(half.assigned[row, index])
        if not len(own):
            continue
        column = int(own[np.argmin(np.nan_to_num(half.p[row, index, own], nan=1.0))])
        name, descriptor = every.name(row, index), table.descriptors[column]
        yes, answered = b.yes(descriptor), b.answered(descriptor)
        kinds = {"label": held[yes[held]], "other": held[(answered & ~yes)[held]]}
        sentences = {
            kind: sorted(rows.tolist(), key=lambda one: draw(params.seed, f"{name}:{ids[one]}"))
            for kind, rows in kinds.items()
        }
        lots = [draw(params.seed, f"{name}:{other}") for other in range(every.width)]
        without = ~half.assigned[row, :, column]
        others = others_like(index, size[row], without, params.others, lots)
        some = {kind: rows[: params.sentences] for kind, rows in sentences.items()}
        if others and all(some.values()):
            layer = every.layers[row]
            found.append(_Subject(name, layer, descriptor, [index, *others], some))
    return found


Means = np.ndarray  # float64 [subjects, ways, kinds, whose (own, others), measures]


def _means(
    subjects: Sequence[_Subject], place: Sequence[tuple[int, str]], found: Sequence[np.ndarray]
) -> Means:
    """The mean effects over sentences, of each neuron and of its others."""
    means = np.full((len(subjects), len(WAYS), len(KINDS), 2, len(MEASURES)), np.nan)
    for number in range(len(subjects)):
        for k, kind in enumerate(KINDS):
            own = [one for one, at in zip(found, place, strict=True) if at == (number, kind)]
            over = np.mean(own, axis=0).reshape(len(WAYS), -1, len(MEASURES))
            means[number, :, k, 0] = over[:, 0]
            means[number, :, k, 1] = over[:, 1:].mean(axis=1)
    return means


Told = dict[str, dict[str, dict[str, Beside]]]  # by intervention, kind of sentences and measure


def _summary(means: Means, seed: int) -> Told:
    told: Told = {}
    for w, way in enumerate(WAYS):
        kinds = {kind: means[:, w, k] for k, kind in enumerate(KINDS)}
        kinds["difference"] = kinds["label"] - kinds["other"]
        told[way] = {
            kind: {
                name: beside(values[:, 0, m], values[:, 1, m], seed)
                for m, name in enumerate(MEASURES)
            }
            for kind, values in kinds.items()
        }
    return told


def _as_json(kinds: dict[str, dict[str, Beside]]) -> JSON:
    return {
        kind: {name: one._asdict() | {"verdict": one.verdict} for name, one in found.items()}
        for kind, found in kinds.items()
    }


def _rows(subjects: Sequence[_Subject], means: Means) -> list[Row]:
    rows = []
    for number, one in enumerate(subjects):
        for w, way in enumerate(WAYS):
            for k, kind in enumerate(KINDS):
                said = (one.name, one.descriptor, way, kind, len(one.sentences[kind]))
                values = means[number, w, k].T.ravel()  # of each measure own, then others
                rows.append(dict(zip(COLUMNS, (*said, *values.tolist()), strict=True)))
    return rows


def _counts(subjects: Sequence[_Subject], told: Told) -> dict[str, Any]:
    """What the terminal shows."""
    counts: dict[str, Any] = {"neurons": len(subjects)}
    for way, kinds in told.items():
        for name, one in kinds["label"].items():
            if one.neurons:
                span = f"{one.low:.2g} to {one.high:.2g}"
                counts[f"{way}, sentences of the label: {name} (other neurons; 95% of the gap)"] = (
                    f"{one.value:.2g} ({one.others:.2g}; {span}): {one.verdict}"
                )
    return counts
