"""Stages that go through the corpus in blocks: the same bytes, and never a whole column.

A large corpus's site holds what its pages show and a sample: there its rows have other numbers.
"""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from planted import (
    ANNOTATIONS,
    CANDIDATES,
    CORPUS,
    EXEMPLARS,
    made_in,
    run_exemplars,
    run_report,
)
from test_figures import run_figures

from descry.annotators.annotations import read_annotations
from descry.corpus import units
from descry.corpus.splits import HALVES, split_rows
from descry.corpus.units import read_split_rows
from descry.io.parquet import read_table
from descry.reporting.explorer import contents, held, overview, sentences
from descry.reporting.explorer.held import Held, rows_of
from descry.stages import figures

BLOCK = 7
MOST = 25  # sentences of a small site


@pytest.fixture
def in_blocks(run, monkeypatch):
    """Blocks of a few rows; whoever reads the corpus or the raw descriptors whole, fails."""
    whole = pq.read_table

    def refusing(path, *args, **how):
        assert Path(path).name not in (CORPUS.name, CANDIDATES.name), f"{path} is read whole"
        return whole(path, *args, **how)

    monkeypatch.setattr(pq, "read_table", refusing)
    for module in (units, held, overview, figures):
        monkeypatch.setattr(module, "ROW_GROUP", BLOCK)
    monkeypatch.setattr(sentences, "_TOGETHER", 64)


def test_the_splits_are_those_of_the_whole_column(run):
    expected = split_rows(read_table(CORPUS, "corpus")["split"].to_pylist())
    found = read_split_rows(CORPUS)
    assert found.keys() == expected.keys() == {"all", *HALVES}
    for split, rows in expected.items():
        np.testing.assert_array_equal(found[split], rows)


def test_figures_and_tables_do_not_depend_on_blocks(run, request):
    whole = run_figures(sentences=5)
    request.getfixturevalue("in_blocks")
    assert run_figures(sentences=5) == whole


def test_exemplar_sets_are_made_without_the_whole_corpus(in_blocks):
    before = EXEMPLARS.read_bytes()
    run_exemplars()
    assert EXEMPLARS.read_bytes() == before


def test_the_site_does_not_depend_on_blocks(run, request):
    whole = run_report()
    request.getfixturevalue("in_blocks")
    assert run_report() == whole


# A site that does not hold all sentences


@pytest.fixture(scope="module")
def sites(planted_results, tmp_path_factory):
    """The packs of a site that holds all, and of one that holds some."""
    folder = tmp_path_factory.mktemp("held") / "run"
    shutil.copytree(planted_results, folder)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "EXAMPLES", 1)
        for most in (None, MOST):
            own = partial(run_report, exemplars_shown=1, sentences=most)
            made_in(folder, lambda own=own: found.append(own()))
    return found


def by_id(packs, rows):
    """Ids in place of the numbers of sentences, in any nesting of lists."""
    ids = [one["id"] for one in sentences_of(packs)]
    if isinstance(rows, list):
        return [by_id(packs, row) for row in rows]
    return ids[rows] if rows >= 0 else None


def sentences_of(packs):
    numbers = sorted(int(name[10:]) for name in packs if name.startswith("sentences-"))
    return [one for number in numbers for one in packs[f"sentences-{number}"]]


def test_a_small_site_says_how_many_sentences_it_holds(sites):
    whole, some = sites
    assert "held" not in whole["run"]
    assert MOST <= some["run"]["held"] == len(sentences_of(some)) < 60
    assert some["run"]["sentences"] == whole["run"]["sentences"] == 60
    assert some["run"]["first_ids"] == [sentences_of(some)[0]["id"]]


def test_a_sentence_is_the_same_on_both_sites(sites):
    whole, some = ({one["id"]: one for one in sentences_of(packs)} for packs in sites)
    assert all(whole[name] == one for name, one in some.items())
    assert any(one["neurons"] for one in some.values())


def test_what_pages_show_is_held_and_the_same_sentence(sites):
    whole, some = sites
    for packs in sites:
        rows = packs["shown"]["rows"]
        assert max(rows) < len(sentences_of(packs))
    assert by_id(some, some["shown"]["rows"]) == by_id(whole, whole["shown"]["rows"])
    examples = [packs["phrases"]["examples"] for packs in sites]
    assert examples[0].keys() == examples[1].keys()
    for column, rows in examples[0].items():
        assert by_id(some, examples[1][column]) == by_id(whole, rows)
    assert None not in by_id(some, [row for rows in examples[1].values() for row in rows])
    for own, other in zip(whole["neurons-0"], some["neurons-0"], strict=True):
        for name, shown in own["sets"].items():
            at = [row for row, *_ in shown], [row for row, *_ in other["sets"][name]]
            assert by_id(whole, at[0]) == by_id(some, at[1])
            assert [rest for _, *rest in shown] == [rest for _, *rest in other["sets"][name]]
        assert own["similar"] == other["similar"]


def test_the_words_of_a_small_site_are_those_of_its_sentences(sites):
    _, some = sites
    pack, texts = some["words-0"], [one["text"].lower() for one in sentences_of(some)]
    for place, word in enumerate(pack["words"]):
        rows = np.cumsum(pack["rows"][pack["start"][place] : pack["start"][place + 1]])
        assert all(word in texts[row] for row in rows.tolist())


def test_a_sample_is_drawn_by_seed_and_lets_what_is_shown_in(run):
    shown = np.array([50, 3, 3])
    one, again, other = (Held.of(CORPUS, 60, shown, 10, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.rows, again.rows)
    assert len(one.rows) == len(other.rows) == 10
    assert {3, 50} <= {*one.rows.tolist()} & {*other.rows.tolist()}
    assert one.rows.tolist() != other.rows.tolist()
    assert Held.of(CORPUS, 60, np.arange(20), 10, 0).rows.tolist() == [*range(20)]
    more = Held.of(CORPUS, 60, shown, 20, 0)
    assert {*one.rows.tolist()} <= {*more.rows.tolist()}


def test_rows_have_numbers_of_their_own_on_a_small_site():
    site = Held(np.array([2, 5, 9]), 10)
    np.testing.assert_array_equal(site.place(np.array([[5, 2], [-1, 3]])), [[1, 0], [-1, -1]])
    np.testing.assert_array_equal(site.place(np.array([9, 10, 0])), [2, -1, -1])
    assert Held(np.arange(3), 3).place(np.array([2, -1])).tolist() == [2, -1]


def test_rows_are_found_by_ids(run):
    ids = read_table(CORPUS, "corpus")["id"].to_pylist()
    assert [*rows_of(CORPUS, frozenset([ids[8], ids[2]]))] == [2, 8]


def test_log_odds_of_some_rows_are_those_of_the_matrix(run):
    b = read_annotations(ANNOTATIONS).keep([3, 1])
    rows = np.array([2, 3, 17, 59])
    np.testing.assert_array_equal(b.odds_at(rows), b.score[rows])
    assert b.odds_at(rows[:0]).shape == (0, 2)
