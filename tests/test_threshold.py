"""Where Yes begins: centring, and a threshold that is fitted without labels; in B, and verified."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from planted import (
    ANNOTATIONS,
    CACHE,
    NAMES,
    RESULTS,
    Absent,
    Toy,
    build,
    in_words,
    made_in,
    printed,
    run_annotate,
    run_label,
)

from descry.annotators.annotations import read_annotations
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.threshold import find_offsets, typical
from descry.cli.console.overview import show_table
from descry.errors import InputError
from descry.io.hashing import sha256_file
from descry.provenance.audit.project import Project
from descry.provenance.verify import contents
from descry.provenance.verify.cached_answers import CachedAnswers

few = settings(max_examples=50)


@st.composite
def asked(draw):
    """Log-odds with unasked pairs, and which sentences are typical."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 5)))
    odds = draw(
        hnp.arrays(np.float32, shape, elements=st.floats(-9, 9, width=32) | st.just(np.nan))
    )
    return odds, draw(hnp.arrays(bool, shape[0]))


def settled(odds, stand, centre, threshold):
    found = find_offsets(lambda i: odds[:, i], odds.shape[1], stand, centre, threshold)
    return np.column_stack([found.left(odds[:, i], i) for i in range(odds.shape[1])])


@few
@given(asked(), st.sampled_from([0.0, 1.5, -2.0]))
def test_centring_is_as_by_hand(case, threshold):
    odds, stand = case
    by_sentence, by_descriptor = odds.astype(float), odds.astype(float)
    for row in by_sentence:
        known = ~np.isnan(row)
        row -= row[known].mean() if known.any() else 0.0
    for column in by_descriptor.T:
        known = ~np.isnan(column) & stand
        column -= column[known].mean() if known.any() else 0.0
    for centre, by_hand in (("sentence", by_sentence), ("descriptor", by_descriptor), (None, odds)):
        found = settled(odds, stand, centre, threshold)
        np.testing.assert_allclose(found, by_hand - threshold, atol=1e-5)


def test_what_stands_for_the_corpus_are_the_sampled_or_else_all_asked():
    every, some, none = np.ones(3, bool), np.array([True, False, True]), np.zeros(3, bool)
    assert typical(every, some) is some
    assert typical(some, none) is some


def planted_groups(seed, shares, gap=4.0, sentences=1500):
    """Log-odds of two groups, at a place of each descriptor's own; and which is the upper one."""
    rng = np.random.default_rng(seed)
    upper = rng.random((sentences, len(shares))) < shares
    odds = rng.normal(size=upper.shape) + gap * upper + rng.normal(0, 20, len(shares))
    return odds.astype(np.float32), upper


@pytest.mark.parametrize("centre", [None, "descriptor"])
@pytest.mark.parametrize("seed", range(3))
def test_a_fitted_threshold_parts_a_planted_mixture_wherever_it_lies(seed, centre):
    odds, upper = planted_groups(seed, [0.03, 0.1, 0.3, 0.5])
    yes = settled(odds, np.ones(len(odds), bool), centre, "fitted") > 0
    # Of the best there is: 4 deviations apart, hardly 2.3% of either group are on the wrong side.
    assert ((yes != upper).mean(axis=0) < 0.03).all()


def test_a_fitted_threshold_finds_a_group_below_what_a_sentence_adds():
    odds, upper = planted_groups(0, [0.1] * 8)
    odds += np.random.default_rng(1).normal(0, 10, (len(odds), 1)).astype(np.float32)
    every = np.ones(len(odds), bool)
    centred = settled(odds - odds.mean(axis=0), every, "sentence", "fitted") > 0
    assert (centred != upper).mean() < 0.04
    assert ((settled(odds, every, None, "fitted") > 0) != upper).mean() > 0.1


@pytest.mark.parametrize("odds", [[[2.0]], [[3.0], [3.0], [3.0]], [[np.nan], [np.nan]]])
def test_where_nothing_stands_out_a_fitted_threshold_says_no(odds):
    odds = np.array(odds, dtype=np.float32)
    assert not (settled(odds, np.ones(len(odds), bool), None, "fitted") > 0).any()


# In B


def talkative(prompt):
    """Says Yes to everything, to what it talks about more so; louder about long sentences."""
    about = prompt.descriptor.lower()[:3] in prompt.sentence.lower()
    yes = 2.0 + 3.0 * about + len(prompt.sentence) / 40 + len(prompt.descriptor) / 10
    return {"yes": -float(np.log1p(np.exp(-yes))), "no": -float(np.log1p(np.exp(yes)))}


def talked():
    build()
    shutil.rmtree(CACHE, ignore_errors=True)
    run_annotate(Toy(talkative))


@pytest.fixture(scope="module")
def talked_to(tmp_path_factory):
    return made_in(tmp_path_factory.mktemp("talked"), talked)


