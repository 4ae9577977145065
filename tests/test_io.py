import errno
import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.io.atomic import atomic, write_text
from descry.io.hashing import canonical, digests, md5_file, sha256_file, sha256_text
from descry.io.hdf5 import (
    attribute,
    dataset,
    hdf5_provenance,
    names,
    reading_hdf5,
    texts,
    writing_hdf5,
)
from descry.io.json_files import read_json, write_json
from descry.io.nested import unlike
from descry.io.parquet import read_blocks, read_table, table_provenance, write_table
from descry.io.provenance import provenance
from descry.io.read_provenance import provenance_of
from descry.io.readable import MalformedError
from descry.io.yaml_files import yaml_value

MADE = {"stage": "corpus", "params": {"seed": 0}, "inputs": {"é.jsonl": "ab"}}
TABLE = pa.table({"text": ["naïve", "", None], "n": [1, 2, 3], "score": [0.5, float("nan"), -1.0]})
MATRIX = np.arange(60_000, dtype=np.float32).reshape(100, 600)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # surrogates are no text: UTF-8 cannot hold them
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé"), inner),
    max_leaves=10,
)


def write_hdf5(path):
    with writing_hdf5(path, MADE) as file:
        file.create_dataset("whole", data=MATRIX)
        blocks = file.create_dataset("blocks", shape=MATRIX.shape, dtype="f4", chunks=(30, 600))
        for start in range(0, len(MATRIX), 7):
            blocks[start : start + 7] = MATRIX[start : start + 7]


def read_hdf5(path):
    with reading_hdf5(path, "activations") as file:
        return file["whole"][:], file["blocks"][:], hdf5_provenance(file)


WRITERS = {
    "a.json": lambda path: write_json(path, {"b": [1, 2.5, None], "a": "é" * 500}),
    "a.parquet": lambda path: write_table(path, TABLE, MADE),
    "a.h5": write_hdf5,
}
READERS = {
    "a.json": lambda path: read_json(path, "cluster"),
    "a.parquet": lambda path: read_table(path, "corpus"),
    "a.h5": read_hdf5,
}
every_format = pytest.mark.parametrize("name", WRITERS)


