"""Labels that are no better than chance are said to be so, and others are not."""

import numpy as np
import pytest

from descry.annotators.bitset import Answers
from descry.evaluation.chance import Chance, by_chance
from descry.labels.assignment import SetCounter, assign
from descry.labels.enrichment import enrichment
from descry.labels.rules import above_base

SENTENCES, NEURONS, SIZE = 600, 120, 20
EVERY = np.arange(SENTENCES)


def answers(rng, descriptors, share=0.15):
    return (rng.random((SENTENCES, descriptors)) < share).astype(np.int8)


def labels_of(b, threshold):
    """Which labels sets have, and their q."""
    tallying, every = SetCounter(Answers.of(b), np.ones(SENTENCES, bool)), np.ones(SENTENCES, bool)

    def of(sets):
        tally = tallying.tally([sets], every)
        q = enrichment(tally.count, tally.answered, tally.base_count, tally.base_answered, True).q
        f, base = tally.f("occurrences"), tally.base("occurrences")
        return assign(above_base(f, f, base), threshold, None), q

    return of


def held_against_chance(sets, b, threshold):
    of = labels_of(b, threshold)
    sizes = np.count_nonzero(sets >= 0, axis=1)
    return by_chance(*of(sets), sizes, EVERY, lambda drawn: of(drawn)[0])


def noise(rng, size=SIZE):
    return np.array([rng.choice(SENTENCES, size, replace=False) for _ in range(NEURONS)])


def planted(rng, b, size=SIZE):
    """Neurons whose sets have a descriptor in three sentences of four."""
    sets = noise(rng, size)
    for neuron, members in enumerate(sets):
        own = np.flatnonzero(b[:, neuron % b.shape[1]])
        others = np.setdiff1d(EVERY, own)
        some = rng.choice(own, 3 * size // 4, replace=False)
        members[:] = np.append(some, rng.choice(others, size - len(some), replace=False))
    return sets


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("descriptors", "threshold"), [(6, 0.12), (25, 0.06), (12, 0.09)])
def test_noise_is_said_to_be_no_better_than_chance_and_planted_neurons_are_not(
    seed, descriptors, threshold
):
    rng = np.random.default_rng(seed)
    b = answers(rng, descriptors)
    by_lot = held_against_chance(noise(rng), b, threshold)
    assert by_lot.no_better
    assert by_lot.labels == pytest.approx(by_lot.random_labels, rel=0.25, abs=10)
    assert "no better than chance" in by_lot.words("neurons")
    real = held_against_chance(planted(rng, b), b, threshold)
    assert real.significant > 0.9 * NEURONS
    assert real.words("neurons") is None


def test_random_sets_are_of_the_sizes_that_the_neurons_sets_have():
    rng = np.random.default_rng(0)
    b, seen = answers(rng, 6), []
    sizes = np.repeat([5, 9], [30, 90])
    none = np.zeros((NEURONS, 6))

    def label(sets):
        seen.append(np.count_nonzero(sets >= 0, axis=1))
        return np.full((len(sets), 6), len(seen) == 1)  # the smaller sets have all labels

    found = by_chance(none > 0, none, sizes, EVERY, label)
    assert [set(of.tolist()) for of in seen] == [{5}, {9}]
    assert (found.random_labelled, found.random_labels) == (30, 180)
    assert len(b) > 9


def test_without_enough_sentences_to_draw_from_nothing_is_said():
    nothing = np.zeros((1, 2), dtype=bool)
    assert by_chance(nothing, nothing, np.array([5]), np.arange(4), lambda sets: nothing) is None
    assert by_chance(nothing[:0], nothing[:0], np.array([], int), EVERY, lambda sets: sets) is None


def test_the_words_have_both_counts():
    chance = Chance(2304, 2304, 130, 2297.4, 5000, 4900.2)
    assert chance.words("neurons") == (
        "2,304 of 2,304 neurons have a label, and of random sets of sentences 2,297 would; 130 have"
        " one with q at most 0.05: most of these labels are no better than chance"
    )


@pytest.mark.parametrize(
    ("labelled", "significant", "by_lot", "said"),
    [
        (0, 0, 50.0, False),  # nothing is claimed
        (100, 49, 50.0, True),
        (100, 50, 50.0, False),  # half of them hold by themselves
        (100, 0, 49.9, False),  # twice as many as by chance
        (30, 2, 90.0, True),  # fewer than by chance, and weak
    ],
)
def test_it_is_said_of_labels_that_are_neither_more_than_by_chance_nor_significant(
    labelled, significant, by_lot, said
):
    assert Chance(100, labelled, significant, by_lot, 500, 500.0).no_better is said
