import json
from math import prod

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from descry.errors import InputError
from descry.io.dvc_files import files_of
from descry.io.hashing import canonical
from descry.io.hdf5 import writing_hdf5
from descry.io.json_files import write_json
from descry.io.parquet import write_table
from descry.provenance.diff import hdf5
from descry.provenance.diff import images as pictures
from descry.provenance.diff import parquet as tables
from descry.provenance.diff import report as accounting
from descry.provenance.diff.contents import (
    content_difference,
    folder_difference,
    provenance_difference,
)
from descry.provenance.diff.packs import unpacked
from descry.provenance.diff.report import NOTHING, Tally, equal, partings
from descry.reporting.explorer.packs import Pack, script
from descry.reporting.style import save, style

MADE = {
    "stage": "label",
    "params": {"threshold": 0.12, "target": {"model": "toy"}},
    "inputs": {"results/corpus.parquet": "aa", "results/b.h5": "bb"},
    "versions": {"numpy": "2.1", "descry": "0.1.0"},
}
LABELS = {
    "split": ["all", "all", "calibration"],
    "layer": pa.array([5, 5, 5], pa.int16()),
    "neuron": pa.array([24, 25, 24], pa.int32()),
    "descriptor": ["Music", "Food", "Music"],
    "f": [0.25, 0.5, None],
    "assigned": [True, False, False],
}
HOSTILE = "\x1b[2J\u202eMusic\n"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def first_difference(expected, found):
    """Where contents part, or else what made them."""
    return content_difference(expected, found) or provenance_difference(expected, found)


@pytest.fixture
def pair(tmp_path):
    """Paths of two versions of a file of one name."""

    def paths(name):
        for folder in ("expected", "found"):
            (tmp_path / folder).mkdir(exist_ok=True)
        return tmp_path / "expected" / name, tmp_path / "found" / name

    return paths


@pytest.fixture
def tabled(pair):
    """Write two tables, columns of the second changed; and compare them."""

    def compare(columns=LABELS, made=MADE, **changes):
        expected, found = pair("labels.parquet")
        write_table(expected, pa.table(columns), MADE)
        kept = {name: values for name, values in (columns | changes).items() if values is not None}
        write_table(found, pa.table(kept), made)
        return first_difference(expected, found)

    return compare


@pytest.fixture
def filed(pair):
    """Write two HDF5 files of datasets by name; and compare them."""

    def compare(expected, found, made=MADE, **options):
        for path, datasets, how in zip(pair("a.h5"), (expected, found), (MADE, made), strict=True):
            with writing_hdf5(path, how) as file:
                for name, values in datasets.items():
                    file.create_dataset(name, data=values, **options)
        return first_difference(*pair("a.h5"))

    return compare


@pytest.fixture
def written(pair):
    """Write two texts; and compare them."""

    def compare(name, expected, found):
        for path, text in zip(pair(name), (expected, found), strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return first_difference(*pair(name))

    return compare


# Parquet


def test_tables_of_the_same_cells_do_not_differ(tabled):
    nan = [float("nan"), None, 1.0]
    assert tabled() is None
    assert tabled({"f": nan, "text": ["", None, HOSTILE]}) is None
    assert tabled({"f": [-0.0]}, f=[0.0]) is None


def test_a_flipped_label_is_named_by_row_column_and_what_identifies_it(tabled):
    assert tabled(assigned=[True, True, False]) == (
        "row 1 (split all, layer 5, neuron 25, descriptor Food), column assigned: True, expected"
        " False; values that differ: assigned 1"
    )


def test_the_first_row_comes_before_the_first_column_and_all_columns_are_counted(tabled):
    said = tabled(f=[0.25, 0.5, 0.5], layer=pa.array([5, 4, 3], pa.int16()))
    assert said == (
        "row 1 (split all, neuron 25, descriptor Food), column layer: 4, expected 5; values that"
        " differ: layer 2 (by 2 at most), f 1"
    )


def test_a_cell_that_is_null_or_nan_in_one_table_differs_from_any_number(tabled):
    nan = float("nan")
    assert "column f: nan, expected 0.25;" in tabled(f=[nan, 0.5, None])
    assert "column f: None, expected 0.25;" in tabled(f=[None, 0.5, None])
    said = tabled(f=[0.25, None, nan])
    assert "column f: None, expected 0.5; values that differ: f 2" in said


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"f": None}, "column f: nothing, expected double"),
        ({"new": [1, 2, 3]}, "column new: int64, expected nothing"),
        ({"neuron": [24, 25, 24]}, "column neuron: int64, expected int32"),
    ],
)
def test_columns_that_are_missing_new_or_of_another_type(tabled, columns, words):
    assert tabled(**columns) == words


