"""Whatever stands in a file of strangers: a value of the documented form, or one clear line."""

import base64
import copy
import gzip
import io
import json
import math
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
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
from descry.annotators.parsing.answers import parse_intruder, parse_rating, parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache import jsonl as exports
from descry.annotators.prompt_cache.store import PromptCache, origin_id
from descry.annotators.prompts import HIGHEST_RATING
from descry.annotators.sheet import _rows
from descry.corpus.readers import read_reviews
from descry.errors import InputError
from descry.evaluation.gold import read_gold
from descry.io.dvc_lock import parse_lock
from descry.io.hashing import canonical, sha256_text
from descry.io.hdf5 import writing_hdf5
from descry.io.yaml_files import read_yaml
from descry.labels.clustering import apply_edits
from descry.labels.results import labelled_ends, read_labels
from descry.n2g.tables import read_records, write_records
from descry.stages.cluster import read_edits
from descry.workflow import params

SAMPLE = Path(__file__).parents[1] / "presets/sample.yaml"
FIELDS = ["reviewText", "text"]
few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(few, max_examples=200)

# Every kind of value that JSON and YAML know, often under names that are read.
_NAMES = """text reviewText category summary overall asin reviewerID unixReviewTime finish yes no id
labels rename merge drop stages deps outs path md5 params key is origin failed response sentence
task model revision"""
NAMES = st.sampled_from(_NAMES.split())
ODD = st.sampled_from(["", " ", "\x00", "\x1b[2J", "\ud800", "a\nb", "../../up", "٣", "1e999", "²"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | ODD
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


def outcome(read, *arguments):
    """What a reader gives; None where it refuses in one line that steers no terminal."""
    try:
        return read(*arguments)
    except InputError as error:
        assert str(error) and str(error).isprintable()
        return None


@pytest.fixture
def file(tmp_path):
    """A file with these contents, under a name."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        )
        return path

    return write


def paths_in(value, here=()):
    """The places of all values within a value."""
    yield here
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in inner:
        yield from paths_in(item, (*here, key))


@st.composite
def spoilt(draw, value):
    """A value of the right form with something else in one place of it, or nothing."""
    *outer, last = draw(st.sampled_from([path for path in paths_in(value) if path]))
    value = inner = copy.deepcopy(value)
    for key in outer:
        inner = inner[key]
    if draw(st.booleans()):
        inner[last] = draw(VALUES)
    else:
        del inner[last]
    return value


# Reviews


def all_reviews(path):
    return list(read_reviews([path], FIELDS, 0.5, Counter()))


def check_reviews(found):
    for review in found or []:
        assert review.text and review.text == " ".join(review.text.split())
        assert review.category and review.line >= 1
        for text in (review.text, review.category, review.summary, review.asin, review.reviewer):
            assert text is None or text.encode()
        assert review.overall is None or isinstance(review.overall, float)
        assert review.time is None or abs(review.time) <= 2**62


FORMATS = ["x.jsonl", "x.csv", "x.parquet", "x.jsonl.gz", "x.csv.gz"]


@pytest.mark.parametrize("name", FORMATS)
@few
@given(content=st.binary(max_size=200), packed=st.booleans())
def test_any_bytes_are_reviews_or_refused(file, name, content, packed):
    packed = packed and name.endswith(".gz")
    check_reviews(outcome(all_reviews, file(name, gzip.compress(content) if packed else content)))


@many
@given(st.lists(VALUES | st.fixed_dictionaries({"text": VALUES, "overall": VALUES}), max_size=4))
def test_any_json_lines_are_reviews_or_refused(file, values):
    check_reviews(outcome(all_reviews, file("x.jsonl", "".join(map(line, values)))))


def line(value):
    return json.dumps(value) + "\n"


@few
@given(st.lists(st.lists(st.text(max_size=6) | ODD | NAMES, max_size=3).map(",".join), max_size=4))
def test_any_csv_is_reviews_or_refused(file, rows):
    check_reviews(outcome(all_reviews, file("x.csv", "\r\n".join(["text,overall", *rows]))))


# Columns that pyarrow reads and Python has no such value of, or that are no reviews'.
COLUMNS = {
    "a time before the year 1": pa.array([-(2**62)], pa.timestamp("us")),
    "a day beyond 9999": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
    "nanoseconds": pa.array([1], pa.timestamp("ns")),
    "a text that is not UTF-8": pa.Array.from_buffers(
        pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers()
    ),
    "bytes": pa.array([b"\xff"], pa.binary()),
    "lists": pa.array([["a"]]),
    "structs": pa.array([{"a": 1}]),
    "numbers": pa.array([math.nan]),
    "nulls": pa.nulls(1),
}


@pytest.mark.parametrize("name", ["text", "overall", "unixReviewTime", "category", "evil\x1b[2J\n"])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_of_any_type_is_taken_or_refused(file, name, column):
    values = (
        {"text": pa.array(["Fits well."])}
        if name in ("overall", "unixReviewTime", "category")
        else {}
    )
    sink = io.BytesIO()
    pq.write_table(pa.table(values | {name: COLUMNS[column]}), sink)
    check_reviews(outcome(all_reviews, file("x.parquet", sink.getvalue())))


@few
@given(st.data())
def test_a_parquet_file_with_a_spoilt_byte_is_read_or_refused(file, data):
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["Fits well.", "Too small."], "overall": [1.0, None]}), sink)
    content = bytearray(sink.getvalue())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    check_reviews(outcome(all_reviews, file("x.parquet", bytes(content))))


# What benchmarks/fuzz.py found, as it found it.
FOUND = {
    "x.csv": "cmV2aWV3VGV3ZWxsACw1LjAsQjEsMQ0KIkNhZsOpIiwyLjAseHQsMQ0K",
}


@pytest.mark.parametrize("name", FOUND)
def test_what_the_fuzzer_found_is_refused_in_one_line(file, name):
    assert outcome(all_reviews, file(name, base64.b64decode(FOUND[name]))) is None


def test_a_field_s_name_steers_no_terminal_and_fills_no_screen(file):
    path = file("x.jsonl", line({"\x1b[2J\nerror: " + "a" * 10**5: 1}))
    with pytest.raises(InputError, match="no text field") as caught:
        all_reviews(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


# Answers


PARSERS = {
    "topics": lambda response: parse_topics(response, 5, 3),
    "verdict": lambda response: parse_verdict(response, 0.1),
    "intruder": lambda response: parse_intruder(response, 5),
    "rating": parse_rating,
}
SAID = (
    st.text(max_size=30)
    | ODD
    | st.sampled_from(
        [
            "Yes",
            "no.",
            "Yes/No",
            "1. a\n2. b",
            "<think>",
            "```",
            '{"a": [',
            "|\n|-|",
            "3",
            "7.5 out of 10",
            "٣",
            "²",
            "1" * 5000,
            "\x00a",
        ]
    )
)
FINISHES = st.sampled_from(["stop", "length", "content_filter", "eos"])
RESPONSES = (
    VALUES
    | st.fixed_dictionaries({"text": SAID, "finish": FINISHES})
    | st.fixed_dictionaries({"yes": LEAVES, "no": LEAVES})
)


@pytest.mark.parametrize("task", PARSERS)
@many
@given(RESPONSES)
def test_any_response_is_an_answer_or_unparsable(task, response):
    try:
        found = PARSERS[task](response)
    except UnparsableError as error:
        assert str(error)
        return
    match task:
        case "topics":
            check_topics(found)
        case "verdict":
            assert isinstance(found.yes, bool)
            assert math.isnan(found.odds) or math.isfinite(found.odds)
        case "intruder":
            assert 0 <= found < 5
        case "rating":
            assert 0 <= found <= HIGHEST_RATING


def check_topics(found):
    assert len(set(found)) == len(found) <= 5
    for phrase in found:
        assert phrase == " ".join(phrase.split()) and len(phrase.split()) <= 3
        assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in phrase)
        assert not set(phrase) & set("<>{}[]`*#|")


def test_a_topic_that_results_cannot_hold_is_left_out():
    said = {"text": "price, so\x00und, si\ud800ze, colour", "finish": "stop"}
    assert parse_topics(said, 5, 3) == ["price", "colour"]


# Params and edits


@many
@given(st.binary(max_size=60) | st.text("{}[]:-&*!|>'\"#%@ab1.\n \t", max_size=40) | st.text())
def test_any_bytes_are_yaml_or_refused(file, content):
    path = file("x.yaml", content)
    outcome(read_yaml, path)
    assert outcome(params.load, path) is None


@many
@given(spoilt(yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))))
def test_params_with_another_value_are_valid_or_refused(file, value):
    found = outcome(params.load, file("params.yaml", yaml.safe_dump(value)))
    assert found is None or json.loads(canonical(found.model_dump()).encode()) == value


@many
@given(VALUES | spoilt({"rename": {"a": "b"}, "merge": {"c": ["d", "e"]}, "drop": ["f"]}))
def test_edits_are_of_their_form_or_refused(file, value):
    edits = outcome(read_edits, file("descriptors.yaml", yaml.safe_dump(value, allow_unicode=True)))
    if edits is not None:
        merged = [phrase for phrases in edits.merge.values() for phrase in phrases]
        words = [*edits.rename, *edits.rename.values(), *edits.merge, *merged, *edits.drop]
        assert all(isinstance(word, str) and word for word in words)
        assert (value or {}).keys() <= {"rename", "merge", "drop"}
        if outcome(apply_edits, [], edits) is not None:
            "".join(words).encode()  # half a surrogate pair would be an error of its own


# The lock


LOCK = {"stages": {"a": {"deps": [{"path": "p", "md5": "0"}], "outs": [], "params": {}}}}


@many
@given(VALUES | spoilt(LOCK))
def test_a_lock_is_of_its_form_or_refused(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    for name, stage in (outcome(parse_lock, text, "dvc.lock") or {}).items():
        files = stage.deps | stage.outs
        assert all(isinstance(text, str) for text in (name, *files, *files.values()))
        assert stage.code == [path for path in stage.code if path in stage.deps]


# Exports


def lines_of_an_export():
    origin = dict.fromkeys(("name", "model", "revision", "dtype", "decoding"), "x")
    origin |= {"task": "p2", "template": ["a", "b", "c"], "frame": ["", ""], "versions": {}}
    name = origin_id(origin)
    record = {
        "origin": name,
        "response": {"yes": -1.0, "no": -2.0},
        "sentence": "s",
        "tokens": [1, 1],
    }
    failed = {"reason": "r", "model": "x", "response": "", "task": "p2"}
    key = sha256_text("key")
    return [
        {"origin": name, "is": origin},
        {"key": key, "is": record},
        {"failed": sha256_text("other"), "is": failed},
    ]


@many
@given(spoilt(lines_of_an_export()) | st.lists(VALUES, max_size=3))
def test_an_import_takes_what_can_be_exported_again_or_refuses(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("exports")
    (folder / "x.jsonl").write_text("".join(map(line, values)))
    with PromptCache(folder / "cache") as cache:
        if outcome(exports.load, cache, [folder / "x.jsonl"]) is not None:
            exports.export(cache, folder / "again")
            assert cache.stats()["answers"] == sum(1 for _ in cache.records())
            assert list(cache.failures()) is not None


@few
@given(st.binary(max_size=80))
def test_any_bytes_are_an_export_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("exports")
    (folder / "x.jsonl").write_bytes(content)
    with PromptCache(folder / "cache") as cache:
        assert outcome(exports.load, cache, [folder / "x.jsonl"]) is None
        assert cache.stats()["answers"] == 0


# People's files


@many
@given(st.lists(VALUES | st.fixed_dictionaries({"id": VALUES, "labels": VALUES}), max_size=3))
def test_gold_is_of_its_form_or_refused(file, values):
    path = file("gold.jsonl", "".join(map(line, values)))
    gold = outcome(read_gold, path, ["a", ""], ["Price", "\x00"])
    assert gold is None or (gold.shape == (2, 2) and set(gold.ravel().tolist()) <= {-1, 0, 1})


@many
@given(
    st.binary(max_size=60) | st.lists(st.text("\",;\t\r\n'= ab\x00", max_size=20)).map("\n".join)
)
def test_any_bytes_are_gold_or_a_sheet_or_refused(file, content):
    path = file("sheet.csv", content)
    outcome(read_gold, path, ["a"], ["Price"])
    header = b"id,descriptor,sentence,answer\r\n"
    outcome(lambda: list(_rows(path)))
    for row in outcome(lambda: list(_rows(file("sheet.csv", header + path.read_bytes())))) or []:
        assert row.line >= 2


# Results


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


READERS = {
    "annotations": (write_annotations, [read_annotations, read_judgements]),
    "exemplars": (
        write_exemplars,
        [
            read_ends,
            read_neurons,
            lambda path: read_exemplars(path, "all"),
            lambda path: read_neuron_exemplars(path, 1, 3, ["highest"]),
            lambda path: read_shown(path, 2),
        ],
    ),
}
INSTEAD = {"gone": None, "a number": 3.0, "empty": np.zeros(0), "a text": "x{", "nan": "NaN"}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("instead", INSTEAD)
def test_a_result_without_one_of_its_parts_is_read_or_refused(tmp_path, name, instead):
    write, readers = READERS[name]
    whole, spoilt = tmp_path / "whole.h5", tmp_path / "spoilt.h5"
    write(whole)
    assert all(outcome(read, whole) is not None for read in readers)
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
        found = [outcome(read, spoilt) for read in readers]
        assert name != "annotations" or found[0] is None  # every part of it is needed


TABLES = {"labels": [read_labels, labelled_ends], "graphs": [read_records]}


@pytest.mark.parametrize("name", TABLES)
@few
@given(st.dictionaries(st.sampled_from(["layer", "end", "split", "descriptor"]), LEAVES))
def test_a_table_of_other_columns_is_read_or_refused(tmp_path_factory, name, row):
    path = tmp_path_factory.mktemp("results") / f"{name}.parquet"
    texts = {key: str(value).encode(errors="replace") for key, value in row.items()}
    pq.write_table(pa.Table.from_pylist([texts, texts]), path)
    for read in TABLES[name]:
        outcome(read, path)


def test_a_table_that_does_not_say_what_made_it_is_refused(tmp_path):
    write_records(tmp_path / "graphs.parquet", [], {"stage": "graphs"})
    assert read_records(tmp_path / "graphs.parquet") == ([], {"stage": "graphs"})
    table = pq.read_table(tmp_path / "graphs.parquet")
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "graphs.parquet")
    assert outcome(read_records, tmp_path / "graphs.parquet") is None
