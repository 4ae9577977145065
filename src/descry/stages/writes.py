"""Stage writes: the tokens that neurons promote and suppress, beside chance -> writes.parquet."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.exemplar_files import read_exemplars, read_neurons
from descry.activations.top_k import HIGHEST
from descry.corpus.words import WORD
from descry.errors import InputError
from descry.evaluation.reads_and_writes import InCommon, as_word, in_common, words_written
from descry.evaluation.writes import LayerWrites, Lens, Told, layer_writes, writes_table
from descry.io.json_files import read_json
from descry.io.parquet import ROW_GROUP, read_blocks, read_table, row_count, write_table
from descry.io.provenance import provenance
from descry.io.provenance import recorded as recorded_as
from descry.io.read_provenance import provenance_of
from descry.io.section import Count, Section, Seed, Threshold
from descry.models.checkpoints import Checkpoint, quantized
from descry.models.devices import pick_device
from descry.models.dictionaries.dictionary import Dictionary
from descry.models.dictionaries.encoder import written
from descry.models.heads import Headed, NoHeadError, load_headed
from descry.models.hooked_model import HookedModel
from descry.models.neurons import Neurons
from descry.models.unembedding import (
    Unembedding,
    Writers,
    read_unembedding,
    read_writers,
    without_weights,
)
from descry.n2g.token_words import bare

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from descry.stages.activations import Activations  # not its code, as in stage graphs

PACKAGES = ["numpy", "pyarrow", "scipy", "tokenizers", "torch", "transformers"]
_OVERLAP = ("own", "other", "p")
_READ = ("exemplars", "labels")  # where promoted words are looked up
Progress = Callable[[str, int, int], None]


class Writes(Section):
    """What neurons write into the vocabulary (evaluation/writes.py)."""

    enabled: bool
    top: Count
    draws: Count
    fdr: Threshold
    seed: Seed


def find_writes(
    params: Writes,
    extraction: "Activations",
    *,
    corpus: Path,
    descriptors: Path,
    labels: Path,
    exemplars: Path,
    writes: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write a row per neuron: the tokens beyond chance, their numbers, and what it reads of them.

    Columns: layer, neuron; writes, whether q and q_mixed are at most fdr; score, how far the
    furthest token's logit is in deviations of all; score_null, the mean of the neuron's own
    permutations; kurtosis, kurtosis_null; p and q against permutations, p_mixed and q_mixed against
    mixtures of the layer's neurons; of up to `top` tokens each way that are further out than any
    of 95% of the permuted neurons promoted_token, promoted_id, promoted_z, and with suppressed_
    (tokens as the vocabulary writes them); of the promoted words of those that write
    exemplars_own, the mean share of its exemplars that have the word, exemplars_other, that of
    another neuron's, exemplars_p, the share of the layer's neurons with as much; and labels_own,
    labels_other, labels_p of the words in the names and phrases of its labels.

    Where the neurons have no output weights, or the model has no head, the file has no row and says
    why: `undefined` of what made it.

    Raises:
        InputError: files of different runs, or a model that cannot be loaded.
    """
    recorded = {"writes": params.model_dump(), "activations": extraction.model_dump()}
    why, of_site = None, extraction.dictionary is None
    if not params.enabled:
        why = "not enabled (writes.enabled)"
    elif of_site:
        why = without_weights(extraction.site)
    if why is None:
        checkpoint = Checkpoint(**extraction.target.model_dump())
        try:
            headed = load_headed(checkpoint, "float32", "cpu")
            found = writers_of(headed, checkpoint, extraction)
        except NoHeadError as error:
            why = str(error)
    if why is not None:
        made = provenance("writes", recorded, [], PACKAGES) | {"undefined": why}
        write_table(writes, _with_no_row(), made)
        return {"neurons": 0, "why": why}
    neurons, lens = read_neurons(exemplars), found.unembedding
    vectors = found.vectors
    if of_site:
        vectors = [vectors[layer] for layer in neurons.layers if layer < len(vectors)]
    if [len(one) for one in vectors] != [neurons.width] * len(neurons.layers):
        raise InputError(f"{exemplars}: not of the neurons of {checkpoint.name} at this site")
    on_device, layers = Lens(lens.matrix, pick_device(extraction.device)), dict[int, LayerWrites]()
    how = {"top": params.top, "draws": params.draws}
    for layer, own in zip(neurons.layers, vectors, strict=True):
        layers[layer] = layer_writes(own, on_device, **how, seed=[params.seed, layer])
        progress("layers", len(layers), len(vectors))
    read = [corpus, descriptors, labels, exemplars]
    made = provenance("writes", recorded, read, PACKAGES) | {
        "weights": checkpoint.weights,
        **quantized(checkpoint),
        "site": extraction.site,
        "how": lens.how,
        "tokens": len(lens.tokens),
        "bounds": {str(layer): one.bound for layer, one in layers.items()},
    }
    of_label = provenance_of(labels, "label")["inputs"]
    if of_label.get(recorded_as(exemplars)) not in (None, made["inputs"][recorded_as(exemplars)]):
        raise InputError(
            f"{labels}: made of another {exemplars.name}: run `descry stage label` again"
        )
    words = _Words(corpus, descriptors, labels, exemplars, neurons)
    table = _with_words(writes_table(layers, lens, params.fdr), words)
    write_table(writes, table, made)
    return _counts(params, table)


