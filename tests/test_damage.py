"""Whatever befalls a file, its readers give what it holds, or refuse it in one clear line."""

import gzip
import io
import json
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import faults
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from faults import outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from descry.activations.exemplar_files import (
    read_ends,
    read_exemplars,
    read_neuron_exemplars,
    read_neurons,
    read_shown,
)
from descry.annotators.annotations import read_annotations, read_judgements
from descry.annotators.prompt_cache.jsonl import export, load
from descry.annotators.prompt_cache.store import PromptCache, origin_id
from descry.annotators.sheet import _rows
from descry.corpus.readers import read_reviews
from descry.errors import InputError
from descry.evaluation.gold import read_gold
from descry.io.dvc_lock import read_lock
from descry.io.hashing import canonical, sha256_text
from descry.io.hdf5 import reading_hdf5, writing_hdf5
from descry.io.json_files import read_json, write_json
from descry.io.parquet import read_table, write_table
from descry.labels.results import labelled_ends, read_labels
from descry.n2g.tables import read_records, write_records
from descry.stages.cluster import read_edits
from descry.workflow import params

SAMPLE = Path(__file__).parents[1] / "presets/sample.yaml"
LOCK = {"stages": {"a": {"deps": [{"path": "p", "md5": "0"}], "outs": [], "params": {}}}}
few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


# Good files, and all that is read of them


def reviews(path):
    """All reviews in a file, each of the documented form."""
    found = list(read_reviews([path], ["reviewText", "text"], 0.5, Counter()))
    for review in found:
        assert review.text and review.text == " ".join(review.text.split())
        assert review.category and review.line >= 1
        for text in (review.text, review.category, review.summary, review.asin, review.reviewer):
            assert text is None or text.encode()
        assert review.overall is None or isinstance(review.overall, float)
        assert review.time is None or abs(review.time) <= 2**62
    return found


def in_parquet():
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["Fits well.", "Too small."], "overall": [1.0, None]}), sink)
    return sink.getvalue()


REVIEWS = {
    "jsonl": b'{"text": "Fits well.", "overall": 5.0}\n{"text": "Too small."}\n' * 5,
    "csv": b"text,overall\r\nFits well.,5\r\n" + b'"Too ""small"".",1\r\n' * 5,
    "parquet": in_parquet(),
}


def sheet(path):
    rows = list(_rows(path))
    assert all(row.line >= 2 for row in rows)
    return rows


def gold(path):
    found = read_gold(path, ["a", ""], ["Price", "\x00"])
    assert found.shape == (2, 2) and set(found.ravel().tolist()) <= {-1, 0, 1}
    return found


def lines_of_an_export():
    origin = dict.fromkeys(("name", "model", "revision", "dtype", "decoding"), "x")
    origin |= {"task": "p2", "template": ["a", "b", "c"], "frame": ["", ""], "versions": {}}
    name = origin_id(origin)
    record = {"response": {"yes": -1.0, "no": -2.0}, "sentence": "s", "tokens": [1, 1]}
    failed = {"reason": "r", "model": "x", "response": "", "task": "p2"}
    return [
        {"origin": name, "is": origin},
        {"key": sha256_text("key"), "is": record | {"origin": name}},
        {"failed": sha256_text("other"), "is": failed},
    ]


EXPORT = "".join(json.dumps(line) + "\n" for line in lines_of_an_export()).encode()
SHEET = b"id,descriptor,sentence,answer\r\na,Price,It fits.,Yes\r\n"


def imported(path):
    """What an import takes can be exported again; of a refused file nothing is taken."""
    shutil.rmtree(path.parent / "cache", ignore_errors=True)
    with PromptCache(path.parent / "cache") as cache:
        try:
            counts, conflicts = load(cache, [path])
        except InputError:
            assert cache.stats() == {"answers": 0, "failures": 0}
            raise
        export(cache, path.parent / "again")
        assert cache.stats()["answers"] == sum(1 for _ in cache.records())
        return counts, conflicts, list(cache.failures())


ANSWERS = {f"{n:064x}": {"yes": -n} for n in range(200)}


def write_cache(path):
    rows = {key: {"response": said, "sentence": "0" * 16} for key, said in ANSWERS.items()}
    with PromptCache(path.parent) as cache:
        cache.store({"task": "p2", "model": "m", "template": ["a", "b", "c"]}, rows)


def looked_through(path):
    """All that a run does with a cache, in short: no answer but the true ones; one may be lost."""
    with PromptCache(path.parent) as cache:
        found = cache.answers(list(ANSWERS))
        cache.stats(), cache.runs()
        export(cache, path.parent / "out")
    # A key whose bit has changed is nobody's: what was asked under it counts as missing.
    assert all(ANSWERS.get(key, said) == said for key, said in found.items())
    return len(found)