def test_the_order_of_columns_means_nothing(pair):
    expected, found = pair("labels.parquet")
    write_table(expected, pa.table(LABELS), MADE)
    write_table(found, pa.table(dict(reversed(LABELS.items()))), MADE)
    assert first_difference(expected, found) is None


def test_other_numbers_of_rows_are_said_and_the_first_row_that_differs(pair):
    expected, found = pair("labels.parquet")
    write_table(expected, pa.table(LABELS), MADE)
    write_table(found, pa.table(LABELS).slice(0, 2), MADE)
    assert first_difference(expected, found) == "2 rows, expected 3"
    write_table(found, pa.table(LABELS).slice(1), MADE)
    said = first_difference(expected, found)
    assert said.startswith("2 rows, expected 3; row 0 (split all, layer 5, descriptor Music)")
    assert "column neuron: 25, expected 24; values that differ: split 1, neuron 2 (by 1" in said


def test_tables_of_no_rows(pair):
    expected, found = pair("labels.parquet")
    for path in (expected, found):
        write_table(path, pa.table(LABELS).slice(0, 0), MADE)
    assert first_difference(expected, found) is None


def test_lists_and_categories_are_compared_by_value(tabled):
    listed = {"names": [[1.0], [float("nan")], None], "end": pa.array(["x", "x", "y"])}
    listed["end"] = listed["end"].dictionary_encode()
    assert tabled(listed) is None
    said = tabled(listed, names=[[1.0], [float("nan"), 2.0], None])
    assert "column names: [nan, 2.0], expected [nan]; values that differ: names 1" in said
    said = tabled(listed, end=pa.array(["x", "z", "y"]).dictionary_encode())
    assert "column end: 'z', expected 'x'" in said


@given(st.data(), st.integers(1, 5))
def test_the_reported_cell_is_the_first_in_whatever_blocks_tables_are_read(
    tmp_path_factory, data, rows
):
    cells = st.none() | st.integers(0, 2) | st.just(float("nan"))
    before = data.draw(st.lists(st.tuples(cells, cells), min_size=1, max_size=12))
    after = data.draw(st.lists(st.tuples(cells, cells), min_size=len(before), max_size=len(before)))
    folder = tmp_path_factory.mktemp("tables")
    for name, drawn in (("a.parquet", before), ("b.parquet", after)):
        columns = zip("xy", zip(*drawn, strict=True), strict=True)
        write_table(
            folder / name, pa.table({n: pa.array(v, pa.float64()) for n, v in columns}), MADE
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_ROWS", rows)
        said = first_difference(folder / "a.parquet", folder / "b.parquet")
    places = [
        (row, name)
        for row, (was, now) in enumerate(zip(before, after, strict=True))
        for name, x, y in zip("xy", was, now, strict=True)
        if not equal(x, y)
    ]
    if not places:
        assert said is None
    else:
        assert said.startswith("row {}, column {}:".format(*places[0]))
        for column in {name for _, name in places}:
            number = sum(name == column for _, name in places)
            assert f"{column} {number}" in said.partition("values that differ")[2]


# HDF5


def test_the_first_value_in_the_order_of_indices_whatever_the_chunks(filed, monkeypatch):
    monkeypatch.setattr(hdf5, "_BYTES", 64)  # less than a chunk
    values = np.zeros((20, 3, 10), dtype=np.float32)
    other = values.copy()
    other[1, 0, 0], other[1, 2, 1], other[0, 2, 9] = 0.5, 8, -2
    said = filed({"activations": values}, {"activations": other}, chunks=(8, 1, 5))
    assert said == (
        "dataset activations[0, 2, 9]: -2.0, expected 0.0; values that differ: activations 3"
        " (by 8.0 at most)"
    )


def test_all_datasets_are_counted_and_those_in_groups_named(filed):
    row = np.arange(6, dtype=np.int32).reshape(2, 3)
    said = filed({"all/row": row, "z": [1.0]}, {"all/row": row[:, ::-1], "z": [1.5]})
    assert said == (
        "dataset all/row[0, 0]: 2, expected 0; values that differ: all/row 4 (by 2 at most),"
        " z 1 (by 0.5)"
    )


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ({"a": [1]}, {}, "dataset a: nothing, expected int64 [1]"),
        ({}, {"g/a": [1]}, "dataset g: a group, expected nothing"),
        ({"a": [1]}, {"a": [1.0]}, "dataset a: float64 [1], expected int64 [1]"),
        ({"a": [1]}, {"a": [1, 2]}, "dataset a: int64 [2], expected int64 [1]"),
        ({"a": 1}, {"a": 2}, "dataset a: 2, expected 1; values that differ: a 1 (by 1)"),
        ({"a": [b"x"]}, {"a": [b"\x1b"]}, r"dataset a[0]: b'\x1b', expected b'x'"),
        ({"a": ["x"]}, {"a": ["é"]}, r"dataset a[0]: b'\xc3\xa9', expected b'x'"),
        ({"a": [True]}, {"a": [False]}, "dataset a[0]: False, expected True;"),
        ({"a": [np.nan, 1]}, {"a": [1, np.nan]}, "dataset a[0]: 1.0, expected nan;"),
        (
            {"a": h5py.Empty("f4")},
            {"a": np.float32(1)},
            "dataset a: float32 [], expected float32 empty",
        ),
    ],
)
def test_datasets_that_differ(filed, expected, found, words):
    assert filed(expected, found).startswith(words)


