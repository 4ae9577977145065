"""Alignment: against scikit-learn and scipy, undefined where it is, and NeuronEval's checks."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics
from sklearn.metrics.pairwise import cosine_similarity
from tallies import tally_of

from descry.activations.top_k import leaders
from descry.evaluation.alignment import align

NAMES = ("f1", "iou", "auroc", "average_precision", "pearson", "cosine")
CHECKED = ("f1", "iou", "average_precision", "pearson", "cosine")
VALUES = st.sampled_from([-2.5, -0.25, 0.0, 1.0, 1.5, 7.0])  # few, so that there are ties


def every_pair(columns, answers):
    neurons, descriptors = np.indices((len(columns), answers.shape[1]))
    return neurons.ravel(), descriptors.ravel()


def scores(columns, exemplars, answers, pairs=None):
    columns = np.array(columns, dtype=np.float32)
    answers = np.array(answers, dtype=np.int8)
    found = align(columns, np.array(exemplars), answers, pairs or every_pair(columns, answers))
    return dataclasses.asdict(found)


def one(column, exemplars, answers):
    """The scores of a neuron with one descriptor."""
    found = scores([column], [exemplars], np.array(answers)[:, None])
    return {name: float(values[0]) for name, values in found.items()}


@st.composite
def cases(draw):
    """Activations of neurons, their exemplars, and B."""
    neurons, descriptors = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    sentences = draw(st.integers(1, 20))
    columns = draw(hnp.arrays(np.float32, (neurons, sentences), elements=VALUES))
    answers = hnp.arrays(np.int8, (sentences, descriptors), elements=st.integers(-1, 1))
    size = draw(st.integers(1, sentences))
    return columns, leaders(columns, size)[0], draw(answers)


def reference(column, rows, answers):
    """The scores of a pair by scikit-learn and scipy, NaN where this project has NaN."""
    kept = answers >= 0
    fires = np.isin(np.arange(len(column)), rows)[kept]
    column, label = column[kept].astype(float), answers[kept] == 1
    found = dict.fromkeys(NAMES, np.nan)
    if (fires | label).any():
        found["f1"] = metrics.f1_score(fires, label)
        found["iou"] = metrics.jaccard_score(fires, label)
    if len(set(label)) == 2 and len(set(column)) > 1:
        found["auroc"] = metrics.roc_auc_score(label, column)
        found["average_precision"] = metrics.average_precision_score(label, column)
        found["pearson"] = stats.pearsonr(column, label).statistic
        found["cosine"] = cosine_similarity(column[None], label[None].astype(float))[0, 0]
    return found


@given(cases())
def test_scores_are_those_of_scikit_learn_and_scipy(case):
    columns, exemplars, answers = case
    found = scores(*case)
    for place, (neuron, descriptor) in enumerate(zip(*every_pair(columns, answers), strict=True)):
        expected = reference(columns[neuron], exemplars[neuron], answers[:, descriptor])
        actual = {name: values[place] for name, values in found.items()}
        assert actual == pytest.approx(expected, nan_ok=True, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_scores_of_many_sentences_are_those_of_scikit_learn_and_scipy(shift):
    random = np.random.default_rng(0)
    columns = (random.standard_normal((1, 3000)) + shift).astype(np.float32)
    answers = random.choice(np.array([-1, 0, 1], dtype=np.int8), (3000, 1), p=[0.1, 0.7, 0.2])
    exemplars = leaders(columns, 150)[0]
    found = {name: values[0] for name, values in scores(columns, exemplars, answers).items()}
    assert found == pytest.approx(reference(columns[0], exemplars[0], answers[:, 0]), abs=1e-9)


def test_scores_by_hand():
    found = one([3.0, 2.0, 1.0, 0.0], [0, 1], [1, 0, 1, 0])
    assert found["f1"] == pytest.approx(1 / 2)
    assert found["iou"] == pytest.approx(1 / 3)
    assert found["auroc"] == pytest.approx(3 / 4)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["pearson"] == pytest.approx(0.5 / np.sqrt(1.25))
    assert found["cosine"] == pytest.approx(4 / np.sqrt(14 * 2))


def test_ties_are_half_right_and_one_threshold():
    found = one([2.0, 1.0, 1.0, 0.0], [0], [0, 1, 0, 0])
    assert found["auroc"] == pytest.approx((1 + 1 / 2) / 3)
    assert found["average_precision"] == pytest.approx(1 / 3)


def test_sentences_without_an_answer_are_left_out_of_that_pair_only():
    column, rows = [5.0, 4.0, 3.0, 2.0, 1.0], [0, 1]
    found = scores([column], [rows], [[-1, 0], [1, 1], [0, 0], [1, 1], [-1, 1]])
    first = one([4.0, 3.0, 2.0], [0], [1, 0, 1])
    second = one(column, rows, [0, 1, 0, 1, 1])
    for name in NAMES:
        np.testing.assert_allclose(found[name], [first[name], second[name]])


def test_a_perfect_label_scores_1():
    assert one([0, 1, 0, 1, 0], [1, 3], [0, 1, 0, 1, 0]) == pytest.approx(dict.fromkeys(NAMES, 1))
    graded = one([-3.0, 2.0, -1.0, 9.0, 0.0], [1, 3], [0, 1, 0, 1, 0])
    for name in ("f1", "iou", "auroc", "average_precision"):
        assert graded[name] == 1.0


def test_the_opposite_of_the_neuron_scores_lowest():
    found = one([1, 0, 1, 0], [0, 2], [0, 1, 0, 1])
    assert [found[name] for name in ("f1", "iou", "auroc")] == [0, 0, 0]
    assert found["pearson"] == pytest.approx(-1)


@pytest.mark.parametrize("answer", [0, 1])
def test_a_descriptor_that_is_never_or_always_true_tells_nothing_of_activations(answer):
    found = one([3.0, 2.0, 1.0], [0], [answer, answer, answer])
    assert np.isnan([found[name] for name in NAMES[2:]]).all()
    assert (found["f1"], found["iou"]) == pytest.approx((answer / 2, answer / 3))


def test_a_neuron_that_never_changes_is_undefined():
    found = one([0.1, 0.1, 0.1], [0], [1, 0, 1])
    assert np.isnan([found[name] for name in NAMES[2:]]).all()


def test_what_changes_only_where_there_is_no_answer_is_undefined():
    found = one([9.0, 0.1, 0.1, 0.1, -9.0], [0], [-1, 0, 1, 1, -1])
    assert np.isnan([found[name] for name in NAMES[2:]]).all()


def test_two_empty_sets_are_undefined_but_disjoint_ones_score_0():
    assert np.isnan(list(one([2.0, 1.0, 0.0], [0], [-1, 0, 0]).values())).all()
    assert np.isnan(list(one([2.0, 1.0], [0], [-1, -1]).values())).all()
    disjoint = one([2.0, 1.0, 0.0], [0], [0, 0, 1])
    assert (disjoint["f1"], disjoint["iou"]) == (0, 0)


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_sentences_does_not_matter(case, random):
    columns, exemplars, answers = case
    order = np.array(random.sample(range(len(answers)), len(answers)))
    moved = scores(columns[:, order], np.argsort(order)[exemplars], answers[order])
    for name, values in scores(*case).items():
        np.testing.assert_allclose(moved[name], values, atol=1e-9)


@given(cases(), st.randoms(use_true_random=False))
def test_only_the_listed_pairs_are_scored_in_their_order(case, random):
    neurons, descriptors = every_pair(case[0], case[2])
    chosen = np.array(random.choices(range(len(neurons)), k=5))
    found = scores(*case, (neurons[chosen], descriptors[chosen]))
    for name, values in scores(*case).items():
        np.testing.assert_allclose(found[name], values[chosen], atol=1e-12)


def test_no_pair_has_no_score():
    none = np.array([], dtype=np.int64)
    found = scores([[1.0, 0.0]], [[0]], [[1], [0]], (none, none))
    assert [len(values) for values in found.values()] == [0] * len(NAMES)


def concepts(share=0.05, sentences=4000, neurons=8):
    """Neurons that are a random concept plus noise, their exemplars, and B: one concept each."""
    random = np.random.default_rng(0)
    truth = random.random((sentences, neurons)) < share
    noise = random.normal(scale=0.4, size=truth.T.shape)
    columns = np.ascontiguousarray(truth.T + noise, dtype=np.float32)
    return columns, leaders(columns, round(share * sentences))[0], truth.astype(np.int8)


def missing(answers):
    """B without half of its Yes."""
    return answers * (np.random.default_rng(1).random(answers.shape) < 0.5).astype(np.int8)


def extra(answers):
    """B with as many Yes again, at random."""
    share = answers.sum(axis=0) / (answers == 0).sum(axis=0)
    return answers | (np.random.default_rng(2).random(answers.shape) < share)


def means(columns, exemplars, answers):
    """The mean of each score over the neurons, each with its own concept."""
    own = np.arange(len(columns))
    found = scores(columns, exemplars, answers, (own, own))
    found["f(c)"] = tally_of(exemplars, answers).f("sentences")[own, own]
    return {name: values.mean() for name, values in found.items()}


@pytest.mark.parametrize("spoilt", [missing, extra])
@pytest.mark.parametrize("name", CHECKED)
def test_missing_and_extra_labels_lower_the_score(name, spoilt):
    columns, exemplars, answers = concepts()
    before = means(columns, exemplars, answers)[name]
    assert means(columns, exemplars, spoilt(answers))[name] < 0.9 * before


def test_f_of_the_exemplar_set_does_not_fall_with_extra_labels():
    columns, exemplars, answers = concepts()
    before = means(columns, exemplars, answers)["f(c)"]
    assert means(columns, exemplars, missing(answers))["f(c)"] < 0.9 * before
    assert means(columns, exemplars, extra(answers))["f(c)"] >= before


def test_auroc_hardly_falls_with_missing_labels():
    columns, exemplars, answers = concepts()
    before = means(columns, exemplars, answers)["auroc"]
    assert means(columns, exemplars, extra(answers))["auroc"] < 0.9 * before
    assert means(columns, exemplars, missing(answers))["auroc"] > 0.97 * before


def test_cosine_alone_changes_with_a_constant():
    columns, exemplars, answers = concepts(sentences=500)
    plain, moved = (means(columns + shift, exemplars, answers) for shift in (0, 2))
    assert moved["cosine"] < 0.9 * plain["cosine"]
    for name in set(NAMES) - {"cosine"}:
        assert moved[name] == pytest.approx(plain[name], rel=1e-4)
