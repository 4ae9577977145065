"""What scores would be by chance: nulls that are known, p, and intervals that cover."""

import os
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tallies import tally_of

from descry.annotators.bitset import Answers
from descry.evaluation import intervals
from descry.evaluation.metrics import Cuts, rate
from descry.evaluation.null_models import NULLS, means_of, scores
from descry.evaluation.sides import Comparison, Side
from descry.labels.assignment import SetCounter
from descry.labels.matched import matched_enrichment
from descry.labels.rules import Rule
from descry.labels.strata import Strata

NAN = float("nan")
BY_OCCURRENCES = Rule("composition", "occurrences", 0.3)
BY_SENTENCES = Rule("composition", "sentences", 0.4)
ENRICHED = Rule("enrichment", "sentences", 0.05)
RULES = [BY_OCCURRENCES, BY_SENTENCES, ENRICHED]
CUTS = Cuts((0.4,), 2, 2)
Q_CUTS = Cuts((-np.log10(0.05), -np.log10(0.3)), 2, 2)
HOW = {"permutations": 40, "seed": 0}
NAMES = [score.name for score in CUTS.scores]
JACCARD = NAMES.index("jaccard")


@pytest.fixture(autouse=True)
def _few_partitions(monkeypatch):
    """What is no matter of intervals need not wait for them."""
    monkeypatch.setattr(intervals, "PARTITIONS", 1)


@st.composite
def sides(draw, rule=None):
    sentences, descriptors = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    answers = draw(hnp.arrays(np.int8, (sentences, descriptors), elements=st.integers(-1, 1)))
    size = draw(st.integers(1, sentences))
    rows = st.permutations(range(sentences)).map(lambda order: order[:size])
    exemplars = np.array(draw(st.lists(rows, min_size=1, max_size=4)))
    sampled = draw(st.one_of(st.just(np.ones(sentences, dtype=bool)), hnp.arrays(bool, sentences)))
    strata = draw(st.one_of(st.none(), hnp.arrays(np.int32, sentences, elements=st.integers(0, 2))))
    rule = rule or draw(st.sampled_from(RULES))
    return Side(exemplars, answers, sampled, rule, strata)


def labels(side, cuts=CUTS):
    """Bool [cuts, neurons, descriptors]."""
    tags = side.labels(cuts)
    return tags.spread(tags.bits).astype(bool)


def enriched(side):
    """What the stage label tests."""
    number = len(side.answers)
    of = np.zeros(number, dtype=np.int32) if side.strata is None else side.strata
    strata = Strata(of, tuple("abc"))
    counter, within = (
        SetCounter(Answers.of(side.answers), np.ones(number, bool)),
        side.sampled.all(),
    )
    return matched_enrichment(counter, [side.exemplars], strata, side.sampled, within=bool(within))


def study(seed=0, planted=True, rule=BY_SENTENCES, neurons=15, descriptors=8, sentences=240):
    """Two halves. A planted neuron's exemplars are 7 of 10 of its own descriptor's sentences."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        topic = rng.integers(descriptors, size=sentences)
        answers = (np.arange(descriptors) == topic[:, None]) | (rng.random((sentences, 1)) < 0.1)
        sets = []
        for neuron in range(neurons):
            own = rng.permutation(np.flatnonzero(topic == neuron % descriptors))
            rest = rng.permutation(np.flatnonzero(topic != neuron % descriptors))
            either = rng.permutation(sentences)[:10]
            sets.append(np.concatenate([own[:7], rest[:3]]) if planted else either)
        every = np.ones(sentences, dtype=bool)
        found.append(Side(np.array(sets), answers.astype(np.int8), every, rule))
    return Comparison(*found, same=False)


def about_the_same(seed=0):
    """An annotator's answers, a tenth of them wrong, and the truth."""
    comparison = study(seed)
    truth, rng = comparison.first, np.random.default_rng([seed, 1])
    said = truth.answers ^ (rng.random(truth.answers.shape) < 0.1)
    said = Side(truth.exemplars, said.astype(np.int8), truth.sampled, truth.rule)
    return Comparison(said, truth, same=True)