@pytest.fixture
def run(talked_to, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(talked_to, tmp_path / "run"))
    return read_annotations(ANNOTATIONS)


WAYS = [("sentence", 0), ("descriptor", 0.5), (None, 8.0), ("sentence", "fitted")]
SCOPES = [{}, {"scope": "exemplars", "neurons": ["L0:1"], "sample": 20}]


@pytest.mark.parametrize(("centre", "threshold"), WAYS)
@pytest.mark.parametrize("scope", SCOPES, ids=["corpus", "exemplars"])
def test_b_follows_from_the_cached_answers_and_verify_proves_it(run, centre, threshold, scope):
    before = run.answer, run.score
    counts = run_annotate(Absent(), replay=True, centre=centre, threshold=threshold, **scope)
    b = read_annotations(ANNOTATIONS)
    raw = np.where(b.asked[:, None], before[1], np.nan)
    by_hand = settled(raw, typical(b.asked, b.sampled), centre, threshold)
    np.testing.assert_allclose(b.score, by_hand, atol=1e-5)
    assert (b.answer == np.where(b.asked[:, None], by_hand > 0, -1)).all()
    assert counts["yes"] == (b.answer == 1).sum()
    assert 0.02 < counts["yes"] / b.asked.sum() / len(NAMES) < 0.7 or threshold == 8.0
    assert (before[0] == 1).all()  # what it says by itself
    assert proven().fault is None
    assert (b.made["params"]["centre"], b.made["params"]["threshold"]) == (centre, threshold)
    kept = b.only(NAMES[2:4])
    np.testing.assert_array_equal(kept.offsets.of(1), b.offsets.of(3))


def proven():
    project = Project(RESULTS, CACHE)
    answers = CachedAnswers(project)
    with PromptCache(CACHE) as cache:
        assert answers.go_through(cache, []).fault is None
    return contents.annotations(project, project.annotations, answers, "annotate")


def test_a_template_of_ones_own_is_asked_recorded_and_verified(run):
    own, shot = Path("own.txt"), {"sentence": "Too dear.", "descriptor": "Price", "answer": "yes"}
    own.write_text("{examples}\nIs {sentence}\nabout {descriptor}?")
    toy = Toy(talkative)
    run_annotate(toy, template="own.txt", examples=[shot])
    assert all(p.text.startswith("Is Too dear.\nabout Price? Yes\nIs ") for p in toy.asked)
    b = read_annotations(ANNOTATIONS)
    assert b.made["inputs"]["own.txt"] == sha256_file(own)
    assert proven().fault is None
    run_annotate(Absent(), replay=True, template="own.txt", examples=[shot])
    own.write_text("{examples}\nWas {sentence}\nabout {descriptor}?")
    assert "prompts do not follow from their template" in str(proven().fault)
    with pytest.raises(InputError, match="replay: 360 of 360 answers"):
        run_annotate(Absent(), replay=True, template="own.txt", examples=[shot])


def test_offsets_that_do_not_follow_are_found_and_so_is_a_cell(run):
    run_annotate(Absent(), replay=True, centre="sentence", threshold="fitted")
    with h5py.File(ANNOTATIONS, "r+") as file:
        file["offset_descriptor"][1] -= 0.5
    assert "what it takes off the log-odds does not follow" in str(proven().fault)
    run_annotate(Absent(), replay=True, centre="sentence", threshold="fitted")
    with h5py.File(ANNOTATIONS, "r+") as file:
        file["score"][1, 0] += 0.5
    assert "it has" in str(proven().fault)


def test_show_and_audit_say_what_was_taken_off(run, capsys):
    run_annotate(Absent(), replay=True, centre="sentence", threshold="fitted")
    run_label(threshold=0.2)
    show_table(RESULTS, 5)
    words = "annotate: Yes is log-odds less their sentence's mean, above a fitted threshold"
    assert words in printed(capsys)
    project = Project(RESULTS, CACHE)
    neurons = {f"L{row['layer']}:{row['neuron']}" for row in project.labels.to_pylist()}
    labels = project.audit(min(neurons)).labels
    answers = [it.answer for label in labels for it in label.exemplars]
    assert answers
    for it in answers:
        assert it.agrees
        odds = it.response["yes"] - it.response["no"]
        assert it.score == pytest.approx(odds - it.taken_off, abs=1e-4)


def test_without_centre_and_threshold_nothing_is_taken_off(run):
    assert not run.offsets
    with h5py.File(ANNOTATIONS) as file:
        assert file["offset_sentence"].shape == file["offset_descriptor"].shape == (0,)


@pytest.mark.parametrize("changes", [{"centre": "sentence"}, {"threshold": 0.5}])
def test_answers_in_words_are_refused_and_kept(run, changes):
    shutil.rmtree(CACHE)
    with pytest.raises(InputError, match=r"toy .*words have no log-odds: set annotate\.centre"):
        run_annotate(Toy(in_words), **changes)
    run_annotate(Absent(), replay=True)