def writers_of(headed: Headed, checkpoint: Checkpoint, extraction: "Activations") -> Writers:
    """The output weights of every layer's neurons; of a dictionary, of the layers that it has."""
    if extraction.dictionary is None:
        return read_writers(headed, extraction.site)
    told: dict[str, Any] = extraction.model_dump(include={"site", "layers", "max_tokens"})
    dictionary = Dictionary(**extraction.dictionary.model_dump())
    told |= {"position": "tokens", "dtype": "float32", "device": "cpu"}
    hooked = HookedModel(checkpoint, **told, dictionary=dictionary)
    hooked.remove_hooks()
    return Writers([written(coder) for coder in hooked.coders.values()], read_unembedding(headed))


def _with_no_row() -> pa.Table:
    """The table of no neuron."""
    none = np.empty((0, 1), dtype=np.float32)
    one = none[:, 0]
    nobody = LayerWrites(Told(none, none, none, none), one, one, one, one, one, 0.0)
    unread = Unembedding(none, [], np.empty(0, dtype=np.int64), "")
    table = writes_table({0: nobody}, unread, 0.5)
    for name in (f"{what}_{name}" for what in _READ for name in _OVERLAP):
        table = table.append_column(name, pa.array([], pa.float64()))
    return table


def _with_words(table: pa.Table, words: "_Words") -> pa.Table:
    """The table with what the neurons that write have in common with what they read."""
    neurons = words.neurons
    promoted = table["promoted_token"].to_pylist()
    said = [
        [bare(token) for token in own] if writes else []
        for own, writes in zip(promoted, table["writes"].to_pylist(), strict=True)
    ]
    found = [
        words.in_common(row, said[row * neurons.width : (row + 1) * neurons.width])
        for row in range(len(neurons.layers))
    ]
    for what in _READ:
        for name in _OVERLAP:
            values = np.concatenate([getattr(one[what], name) for one in found])
            table = table.append_column(f"{what}_{name}", pa.array(values, from_pandas=True))
    return table