def write_texts(path):
    """Texts of any length, as annotations.h5 has."""
    with writing_hdf5(path, {"stage": "annotate", "params": {"a": list(range(50))}}) as file:
        names = np.array([f"descriptor {n}" for n in range(20)], dtype=object)
        file.create_dataset("name", data=names, dtype=h5py.string_dtype())
        file.create_dataset("value", data=np.arange(64.0).reshape(8, 8), chunks=(2, 8))


def texts(path):
    with reading_hdf5(path, "annotate") as file:
        return file.attrs["descry"], file["name"][:].tolist(), file["value"][:].sum()


def write_annotations(path):
    identity = {"name": "x", "model": "x", "revision": "x", "dtype": "x", "decoding": "x"}
    with writing_hdf5(path, {"stage": "annotate"}) as file:
        file.attrs["annotator"], file.attrs["frame"] = canonical(identity), canonical(["", ""])
        for name, texts in (("id", ["a", "b", "c"]), ("descriptor", ["Price", "Sound"])):
            file.create_dataset(name, data=texts, dtype=h5py.string_dtype("utf-8"))
        for name in ("yes", "answered"):
            file.create_dataset(name, data=np.zeros((2, 1), dtype=np.uint8))
        file.create_dataset("score", data=np.zeros((2, 3), dtype=np.float32))
        for name in ("asked", "sampled"):
            file.create_dataset(name, data=np.ones(3, dtype=bool))


def write_exemplars(path):
    with writing_hdf5(path, {"stage": "exemplars"}) as file:
        file.create_dataset("layer", data=[0, 1])
        for group in ("all", "calibration", "validation", "bottom"):
            file.create_dataset(f"{group}/row", data=np.zeros((2, 4, 3), dtype=np.int32))
            file.create_dataset(f"{group}/activation", data=np.zeros((2, 4, 3)))
        file.create_dataset("distribution/mean", data=np.zeros((2, 4)))


def of_bytes(content):
    return lambda path: path.write_bytes(content)


# How a good file is made, and its readers; each is given the path.
FILES = {
    "reviews.jsonl": (of_bytes(REVIEWS["jsonl"]), [reviews]),
    "reviews.csv": (of_bytes(REVIEWS["csv"]), [reviews]),
    "reviews.jsonl.gz": (of_bytes(gzip.compress(REVIEWS["jsonl"], mtime=0)), [reviews]),
    "reviews.csv.gz": (of_bytes(gzip.compress(REVIEWS["csv"], mtime=0)), [reviews]),
    "reviews.parquet": (of_bytes(REVIEWS["parquet"]), [reviews]),
    "params.yaml": (of_bytes(SAMPLE.read_bytes()), [params.load]),
    "descriptors.yaml": (of_bytes(b"rename: {a: b}\nmerge: {c: [d, e]}\n"), [read_edits]),
    "dvc.lock": (of_bytes(yaml.safe_dump(LOCK).encode()), [read_lock]),
    "gold.jsonl": (of_bytes(b'{"id": "a", "labels": ["Price"]}\n'), [gold]),
    "sheet.csv": (of_bytes(SHEET), [sheet]),
    "export.jsonl": (of_bytes(EXPORT), [imported]),
    "export.journal.jsonl": (of_bytes(EXPORT), [imported]),
    "cache.db": (write_cache, [looked_through]),
    "texts.h5": (write_texts, [texts]),
    "annotations.h5": (write_annotations, [read_annotations, read_judgements]),
    "exemplars.h5": (
        write_exemplars,
        [
            read_ends,
            read_neurons,
            lambda path: read_exemplars(path, "all"),
            lambda path: read_neuron_exemplars(path, 1, 3, ["highest"]),
            lambda path: read_shown(path, 2),
        ],
    ),
    "corpus.parquet": (
        lambda path: write_table(path, pa.table({"id": ["a", "b"]}), {"stage": "corpus"}),
        [lambda path: read_table(path, "corpus")],
    ),
    "graphs.parquet": (
        lambda path: write_records(path, [], {"stage": "graphs"}), [read_records]
    ),
    "descriptors.json": (
        lambda path: write_json(path, {"made": {"stage": "cluster"}, "descriptors": ["a"]}),
        [lambda path: read_json(path, "cluster")],
    ),
}  # fmt: skip


def good(folder, name):
    """A file of that name as it should be, in a new folder."""
    folder.mkdir(exist_ok=True)
    FILES[name][0](folder / name)
    return folder / name


def come_of(path):
    """What comes of reading a file, by each of its readers: "read", "refused", or worse."""

    def words():
        found = (outcome(read, path) for read in FILES[path.name][1])
        return " ".join("refused" if value is None else "read" for value in found)

    # What happens in a C library may end the process, or never end.
    return (faults.read_apart(words, 10) if path.suffix in (".h5", ".db") else words()).split()


# Damages


def flipped(content, lots):
    place = lots.randrange(len(content))
    byte = bytes([content[place] ^ (1 << lots.randrange(8))])
    return content[:place] + byte + content[place + 1 :]