def test_what_is_the_same_in_hdf5(filed):
    same = {
        "matrix": np.array([[1, np.nan]]),
        "id": np.array(["a"], dtype=h5py.string_dtype()),
        "none": np.zeros((0, 3)),
        "empty": h5py.Empty("f4"),
        "whole": 1.0,
    }
    assert filed(same, same) is None


def test_attributes_are_compared_after_values_and_the_hash_of_the_corpus_is_none(pair):
    expected, found = pair("a.h5")
    for path, position, corpus in ((expected, "cls", "aa"), (found, "mean", "bb")):
        with writing_hdf5(path, MADE) as file:
            file.attrs["corpus"], file.attrs["position"] = corpus, position
            file.create_group("g").attrs["layers"] = np.array([1.0, np.nan])
    assert first_difference(expected, found).startswith(
        "attribute position: 'mean', expected 'cls'"
    )
    with h5py.File(found, "r+") as file:
        file.attrs["position"] = "cls"
    assert first_difference(expected, found) is None
    with h5py.File(found, "r+") as file:
        file["g"].attrs["layers"] = np.array([1.0, 2.0])
    assert first_difference(expected, found).startswith(
        "attribute layers[1] of g: 2.0, expected nan"
    )


SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, max_side=9)


@given(SHAPES, st.data(), st.integers(1, 200))
def test_blocks_cover_a_dataset_once_and_are_never_larger_than_allowed(shape, data, most):
    chunks = tuple(data.draw(st.integers(1, size)) for size in shape) or None
    chunks = data.draw(st.sampled_from([chunks, None]))
    seen = np.zeros(shape, dtype=int)
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", shape, dtype="u1", chunks=chunks)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hdf5, "_BYTES", most)
            for place in hdf5._blocks(dataset):
                assert prod(part.stop - part.start for part in place) <= most
                seen[place] += 1
    assert (seen == 1).all()


def test_chunks_of_a_large_matrix_are_read_whole():
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        shape, chunks = (100_000, 12, 3072), (1024, 1, 256)
        dataset = file.create_dataset("x", shape, "f4", chunks=chunks)
        first = next(iter(hdf5._blocks(dataset)))
    assert first == (slice(0, 1024), slice(0, 1), slice(0, 3072))


# Amounts

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])


@given(st.data(), FLOATS)
def test_distances_of_floats_are_those_of_float64(data, kind):
    values = arrays.arrays(kind, 5, elements=st.floats(width=np.dtype(kind).itemsize * 8))
    a, b = data.draw(values), data.draw(values)
    tally = Tally()
    tally.add(a, b)
    far = [abs(float(x) - float(y)) for x, y in zip(a, b, strict=True)]
    assert tally.count == 5
    assert tally.largest == max((x for x in far if x == x), default=0)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint8, np.uint64])