# sides


@settings(max_examples=60)
@given(sides(BY_SENTENCES), st.sampled_from(["occurrences", "sentences"]))
def test_the_labels_of_a_composition_have_an_f_above_the_cut_and_the_base_rate(side, by):
    side = replace(side, rule=Rule("composition", by, 0.3))
    found = tally_of(side.exemplars, side.answers, sampled=side.sampled)
    # A descriptor that the split has nowhere has no lift, and is no less of a label.
    expected = (found.f(by) > 0.4) & ~(found.lift(by) <= 1)
    np.testing.assert_array_equal(labels(side)[0], expected)


@settings(deadline=None)
@given(sides(ENRICHED))
def test_the_labels_of_enrichment_have_a_q_below_the_cut(side):
    tested = enriched(side)
    for cut, found in zip((0.05, 0.3), labels(side, Q_CUTS), strict=True):
        unsure = np.isclose(tested.q, cut)
        assert (found == (tested.q < cut))[~unsure].all()


@given(sides(ENRICHED))
def test_at_k_the_labels_of_enrichment_are_those_of_the_lowest_p_above_expectation(side):
    tested = enriched(side)
    tiers = side.labels(CUTS).tiers
    count = tally_of(side.exemplars, side.answers).count
    for row, p in enumerate(tested.p):
        none = np.isnan(p) | (count[row] <= tested.expected[row] + 1e-9)
        above = np.flatnonzero(~none)
        lowest = {d for d in above if p[d] <= min(p[above]) * (1 + 1e-9)}
        assert set(np.flatnonzero(tiers.of[row] == 0)) == lowest


@settings(deadline=None)
@given(sides(), st.data())
def test_labels_without_sentences_are_those_of_data_that_do_not_have_them(side, data):
    left_out = data.draw(hnp.arrays(bool, len(side.answers)))
    place = np.append(np.cumsum(~left_out) - 1, -1)
    members = np.where(left_out[side.exemplars], -1, place[side.exemplars])
    strata = None if side.strata is None else side.strata[~left_out]
    if not (~left_out).any() or side.sampled.all() != side.sampled[~left_out].all():
        return
    rest = Side(members, side.answers[~left_out], side.sampled[~left_out], side.rule, strata)
    one, other = side.without(left_out, Q_CUTS), rest.labels(Q_CUTS)
    if side.rule.name == "composition":
        np.testing.assert_array_equal(one.bits, other.bits)
    np.testing.assert_array_equal(one.tiers.of == 0, other.tiers.of == 0)


@settings(deadline=None)
@given(sides(), st.integers(0, 9))
def test_a_draw_that_exchanges_nothing_has_the_labels_of_the_data(side, seed):
    if not side.sampled.all():
        side = replace(side, sampled=np.ones_like(side.sampled))
    alone = replace(side, strata=np.arange(len(side.answers)))  # nobody to be exchanged with
    rng = np.random.default_rng(seed)
    keys, starts = rng.random(len(side.answers)), rng.random((len(side.exemplars), alone.number))
    for drawn in (alone.permuted(keys, Q_CUTS), alone.random(keys, starts, Q_CUTS)):
        np.testing.assert_array_equal(drawn.bits, alone.labels(Q_CUTS).bits)
        np.testing.assert_array_equal(drawn.tiers.of, alone.labels(Q_CUTS).tiers.of)


@settings(deadline=None)
@given(sides(), st.integers(0, 9))
def test_a_draw_has_the_labels_of_data_with_its_answers(side, seed):
    whole = replace(side, sampled=np.ones_like(side.sampled), answers=np.abs(side.answers))
    keys = np.random.default_rng(seed).random(len(side.answers))
    of = np.zeros(len(keys), int) if side.strata is None else side.strata
    home = np.argsort(of, kind="stable")
    shuffled = np.empty_like(whole.answers)
    shuffled[home] = whole.answers[np.lexsort((keys, of))]
    found, expected = whole.permuted(keys, Q_CUTS), replace(whole, answers=shuffled).labels(Q_CUTS)
    np.testing.assert_array_equal(found.bits, expected.bits)
    np.testing.assert_array_equal(found.tiers.of, expected.tiers.of)


