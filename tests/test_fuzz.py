"""Whatever stands in a file of strangers: a value of the documented form, or one clear line."""

import base64
import copy
import io
import json
import math
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from faults import outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from test_damage import (
    LOCK,
    SAMPLE,
    few,
    gold,
    imported,
    lines_of_an_export,
    reviews,
    sheet,
)

from descry.annotators.parsing.answers import parse_intruder, parse_rating, parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompts import HIGHEST_RATING
from descry.errors import InputError
from descry.io.dvc_lock import parse_lock
from descry.io.hashing import canonical
from descry.io.yaml_files import read_yaml
from descry.labels.clustering import apply_edits
from descry.stages.cluster import read_edits
from descry.workflow import params

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


@many
@given(st.lists(VALUES | st.fixed_dictionaries({"text": VALUES, "overall": VALUES}), max_size=4))
def test_any_json_lines_are_reviews_or_refused(file, values):
    outcome(reviews, file("x.jsonl", "".join(map(line, values))))


def line(value):
    return json.dumps(value) + "\n"


@few
@given(st.lists(st.lists(st.text(max_size=6) | ODD | NAMES, max_size=3).map(",".join), max_size=4))
def test_any_csv_is_reviews_or_refused(file, rows):
    outcome(reviews, file("x.csv", "\r\n".join(["text,overall", *rows])))


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
    outcome(reviews, file("x.parquet", sink.getvalue()))


# What benchmarks/fuzz.py found, as it found it.
FOUND = {
    "x.csv": "cmV2aWV3VGV3ZWxsACw1LjAsQjEsMQ0KIkNhZsOpIiwyLjAseHQsMQ0K",
}


@pytest.mark.parametrize("name", FOUND)
def test_what_the_fuzzer_found_is_refused_in_one_line(file, name):
    assert outcome(reviews, file(name, base64.b64decode(FOUND[name]))) is None


def test_a_field_s_name_steers_no_terminal_and_fills_no_screen(file):
    path = file("x.jsonl", line({"\x1b[2J\nerror: " + "a" * 10**5: 1}))
    with pytest.raises(InputError, match="no text field") as caught:
        reviews(path)
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
@given(st.text("{}[]:-&*!|>'\"#%@ab1.\n \t", max_size=40) | st.text())
def test_any_text_is_yaml_or_refused(file, content):
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


@many
@given(VALUES | spoilt(LOCK))
def test_a_lock_is_of_its_form_or_refused(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    for name, stage in (outcome(parse_lock, text, "dvc.lock") or {}).items():
        files = stage.deps | stage.outs
        assert all(isinstance(text, str) for text in (name, *files, *files.values()))
        assert stage.code == [path for path in stage.code if path in stage.deps]


# Exports


@many
@given(spoilt(lines_of_an_export()) | st.lists(VALUES, max_size=3))
def test_an_import_takes_what_can_be_exported_again_or_refuses(file, values):
    outcome(imported, file("x.jsonl", "".join(map(line, values))))


# People's files


@many
@given(st.lists(VALUES | st.fixed_dictionaries({"id": VALUES, "labels": VALUES}), max_size=3))
def test_gold_is_of_its_form_or_refused(file, values):
    path = file("gold.jsonl", "".join(map(line, values)))
    outcome(gold, path)


@many
@given(st.lists(st.text("\",;\t\r\n'= ab\x00", max_size=20)).map("\n".join))
def test_any_text_is_gold_or_a_sheet_or_refused(file, content):
    outcome(gold, file("gold.csv", content))
    for header in ("", "id,descriptor,sentence,answer\r\n"):
        outcome(sheet, file("sheet.csv", header + content))