class _Words:
    """What the neurons read: the words of their exemplars, and of their labels."""

    def __init__(
        self, corpus: Path, descriptors: Path, labels: Path, exemplars: Path, neurons: Neurons
    ) -> None:
        self.sets = read_exemplars(exemplars, "all", HIGHEST)
        if self.sets.max(initial=-1) >= row_count(corpus, "corpus"):
            raise InputError(f"{exemplars}: made of another {corpus.name}")
        self.rows = np.unique(self.sets[self.sets >= 0])
        entries = read_json(descriptors, "cluster")["descriptors"]
        phrases = {entry["name"]: [entry["name"], *entry["phrases"]] for entry in entries}
        in_phrases = {name: _words(own) for name, own in phrases.items()}
        of_texts, numbers = _numbered(corpus, self.rows)
        every = set(numbers).union(*in_phrases.values())
        self.columns = {word: column for column, word in enumerate(sorted(every))}
        places = np.array([self.columns[word] for word in numbers], dtype=np.int64)
        self.texts = _matrix([places[own] for own in of_texts], len(self.columns))
        assigned = (
            (pc.field("end") == HIGHEST) & (pc.field("split") == "all") & pc.field("assigned")
        )
        self.neurons = neurons
        self.labels = {
            layer: [set[str]() for _ in range(neurons.width)] for layer in neurons.layers
        }
        columns = ["layer", "neuron", "descriptor"]
        for one in read_table(labels, "label", columns, assigned).to_pylist():
            layer, index, name = (one[column] for column in columns)
            for known, other in (
                (layer in self.labels, exemplars),
                (name in in_phrases, descriptors),
            ):
                if not known:
                    raise InputError(f"{labels}: not of {other}: run `descry stage label` again")
            self.labels[layer][index] |= in_phrases[name]

    def in_common(self, row: int, promoted: Sequence[Sequence[str]]) -> dict[str, InCommon]:
        """What the neurons of a layer's row write and read."""
        written = words_written(promoted, self.columns)
        writes = np.array([any(map(as_word, own)) for own in promoted])
        own = self.labels[self.neurons.layers[row]]
        labels = _marked(own, self.columns)
        return {
            "exemplars": in_common(written, self._read(row), writes),
            "labels": in_common(written, labels, writes),
        }

    def _read(self, row: int) -> "csr_matrix":
        """The share of each neuron's exemplars that have a word: float [neurons, words]."""
        from scipy.sparse import csr_matrix

        sets = self.sets[row]
        own, place = np.nonzero(sets >= 0)
        size = np.maximum((sets >= 0).sum(axis=1), 1)
        shares = csr_matrix(
            (1 / size[own], (own, np.searchsorted(self.rows, sets[own, place]))),
            shape=(len(sets), len(self.rows)),
        )
        return shares @ self.texts


def _words(texts: Sequence[str]) -> set[str]:
    return {word for text in texts for word in map(as_word, WORD.findall(text)) if word}


def _numbered(corpus: Path, rows: np.ndarray) -> tuple[list[np.ndarray], dict[str, int]]:
    """The words of some sentences as numbers, and the number of each word of the corpus.

    A block of texts is held at a time.

    Args:
        rows: of the sentences, int, ascending.
    """
    numbers: dict[str, int] = {}
    found, start = [], 0
    for block in read_blocks(corpus, "corpus", ["text"], ROW_GROUP):
        first, last = np.searchsorted(rows, [start, start + len(block)])
        wanted = set((rows[first:last] - start).tolist())
        for row, text in enumerate(block["text"].to_pylist()):
            own = [numbers.setdefault(word, len(numbers)) for word in _words([text])]
            if row in wanted:
                found.append(np.array(own, dtype=np.int32))
        start += len(block)
    return found, numbers


def _marked(words: Sequence[set[str]], columns: dict[str, int]) -> "csr_matrix":
    """Which words each thing has: float [things, words]."""
    places = [np.array([columns[word] for word in own], dtype=np.int64) for own in words]
    return _matrix(places, len(columns))


def _matrix(places: list[np.ndarray], columns: int) -> "csr_matrix":
    """Ones in some columns of each row: float [rows, columns]."""
    from scipy.sparse import csr_matrix

    ends = np.cumsum([0, *map(len, places)])
    flat = np.concatenate([np.zeros(0, dtype=np.int64), *places])
    found = csr_matrix((np.ones(len(flat)), flat, ends), shape=(len(places), columns))
    found.sort_indices()
    return found


def _counts(params: Writes, table: pa.Table) -> dict[str, Any]:
    """What the terminal shows."""
    beyond = pc.fill_null(pc.less_equal(table["q"], params.fdr), False)
    counts: dict[str, Any] = {"neurons": len(table), "write": pc.sum(table["writes"]).as_py()}
    counts["beyond permutations alone"] = pc.sum(beyond).as_py()
    counts["without weights"] = table["p"].null_count
    for what in _READ:
        own, other = (pc.mean(table[f"{what}_{name}"]).as_py() for name in ("own", "other"))
        if own is not None:
            counts[f"promoted words in {what} (another neuron's)"] = f"{own:.3f} ({other:.3f})"
    return counts