def test_draws_do_not_depend_on_how_many_neurons_are_looked_up_at_a_time(monkeypatch):
    side, rng = study(rule=ENRICHED).first, np.random.default_rng(0)
    few = replace(side, exemplars=np.where(np.arange(10) < 4, side.exemplars, -1))
    mixed = replace(side, exemplars=np.concatenate([side.exemplars, few.exemplars]))
    keys, starts = rng.random(len(side.answers)), rng.random((30, 1))
    whole = mixed.random(keys, starts, Q_CUTS)
    monkeypatch.setattr("descry.evaluation.sides._BLOCK", 15)
    parts = replace(mixed).random(keys, starts, Q_CUTS)
    np.testing.assert_array_equal(parts.bits, whole.bits)
    np.testing.assert_array_equal(parts.tiers.of, whole.tiers.of)


# nulls


@pytest.mark.parametrize("rule", RULES)
def test_the_value_is_that_of_the_labels_and_beside_it_is_every_null(rule):
    comparison = study(rule=rule)
    found = scores(comparison, CUTS, **HOW)
    first, second = (side.labels(CUTS) for side in (comparison.first, comparison.second))
    rated = rate(first, second)
    np.testing.assert_array_equal(found.value, rated.means)
    np.testing.assert_array_equal(found.value, means_of(comparison, CUTS))
    values = [v[~np.isnan(v)] for v in rated.values()]
    assert found.defined.tolist() == [len(v) for v in values]
    np.testing.assert_allclose(found.deviation, [v.std() for v in values])
    assert tuple(found.nulls) == NULLS
    highest = np.nanmax([chance.mean for chance in found.nulls.values()], axis=0)
    np.testing.assert_array_equal(found.null(), highest)
    np.testing.assert_array_equal(found.p, np.nanmax([c.p for c in found.nulls.values()], axis=0))
    np.testing.assert_allclose(found.corrected(), (found.value - highest) / (1 - highest))


def test_one_more_null_raises_the_highest_alone():
    found = scores(study(), CUTS, **HOW)
    other = np.full(len(NAMES), 0.9)
    np.testing.assert_array_equal(found.null(other), np.maximum(found.null(), 0.9))
    np.testing.assert_allclose(found.corrected(other), (found.value - found.null(other)) / 0.1)
    np.testing.assert_array_equal(found.null(np.full(len(NAMES), NAN)), found.null())


def test_the_null_of_shuffled_neurons_is_the_mean_over_all_orders():
    comparison = study(neurons=4)
    first, second = (side.labels(CUTS) for side in (comparison.first, comparison.second))
    every = [rate(first, second.take(np.array(order))).means for order in permutations(range(4))]
    found = scores(comparison, CUTS, **HOW | {"permutations": 600}).nulls["shuffled neurons"]
    error = np.std(every, axis=0) / 600**0.5
    assert (np.abs(found.mean - np.mean(every, axis=0)) <= 4 * error + 1e-12).all()


def test_planted_labels_are_above_every_null():
    found = scores(study(), CUTS, **HOW)
    for name in ("precision", "recall", "jaccard", "jaccard_by_descriptor", "precision_at_k"):
        place = NAMES.index(name)
        assert found.p[place] < 0.03  # no draw of any null comes near
        assert found.corrected()[place] > 0.8
        assert found.low[place] > found.null()[place]


