"""What differs between two versions of a result: parts, amounts and first examples."""

import json
import math

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from descry.errors import InputError
from descry.io.hashing import canonical
from descry.io.hdf5 import writing_hdf5
from descry.io.json_files import write_json
from descry.io.parquet import write_table
from descry.provenance.diff import files
from descry.provenance.diff.files import differences, differing, made_differently, unpacked
from descry.provenance.diff.table import leaves, rows
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
NAN = float("nan")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture
def pair(tmp_path):
    """Paths of two versions of a file of one name."""

    def paths(name):
        found = [tmp_path / folder / name for folder in ("expected", "found")]
        for path in found:
            path.parent.mkdir(parents=True, exist_ok=True)
        return found

    return paths


@pytest.fixture
def said(pair):
    """Write two versions of a file, and tell what differs, a line each."""

    def compare(name, *versions):
        for path, content in zip(pair(name), versions, strict=True):
            WRITERS.get(path.suffix, write_text)(path, content)
        return [str(row) for row in differing(*pair(name))]

    return compare


def write_text(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_datasets(path, content, made=MADE, **options):
    with writing_hdf5(path, made) as file:
        for name, values in content.items():
            file.create_dataset(name, data=values, **options)


def draw(path, height, made=MADE):
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([1, 2], [0, height])
    save(figure, path, made, 50)


WRITERS = {
    ".parquet": lambda path, columns: write_table(path, pa.table(columns), MADE),
    ".h5": write_datasets,
    ".svg": draw,
    ".png": draw,
}


# Parquet


def test_a_flipped_label_is_told_with_its_row_and_what_identifies_it(said):
    assert said("a.parquet", LABELS, LABELS | {"assigned": [True, True, False]}) == [
        "assigned: 1 of 3 differ, first row 1 (split all, layer 5, neuron 25, descriptor Food):"
        " True, expected False"
    ]


def test_every_column_that_differs_is_a_row_with_its_largest_difference(said):
    other = {"f": [0.25, 0.5, 0.5], "layer": pa.array([5, 4, 2], pa.int16())}
    assert said("a.parquet", LABELS, LABELS | other) == [
        "layer: 2 of 3 differ by at most 3, first row 1 (split all, neuron 25, descriptor Food):"
        " 4, expected 5",
        "f: 1 of 3 differ, first row 2 (split calibration, layer 5, neuron 24, descriptor Music):"
        " 0.5, expected None",
    ]


def test_the_order_of_columns_means_nothing_nor_does_what_made_a_table(pair):
    expected, found = pair("a.parquet")
    columns = {"f": [NAN, None, 1.0], "text": ["", None, HOSTILE], "list": [[NAN], [], None]}
    write_table(expected, pa.table(columns), MADE)
    write_table(found, pa.table(dict(reversed(columns.items()))), MADE | {"stage": "other"})
    assert differing(expected, found) == []


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x": [1, 2]}, ["number of rows: 2, expected 3"]),
        ({"x": [0, 2]}, ["number of rows: 2, expected 3",
                         "x: 1 of 2 differ by 1, first row 0: 0, expected 1"]),
        ({"x": [1, 2, 3], "y": [0, 0, 0]}, ["type.y: 'int64', expected nothing"]),
        ({"x": [1.0, 2.0, 3.0]}, ["type.x: 'double', expected 'int64'"]),
    ],
)  # fmt: skip
def test_columns_and_rows_that_only_one_table_has(said, columns, words):
    assert said("a.parquet", {"x": [1, 2, 3]}, columns) == words


