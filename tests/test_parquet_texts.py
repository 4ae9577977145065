"""Texts of a column are the same however they lie in the file, and few are held."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.io.parquet import Chosen, Texts
from descry.io.provenance import PROVENANCE

TEXTS = [f"Sentence {i}, größer." for i in range(23)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    for size in (1, 7, 23, 100):
        table = pa.table({"text": TEXTS}).replace_schema_metadata({PROVENANCE: "{}"})
        pq.write_table(table, folder / f"{size}.parquet", row_group_size=size)
    return folder


@pytest.mark.parametrize("size", [1, 7, 23, 100])
def test_the_texts_are_a_sequence(files, size):
    texts = Texts(files / f"{size}.parquet", "corpus", "text")
    assert (len(texts), list(texts)) == (23, TEXTS)
    assert [texts[row] for row in reversed(range(23))] == TEXTS[::-1]
    for row in (-1, 23):
        with pytest.raises(IndexError):
            texts[row]


@given(rows=st.lists(st.integers(0, 22)))
def test_some_of_them_are_a_sequence_too(files, rows):
    chosen = Chosen(Texts(files / "7.parquet", "corpus", "text"), rows)
    assert list(chosen) == [TEXTS[row] for row in rows]


def test_neighbours_are_read_once(files, monkeypatch):
    read = []
    monkeypatch.setattr(
        "descry.io.parquet.read_group",
        lambda *given: read.append(given[-1]) or pa.chunked_array([TEXTS[:7]]),
    )
    texts = Texts(files / "7.parquet", "corpus", "text")
    for row in (5, 8, 6, 7, 5, 13):
        texts[row]
    assert read == [0, 1]


def test_a_missing_file_is_told_by_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputError, match="make it with `descry stage corpus`"):
        Texts(tmp_path / "corpus.parquet", "corpus", "text")