@pytest.mark.parametrize("rule", RULES)
def test_random_sets_as_the_data_score_at_their_null(rule):
    many = [scores(study(seed, False, rule), CUTS, **HOW) for seed in range(12)]
    for place, name in enumerate(NAMES):
        value = np.array([found.value[place] for found in many])
        null = np.array([found.nulls["random sets"].mean[place] for found in many])
        known = ~np.isnan(value) & ~np.isnan(null)
        if known.sum() > 3:
            error = value[known].std() / known.sum() ** 0.5
            assert abs((value - null)[known].mean()) < 4 * error + 0.01, name
            p = [f.p[place] for f in many if not np.isnan(f.p[place])]
            assert np.mean(p) > 0.25


def test_the_p_of_data_that_are_the_null_is_small_no_more_often_than_it_says():
    p = [
        scores(study(seed, False), CUTS, **HOW).nulls["random sets"].p[JACCARD]
        for seed in range(60)
    ]
    assert np.mean(np.array(p) <= 0.1) <= 0.1 + 3 * (0.1 * 0.9 / 60) ** 0.5


def test_against_the_truth_about_the_same_sentences_answers_that_know_nothing_are_the_null():
    found = scores(about_the_same(), CUTS, **HOW)
    assert found.value[JACCARD] > 0.5
    assert found.nulls["permuted descriptors"].mean[JACCARD] < 0.4
    assert found.nulls["shuffled neurons"].mean[JACCARD] < 0.4
    # A random set is the same set for both: what is left is how well the annotator knows them.
    assert found.nulls["random sets"].mean[JACCARD] > 0


def test_answers_that_are_the_truth_are_so_of_random_sets_too():
    truth = study().second
    found = scores(Comparison(truth, truth, same=True), Cuts((0.2,), 2, 2), **HOW)
    assert found.value[JACCARD] == 1.0
    assert found.nulls["random sets"].mean[JACCARD] == pytest.approx(1.0)
    assert found.nulls["permuted descriptors"].mean[JACCARD] < 0.4


def test_the_interval_of_a_null_is_the_middle_of_its_draws():
    for chance in scores(study(), CUTS, **HOW).nulls.values():
        assert (chance.low <= chance.mean + 1e-12).all()
        assert (chance.mean <= chance.high + 1e-12).all()


def test_a_draw_without_any_label_has_not_reached_the_value():
    comparison = study(rule=replace(ENRICHED, cut=0.01))
    cuts = Cuts((-np.log10(0.01),), 2, 2)  # hardly a draw has a label at this rate
    found = scores(comparison, cuts, **HOW)
    assert found.value[JACCARD] > 0.5
    for name in ("random sets", "permuted descriptors"):
        chance = found.nulls[name]
        assert chance.p[JACCARD] == pytest.approx(1 / 41)
        assert chance.mean[JACCARD] < 0.05
    assert found.p[JACCARD] == pytest.approx(1 / 41)


def follows_length(comparison, rng):
    """The same with labels that only length explains, and the strata of length."""
    found = []
    for side in (comparison.first, comparison.second):
        length = np.arange(len(side.answers)) // 40
        answers = rng.random(side.answers.shape) < 0.05 + 0.12 * length[:, None]
        weights = np.exp(length) / np.exp(length).sum()
        sets = [rng.choice(len(length), 20, replace=False, p=weights) for _ in range(15)]
        found.append(replace(side, exemplars=np.array(sets), answers=answers.astype(np.int8)))
        found[-1] = replace(found[-1], strata=length)
    return Comparison(*found, same=False)


@pytest.mark.parametrize("rule", [BY_SENTENCES, BY_OCCURRENCES])
def test_what_the_strata_explain_is_chance(rule):
    cuts = Cuts((0.4 if rule is BY_SENTENCES else 0.14,), 2, 2)
    p, means = [], []
    for seed in range(12):
        comparison = follows_length(study(seed, rule=rule), np.random.default_rng(seed))
        sides = (comparison.first, comparison.second)
        plain = Comparison(*(replace(side, strata=None) for side in sides), same=False)
        nulls = [scores(c, cuts, **HOW).nulls["permuted descriptors"] for c in (comparison, plain)]
        p.append([null.p[JACCARD] for null in nulls])
        means.append([null.mean[JACCARD] for null in nulls])
    within, without = np.mean(means, axis=0)
    if rule is BY_SENTENCES:
        assert within > without + 0.2
        assert np.mean(p, axis=0)[1] < 0.05
    assert np.mean(p, axis=0)[0] > 0.25