@given(st.data(), st.integers(1, 5))
def test_cells_are_counted_in_whatever_blocks_tables_are_read(tmp_path_factory, data, size):
    cells = st.none() | st.integers(0, 2) | st.just(NAN)
    number = data.draw(st.integers(1, 12))
    sides = [data.draw(st.lists(cells, min_size=number, max_size=number)) for _ in range(2)]
    folder = tmp_path_factory.getbasetemp()
    paths = [folder / "a.parquet", folder / "b.parquet"]
    for path, values in zip(paths, sides, strict=True):
        write_table(path, pa.table({"x": pa.array(values, pa.float64())}), MADE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_ROWS", size)
        found = differing(*paths)
    unequal = [i for i, (x, y) in enumerate(zip(*sides, strict=True)) if repr(x) != repr(y)]
    assert [(row.differ, row.of, row.where) for row in found] == (
        [(len(unequal), number, f"row {unequal[0]}")] if unequal else []
    )


# HDF5


def test_datasets_are_compared_chunk_by_chunk(pair):
    values = np.zeros((20, 3, 10), dtype=np.float32)
    other = values.copy()
    other[19, 0, 0], other[1, 2, 7] = 0.5, 8
    for path, content in zip(pair("a.h5"), (values, other), strict=True):
        write_datasets(path, {"all/activation": content}, chunks=(8, 1, 5))
    assert list(map(str, differing(*pair("a.h5")))) == [
        "all/activation: 2 of 600 differ by at most 8, first [1, 2, 7]: 8.0, expected 0.0"
    ]


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ({"a": [1]}, {}, ["a.type: nothing, expected 'int64 [1]'"]),
        ({}, {"g/a": [1]},
         ["g.type: 'group', expected nothing", "g/a.type: 'int64 [1]', expected nothing"]),
        ({"a": [1]}, {"a": [1.0]}, ["a.type: 'float64 [1]', expected 'int64 [1]'"]),
        ({"a": h5py.Empty("f4")}, {"a": np.float32(1)},
         ["a.type: 'float32 []', expected 'float32 empty'"]),
        ({"a": 1}, {"a": 2}, ["a: 2, expected 1"]),
        ({"a": ["x"]}, {"a": ["\x1b"]}, [r"a: 1 of 1 differ, first [0]: b'\x1b', expected b'x'"]),
        ({"a": [True]}, {"a": [False]}, ["a: 1 of 1 differ, first [0]: False, expected True"]),
        ({"a": [NAN, 1]}, {"a": [1, NAN]},
         ["a: 2 of 2 differ, first [0]: 1.0, expected nan"]),
    ],
)  # fmt: skip
def test_datasets_that_differ(said, expected, found, words):
    assert said("a.h5", expected, found) == words


def test_attributes_count_but_for_what_made_a_file_and_the_hash_of_the_corpus(pair):
    same = {"id": np.array(["a"], h5py.string_dtype()), "none": np.zeros((0, 3)), "x": [NAN]}
    grows = {"chunks": (1, 3), "maxshape": (None, 3)}
    for path, position, corpus in zip(pair("a.h5"), ("cls", "mean"), ("aa", "bb"), strict=True):
        write_datasets(path, same | {"empty": h5py.Empty("f4")}, {"stage": corpus})
        with h5py.File(path, "r+") as file:
            file.attrs["corpus"], file.attrs["position"] = corpus, position
            file.create_group("g").attrs["layers"] = np.array([1.0, NAN])
            file.create_dataset("later", (0, 3), "f4", **grows)
    assert list(map(str, differing(*pair("a.h5")))) == ["/.position: 'mean', expected 'cls'"]


# Documents


@pytest.mark.parametrize(
    ("name", "expected", "found", "words"),
    [
        ("a.json", '{"a": {"b": [1, 2]}}', '{"a": {"b": [1, 3]}}',
         "a.b[]: 1 of 2 differ by 1, first a.b[1]: 3, expected 2"),
        ("a.json", '{"a": [{"n": "x"}, {"n": "y"}]}', '{"a": [{"n": "x"}]}',
         "a[].n: 1 of 2 differ, first a[1].n: nothing, expected 'y'"),
        ("a.json", '{"a": 1}', '{"a": true}', "a: True, expected 1"),
        ("a.json", '{"a": NaN}', '{"a": null}', "a: None, expected nan"),
        ("a.json", "[]", "{}", "the whole: {}, expected []"),
        ("a.json", f'{{"a": 1{"0" * 400}}}', '{"a": 0.5}', f"a: 0.5, expected 1{'0' * 59}…"),
        ("a.csv", "a,f\n1,0.5\n", "a,f\n1,0.75\n",
         "line[].f: 1 of 1 differ by 0.25, first line[2].f: '0.75', expected '0.5'"),
        ("a.csv", "a\n1\n", "a\n1\n2\n",
         "line[].a: 1 of 2 differ, first line[3].a: '2', expected nothing"),
        ("a.csv", "a,b\n", "a,c\n",
         "columns[]: 1 of 2 differ, first columns[1]: 'c', expected 'b'"),
        ("a.html", "a\nb\n", "a\nc\n", "line[]: 1 of 3 differ, first line[2]: 'c', expected 'b'"),
        ("a.css", "a\n", "a\r\n", r"line[]: 1 of 2 differ, first line[1]: 'a\r', expected 'a'"),
        ("a.x", b"\xff", b"\\xff",
         r"line[]: 1 of 1 differ, first line[1]: '\\xff', expected '\udcff'"),
        ("a.x", b"ab", b"", "line[]: 1 of 1 differ, first line[1]: '', expected 'ab'"),
    ],
)  # fmt: skip
def test_documents_that_differ(said, name, expected, found, words):
    assert said(name, expected, found) == [words]


