"""Labels that are no better than chance are said to be so, and others are not."""

import numpy as np
import pytest

from descry.annotators.bitset import Answers
from descry.evaluation.chance import Chance, by_chance
from descry.labels.assignment import SetCounter
from descry.labels.matched import matched_enrichment
from descry.labels.random_labels import DRAWS, random_labels
from descry.labels.rules import Rule
from descry.labels.strata import Strata

SENTENCES, NEURONS, SIZE = 600, 120, 20
EVERY = np.arange(SENTENCES)
ONE = Strata(np.zeros(SENTENCES, dtype=np.int32), ("all",))


def answers(rng, descriptors, share=0.15):
    return (rng.random((SENTENCES, descriptors)) < share).astype(np.int8)


def held_against_chance(sets, b, threshold):
    counter, every = SetCounter(Answers.of(b), np.ones(SENTENCES, bool)), np.ones(SENTENCES, bool)
    rule = Rule("composition", "occurrences", threshold)
    matched = matched_enrichment(counter, [sets], ONE, every)
    found = rule.numbers(counter.tally([sets], every), matched, None, True)
    random = random_labels(lambda: [sets], counter, ONE, every, rule, None)
    return by_chance(found["assigned"], found["q"], random)


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


def test_random_sets_of_enrichment_have_no_label_where_chance_is_all_there_is():
    rng = np.random.default_rng(0)
    b, words = answers(rng, 12), rng.integers(0, 10, SENTENCES)
    b |= (rng.random((SENTENCES, 12)) < words[:, None] / 20).astype(np.int8)  # they follow words
    longest = np.argsort(-words + rng.random(SENTENCES))[:40]
    sets = np.array([rng.choice(longest, SIZE, replace=False) for _ in range(NEURONS)])
    counter, every = SetCounter(Answers.of(b), np.ones(SENTENCES, bool)), np.ones(SENTENCES, bool)
    rule, found = Rule("enrichment", "occurrences", 0.01), {}
    for name, strata in {
        "one": ONE,
        "words": Strata(words.astype(np.int32), tuple("0123456789")),
    }.items():
        matched = matched_enrichment(counter, [sets], strata, every)
        numbers = rule.numbers(counter.tally([sets], every), matched, None, True)
        drawn = random_labels(lambda: [sets], counter, strata, every, rule, None)
        found[name] = by_chance(numbers["assigned"], numbers["q"], drawn)
    assert found["one"].labels > 100 and found["words"].labels < 3
    assert found["words"].draws == DRAWS and found["words"].random_any <= 0.03


def test_without_enough_sentences_to_draw_from_nothing_is_said():
    b = np.ones((6, 1), dtype=np.int8)
    counter, some = SetCounter(Answers.of(b), np.ones(6, bool)), np.arange(6) < 3
    strata = Strata(np.zeros(6, dtype=np.int32), ("all",))
    sets, rule = np.array([[0, 1, 2, 3, 4]]), Rule("enrichment", "occurrences", 0.01)
    nothing = np.zeros((1, 1), dtype=bool)
    drawn = random_labels(lambda: [sets], counter, strata, some, rule, None)
    assert by_chance(nothing, nothing, drawn) is None
    assert by_chance(nothing[:0], nothing[:0], iter(())) is None


def test_the_words_have_both_counts():
    chance = Chance(2304, 2304, 130, 5000, 100, 2297.4, 4900.2, 1.0)
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
    assert Chance(100, labelled, significant, 500, 100, by_lot, 500.0, 1.0).no_better is said
