"""Prompts with other words: whole words that matter, in their case, at places that are known."""

import neurons
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import Neurons, spell, text_of, tokens_of

from descry.n2g.augment import (
    Gap,
    Variant,
    Word,
    important_words,
    in_case,
    measure,
    suitable,
    variants,
)
from descry.n2g.batching import together
from descry.n2g.prune import Pruned
from descry.n2g.texts import make_text


def part(string, key, span=None, pieces=None, activations=(2.0,)):
    """A part of a text whose tokens are words, or the pieces given as spans of characters."""
    text = text_of(string) if pieces is None else make_text(string, range(len(pieces)), pieces)
    span = span or (0, len(text.tokens))
    found = np.zeros(span[1] - span[0])
    found[key] = activations[0]
    return Pruned(text, span, key, found, found, 1.0)


def words_of(*given, matters=None, threshold=0.8, **named):
    pruned = part(*given, **named)
    size = pruned.span[1] - pruned.span[0]
    matters = np.ones(size) if matters is None else np.array(matters)
    return important_words(pruned, matters, threshold=threshold)


# Which words


def test_words_that_matter_are_found_with_what_stands_around_them():
    found = words_of("It was Not good .", 3, matters=[0, 0, 0.8, 1, 0.9])
    assert found == [
        Word((2, 3), Gap("It was ", "Not", " good ."), " "),
        Word((3, 4), Gap("It was Not ", "good", " ."), " "),
    ]


def test_what_matters_less_than_the_threshold_is_not_replaced():
    assert words_of("not good", 1, matters=[0.7999, 0.8]) == [
        Word((1, 2), Gap("not ", "good", ""), " ")
    ]


def test_only_the_part_that_is_kept_stands_around_a_word():
    found = words_of("it was so good on it", 1, span=(2, 5), matters=[0, 1, 0])
    assert found == [Word((1, 2), Gap("so ", "good", " on"), " ")]


def test_a_word_of_several_tokens_is_one_word():
    pieces = [(0, 3), (3, 6), (7, 9)]  # cof|fee is
    found = words_of("coffee is", 0, pieces=pieces, matters=[0.1, 0.9, 0])
    assert found == [Word((0, 2), Gap("", "coffee", " is"), "")]


@pytest.mark.parametrize(
    ("string", "pieces"),
    [
        ("10 4x ... ", [(0, 2), (3, 5), (6, 9)]),  # no words
        ("don't", [(0, 3), (3, 4), (4, 5)]),  # not alphabetic
        ("coffee", [(3, 6)]),  # cut within a word
        ("coffee", [(0, 3)]),
        ("coffee-tea", [(0, 10)]),  # a token of more than the word
    ],
)
def test_what_is_no_whole_alphabetic_word_is_not_replaced(string, pieces):
    assert words_of(string, 0, pieces=pieces) == []


def test_signs_right_beside_a_word_are_not_of_it():
    found = words_of("(so).", 1, pieces=[(0, 1), (1, 3), (3, 4), (4, 5)])
    assert found == [Word((1, 2), Gap("(", "so", ")."), "(")]


def test_white_space_in_a_token_is_not_of_the_word():
    found = words_of("so coffee", 1, pieces=[(0, 2), (2, 9)])  # as GPT-2 cuts it
    assert [word.gap for word in found] == [Gap("", "so", " coffee"), Gap("so ", "coffee", "")]


# Which substitutes


candidates = st.lists(st.sampled_from(["tea", "Tea", "Coffee", "coffee", "4x", "##s", "", "ales"]))


@given(candidates, st.sampled_from(["coffee", "Coffee", "TEA", "Straße"]), st.integers(1, 5))
def test_substitutes_are_alphabetic_distinct_and_never_the_word_itself(ranked, word, number):
    found = suitable(word, ranked, number=number)
    folded = [one.casefold() for one in found]
    assert len(found) <= number
    assert len(set(folded)) == len(folded)
    assert word.casefold() not in folded
    assert all(one.isalpha() for one in found)
    wanted = {one.casefold() for one in ranked if one.isalpha()} - {word.casefold()}
    assert len(found) == min(number, len(wanted))


def test_the_best_come_first():
    assert suitable("tea", ["cocoa", "TEA", "coffee", "brick"], number=2) == ["cocoa", "coffee"]


def test_the_word_is_compared_with_each_candidate_not_another_word():
    # The public code compares it with the wrong word of the text, and originals come back.
    assert suitable("Coffee", ["coffee", "COFFEE", "tea"], number=5) == ["Tea"]


@pytest.mark.parametrize(
    ("candidate", "word", "expected"),
    [
        ("tea", "coffee", "tea"),
        ("tea", "Coffee", "Tea"),
        ("tea", "COFFEE", "TEA"),
        ("tea", "I", "Tea"),
        ("Tea", "coffee", "Tea"),
        ("iPad", "Phone", "IPad"),
    ],
)
def test_the_case_of_the_word_is_kept(candidate, word, expected):
    assert in_case(candidate, word) == expected


