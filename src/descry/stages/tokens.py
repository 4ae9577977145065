"""Stage tokens: positions and their sets -> tokens.parquet: the words that a neuron peaks at."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descry.activations.exemplar_files import (
    at_rows,
    exemplar_blocks,
    has_exemplars,
    read_ends,
    read_neurons,
)
from descry.activations.position_table import word_counts
from descry.activations.top_k import HIGHEST
from descry.corpus.splits import CALIBRATION, SPLITS, VALIDATION
from descry.corpus.units import language
from descry.io.parquet import read_table, table_provenance, write_batches
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Threshold
from descry.labels.results import REPLICATED
from descry.labels.trigger_words import NO_WORD, Pairs, over_represented
from descry.models.neurons import Neurons

PACKAGES = ["numpy", "pyarrow", "scipy"]
MEMBERS = 2**22  # positions that are held at a time
TOKENS = pa.schema(
    {
        "end": pa.string(),
        "split": pa.string(),
        "layer": pa.int16(),
        "neuron": pa.int32(),
        "word": pa.string(),
        "count": pa.int32(),
        "expected": pa.float64(),
        "p": pa.float64(),
        "q": pa.float64(),
        "assigned": pa.bool_(),
    }
)


class Tokens(Section):
    """The words that a neuron peaks at, beside its descriptors."""

    min_count: Count
    fdr: Threshold


def find_tokens(
    params: Tokens,
    *,
    corpus: Path,
    positions: Path,
    exemplars: Path,
    untrained: Path | None = None,
    tokens: Path,
) -> dict[str, object]:
    """Write the words at which a neuron has two positions or more.

    A row has an end, split, neuron and word: `count` of the neuron's positions, `expected` at
    random among words as frequent, p and q (see `trigger_words`), `assigned` where q is below
    `fdr`. Words are in lower case.

    A copy with random weights peaks at words, too: its embeddings tell them apart. How many it has
    stands beside (`untrained` of what made the file).

    Returns:
        how many there are, and the share of the calibration half's words that the validation half
        confirms, beside what chance gives.
    """
    read = [corpus, positions, exemplars, *([untrained] if untrained else [])]
    made = provenance("tokens", params.model_dump(), read, PACKAGES)
    sentences = read_table(corpus, "corpus", ["split"])
    written = language(table_provenance(sentences))
    counts = {split: _occurrences(corpus, written, split, sentences) for split in SPLITS}
    known = {word: number for number, word in enumerate(sorted(counts["all"]))}
    named = read_table(positions, "exemplars", ["word"])["word"].to_pylist()
    # A token that is no word, a full stop, has no place among words.
    word_of = np.array([*(known.get(word.lower(), NO_WORD) for word in named), NO_WORD])
    neurons, told = read_neurons(exemplars), Counter[str]()
    found: dict[tuple[str, str], Pairs] = {}

    def tested(path: Path, end: str, split: str) -> Pairs:
        sets = np.concatenate(list(exemplar_blocks(path, split, end, MEMBERS)))
        occurrences = np.array([counts[split][word] for word in known], dtype=np.int64)
        return over_represented(word_of[sets], occurrences, params.min_count)

    def sure(pairs: Pairs) -> np.ndarray:
        return np.flatnonzero((pairs.q < params.fdr) & (pairs.count > 1))

    for end in read_ends(exemplars):
        for split in SPLITS:
            found[end, split] = tested(exemplars, end, split)
    copied = None
    if untrained is not None and has_exemplars(untrained):
        with at_rows(untrained, positions) as copy:
            copied = len(sure(tested(copy, HIGHEST, "all")))
        made["untrained"] = {"words": copied}
    halves = {end: _confirmed(found, end, params.fdr) for end in read_ends(exemplars)}
    made["confirmed"] = halves
    words = list(known)
    write_batches(tokens, TOKENS, _tables(found, neurons, words, params.fdr), made)
    whole = found[HIGHEST, "all"]
    told["neurons with words"] = len(np.unique(whole.neuron[sure(whole)]))
    told["words at peaks"] = len(sure(whole))
    if copied is not None:
        told["of a copy with random weights"] = copied
    share: dict[str, Any] = halves[HIGHEST]
    if share["words"]:
        shown = f"{share['confirmed']:.3f} of {share['words']} (by chance {REPLICATED})"
        return {**told, "confirmed by the other half": shown}
    return dict(told)


def _occurrences(corpus: Path, written: str, split: str, sentences: pa.Table) -> Counter[str]:
    """How often the sentences of a split have each word."""
    if split == "all":
        return word_counts(corpus, written)
    rows = np.array(sentences["split"].to_pylist()) == split
    return word_counts(corpus, written, rows)


def _confirmed(found: dict[tuple[str, str], Pairs], end: str, fdr: float) -> dict[str, Any]:
    """The share of the calibration half's words that have p < .05 in the validation half."""
    chosen, other = found[end, CALIBRATION], found[end, VALIDATION]
    sure = np.flatnonzero((chosen.q < fdr) & (chosen.count > 1))
    p = dict(zip(zip(other.neuron, other.word, strict=True), other.p, strict=True))
    pairs = zip(chosen.neuron[sure], chosen.word[sure], strict=True)
    seen = [p.get(pair, 1.0) < REPLICATED for pair in pairs]
    return {"words": len(seen), "confirmed": float(np.mean(seen)) if seen else None}


def _tables(
    found: dict[tuple[str, str], Pairs], neurons: Neurons, words: list[str], fdr: float
) -> Iterator[pa.Table]:
    layers = np.array(neurons.layers)
    for (end, split), pairs in found.items():
        rows = np.flatnonzero(pairs.count > 1)
        rows = rows[np.lexsort((pairs.p[rows], pairs.neuron[rows]))]
        of = {name: getattr(pairs, name)[rows] for name in ("count", "expected", "p", "q")}
        neuron = pairs.neuron[rows]
        table = {
            "end": [end] * len(rows),
            "split": [split] * len(rows),
            "layer": layers[neuron // neurons.width],
            "neuron": neuron % neurons.width,
            "word": [words[word] for word in pairs.word[rows]],
            **of,
            "assigned": of["q"] < fdr,
        }
        yield pa.table(table).cast(TOKENS)
