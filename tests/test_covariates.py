"""Covariates of sentences, and the strata that they make."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from descry.corpus.covariates import covariates
from descry.corpus.readers import read_reviews
from descry.errors import InputError
from descry.io.parquet import read_table, write_table
from descry.labels.strata import LEAST, Matching
from descry.stages.corpus import Corpus, build_corpus

TEXTS = ["One two THREE.", "a 1 2 3", "Hello, world!! “Yes”", "plain"]


@pytest.fixture
def corpus(tmp_path):
    columns = {
        "id": ["a", "b", "c", "d"],
        "split": ["calibration", "validation"] * 2,
        "text": TEXTS,
        "category": ["Books", "Books", "Toys", None],
        "overall": [5.0, None, 1.0, 3.0],
        "form": ["raw"] * 4,
        "age": ["3", "4.5", None, "7"],
    }
    path = tmp_path / "corpus.parquet"
    write_table(path, pa.table(columns), {"params": {"language": "en"}})
    return path


def test_each_is_what_its_name_says(corpus):
    found = covariates(corpus, ["words", "capitals", "punctuation", "digits", "category", "age"])
    assert found["words"].tolist() == [3, 4, 3, 1]
    assert found["capitals"].tolist() == [6 / 14, 0, 2 / 20, 0]
    assert found["punctuation"].tolist() == [1 / 14, 0, 5 / 20, 0]
    assert found["digits"].tolist() == [0, 3 / 7, 0, 0]
    assert found["category"].tolist() == ["Books", "Books", "Toys", ""]
    np.testing.assert_array_equal(found["age"], [3, 4.5, np.nan, 7])


def test_without_names_they_are_all_that_differ_between_sentences(corpus):
    found = covariates(corpus, None, np.array([5, 6, 7, 3]))
    wanted = ["words", "tokens", "capitals", "punctuation", "digits", "category", "overall", "age"]
    assert list(found) == wanted  # not form, which is the same for all
    assert found["tokens"].tolist() == [5, 6, 7, 3]


def test_without_blanks_characters_are_words(tmp_path):
    table = pa.table({"id": ["a"], "split": ["calibration"], "text": ["好的 书。"]})
    write_table(tmp_path / "c.parquet", table, {"params": {"language": "zh"}})
    assert covariates(tmp_path / "c.parquet", ["words"])["words"].tolist() == [3]


def test_one_that_there_is_not_is_named_with_those_that_there_are(corpus):
    with pytest.raises(InputError, match=r"label.strata: colour: must be one of words, .*category"):
        covariates(corpus, ["colour"])
    with pytest.raises(InputError, match=r"label.strata: tokens"):
        covariates(corpus, ["tokens"])


def section(**changes):
    told = {"reviews": "reviews.jsonl", "text_fields": ["text"], "columns": ["form"]}
    told |= {"per_category": 9, "min_words": 1, "max_words": 99, "language": "en"}
    return Corpus(**told | {"near_duplicate": 0.9, "max_invalid": 0.0, "seed": 0} | changes)


def test_the_corpus_keeps_the_columns_that_are_asked_for(tmp_path):
    lines = [
        f'{{"text": "this is a good {word} for the price of it", "form": {form}}}'
        for word, form in (("lamp", '"raw"'), ("book", "null"), ("song", "7"), ("game", '"cut"'))
    ]
    reviews = tmp_path / "reviews.jsonl"
    reviews.write_text("\n".join(lines))
    build_corpus(section(), reviews=[reviews], corpus=tmp_path / "corpus.parquet")
    kept = read_table(tmp_path / "corpus.parquet", "corpus")
    forms = {
        text.split()[4]: form
        for text, form in zip(
            *map(pa.ChunkedArray.to_pylist, kept.select(["text", "form"]).columns), strict=True
        )
    }
    assert forms == {"lamp": "raw", "book": None, "song": "7", "game": "cut"}
    with pytest.raises(InputError, match=r"corpus.columns: no review has colour: .*form, text"):
        list(read_reviews([reviews], ["text"], 0.0, Counter(), columns=["colour"]))


@pytest.mark.parametrize("columns", [["text"], ["form", "form"], ["category"]])
def test_a_column_that_the_corpus_has_is_refused(columns):
    with pytest.raises(ValueError, match=f"the corpus has a column {columns[0]} already"):
        section(columns=columns)


def strata_of(covariates, names, parts=30, rows=None, sampled=None):
    number = len(next(iter(covariates.values())))
    rows = np.arange(number) if rows is None else rows
    sampled = np.ones(number, dtype=bool) if sampled is None else sampled
    return Matching(names, parts).strata(covariates, rows, sampled)


RNG = np.random.default_rng(0)
MANY = {
    "words": RNG.integers(10, 200, 1800).astype(float),
    "digits": RNG.random(1800),
    "category": RNG.choice(["books", "music", "toys"], 1800),
}


def test_one_number_has_as_many_parts_as_are_asked_for_and_several_share_them():
    assert len(strata_of(MANY, ("words",)).names) == 30
    both = strata_of(MANY, ("words", "digits"))
    assert 150 < len(both.names) <= 225 and both.sizes.min() >= LEAST
    three = strata_of(MANY, ("words", "category"))
    assert 80 < len(three.names) <= 90 and three.sizes.min() >= LEAST
    assert all(name.startswith("category ") and ", words " in name for name in three.names)
    for stratum in range(len(three.names)):
        assert len(np.unique(MANY["category"][three.of == stratum])) == 1


def test_sentences_of_other_splits_are_in_no_stratum():
    rows = np.arange(0, 1800, 2)
    found = strata_of(MANY, ("words",), rows=rows)
    assert (found.of[1::2] == -1).all() and (found.of[rows] >= 0).all()
    assert found.sizes.sum() == 900


def test_where_some_sentences_stand_for_all_each_part_has_enough_of_them():
    sampled = RNG.random(1800) < 0.2
    found = strata_of(MANY, ("words",), sampled=sampled)
    standing = np.bincount(found.of[sampled], minlength=len(found.names))
    assert len(found.names) > 5 and standing.min() > LEAST / 2


def test_without_a_name_there_is_one_stratum():
    found = strata_of(MANY, ())
    assert found.names == ("all",) and (found.of == 0).all()