@given(st.data())
def test_distances_of_integers_are_exact(kind, data):
    values = arrays.arrays(kind, 4)
    a, b = data.draw(values), data.draw(values)
    tally = Tally()
    tally.add(a, b)
    assert tally.largest == max(abs(int(x) - int(y)) for x, y in zip(a, b, strict=True))


def test_float32_values_one_digit_apart_can_be_told_from_each_other(filed):
    one = np.float32(0.1)
    said = filed({"a": [one]}, {"a": [np.nextafter(one, np.float32(1))]})
    assert said.startswith("dataset a[0]: 0.10000001, expected 0.1;")
    assert said.endswith("a 1 (by 7.450580596923828e-09)")


# JSON


@pytest.mark.parametrize(
    ("expected", "found", "first", "amount"),
    [
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b[1]: 3, expected 2", "1 (by 1)"),
        ({"a": 1}, {}, "a: nothing, expected 1", "1"),
        ({}, {"a": None}, "a: None, expected nothing", "1"),
        ([1], [1, 2], "[1]: 2, expected nothing", "1"),
        ({"a": 1}, {"a": True}, "a: True, expected 1", "1"),
        ({"a": 1}, {"a": "1"}, "a: '1', expected 1", "1"),
        ({"a": 0.5, "b": 1}, {"a": 0.25, "b": 3}, "a: 0.25, expected 0.5", "2 (by 2 at most)"),
        ([], {}, "the whole: {}, expected []", "1"),
        ({HOSTILE: 1}, {HOSTILE: 2}, f"{HOSTILE!r}: 2, expected 1", "1 (by 1)"),
        ({"a": 10**400}, {"a": 0.5}, f"a: 0.5, expected 1{'0' * 59}…", "1"),
    ],
)  # fmt: skip
def test_json_that_differs(written, expected, found, first, amount):
    said = written("a.json", json.dumps(expected), json.dumps(found))
    assert said == f"{first}; values that differ: {amount}"


def test_json_is_compared_by_value(written):
    assert written("a.json", '{"a": 1, "b": NaN}', '{"b":NaN,\n"a":1.0}') is None


@given(JSON_VALUES, JSON_VALUES)
def test_values_part_where_their_canonical_json_does(one, other):
    assert equal(one, one)
    for a, b in ((one, other), (other, one)):
        found = list(partings(a, b, ""))
        assert all(not equal(was, now) for _, was, now in found)
        assert len({key for key, *_ in found}) <= len(found)
        assert bool(found) == (not equal(b, a))


@given(JSON_VALUES)
def test_a_value_that_only_one_has_is_one_difference(value):
    assume(value is not NOTHING)
    assert list(partings({"a": value}, {}, "")) == [("a", value, NOTHING)]


# JSON lines and CSV


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ('{"a": 1}\n{"b": 1}\n', '{"a": 1}\n{"b": 2}\n', "line 2, b: 2, expected 1;"),
        ("1\n2\n", "1\n", "line 2: nothing, expected 2;"),
        ("1\n", "1\n2\n3\n", "line 2: 2, expected nothing; values that differ: 2"),
    ],
)
def test_json_lines_that_differ(written, expected, found, words):
    assert written("a.jsonl", expected, found).startswith(words)


def test_json_lines_are_compared_by_value(written):
    assert written("a.jsonl", '{"a": 1, "b": 2}\n', '{"b":2,"a":1}') is None