def test_atomic_writes_whole_files_and_makes_their_folder(tmp_path):
    write_text(tmp_path / "new/folder/a.txt", "one\n")
    assert (tmp_path / "new/folder/a.txt").read_bytes() == b"one\n"
    assert [p.name for p in (tmp_path / "new/folder").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic(path) as part:
        part.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_no_half_hdf5(tmp_path):
    with pytest.raises(RuntimeError), writing_hdf5(tmp_path / "a.h5", MADE) as file:
        file["x"] = MATRIX
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_stays_readable_while_the_new_one_is_written(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with atomic(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(InputError, match=r"a\.txt: cannot be written"):
        write_text(tmp_path / "a.txt", "x")


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(InputError, match=r"results/a\.txt: cannot be written"):
        write_text(tmp_path / "results/a.txt", "x")


def test_other_errors_are_not_hidden(tmp_path):
    with pytest.raises(OSError, match="Input/output"), atomic(tmp_path / "a.txt"):
        raise OSError(errno.EIO, "Input/output error")


def test_canonical_json_has_one_form():
    assert canonical({"b": [1, 2.5], "a": "é", "c": None}) == '{"a":"é","b":[1,2.5],"c":null}'


@given(VALUES)
def test_canonical_json_keeps_the_value(value):
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text("abcé"), VALUES))
def test_canonical_json_forgets_the_order_of_keys(value):
    assert canonical(value) == canonical(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_canonical_json_has_no_nan(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


def test_hashes_are_sha256_of_the_bytes(tmp_path):
    write_text(tmp_path / "a.txt", "abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "a.txt") == sha256_text("abc") == known


def test_provenance_names_stage_params_inputs_and_versions(tmp_path):
    write_text(tmp_path / "in.txt", "abc")
    made = provenance("corpus", {"seed": 0}, [tmp_path / "in.txt"], ["h5py"])
    assert (made["stage"], made["params"]) == ("corpus", {"seed": 0})
    assert made["inputs"] == {"in.txt": sha256_text("abc")}
    assert set(made["versions"]) == {"descry", "h5py"}


def test_provenance_tells_no_place_outside_the_project(tmp_path, monkeypatch):
    inside, outside = tmp_path / "study", tmp_path / "elsewhere"
    write_text(inside / "data/in.txt", "abc")
    write_text(outside / "bert/config.json", "{}")
    monkeypatch.chdir(inside)
    files = [Path("data/in.txt"), inside / "data/in.txt", outside / "bert/config.json"]
    params = {"target": {"model": f"{outside}/bert"}, "reviews": [f"{inside}/data", "data", "a/b"]}
    made = provenance("corpus", params, files, [])
    assert list(made["inputs"]) == ["data/in.txt", "config.json"]
    assert made["params"] == {"target": {"model": "bert"}, "reviews": ["data", "data", "a/b"]}


def test_both_hashes_come_of_one_reading(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"descry" * 2_000_000)
    found = digests(path)
    assert found.md5 == hashlib.md5(path.read_bytes()).hexdigest()
    assert found.sha256 == sha256_file(path)


def test_what_made_a_result_is_read_of_every_kind(tmp_path):
    write_table(tmp_path / "a.parquet", TABLE, MADE)
    write_json(tmp_path / "a.json", {"made": MADE, "x": 1})
    with writing_hdf5(tmp_path / "a.h5", MADE):
        pass
    for kind in ("parquet", "json", "h5"):
        assert provenance_of(tmp_path / f"a.{kind}", "label") == MADE
    write_json(tmp_path / "b.json", {"x": 1})
    for name in ("b.json", "gone.h5"):
        with pytest.raises(InputError, match=name):
            provenance_of(tmp_path / name, "label")


def test_json_comes_back(tmp_path):
    value = {"b": [1, 2.5, None, "é\u2028"], "a": {}, "made": MADE}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json", "cluster") == value


def test_a_table_comes_back_with_what_made_it(tmp_path):
    write_table(tmp_path / "a.parquet", TABLE, MADE)
    table = read_table(tmp_path / "a.parquet", "corpus")
    assert str(table.to_pydict()) == str(TABLE.to_pydict())  # as text: NaN is not equal to itself
    assert table_provenance(table) == MADE


def test_hdf5_comes_back_with_what_made_it(tmp_path):
    write_hdf5(tmp_path / "a.h5")
    whole, blocks, made = read_hdf5(tmp_path / "a.h5")
    np.testing.assert_array_equal(whole, MATRIX)
    np.testing.assert_array_equal(blocks, MATRIX)
    assert made == MADE


@every_format
def test_the_same_content_gives_the_same_bytes(tmp_path, name):
    WRITERS[name](tmp_path / name)
    WRITERS[name](tmp_path / "again" / name)
    assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@every_format
def test_a_missing_file_names_the_stage_that_makes_it(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}: no such file: make it with `descry stage \w+`"):
        READERS[name](tmp_path / name)


@every_format
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, name, share):
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=rf"{name}: cannot be read"):
        READERS[name](path)


@pytest.mark.parametrize("name", ["a.parquet", "a.h5", "a.json"])
@pytest.mark.parametrize("text", ["id,text\n1,Good\n", "[]", "\0" * 100])
def test_a_file_of_another_kind_is_never_told_to_be_removed(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=r"expected is what `descry stage \w+` writes") as told:
        READERS[name](path)
    assert f"{name}: not " in str(told.value)
    assert "remove" not in str(told.value)


def test_reviews_in_the_place_of_a_corpus_are_known_for_what_they_are(tmp_path):
    reviews = tmp_path / "reviews.csv"
    reviews.write_text("stars,review\n5,Good\n")
    with pytest.raises(InputError, match=r"not Parquet: .*`descry stage corpus` w.*; reviews are"):
        read_table(reviews, "corpus")


def write_foreign_table(path):
    pq.write_table(pa.table({"id": ["a"], "text": ["Good"]}), path)


def write_foreign_hdf5(path):
    with h5py.File(path, "w") as file:
        file["values"] = MATRIX


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.parquet", write_foreign_table),
        ("a.h5", write_foreign_hdf5),
        ("a.json", lambda path: path.write_text('{"a": 1}')),
    ],
)
def test_a_file_of_another_program_is_told_from_a_damaged_one(tmp_path, name, write):
    write(tmp_path / name)
    with pytest.raises(InputError, match=r"no file of descry's, .* `descry stage \w+` writes"):
        READERS[name](tmp_path / name)