# intervals


@pytest.mark.parametrize("rule", [BY_SENTENCES, ENRICHED])
def test_intervals_cover_the_mean_of_data_that_are_drawn_anew(rule, monkeypatch):
    monkeypatch.setattr(intervals, "PARTITIONS", 4)
    truth = np.mean([means_of(study(1000 + s, rule=rule), CUTS) for s in range(150)], axis=0)
    found = [scores(study(seed, rule=rule), CUTS, permutations=1, seed=0) for seed in range(30)]
    covered = np.mean([(f.low <= truth) & (truth <= f.high) for f in found], axis=0)
    assert (covered >= 0.85).all()


def test_of_more_neurons_and_sentences_the_value_is_surer():
    few, many = (
        scores(study(neurons=n, sentences=s), CUTS, **HOW) for n, s in ((6, 120), (60, 960))
    )
    assert (many.high - many.low)[JACCARD] < (few.high - few.low)[JACCARD]


# determinism and edges


def same(one, other):
    for name in ("value", "deviation", "defined", "low", "high"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in NULLS:
        for field in ("mean", "low", "high", "p"):
            pair = (getattr(found.nulls[name], field) for found in (one, other))
            np.testing.assert_array_equal(*pair)


@pytest.mark.parametrize("comparison", [study(), about_the_same()], ids=["halves", "the same"])
def test_neither_the_run_nor_the_number_of_threads_changes_a_number(monkeypatch, comparison):
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: range(cores))
        found.append(scores(comparison, CUTS, **HOW))
    same(found[0], found[1])
    same(found[0], found[2])


def test_the_seed_draws_the_nulls_and_not_the_value():
    one, other = (scores(study(), CUTS, **HOW | {"seed": seed}) for seed in (0, 1))
    np.testing.assert_array_equal(one.value, other.value)
    for name in NULLS:
        assert (one.nulls[name].mean != other.nulls[name].mean).any()
    assert (one.low != other.low).any()


def test_scores_that_are_undefined_stay_so():
    comparison = study()
    nobody = np.zeros_like(comparison.first.answers)
    none = Side(comparison.first.exemplars, nobody, comparison.first.sampled, BY_SENTENCES)
    found = scores(Comparison(none, none, same=False), CUTS, **HOW)
    everything = [found.value, found.low, found.high, found.null(), found.corrected(), found.p]
    assert np.isnan([*everything, found.deviation]).all()
    assert not found.defined.any()


def test_what_is_undefined_in_one_null_is_left_to_the_others():
    comparison = study()
    found = scores(Comparison(comparison.first, comparison.second, same=False), CUTS, **HOW)
    hole = found.nulls["random sets"]
    for values in (hole.mean, hole.p):
        values[:] = NAN
    rest = [found.nulls[name] for name in NULLS[1:]]
    np.testing.assert_array_equal(found.null(), np.max([c.mean for c in rest], axis=0))
    np.testing.assert_array_equal(found.p, np.max([c.p for c in rest], axis=0))


def test_one_neuron_has_no_other_to_be_held_against():
    found = scores(study(neurons=1), CUTS, **HOW)
    assert found.value[JACCARD] == 1.0
    assert tuple(found.nulls) == NULLS[:2]
    assert found.null()[JACCARD] < 0.5
    assert found.p[JACCARD] < 1.0


def test_where_the_null_is_1_nothing_is_left_to_be_corrected():
    found = scores(study(), CUTS, **HOW)
    assert np.isnan(found.corrected(np.ones(len(NAMES)))).all()