@pytest.mark.parametrize(
    ("name", "expected", "found"),
    [
        ("a.json", '{"a": 1, "b": NaN, "made": {"x": 1}}', '{"b":NaN,\n"made":{"x":2},"a":1}'),
        ("a.csv", 'a,b\n1,"x"\n', "a,b\r\n1,x\r\n"),
        ("a.csv", "a,b\n\u2028,x\n", 'a,b\n\u2028,"x"\n'),
    ],
)
def test_documents_of_the_same_content_in_other_bytes(said, name, expected, found):
    assert said(name, expected, found) == []


@given(JSON_VALUES, JSON_VALUES)
def test_nested_values_differ_where_their_json_does(one, other):
    assert rows(leaves(one, one)) == []
    found = rows(leaves(one, other))
    assert bool(found) == (repr_sorted(one) != repr_sorted(other))
    assert all(0 < row.differ <= row.of for row in found)
    assert all(str(row).isprintable() for row in found)


def repr_sorted(value):
    return json.dumps(value, sort_keys=True)


@given(JSON_VALUES)
def test_a_pack_says_what_the_explorer_put_into_it(tmp_path_factory, value):
    assume("nan" not in repr(value).lower() and "inf" not in repr(value))
    path = tmp_path_factory.getbasetemp() / "words-7.js"
    path.write_text(script(Pack("words-7", value)))
    name, text = unpacked(path)
    assert (name, json.loads(text)) == ("words-7", value)


def test_packs_are_compared_by_what_is_in_them_and_other_scripts_by_line(said):
    packs = [script(Pack("run", {"f": [1, end], "x": HOSTILE})) for end in (2, 5)]
    assert said("run.js", *packs) == ["run.f[]: 1 of 2 differ by 3, first run.f[1]: 5, expected 2"]
    assert (
        said("run.js", *(script(Pack("run", v)) for v in ({"a": 1, "b": 2}, {"b": 2, "a": 1})))
        == []
    )
    assert said("run.js", "a()", "b()") == [
        "line[]: 1 of 1 differ, first line[1]: 'b()', expected 'a()'"
    ]


@pytest.mark.parametrize(("name", "part"), [("a.svg", "line[]"), ("a.png", "y[]")])
def test_pictures_are_compared_apart_from_what_made_them(pair, name, part):
    expected, found = pair(name)
    draw(expected, 1)
    draw(found, 1, MADE | {"stage": "</dc:description>&"})
    assert differing(expected, found) == []
    assert list(map(str, made_differently(expected, found))) == [
        "made.stage: '</dc:description>&', expected 'label'"
    ]
    draw(found, 2)
    (row,) = differing(expected, found)
    assert row.part == part and 0 < row.differ < row.of


def test_pictures_of_another_width(pair):
    for path, width in zip(pair("a.png"), (3, 4), strict=True):
        Image.new("L", (width, 2)).save(path)
    assert str(differing(*pair("a.png"))[0]) == "width: 4, expected 3"


# Amounts and words


@given(st.data(), st.sampled_from([np.float16, np.float32, np.float64, np.int32, np.uint8]))
def test_the_largest_difference_is_that_of_float64(data, kind):
    values = arrays.arrays(kind, 5)
    a, b = data.draw(values), data.draw(values)
    found = rows([("x", a, b, str)])
    far = [abs(float(x) - float(y)) for x, y in zip(a, b, strict=True) if x != y]
    largest = max((x for x in far if not math.isnan(x)), default=None)
    assert [row.largest for row in found] == [largest] * len(found)


def test_float32_values_one_digit_apart_can_be_told_from_each_other(said):
    one = np.float32(0.1)
    assert said("a.h5", {"a": [one]}, {"a": [np.nextafter(one, np.float32(1))]}) == [
        "a: 1 of 1 differ by 7.45058e-09, first [0]: 0.10000001, expected 0.1"
    ]


def test_long_texts_are_shown_where_they_part_and_hostile_ones_are_harmless(said):
    long = ["x" * 500 + middle + "y" * 500 for middle in "ab"]
    (row,) = said("a.json", *(json.dumps({HOSTILE: text}) for text in long))
    assert f"'…{'x' * 15}byyy" in row and f"expected '…{'x' * 15}ayyy" in row
    assert len(row) < 200
    assert row.isprintable()


# Folders, provenance, damage