# Which prompts


def tried(pruned, others, limit=64, spelled=spell):
    words = important_words(pruned, np.ones(len(pruned.prompt)), threshold=0.5)
    proposed = [others.get(word.gap.word, []) for word in words]
    return variants(pruned, words, proposed, spelled, limit)


def test_one_word_at_a_time_is_another():
    found = tried(part("not so good", 2), {"not": ["it", "on"], "good": ["hot"]})
    strings = ["it so good", "on so good", "not so hot"]
    assert found == [Variant(tokens_of(string), (2, 3)) for string in strings]


def spelled_in_three(before, word):
    return (70, 71, 72)


@pytest.mark.parametrize(
    ("replaced", "places"),
    [("not", (4, 5)), ("so", (4, 5)), ("good", (2, 5)), ("on", (2, 3))],
)
def test_the_key_token_is_found_again_where_a_word_has_more_tokens(replaced, places):
    [found] = tried(part("not so good on", 2), {replaced: ["brick"]}, spelled=spelled_in_three)
    assert len(found.prompt) == 6
    assert found.places == places
    if replaced != "good":
        assert found.prompt[places[0]] == neurons.IDS["good"]


def test_a_substitute_that_is_the_same_tokens_is_no_other_prompt():
    assert tried(part("so good", 1), {"good": ["good"]}) == []


def test_a_prompt_that_comes_up_twice_is_tried_once():
    assert len(tried(part("so good", 1), {"good": ["hot", "hot"]})) == 1


def test_a_word_that_cannot_be_spelled_there_is_left_out():
    assert tried(part("so good", 1), {"good": ["hot"]}, spelled=lambda *_: ()) == []


def test_a_prompt_that_would_be_too_long_is_left_out():
    pruned = part("so good", 1)
    assert tried(pruned, {"good": ["hot"]}, limit=3, spelled=spelled_in_three) == []
    assert len(tried(pruned, {"good": ["hot"]}, limit=4, spelled=spelled_in_three)) == 1


def test_the_speller_is_told_what_stands_before_in_the_whole_text():
    told = []
    pruned = part("it so good", 1, span=(1, 3))
    others = {"so": ["hot"], "good": ["tea"]}
    tried(pruned, others, spelled=lambda *asked: told.append(asked) or (9,))
    tried(part("so good", 1), {"so": ["hot"]}, spelled=lambda *asked: told.append(asked) or (9,))
    assert told == [(" ", "hot"), (" ", "tea"), ("", "hot")]


# Which of them excite the neuron as well


def measured(rule, string, key, others, **changes):
    subject = Neurons({0: rule})
    pruned = part(string, key)._replace(activations=rule(string.split()))
    plan = measure(pruned, tried(pruned, others), **{"drop": 0.5} | changes)
    [found] = together([(0, plan)], subject)
    return [(subject.asked[k], one.positive) for k, one in enumerate(found)]


def strengths(words):
    by_word = {"coffee": 2.0, "tea": 1.0, "cocoa": 0.9, "brick": -1.0}
    return np.array([by_word.get(word, 0.0) for word in words])


def test_a_prompt_is_positive_where_the_key_token_drops_by_no_more():
    found = measured(strengths, "so coffee", 1, {"coffee": ["tea", "cocoa", "brick"]})
    assert found == [("so tea", True), ("so cocoa", False), ("so brick", False)]


def test_it_is_the_key_token_that_counts_not_the_highest():
    found = measured(strengths, "so it tea", 2, {"so": ["coffee"], "tea": ["brick"]}, drop=0.1)
    assert found == [("coffee it tea", True), ("so it brick", False)]


def test_of_a_new_word_in_several_tokens_the_highest_counts():
    def spelled(behind, word):
        return tuple(neurons.IDS[piece] for piece in ("brick", "tea", "cocoa"))

    pruned = part("so coffee", 1)._replace(activations=np.array([0.0, 2.0]))
    plan = measure(pruned, tried(pruned, {"coffee": ["any"]}, spelled=spelled), drop=0.5)
    [[found]] = together([(0, plan)], Neurons({0: strengths}))
    assert found.positive


def test_of_a_whole_text_its_one_activation_counts():
    rule = {0: lambda words: np.array([2.0 if "hot" in words else 0.5])}
    pruned = part("so good", 0)._replace(activations=np.array([2.0]))
    plan = measure(pruned, tried(pruned, {"good": ["hot", "brick"]}), drop=0.5)
    [found] = together([(0, plan)], Neurons(rule, whole=True))
    assert [one.positive for one in found] == [True, False]