@pytest.mark.parametrize(
    ("expected", "found", "first", "amount"),
    [
        ("a,b\n1,2\n", "a,b\n1,3\n", "line 2, column b: 3, expected 2", "b 1 (by 1)"),
        ("a,b\n1,\n", "a,b\n1,3\n", "line 2, column b: 3, expected ''", "b 1"),
        ("a,b\n", "a,c\n", "line 1, column b: 'c', expected 'b'", "b 1"),
        ("a\n1\n", "a\n", "line 2, column a: nothing, expected 1", "a 1"),
        ("a\n1\n", "a\n1\n2\n", "line 3, column a: 2, expected nothing", "a 1"),
        ("a\n1\n", "a\n1,2\n", "line 2, column 2: 2, expected nothing", "2 1"),
        ("at,f\n0.2,x\n", "at,f\n0.2,y\n", "line 2 (at 0.2), column f: 'y', expected 'x'", "f 1"),
        ('a\n"x\ny"\n1\n', 'a\n"x\ny"\n2\n', "line 4, column a: 2, expected 1", "a 1 (by 1)"),
        ("a\nx\n", f"a\n{HOSTILE}", f"line 2, column a: {HOSTILE[:-1]!r}, expected 'x'", "a 1"),
    ],
)  # fmt: skip
def test_csv_that_differs(written, expected, found, first, amount):
    assert written("a.csv", expected, found) == f"{first}; values that differ: {amount}"


def test_csv_is_compared_by_value(written):
    assert written("a.csv", 'a,b\n1,"x"\nnan,\n', "a,b\r\n1.0,x\r\nnan,\r\n") is None
    assert written("a.csv", "", "") is None


def test_texts_that_one_float_stands_for_are_told_apart(written):
    said = written("a.csv", "id\n10000000000000000\n", "id\n10000000000000001\n")
    assert said.endswith("id 1 (by 1)")
    said = written("a.csv", "id\n1e5\n", "id\n100000.0\n")
    assert said == "line 2, column id: 100000.0, expected '1e5'; values that differ: id 1"


# Pictures and bytes


def drawn(path, made, height):
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([1, 2], [0, height])
    save(figure, path, made, 50)


@pytest.mark.parametrize(
    ("name", "place"), [("a.svg", r"line \d+: "), ("a.png", r"pixel \(x \d+, y \d+\): \[")]
)
def test_pictures_are_compared_apart_from_what_made_them(pair, name, place):
    import re

    expected, found = pair(name)
    drawn(expected, MADE, 1)
    drawn(found, MADE | {"stage": "</dc:description>&"}, 1)
    assert content_difference(expected, found) is None
    assert first_difference(expected, found) == (
        "made otherwise: stage label -> </dc:description>&"
    )
    drawn(found, MADE, 2)
    assert re.match(place, first_difference(expected, found))


def test_pictures_of_another_size(pair):
    from PIL import Image

    expected, found = pair("a.png")
    Image.new("L", (3, 2)).save(expected)
    Image.new("L", (4, 2)).save(found)
    assert first_difference(expected, found) == "4 x 2 pixels, expected 3 x 2 pixels"


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (b"abc", b"abd", "byte 2: b'd', expected b'c'; 1 of 3 bytes differ"),
        (b"abc", b"ab", "byte 2: the end, expected b'c'; 2 bytes, expected 3"),
        (b"", b"\x1b", r"byte 0: b'\x1b', expected the end; 1 bytes, expected 0"),
        (b"x" * 9 + b"a", b"x" * 9 + b"b", "byte 9: b'b', expected b'a'; 1 of 10 bytes differ"),
    ],
)
def test_other_files_are_compared_by_bytes(written, monkeypatch, expected, found, words):
    monkeypatch.setattr(pictures, "_BYTES", 4)
    assert written("a.bin", expected, found) == words
    assert written("a.bin", expected, expected) is None


# Pages and folders


@pytest.mark.parametrize("name", ["index.html", "app/main.js", "style.css"])
@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ("a\nb\n", "a\nc\n", "line 2: 'c', expected 'b'; values that differ: 1"),
        ("a", "a\n", "line 2: '', expected nothing; values that differ: 1"),
        ("a\n", "a\r\n", r"line 1: 'a\r', expected 'a'; values that differ: 1"),
        (b"\xff", b"\\xff", r"line 1: '\\xff', expected '\udcff'; values that differ: 1"),
    ],
)
def test_texts_of_a_page_are_compared_by_lines(written, name, expected, found, words):
    name = name.rpartition("/")[2]
    assert written(name, expected, found) == words
    assert written(name, expected, expected) is None


def pack(value, name="run"):
    return script(Pack(name, value))