def test_a_folder_is_a_table_of_its_files(tmp_path):
    sides = {"expected": {"a.html": "x\n", "data/b.js": "1"}, "found": {"a.html": "y\n", "c": "12"}}
    found = {
        side: {name: tmp_path / side / name.replace("/", "-") for name in texts}
        for side, texts in sides.items()
    }
    for side, texts in sides.items():
        (tmp_path / side).mkdir()
        for name, text in texts.items():
            found[side][name].write_text(text)
    assert list(map(str, differences(found["expected"], found["found"]))) == [
        "data/b.js: nothing, expected 1 bytes",
        "c: 2 bytes, expected nothing",
        "a.html: line[]: 1 of 2 differ, first line[1]: 'y', expected 'x'",
    ]
    assert differences(found["expected"], found["expected"]) == []


MAKERS = {
    "a.parquet": lambda path, made: write_table(path, pa.table({"x": [1]}), made),
    "a.json": lambda path, made: write_json(path, {"made": made, "x": 1}),
    "a.h5": lambda path, made: write_datasets(path, {"x": [1]}, made),
    "a.svg": lambda path, made: draw(path, 1, made),
    "a.png": lambda path, made: draw(path, 1, made),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_made_files_of_one_content_is_told_apart(pair, name):
    expected, found = pair(name)
    MAKERS[name](expected, MADE)
    MAKERS[name](found, MADE | {
        "versions": {"numpy": "2.2"},
        "params": {"threshold": 0.3, "target": {"model": HOSTILE}},
        "inputs": MADE["inputs"] | {"results/corpus.parquet": "cc"},
    })  # fmt: skip
    assert differing(expected, found) == []
    assert {row.part: row.values for row in made_differently(expected, found)} == {
        "made.versions.numpy": ("'2.2'", "'2.1'"),
        "made.versions.descry": ("nothing", "'0.1.0'"),
        "made.params.threshold": ("0.3", "0.12"),
        "made.params.target.model": (repr(HOSTILE), "'toy'"),
        "made.inputs.results/corpus.parquet": ("'cc'", "'aa'"),
    }


def test_files_that_say_nothing_of_what_made_them(pair):
    expected, found = pair("a.parquet")
    pq.write_table(pa.table({"x": [1]}), expected)
    pq.write_table(pa.table({"x": [1]}), found, compression="gzip")
    assert differing(expected, found) == made_differently(expected, found) == []


def test_an_original_may_lie_under_another_name(pair, tmp_path):
    found = pair("a.parquet")[1]
    write_table(tmp_path / "d41d8cd98f", pa.table({"x": [1]}), MADE)
    write_table(found, pa.table({"x": [2]}), MADE | {"stage": "other"})
    assert [row.part for row in differing(tmp_path / "d41d8cd98f", found)] == ["x"]
    assert [row.part for row in made_differently(tmp_path / "d41d8cd98f", found)] == ["made.stage"]


@pytest.mark.parametrize("name", ["a.parquet", "a.h5", "a.json", "a.csv", "a.png", "run.js"])
def test_missing_and_damaged_files_are_named(pair, name):
    expected, found = pair(name)
    damaged = {"run.js": b'descry.take("run","H4sIAAAAAAAC");\n'}.get(name, b'"\xff')
    found.write_bytes(damaged)
    for sides in ((expected, found), (found, expected)):
        with pytest.raises(InputError, match=r"expected/\w+\.\w+: no such file"):
            differing(*sides)
    expected.write_bytes(damaged.replace(b"\xff", b"\xfe").replace(b"H4sI", b"H4sJ"))
    with pytest.raises(InputError, match=r"expected/\w+\.\w+: cannot be read"):
        differing(expected, found)


def test_values_that_cannot_be_read_name_their_file(pair):
    values = np.random.default_rng(0).random((100, 10))
    for path in pair("a.h5"):
        write_datasets(path, {"x": values}, chunks=(10, 10), compression="gzip")
    for path in pair("a.h5"):
        intact = path.read_bytes()
        with h5py.File(path) as file:
            place = file["x"].id.get_chunk_info(3).byte_offset
        path.write_bytes(intact[:place] + b"\0" * 50 + intact[place + 50 :])
        with pytest.raises(InputError, match=rf"{path.parent.name}/a\.h5: cannot be read"):
            differing(*pair("a.h5"))
        path.write_bytes(intact)


def test_provenance_that_is_no_json_is_named(pair):
    expected, found = pair("a.parquet")
    write_table(expected, pa.table({"x": [1]}), MADE)
    table = pa.table({"x": [1]}).replace_schema_metadata({"descry": canonical(MADE)[:9]})
    pq.write_table(table, found)
    with pytest.raises(InputError, match=r"found/a\.parquet: cannot be read"):
        made_differently(expected, found)