def test_the_result_of_another_stage_is_known_by_what_it_says(tmp_path):
    write_table(tmp_path / "a.parquet", TABLE, MADE)
    with pytest.raises(InputError, match=r"a\.parquet: made by `descry stage corpus`: expected"):
        read_table(tmp_path / "a.parquet", "label")
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read \(no column none\)"):
        list(read_blocks(tmp_path / "a.parquet", "corpus", ["none"], 10))


def test_a_dataset_is_of_the_shape_and_type_that_its_reader_looks_for(tmp_path):
    write_hdf5(tmp_path / "a.h5")
    with reading_hdf5(tmp_path / "a.h5", "activations") as file:
        assert dataset(file, "whole", MATRIX.shape).shape == MATRIX.shape
        assert dataset(file, "whole", (None, None), "f").shape == MATRIX.shape
        for shape, kinds in (((None,), "f"), ((None, 1000), "f"), ((None, None), "iu")):
            with pytest.raises(MalformedError, match="dataset whole is of another shape or type"):
                dataset(file, "whole", shape, kinds)
        for answer_prompts in (
            lambda: dataset(file, "none", (None,)),
            lambda: texts(file, "whole"),
            lambda: attribute(file, "none"),
            lambda: names(file, "whole"),
        ):
            with pytest.raises(MalformedError, match=r"(dataset|attribute|group) \w+: "):
                answer_prompts()


def test_json_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "caf\xe9"}')
    with pytest.raises(InputError, match=r"a\.json: cannot be read"):
        read_json(tmp_path / "a.json", "cluster")


_WRITE_TOO_MUCH = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
from descry.errors import InputError
from descry.io.atomic import write_text
from descry.io.hdf5 import writing_hdf5
from descry.io.parquet import write_table

folder, much = Path(sys.argv[1]), np.random.default_rng(0).random((100, 1000))

def whole(path):
    with writing_hdf5(path, {}) as file:
        file["x"] = much

def blocks(path, **options):
    with writing_hdf5(path, {}) as file:
        x = file.create_dataset("x", much.shape, much.dtype, **options)
        for i, row in enumerate(much):
            x[i] = row

for write in (
    lambda path: write_text(path, "x" * 200_000),
    lambda path: write_table(path, pa.table({"x": much.ravel()}), {}),
    whole,
    blocks,
    lambda path: blocks(path, chunks=(3, 1000)),
):
    try:
        write(folder / "a.out")
    except InputError as error:
        print(error, [p.name for p in folder.iterdir()])
"""


def test_a_full_disk_is_named_and_leaves_no_file(tmp_path, fill_a_disk):
    done = fill_a_disk(_WRITE_TOO_MUCH)
    assert (done.returncode, done.stderr) == (0, "")
    message = f"{tmp_path}/a.out: the disk is full: free some space and run again []"
    assert done.stdout.splitlines() == [message] * 5


@pytest.mark.parametrize("text", ["1e-05", "1.0e-05", "0.00001", "1E-5", "+1e-05"])
def test_small_numbers_are_numbers_however_they_are_written(text):
    assert yaml_value(f"a: {text}", "here") == {"a": 1e-05}


@pytest.mark.parametrize("text", ["1e", "e5", "1e-05x", "0x1e", "'1e-05'"])
def test_what_only_looks_like_one_stays_what_it_is(text):
    assert yaml_value(f"a: {text}", "here")["a"] != 1e-05


def test_mappings_are_unlike_at_the_keys_where_one_has_another_value_or_none():
    old, new = {"b": 1, "a": [1], "same": {"x": 1}, "gone": 0}, {"new": 0, "a": [2], "b": 2}
    assert unlike(old, new | {"same": {"x": 1}}) == ["b", "a", "gone", "new"]
    assert unlike({"a": None}, {}) == unlike({}, {}) == []


def test_both_ways_to_an_md5_agree(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 1000)
    assert md5_file(tmp_path / "file") == digests(tmp_path / "file").md5


@pytest.mark.parametrize("deep", ["[" * 100_000, "a: " + "{a: " * 50_000, "- " * 100_000])
def test_a_yaml_file_that_would_overflow_the_stack_is_refused_in_one_line(deep):
    with pytest.raises(InputError, match=r"here: line 1: .*more than 100 lists or mappings"):
        yaml_value(deep, "here")
    assert yaml_value("[" * 100 + "]" * 100, "here")