def test_packs_are_compared_by_what_is_in_them(written):
    said = written("run.js", pack({"f": [1, 2], "x": HOSTILE}), pack({"f": [1, 5], "x": HOSTILE}))
    assert said == "f[1]: 5, expected 2; values that differ: 1 (by 3)"
    assert written("run.js", pack({"a": 1, "b": 2}), pack({"b": 2, "a": 1})) is None
    made = ({"made": {"label": {"versions": {"numpy": of}}}} for of in ("2.1", "2.2"))
    assert written("run.js", *map(pack, made)).startswith(
        "made.label.versions.numpy: '2.2', expected '2.1'"
    )


def test_a_pack_of_another_name_and_a_script_that_is_none_are_texts(written):
    assert written("run.js", pack(1), pack(1, "ran")).startswith('line 1: \'descry.take("ran"')
    assert "expected 'descry.take" in written("run.js", pack(1), "alert(1)\n")


@given(JSON_VALUES)
def test_a_pack_says_what_the_explorer_put_into_it(tmp_path_factory, value):
    assume("nan" not in repr(value).lower() and "inf" not in repr(value))
    path = tmp_path_factory.getbasetemp() / "words-7.js"
    path.write_text(script(Pack("words-7", value)))
    name, text = unpacked(path)
    assert (name, json.loads(text)) == ("words-7", value)


@pytest.mark.parametrize("damage", ["H4sI", "H4sIAAAAAAAC", "AAAA", "A"])
def test_a_damaged_pack_is_named(pair, damage):
    expected, found = pair("run.js")
    expected.write_text(pack({"a": 1}))
    found.write_text(f'descry.take("run","{damage}");\n')
    with pytest.raises(InputError, match=r"found/run\.js: cannot be read"):
        first_difference(expected, found)


@pytest.fixture
def folders(tmp_path):
    """Write two folders of files by name; and compare them."""

    def compare(expected, found):
        for folder, texts in (("expected", expected), ("found", found)):
            for name, text in texts.items():
                (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / folder / name).write_text(text)
        return folder_difference(
            *(files_of(tmp_path / name, tmp_path) for name in ("expected", "found"))
        )

    return compare


SITE = {"index.html": "<html>\n", "data/run.js": pack({"n": 1}), "data/words-0.js": pack([])}


def test_folders_of_the_same_files_do_not_differ(folders):
    assert folders(SITE, SITE) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data/words-0.js": None}, "file data/words-0.js: nothing, expected a file;"),
        ({"data/more.js": ""}, "file data/more.js: a file, expected nothing;"),
        ({"index.html": "other", "data/\x1b.js": ""}, r"file 'data/\x1b.js': a file, expected"),
    ],
)
def test_a_file_that_only_one_folder_has_comes_first(folders, change, words):
    found = {name: text for name, text in (SITE | change).items() if text is not None}
    said = folders(SITE, found)
    assert said.startswith(words)
    assert said.endswith("files in one alone: 1")


def test_the_first_file_of_other_content_is_named_and_how(folders):
    other = {"data/run.js": pack({"n": 2}), "index.html": "<html lang>\n"}
    assert folders(SITE, SITE | other) == (
        "data/run.js: n: 2, expected 1; values that differ: 1 (by 1); files that differ: 2"
    )


def test_files_of_the_same_content_in_other_bytes_are_no_difference(folders):
    data = {"data/run.js": pack({"a": 1, "b": 2})}
    transposed = {"data/run.js": pack({"b": 2, "a": 1})}
    assert folders(SITE | data, SITE | transposed) is None
    said = folders(SITE | data, SITE | transposed | {"index.html": "x"})
    assert said.startswith("index.html: line 1: 'x', expected '<html>'")


# What made them


WRITERS = {
    "a.parquet": lambda path, made: write_table(path, pa.table({"x": [1]}), made),
    "a.json": lambda path, made: write_json(path, {"made": made, "x": 1}),
    "a.svg": lambda path, made: drawn(path, made, 1),
    "a.png": lambda path, made: drawn(path, made, 1),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"versions": {"numpy": "2.2", "descry": "0.1.0"}},
         "made by other versions: numpy 2.1 -> 2.2"),
        ({"params": {"threshold": 0.3, "target": {"model": HOSTILE}}},
         f"made with other params: target.model toy -> {HOSTILE!r}, threshold 0.12 -> 0.3"),
        ({"inputs": {"results/corpus.parquet": "cc"}},
         "made from other inputs: results/b.h5, results/corpus.parquet"),
        ({"weights": "w"}, "made otherwise: weights none -> w"),
        ({"versions": {"numpy": "2.1"}, "stage": "score"},
         "made by other versions: descry 0.1.0 -> none; made otherwise: stage label -> score"),
    ],
)  # fmt: skip
def test_what_made_files_of_one_content_is_told_apart(pair, name, change, words):
    expected, found = pair(name)
    WRITERS[name](expected, MADE)
    WRITERS[name](found, MADE | change)
    assert content_difference(expected, found) is None
    assert provenance_difference(expected, found) == words


