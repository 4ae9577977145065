"""B on the disk: what was put in comes out, however it was put in."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry.annotators import annotations
from descry.annotators.annotations import (
    read_annotations,
    read_ids,
    read_judgements,
    writing_annotations,
)
from descry.errors import InputError
from descry.io.hdf5 import writing_hdf5

WHO = {"name": "someone", "model": "m", "revision": "1", "dtype": "none", "decoding": "none"}
MADE = {"stage": "annotate", "params": {}, "failed": 2}
few = settings(max_examples=30)  # each writes files
FRAME = ["<user>", "</user>"]


@st.composite
def annotated(draw):
    """B, log-odds, and where the answers are cut into slabs."""
    shape = draw(st.tuples(st.integers(1, 70), st.integers(1, 5)))
    answer = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1), fill=st.just(-1)))
    odds = draw(
        hnp.arrays(np.float32, shape, elements=st.floats(-9, 9, width=32) | st.just(np.nan))
    )
    score = np.where(answer < 0, np.nan, odds).astype(np.float32)
    cuts = draw(st.lists(st.integers(0, answer.size), max_size=6).map(sorted))
    return answer, score, cuts


def write(path, answer, score, cuts=(), asked=None):
    """A file made slab by slab."""
    every = np.ones(len(answer), dtype=bool)
    ids = [f"{row:016x}" for row in range(len(answer))]
    names = [f"d{column}" for column in range(answer.shape[1])]
    rows, columns = np.nonzero(answer >= 0)
    with writing_annotations(path, ids, names, every if asked is None else asked, every) as b:
        for slab in np.split(np.arange(len(rows)), cuts):
            of = rows[slab], columns[slab]
            b.put(*of, answer[of] == 1, score[of])
        b.sign(MADE, WHO, FRAME)
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(annotations, "_BLOCK", 16)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("b") / "annotations.h5"


@pytest.fixture
def simple(tmp_path):
    """Three sentences, two descriptors."""
    answer = np.array([[1, 0], [-1, 1], [0, -1]], dtype=np.int8)
    score = np.array([[2, -2], [np.nan, np.nan], [-1, np.nan]], dtype=np.float32)
    return write(tmp_path / "annotations.h5", answer, score)


@few
@given(case=annotated())
def test_what_was_put_in_comes_out(path, case):
    answer, score, cuts = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotations, "_BLOCK", 16)
        found = read_annotations(write(path, answer, score, cuts))
    np.testing.assert_array_equal(found.answer, answer)
    np.testing.assert_array_equal(found.score, score)
    assert found.ids == [f"{row:016x}" for row in range(len(answer))]
    assert found.descriptors == [f"d{column}" for column in range(answer.shape[1])]
    assert (found.made, found.annotator, found.frame) == (MADE, WHO, tuple(FRAME))


@few
@given(case=annotated())
def test_the_bytes_do_not_depend_on_the_slabs(path, case):
    answer, score, cuts = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotations, "_BLOCK", 16)
        whole = write(path, answer, score).read_bytes()
        assert write(path, answer, score, cuts).read_bytes() == whole


@few
@given(case=annotated(), data=st.data())
def test_some_descriptors_have_their_own_answers_and_scores(path, case, data):
    answer, score, cuts = case
    dropped = data.draw(st.lists(st.sampled_from(range(answer.shape[1])), unique=True))
    kept = [column for column in range(answer.shape[1]) if column not in dropped]
    found = read_annotations(write(path, answer, score, cuts))
    for part in (found.without(dropped), found.only([f"d{column}" for column in kept])):
        assert part.descriptors == [f"d{column}" for column in kept]
        np.testing.assert_array_equal(part.answer, answer[:, kept])
        np.testing.assert_array_equal(part.score, score[:, kept])
        assert part.without([]).score.shape == part.score.shape
    twice = found.without([0]).without([0])
    np.testing.assert_array_equal(twice.score, score[:, 2:])


def test_it_is_read_by_h5py_and_numpy_alone(simple):
    with h5py.File(simple) as file:
        yes, answered = (
            np.unpackbits(file[name][:], axis=1, count=len(file["id"])).astype(bool)
            for name in ("yes", "answered")
        )
        assert file["score"][0, [0, 2]].tolist() == [2, -1]
        assert [name.decode() for name in file["descriptor"]] == ["d0", "d1"]
    assert yes.tolist() == [[True, False, False], [False, True, False]]
    assert answered.tolist() == [[True, False, True], [True, True, False]]


def test_sentences_without_an_answer_take_no_scores(tmp_path, small_blocks):
    answer, score = np.full((1600, 2), -1, dtype=np.int8), np.full((1600, 2), np.nan)
    answer[800], score[800] = 1, 3
    with h5py.File(write(tmp_path / "b.h5", answer, score)) as file:
        assert file["score"].id.get_storage_size() == 2 * 16 * 4
        assert np.isnan(file["score"][:]).sum() == 2 * 1599


def test_scores_and_ids_are_read_when_they_are_wanted(simple):
    b = read_annotations(simple)
    assert read_ids(simple, 1, 3) == b.ids[1:]
    with h5py.File(simple, "r+") as file:
        del file["score"]
    assert b.answer.tolist() == [[1, 0], [-1, 1], [0, -1]]
    with pytest.raises(InputError, match=r"annotations.h5: cannot be read .*score"):
        _ = b.score


def test_an_answer_about_an_earlier_sentence_comes_too_late(tmp_path, small_blocks):
    every = np.ones(40, dtype=bool)
    ids, one = [f"{row:016x}" for row in range(40)], np.array([True])
    with (
        pytest.raises(ValueError, match="is written already"),
        writing_annotations(tmp_path / "b.h5", ids, ["d"], every, every) as b,
    ):
        b.put(np.array([20]), np.array([0]), one, np.array([1.0]))
        b.put(np.array([3]), np.array([0]), one, np.array([1.0]))
    assert list(tmp_path.iterdir()) == []


def test_answers_out_of_order_are_refused(tmp_path, small_blocks):
    every, ids = np.ones(40, dtype=bool), [f"{row:016x}" for row in range(40)]
    two = np.array([True, False])
    with (
        pytest.raises(ValueError, match="out of the order"),
        writing_annotations(tmp_path / "b.h5", ids, ["d"], every, every) as b,
    ):
        b.put(np.array([20, 3]), np.array([0, 0]), two, np.array([1.0, 1.0]))


def put_a_yes_without_an_answer(file):
    file["yes"][0] = 0b11100000


def put_an_answer_after_the_last_sentence(file):
    file["answered"][0] = 0b10110000


def make_it_a_matrix(file):
    del file["yes"]
    file["yes"] = np.zeros((2, 1))


def lose_a_sentence(file):
    del file["asked"]
    file["asked"] = np.ones(2, dtype=bool)


def lose_a_column(file):
    for name in ("yes", "answered"):
        values = file[name][:1]
        del file[name]
        file[name] = values


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (put_a_yes_without_an_answer, "it has a Yes that is no answer"),
        (put_an_answer_after_the_last_sentence, "its answers are not of its sentences"),
        (make_it_a_matrix, "dataset yes is of another shape or type"),
        (lose_a_sentence, "dataset asked is of another shape or type"),
        (lose_a_column, "dataset yes is of another shape or type"),
    ],
)
def test_a_spoilt_file_is_refused(simple, spoil, reason):
    with h5py.File(simple, "r+") as file:
        spoil(file)
    with pytest.raises(InputError, match=reason):
        read_annotations(simple)


def test_without_a_judge_there_are_no_judgements(tmp_path, simple):
    with writing_hdf5(tmp_path / "judgements.h5", {"stage": "judge"}):
        pass
    assert read_judgements(tmp_path / "judgements.h5") is None
    assert read_judgements(simple).annotator == WHO


def test_of_no_descriptor_there_is_a_file(tmp_path):
    empty = np.zeros((3, 0))
    found = read_annotations(write(tmp_path / "b.h5", empty.astype(np.int8), empty))
    assert (found.answer.shape, found.score.shape) == ((3, 0), (3, 0))


BUGS = [AttributeError, TypeError, KeyError, IndexError, ValueError, RuntimeError, AssertionError]


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("place", ["_read_bits", "hdf5_provenance"])
def test_a_bug_of_the_reader_is_not_laid_to_the_file(simple, monkeypatch, place, bug):
    def planted(*_):
        raise bug("planted")

    monkeypatch.setattr(f"descry.annotators.annotations.{place}", planted)
    with pytest.raises(bug, match="planted"):
        read_annotations(simple)
