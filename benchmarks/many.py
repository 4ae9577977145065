"""Made-up results of very many sentences, written block by block: what later stages read.

A dozen words a sentence by Zipf's law, 16 neurons in two layers, 26 descriptors by lot. A neuron's
activation is noise, higher where its own descriptor has a Yes: so it gets labels. Ids are by lot,
no hashes of the texts.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from making import (
    DESCRIPTORS,
    EXAMPLE,
    FRAME,
    PHRASES,
    WHO,
    Params,
    say,
    sections,
    write_clusters,
)

from descry.activations.store import Layout, Writer, begin
from descry.annotators.annotations import writing_annotations
from descry.annotators.templates import p1_template
from descry.corpus.splits import HALVES
from descry.io.parquet import ROW_GROUP, write_batches
from descry.io.provenance import provenance
from descry.models.checkpoints import MINILM_SHA256

LAYERS, NEURONS = 2, 8
WORDS, VOCABULARY = (4, 21), 50_000  # of a sentence, from and below
# Those of a run; what is not enabled is to write its empty files alone.
STAGES = (
    "exemplars", "label", "untrained", "judge", "graphs", "writes", "facets", "interventions",
    "score", "evaluate", "figures", "report",
)  # fmt: skip
_OFF = {"enabled": False}
_CORPUS = pa.schema(
    {
        "id": pa.string(),
        "split": pa.string(),
        "category": pa.string(),
        "text": pa.string(),
        "summary": pa.string(),
        "overall": pa.float64(),
        "asin": pa.string(),
        "reviewer": pa.string(),
        "time": pa.int64(),
        "source": pa.string(),
        "line": pa.int64(),
    }
)


def make(sentences: int) -> None:
    """Write what the stages from exemplars on read, into the current folder; once."""
    if Path("results/activations.h5").exists():
        return
    off = dict.fromkeys(("untrained", "writes", "facets", "interventions"), _OFF)
    off |= {"judge": {"annotator": None}, "score": {"annotator": None}, "graphs": {"neurons": 0}}
    few = {"permutations": 10}  # their number changes nothing but the time of evaluate
    params = sections(exemplars={"top_percent": 0.5}, evaluate=few, **off)
    say(f"{sentences:,} sentences")
    Path("reviews.jsonl").write_text("", encoding="utf-8")
    Path("gold.jsonl").write_text("", encoding="utf-8")
    made = provenance("corpus", params["corpus"], [Path("reviews.jsonl")], []) | {"dropped": {}}
    write_batches(Path("results/corpus.parquet"), _CORPUS, _corpus(sentences), made)
    _write_candidates(sentences, params)
    _write_annotations(sentences, params)
    _write_activations(sentences, params)


def _blocks(sentences: int) -> Iterator[tuple[int, int]]:
    """Where each block begins and ends."""
    return ((s, min(s + ROW_GROUP, sentences)) for s in range(0, sentences, ROW_GROUP))


def _ids(sentences: int) -> np.ndarray:
    """In the order of the corpus: S16 [sentences]."""
    drawn = np.sort(np.random.default_rng(3).integers(0, 2**63, sentences, dtype=np.int64))
    drawn += np.arange(sentences)  # no two alike
    return np.array([b"%016x" % one for one in drawn.tolist()])


def _corpus(sentences: int) -> Iterator[pa.Table]:
    ids, words = _ids(sentences), pa.array([f"word{n}" for n in range(VOCABULARY)])
    share = np.cumsum(1 / (np.arange(VOCABULARY) + 2.7))
    for start, stop in _blocks(sentences):
        rng, number = np.random.default_rng([4, start]), stop - start
        lengths = rng.integers(*WORDS, number)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        drawn = np.searchsorted(share, rng.random(ends[-1]) * share[-1])
        joined = pc.binary_join(
            pa.ListArray.from_arrays(pa.array(ends, pa.int32()), words.take(pa.array(drawn))), " "
        )
        own = pa.array(np.arange(start, stop)).cast(pa.string())
        texts = pc.binary_join_element_wise(joined, own, " ")
        known = {
            "id": pa.array(ids[start:stop].astype(str)),
            "split": pa.array(np.array(HALVES)[np.arange(start, stop) % 2]),
            "category": pa.array(np.array(["books", "toys"])[rng.integers(0, 2, number)]),
            "text": texts,
            "overall": pa.array(rng.integers(1, 6, number).astype(float)),
            "source": pa.repeat("reviews.jsonl", number),
            "line": pa.array(np.arange(start, stop) + 1),
        }
        columns = [known.get(f.name, pa.nulls(number, f.type)) for f in _CORPUS]
        yield pa.table(columns, schema=_CORPUS)


def _write_candidates(sentences: int, params: Params) -> None:
    """One raw descriptor of each sentence."""
    kind = pa.schema([(name, pa.string()) for name in ("id", "annotator", "phrase", "key")])
    made = provenance("describe", params["describe"], [Path("results/corpus.parquet")], [])
    made |= {"annotators": [WHO.as_json() | {"frame": FRAME}], "examples": [EXAMPLE]}
    made |= {"template": [*p1_template(5, [EXAMPLE])]}
    phrases = pa.array([f"phrase {n}" for n in range(DESCRIPTORS * PHRASES)])

    def drawn(start: int, stop: int) -> np.ndarray:
        rng = np.random.default_rng([2, start])
        return rng.integers(0, len(phrases), stop - start)

    def tables(ids: np.ndarray) -> Iterator[pa.Table]:
        for start, stop in _blocks(sentences):
            number = stop - start
            columns = [
                pa.array(ids[start:stop].astype(str)),
                pa.repeat(WHO.name, number),
                phrases.take(pa.array(drawn(start, stop))),
                pa.repeat("0" * 64, number),
            ]
            yield pa.table(columns, schema=kind)

    write_batches(Path("results/candidates.parquet"), kind, tables(_ids(sentences)), made)
    write_clusters(phrases.take(pa.array(drawn(0, min(sentences, ROW_GROUP)))).to_pylist(), params)


def _answers(start: int, stop: int) -> np.ndarray:
    """bool [sentences, descriptors]; the commoner the descriptor the more Yes."""
    rates = np.linspace(0.01, 0.2, DESCRIPTORS)
    rng = np.random.default_rng([1, start])
    return np.asarray(rng.random((stop - start, DESCRIPTORS)) < rates)


def _write_annotations(sentences: int, params: Params) -> None:
    inputs = [Path("results/corpus.parquet"), Path("results/descriptors.json")]
    made = provenance("annotate", params["annotate"], inputs, [])
    names, every = [f"descriptor {d}" for d in range(DESCRIPTORS)], np.ones(sentences, dtype=bool)
    ids = _ids(sentences).astype(str).tolist()
    with writing_annotations(Path("results/annotations.h5"), ids, names, every, every) as b:
        for start, stop in _blocks(sentences):
            yes = _answers(start, stop)
            odds = np.random.default_rng([5, start]).exponential(2, yes.shape)
            rows, columns = (of.ravel() for of in np.indices(yes.shape))
            b.put(start + rows, columns, yes.ravel(), np.where(yes, odds, -odds).ravel())
        b.sign(made, WHO.as_json(), FRAME)


def _write_activations(sentences: int, params: Params) -> None:
    path, corpus = Path("results/activations.h5"), Path("results/corpus.parquet")
    section = params["activations"] | {"block": ROW_GROUP}
    made = provenance("activations", section, [corpus], [])
    made |= {"weights": MINILM_SHA256, "site": "ffn_output", "position": "cls", "sinks": 0}
    made |= {"layers": list(range(LAYERS)), "tokenizer": "0" * 64, "max_tokens": 256}
    layout = Layout(sentences, LAYERS, NEURONS, "float32", ROW_GROUP)
    part = begin(path, made, {}, layout, {"id": _ids(sentences)})
    writer = Writer(part)
    for block, (start, stop) in enumerate(_blocks(sentences)):
        rng, yes = np.random.default_rng([6, start]), _answers(start, stop)
        shape = stop - start, LAYERS, NEURONS
        values = rng.standard_normal(shape, np.float32)
        values += yes[:, : LAYERS * NEURONS].reshape(shape)
        writer.write(block, start, values, rng.integers(6, 40, stop - start))
    writer.close()
    part.rename(path)