def test_what_made_hdf5_files_is_told_apart(filed, pair):
    made = MADE | {"versions": {"numpy": "2.2", "descry": "0.1.0"}}
    assert filed({"a": [1]}, {"a": [1]}, made) == "made by other versions: numpy 2.1 -> 2.2"
    assert content_difference(*pair("a.h5")) is None
    assert filed({"a": [1]}, {"a": [2]}, made).startswith("dataset a[0]: 2, expected 1;")


def test_files_that_say_nothing_of_what_made_them(pair):
    import pyarrow.parquet as pq

    expected, found = pair("a.parquet")
    pq.write_table(pa.table({"x": [1]}), expected)
    pq.write_table(pa.table({"x": [1]}), found, compression="gzip")
    assert first_difference(expected, found) is None


def test_an_original_may_lie_under_another_name(pair, tmp_path):
    found = pair("a.parquet")[1]
    write_table(tmp_path / "d41d8cd98f", pa.table({"x": [1]}), MADE)
    write_table(found, pa.table({"x": [2]}), MADE)
    assert first_difference(tmp_path / "d41d8cd98f", found).startswith("row 0, column x: 2")


# Words


@given(st.text(), st.text())
def test_whatever_texts_hold_they_stay_on_one_line_without_control_characters(one, other):
    assert accounting.versus(one, other).isprintable()
    assert accounting.identified("row 1", {"descriptor": one}, "f").isprintable()
    assert accounting.versus([one], {other: 1}).isprintable()


def test_long_texts_are_shown_where_they_part():
    one, other = "x" * 500 + "a" + "y" * 500, "x" * 500 + "b" + "y" * 500
    said = accounting.versus(one, other)
    assert said.startswith(f"'…{'x' * 15}byyy")
    assert f"expected '…{'x' * 15}ayyy" in said
    assert len(said) < 150


# Missing and damaged files


@pytest.mark.parametrize(
    "name", ["a.parquet", "a.h5", "a.json", "a.jsonl", "a.csv", "a.png", "a.x"]
)
def test_a_missing_file_is_named(pair, name):
    expected, found = pair(name)
    expected.write_bytes(b"")
    for first, second in ((expected, found), (found, expected)):
        with pytest.raises(InputError, match=r"found/a\.\w+: no such file"):
            first_difference(first, second)


@pytest.mark.parametrize(
    "name", ["a.parquet", "a.h5", "a.json", "a.jsonl", "a.csv", "a.svg", "a.png"]
)
def test_a_damaged_file_is_named(pair, name):
    for path, content in zip(pair(name), (b'"\xff', b'"\xfe'), strict=True):
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"expected/a\.\w+: cannot be read"):
        first_difference(*pair(name))


def test_values_that_cannot_be_read_name_their_file(pair):
    expected, found = pair("a.h5")
    values = np.random.default_rng(0).random((100, 10))
    for path in (expected, found):
        with writing_hdf5(path, MADE) as file:
            chunks = {"chunks": (10, 10), "compression": "gzip"}
            place = file.create_dataset("x", data=values, **chunks).id.get_chunk_info(3).byte_offset
    with found.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * 50)
    with pytest.raises(InputError, match=r"found/a\.h5: cannot be read"):
        first_difference(expected, found)


def test_provenance_that_is_no_json_is_named(pair):
    import pyarrow.parquet as pq

    expected, found = pair("a.parquet")
    write_table(expected, pa.table({"x": [1]}), MADE)
    table = pa.table({"x": [1]}).replace_schema_metadata({"descry": canonical(MADE)[:9]})
    pq.write_table(table, found)
    with pytest.raises(InputError, match=r"found/a\.parquet: cannot be read"):
        first_difference(expected, found)
