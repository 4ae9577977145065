"""Facets, sets that cover and close negatives: simulated where the truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from sklearn.metrics import silhouette_score

from descry.annotators.bitset import Answers
from descry.evaluation.agreement import clopper_pearson
from descry.evaluation.close_negatives import breadth, closest
from descry.evaluation.coverage import covering, first_of, greedy_order
from descry.evaluation.facets import SetTest, facets
from descry.evaluation.sentence_clusters import SMALLEST, bound, groups, padded
from descry.labels.assignment import SetCounter
from descry.labels.strata import Strata

# Sets that cover


def world(rng, descriptors=14, none=0.0):
    """A neuron whose exemplars have topics, correlated, and some of them none: a sampler."""
    kinds = rng.dirichlet(np.full(5, 0.7))
    rates = rng.beta(0.4, 1.4, size=(5, descriptors))
    rates[:, 0] = np.maximum(rates[:, 0], 0.5)
    floor = rng.integers(1, descriptors)  # so that nearly all have something

    def sample(number):
        own = rng.random((number, descriptors)) < rates[rng.choice(5, number, p=kinds)]
        own[:, floor] |= ~own.any(axis=1)
        own[rng.random(number) < none] = False
        return own

    return sample


def test_where_a_fifth_has_no_descriptor_there_is_no_set_and_none_is_feigned():
    """What a lot may decide is the last descriptor, not that there is a set at all."""
    rng, reached = np.random.default_rng(2), []
    for _ in range(200):
        sample = world(rng, none=0.2)
        reached.append(covering(sample(54), sample(54), 0.9, 0.01).reached)
    assert np.mean(reached) < 0.05


@pytest.mark.parametrize("size", [20, 54])
@pytest.mark.parametrize("share", [0.8, 0.9])
def test_sets_cover_as_often_as_they_say(size, share):
    """The mean over neurons of how many further exemplars are covered; of no set, all."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(1500):
        sample = world(rng)
        found = covering(sample(size), sample(size), share, rng.random())
        new = sample(400)[:, found.columns].any(axis=1).mean()
        covered.append(new if found.reached else 1.0)
    assert np.mean(covered) == pytest.approx(share, abs=0.012)


def test_without_a_lot_more_would_be_covered():
    """Scores are equal often: the plain quantile covers more than it says."""
    rng, plain, drawn = np.random.default_rng(1), [], []
    for _ in range(400):
        sample = world(rng, 6)
        choosing, testing, new = sample(40), sample(40), sample(400)
        for found, lot in ((plain, 1.0), (drawn, rng.random())):
            own = covering(choosing, testing, 0.9, lot)
            found.append(new[:, own.columns].any(axis=1).mean() if own.reached else 1.0)
    assert np.mean(plain) > 0.92 > np.mean(drawn) > 0.88


def test_the_order_is_that_of_set_cover():
    yes = np.array(
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=bool
    )
    assert greedy_order(yes) == [
        0,
        2,
        1,
    ]  # the second adds nothing to the first, the last is nowhere
    assert first_of(yes, [0, 2]).tolist() == [1, 1, 1, 2, 3]
    assert greedy_order(yes[:0]) == [] and greedy_order(yes[:, :0]) == []
    assert first_of(yes, []).tolist() == [1] * 5


def test_no_set_covers_exemplars_that_have_nothing():
    none = np.zeros((30, 4), dtype=bool)
    assert covering(none, none, 0.9, 0.5) == ([], False, 0.0)
    half = none.copy()
    half[:15, 1] = True
    found = covering(half, half, 0.9, 0.5)
    assert (found.columns, found.reached, found.covered) == ([1], False, 0.5)
    every = np.ones((30, 1), dtype=bool)
    assert covering(every, every, 0.9, 0.5) == ([0], True, 1.0)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99), st.floats(0, 1))
def test_a_larger_share_or_lot_needs_no_fewer_descriptors(seed, share, lot):
    sample = world(np.random.default_rng(seed), 8)
    choosing, testing = sample(20), sample(20)
    own = covering(choosing, testing, share, lot)
    more = covering(choosing, testing, (1 + share) / 2, lot)
    assert more.columns[: len(own.columns)] == own.columns
    assert len(covering(choosing, testing, share, 1.0).columns) >= len(own.columns)


