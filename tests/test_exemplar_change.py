"""What the sentences that only one of two exemplar sets has say about descriptors."""

from itertools import product
from math import comb

import numpy as np
import pytest

from descry.activations.top_k import in_common, leaders
from descry.labels.strata import Strata, stratify
from descry.two_models import exemplar_change
from descry.two_models.exemplar_change import change, only, shared


class Answers:
    """What is asked of annotations: B, and whose answers are there."""

    def __init__(self, yes):
        from descry.annotators.bitset import Answers as Bits

        self.bits = Bits.of(yes.astype(np.int8))
        self.asked = np.ones(len(yes), dtype=bool)
        self.descriptors = [str(d) for d in range(yes.shape[1])]


def sets_of(activations, size):
    return leaders(np.ascontiguousarray(activations.astype(np.float32)), size)[0]


def one_stratum(sentences):
    return Strata(np.zeros(sentences, dtype=np.int32), ("all",))


def test_shared_exemplars_stand_beside_those_of_random_sets():
    rng = np.random.default_rng(0)
    length = rng.integers(0, 40, 400).astype(float)
    strata = stratify({"words": length}, 10)
    first, second = (sets_of(rng.normal(size=(300, 400)) + length / 8, 40) for _ in range(2))
    found = shared(first, second, strata)
    assert found.share == pytest.approx(in_common(first, second))
    assert found.expected == pytest.approx(np.full(300, 0.1))
    # Both follow length, and have nothing else in common.
    assert found.share.mean() > 0.15
    assert found.matched.mean() == pytest.approx(found.share.mean(), abs=0.01)


def test_a_neuron_without_a_set_shares_nothing_that_is_defined():
    sets = np.array([[0, 1, -1], [-1, -1, -1]])
    other = np.array([[1, 2, 3], [0, 1, 2]])
    found = shared(sets, other, one_stratum(5))
    assert found.share[0] == 0.5 and np.isnan([found.share[1], found.expected[1]]).all()
    assert only(sets, other).tolist() == [[0, -1, -1], [-1, -1, -1]]
    assert only(other, sets).tolist() == [[-1, 2, 3], [0, 1, 2]]


def test_p_is_the_exact_test_of_the_sentences_that_differ(monkeypatch):
    monkeypatch.setattr(exemplar_change, "_COUNTS", 1)  # a pair at a time
    rng = np.random.default_rng(1)
    yes = rng.random((60, 2)) < 0.4
    of = rng.integers(0, 2, 60).astype(np.int32)
    first, second = (np.stack([rng.permutation(60)[:12] for _ in range(4)]) for _ in range(2))
    found = change(first, second, (Answers(yes), Answers(yes)), Strata(of, ("short", "long")))
    for pair, d in product(range(4), range(2)):
        gone = [i for i in first[pair] if i not in second[pair]]
        came = [i for i in second[pair] if i not in first[pair]]
        assert found.first[pair, d] == yes[gone, d].sum()
        assert found.second[pair, d] == yes[came, d].sum()
        assert found.p[pair, d] == pytest.approx(by_enumeration(gone, came, yes[:, d], of))


def by_enumeration(gone, came, yes, of):
    """Two-sided mid-p of the product of two hypergeometric distributions."""
    chances = {0: 1.0}
    for stratum in (0, 1):
        n = sum(of[i] == stratum for i in gone)
        pool = [i for i in (*gone, *came) if of[i] == stratum]
        k, whole = sum(yes[i] for i in pool), len(pool)
        own = {x: comb(k, x) * comb(whole - k, n - x) / comb(whole, n) for x in range(n + 1)}
        summed = {}
        for (x, p), (y, q) in product(chances.items(), own.items()):
            summed[x + y] = summed.get(x + y, 0) + p * q
        chances = summed
    seen = sum(yes[i] for i in gone)
    more = sum(p for x, p in chances.items() if x > seen) + chances[seen] / 2
    return min(1, 2 * min(more, 1 - more))


def test_p_is_uniform_for_two_noisy_copies_of_a_model_and_small_where_a_topic_came():
    rng = np.random.default_rng(2)
    sentences, pairs = 1500, 600
    length = rng.integers(5, 60, sentences).astype(float)
    yes = rng.random((sentences, 4)) < (0.1 + length[:, None] / 200)  # long ones have more topics
    strata = stratify({"words": length}, 20)
    common = rng.normal(size=(pairs, sentences)) + yes[:, 0] + length / 30
    noise = rng.normal(size=(2, pairs, sentences))
    first, second = (sets_of(common + of, 90) for of in noise)
    found = change(first, second, (Answers(yes), Answers(yes)), strata)
    for d in range(4):
        assert (found.p[:, d] < 0.05).mean() == pytest.approx(0.05, abs=0.03)
        assert (found.p[:, d] < 0.5).mean() == pytest.approx(0.5, abs=0.07)
    assert (found.q < 0.05).sum() <= 2
    # The second follows length more, which is no topic; and another topic, which is.
    third = sets_of(common + noise[1] + length / 10 + 3 * yes[:, 2], 90)
    found = change(first, third, (Answers(yes), Answers(yes)), strata)
    assert (found.q[:, 2] < 0.05).mean() > 0.9
    assert (found.second[:, 2] > found.first[:, 2]).mean() > 0.9
    # The sentences that came are longer, and so have more of every topic: within strata, no more.
    assert (found.second[:, 3] > found.first[:, 3]).mean() > 0.6
    assert (found.p[:, 3] < 0.05).mean() < 0.12


def test_sets_that_are_the_same_are_not_tested():
    rng = np.random.default_rng(3)
    sets = np.stack([rng.permutation(40)[:6] for _ in range(3)])
    answers = Answers(rng.random((40, 2)) < 0.5)
    found = change(sets, sets, (answers, answers), one_stratum(40))
    assert np.isnan(found.p).all() and not found.first.any()