def blank(content, lots):
    place = lots.randrange(len(content))
    return (content[:place] + bytes(40) + content[place + 40 :])[: len(content)]


HTML = b"<!DOCTYPE html>\n<html>Please sign in.</html>\n"
# How a good file is changed, and how often.
DAMAGES = {
    "a bit": (flipped, 20),
    "another byte": (lambda content, lots: content.replace(content[:1], lots.randbytes(1)), 3),
    "cut short": (lambda content, lots: content[: lots.randrange(len(content))], 10),
    "zeros": (blank, 10),
    "nothing in it": (lambda content, lots: b"", 1),
    "written twice": (lambda content, lots: content * 2, 1),
    "a web page": (lambda content, lots: HTML, 1),
    "UTF-16": (lambda content, lots: content.decode("latin-1").encode("utf-16"), 1),
    "gzip": (lambda content, lots: gzip.compress(content), 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused(tmp_path, name, damage):
    path = good(tmp_path / "whole", name)
    assert set(come_of(path)) == {"read"}
    content, (change, times), came = path.read_bytes(), DAMAGES[damage], Counter()
    lots = Random(f"{name} {damage}")
    for turn in range(times):
        spoilt = tmp_path / str(turn) / name
        spoilt.parent.mkdir()
        spoilt.write_bytes(change(content, lots))
        came.update(come_of(spoilt))
    assert set(came) <= {"read", "refused"}
    if damage == "a web page":
        assert set(came) == {"refused"}
    if spoilt.suffix in (".h5", ".db", ".parquet") and damage in ("a bit", "cut short"):
        assert came["refused"]


# Files of bytes, of which none is a good one but by luck.
LOOSE = [name for name in FILES if Path(name).suffix not in (".h5", ".db")]


@pytest.mark.parametrize("name", LOOSE)
@few
@given(content=st.binary(max_size=200), packed=st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path, name, content, packed):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed and path.suffix == ".gz" else content)
    for read in FILES[name][1]:
        outcome(read, path)


# HDF5


def test_no_size_in_a_heap_of_texts_keeps_the_reader_for_ever(tmp_path):
    path = good(tmp_path, "texts.h5")
    whole = path.read_bytes()
    heap = whole.index(b"GCOL")
    came = set()
    for bit in range(2 * 8):  # of the first text's length
        spoilt = bytearray(whole)
        spoilt[heap + 24 + bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        came.update(come_of(path))
    assert came <= {"read", "refused"}
    with pytest.raises(InputError, match="cannot be read"):
        endless = bytearray(whole)
        endless[heap + 16 : heap + 32] = bytes(16)  # nothing, of no size: HDF5 goes round for ever
        path.write_bytes(endless)
        texts(path)


def test_what_is_wrong_in_a_stage_is_not_laid_to_the_file(tmp_path):
    path = good(tmp_path, "texts.h5")
    with pytest.raises(KeyError, match="mine"), reading_hdf5(path, "annotate"):
        raise KeyError("mine")
    with pytest.raises(InputError, match="cannot be read"), reading_hdf5(path, "annotate") as file:
        _ = file["absent"]


INSTEAD = {"gone": None, "a number": 3.0, "empty": np.zeros(0), "a text": "x{", "nan": "NaN"}


@pytest.mark.parametrize("name", ["annotations.h5", "exemplars.h5"])
@pytest.mark.parametrize("instead", INSTEAD)
def test_a_result_without_one_of_its_parts_is_read_or_refused(tmp_path, name, instead):
    whole, spoilt = good(tmp_path, name), tmp_path / "spoilt.h5"
    with h5py.File(whole) as file:
        parts = [f"@{key}" for key in file.attrs]
        file.visit(parts.append)
    for part in parts:
        shutil.copy(whole, spoilt)
        with h5py.File(spoilt, "r+") as file:
            box, key = (file.attrs, part[1:]) if part.startswith("@") else (file, part)
            del box[key]
            if INSTEAD[instead] is not None:
                box[key] = INSTEAD[instead]
        found = [outcome(read, spoilt) for read in FILES[name][1]]
        assert name != "annotations.h5" or found[0] is None  # every part of it is needed


# Tables

TABLES = {"labels": [read_labels, labelled_ends], "graphs": [read_records]}
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


@pytest.mark.parametrize("name", TABLES)
@few
@given(st.dictionaries(st.sampled_from(["layer", "end", "split", "descriptor"]), LEAVES))
def test_a_table_of_other_columns_is_read_or_refused(tmp_path, name, row):
    path = tmp_path / f"{name}.parquet"
    texts = {key: str(value).encode(errors="replace") for key, value in row.items()}
    pq.write_table(pa.Table.from_pylist([texts, texts]), path)
    for read in TABLES[name]:
        outcome(read, path)


def test_a_table_that_does_not_say_what_made_it_is_refused(tmp_path):
    path = good(tmp_path, "graphs.parquet")
    assert read_records(path) == ([], {"stage": "graphs"})
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    assert outcome(read_records, path) is None