def test_exact_intervals_are_those_of_scipy():
    from scipy.stats import binomtest

    for hits, number in ((0, 9), (3, 9), (9, 9), (40, 54)):
        exact = binomtest(hits, number).proportion_ci(method="exact")
        assert clopper_pearson(hits, number) == pytest.approx((exact.low, exact.high))


# Groups


def blobs(rng, sizes, dimension=16, spread=0.12):
    """Unit vectors around as many random directions, and which."""
    centres = rng.normal(size=(len(sizes), dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    of = np.repeat(np.arange(len(sizes)), sizes)
    vectors = centres[of] + spread * rng.normal(size=(len(of), dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), of


def test_planted_groups_are_found_largest_first():
    vectors, of = blobs(np.random.default_rng(0), [10, 25, 15])
    order = np.random.default_rng(1).permutation(50)
    found = groups(vectors[order], 5)
    assert found.best == 3
    expected = np.array([2, 0, 1])[of[order]]
    assert found.members[3].tolist() == expected.tolist()
    plain = silhouette_score(vectors[order].astype(float), expected)
    assert found.silhouette == pytest.approx(plain, abs=1e-6)


def test_groups_that_are_too_small_and_sets_that_are_too_small_are_none():
    vectors, _ = blobs(np.random.default_rng(0), [30, SMALLEST - 1], spread=0.05)
    assert 2 not in groups(vectors, 2).members
    none = groups(vectors[: 2 * SMALLEST - 1], 4)
    assert none.best == 1 and np.isnan(none.silhouette)
    assert groups(vectors, 1).best == 1


def test_one_more_set_of_the_same_kind_is_above_the_bound_in_a_twentieth():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 60))
    above = [values[0] > bound(values[1:]) for values in draws]
    assert np.mean(above) == pytest.approx(0.05, abs=0.01)
    assert np.isnan(bound(np.array([])))
    assert bound(np.array([0.3, 0.1])) == 1.0  # so few say nothing
    assert bound(np.full(40, np.nan)) == -1.0


# Facets: six topics, whose sentences lie around one direction each


class World:
    """Sentences of six topics, one descriptor each, and a descriptor that is anywhere."""

    def __init__(self, rng, each=100):
        self.vectors, self.topic = blobs(rng, [each] * 6)
        number = len(self.topic)
        yes = np.zeros((number, 7), dtype=np.int8)
        yes[np.arange(number), self.topic] = rng.random(number) < 0.9
        yes[:, 6] = rng.random(number) < 0.3
        self.answers, self.rng, self.number = yes, rng, number
        self.strata = Strata(np.zeros(number, dtype=np.int32), ("all",))

    def tester(self):
        every = np.ones(self.number, dtype=bool)
        counter = SetCounter(Answers.of(self.answers), every)
        return SetTest(counter, 7, self.strata, every, True, 0.01)

    def of(self, topics, size=40):
        """A neuron's exemplars of these topics; of any without."""
        rows = np.flatnonzero(np.isin(self.topic, topics)) if topics else np.arange(self.number)
        return self.rng.choice(rows, size, replace=False)

    def facets(self, sets, draws=4):
        random = [np.array([self.of(()) for _ in sets]) for _ in range(draws)]
        return facets(np.array(sets), random, lambda rows: self.vectors[rows], self.tester(), 4, 0)


def test_a_neuron_of_two_topics_has_two_facets_with_a_label_each():
    """Beside it neurons of one topic, and random sets; groups of those have labels as well."""
    w = World(np.random.default_rng(0))
    kinds = [(0, 1)] * 15 + [(2,)] * 15 + [()] * 15
    found = w.facets([w.of(kind) for kind in kinds])
    parted = np.array([len(parts) for parts in found.neurons])
    assert (parted[:15] == 2).all() and (parted[15:] == 1).mean() > 0.9
    at = 0
    for n in range(15):
        for rows in found.neurons[n]:
            (topic,) = np.unique(w.topic[rows])
            assert np.flatnonzero(found.tested.labels[at]).tolist() == [topic]
            at += 1
    chance = found.chance
    assert chance["parted"] == (parted > 1).sum() and chance["random_sets"] == 4 * 45
    assert chance["facets_alone"] >= 0.9 and chance["facets_sought"] > 0.9
    # Exemplars dealt by lot have both labels in both groups: none that tells them apart.
    assert chance["lots_sought"] == 1 and chance["lots_alone"] < 0.7 * chance["facets_alone"]
    # Groups of random sets have labels of their own, too, which the whole set does not seek.
    assert chance["random_alone"] > 0.2 and chance["random_sought"] < 0.5


def test_random_sets_are_parted_in_a_twentieth():
    parted = []
    for seed in range(3):
        w = World(np.random.default_rng(seed))
        found = w.facets([w.of(()) for _ in range(60)], draws=1)
        parted += [len(parts) > 1 for parts in found.neurons]
    assert 0.01 <= np.mean(parted) <= 0.1


def test_without_random_sets_and_without_neurons_nothing_is_parted():
    w = World(np.random.default_rng(0))
    found = w.facets([w.of((0, 1)) for _ in range(3)], draws=0)
    assert [len(parts) for parts in found.neurons] == [1, 1, 1]
    assert found.chance["parted"] == 0 and np.isnan(found.chance["facets_labels"])
    none = facets(np.zeros((0, 4), dtype=int), [], lambda rows: w.vectors[rows], w.tester(), 4, 0)
    assert none.neurons == [] and none.chance["neurons"] == 0


def test_facets_are_the_same_again():
    first, second = (World(np.random.default_rng(3)) for _ in range(2))
    one, two = (w.facets([w.of((0, 1)), w.of(())], draws=30) for w in (first, second))
    assert one.chance == two.chance
    assert padded(one.neurons[0]).tolist() == padded(two.neurons[0]).tolist()


# Close negatives


def test_the_closest_quiet_sentences_ties_by_row():
    similarities = np.array([0.9, 0.8, 0.8 + 1e-9, 0.1, 0.95])
    quiet, rows = np.array([1, 1, 1, 1, 0], dtype=bool), np.array([7, 5, 3, 2, 1])
    found = closest(similarities, quiet, rows, 3)
    assert found.rows.tolist() == [7, 3, 5]
    assert found.similarities == pytest.approx([0.9, 0.8, 0.8])


def test_a_label_that_close_negatives_have_as_often_is_too_broad():
    rng = np.random.default_rng(0)
    answers = np.zeros((300, 3), dtype=np.int8)
    exemplars, close, quiet = np.arange(60), np.arange(60, 100), np.arange(60, 300)
    answers[:48, 0] = 1  # exemplars alone
    answers[:48, 1] = 1
    answers[60:92, 1] = 1  # both, as often
    answers[:, 2] = -1  # nobody answered
    found = breadth(answers, exemplars, close, quiet, np.zeros(300, dtype=int))
    assert found.exemplars[:2].tolist() == [0.8, 0.8]
    assert found.close[:2].tolist() == [0, 0.8]
    assert found.quiet[:2].tolist() == [0, pytest.approx(32 / 240)]
    assert found.broad.tolist() == [False, True, True] and np.isnan(found.p[2])
    # Without strata it is Fisher's test, with half of the chance of the observed number.
    answers[:, 0] = rng.random(300) < 0.4
    own = breadth(answers, exemplars, close, quiet, np.zeros(300, dtype=int)).p[0]
    a, c = int(answers[exemplars, 0].sum()), int(answers[close, 0].sum())
    _, whole = fisher_exact([[a, 60 - a], [c, 40 - c]], alternative="greater")
    _, beyond = fisher_exact([[a + 1, 59 - a], [c - 1, 41 - c]], alternative="greater")
    assert own == pytest.approx((whole + beyond) / 2)


def test_p_of_close_negatives_is_uniform_where_length_alone_tells_them_apart():
    rng = np.random.default_rng(0)
    ps = []
    for _ in range(200):
        strata = np.concatenate(
            [rng.choice(5, 80, p=[0.1, 0.1, 0.2, 0.3, 0.3]), rng.integers(0, 5, 40)]
        )
        answers = (rng.random((120, 10)) < 0.15 * (1 + strata[:, None])).astype(np.int8)
        found = breadth(answers, np.arange(80), np.arange(80, 120), np.arange(80, 120), strata)
        ps += found.p.tolist()
    assert (np.array(ps) < 0.05).mean() == pytest.approx(0.05, abs=0.015)
    assert (np.array(ps) < 0.5).mean() == pytest.approx(0.5, abs=0.04)
