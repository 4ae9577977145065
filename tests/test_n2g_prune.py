"""The shortest part of a text that still excites a neuron."""

import neurons
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import FILLER, QUIET, Neurons, text_of

from descry.n2g.batching import together
from descry.n2g.prune import lengths, prune_token, prune_whole

PAPER = {"drop": 0.5, "step": 1, "until": None, "following": 0}


def words(text, span):
    return " ".join(neurons.WORDS[token] for token in text.tokens[slice(*span)])


def pruned(rule, string, both_sides=True, key=None, **changes):
    """What is kept of a string, and all that was asked for that."""
    subject, text = Neurons({0: rule}, both_sides=both_sides), text_of(string)
    values = subject.excited(0, text.tokens)
    key = int(values.argmax()) if key is None else key
    plan = prune_token(text, values, key, both_sides=both_sides, **PAPER | changes)
    [found] = together([(0, plan)], subject)
    return found, subject.asked


def kept(*given, **named):
    found, _ = pruned(*given, **named)
    return words(found.text, found.span)


def graded(**strength):
    """Every word has the same activation wherever it stands."""
    return lambda words: np.array([strength.get(word, QUIET) for word in words])


# Which lengths


@pytest.mark.parametrize(
    ("longest", "step", "until", "expected"),
    [
        (4, 1, None, [1, 2, 3, 4]),
        (1, 1, None, [1]),
        (12, 5, None, [5, 10, 12]),
        (10, 5, None, [5, 10]),
        (3, 5, None, [3]),
        (40, 5, 30, [5, 10, 15, 20, 25, 30, 40]),
        (40, 1, 2, [1, 2, 40]),
        (30, 5, 30, [5, 10, 15, 20, 25, 30]),
    ],
)
def test_lengths_are_every_step_up_to_a_limit_and_then_the_longest(longest, step, until, expected):
    assert lengths(longest, step=step, until=until) == expected


# Decoders: what is before a token


def test_a_word_that_needs_no_context_stays_alone():
    assert kept(neurons.a_word, "it was the coffee on it", both_sides=False) == "coffee"
    assert kept(neurons.a_word, "it was the coffee on it") == "coffee"


@pytest.mark.parametrize("both_sides", [False, True])
def test_the_context_that_is_needed_stays(both_sides):
    string = "one of it was not very good on it"
    assert kept(neurons.bigram_with_gap, string, both_sides=both_sides) == "not very good"


def test_lengths_are_tried_from_the_shortest_on_until_one_holds():
    _, asked = pruned(neurons.bigram_with_gap, "it was not so good on", both_sides=False)
    assert asked == ["good", "so good", "not so good"]


def test_the_whole_of_what_is_before_is_never_asked_for_again():
    found, asked = pruned(neurons.bigram_with_gap, "not so good on", both_sides=False)
    assert asked == ["good", "so good"]
    assert words(found.text, found.span) == "not so good"
    assert found.activations.tolist() == pytest.approx([QUIET, QUIET, 2.0])


@pytest.mark.parametrize("string", ["coffee it was", "it was coffee", "coffee"])
@pytest.mark.parametrize("both_sides", [False, True])
def test_a_key_token_may_be_the_first_or_the_last(string, both_sides):
    found, _ = pruned(neurons.a_word, string, both_sides=both_sides, following=5)
    assert words(found.text, found.span)[slice(7)].strip() == "coffee"
    assert found.key == 0


def fading(words):
    """`coffee` has 1.0 behind three other words, and less behind fewer."""
    strength = 0.2, 0.5, 0.8, 1.0
    values = (strength[min(k, 3)] if w == "coffee" else 0.1 for k, w in enumerate(words))
    return np.array(list(values))


@pytest.mark.parametrize(("drop", "length"), [(0.9, 1), (0.5, 2), (0.4, 3), (0.1, 4), (0.0, 4)])
def test_a_key_token_may_lose_its_share_and_no_more(drop, length):
    found, _ = pruned(fading, "it was so very coffee", both_sides=False, drop=drop)
    assert found.span == (5 - length, 5)
    assert found.scale * found.activations[found.key] == pytest.approx(1.0)


def test_a_part_in_which_another_token_is_higher_does_not_hold():
    def rule(words):
        tea = 5.0 if words[0] == "tea" else 0.5  # loud where nothing is before it
        return np.array([{"coffee": 2.0, "tea": tea}.get(word, QUIET) for word in words])

    assert kept(rule, "it tea so coffee", both_sides=False, drop=0.0) == "coffee"

    def quiet_at_first(words):
        return rule(words) - (words[0] in ("coffee", "so")) * 2

    assert kept(quiet_at_first, "it tea so coffee", both_sides=False) == "it tea so coffee"


def test_a_key_token_that_is_not_the_highest_may_stand_beside_those_that_were_higher():
    rule = graded(coffee=2.0, tea=1.5, cocoa=1.0)
    found, _ = pruned(rule, "coffee cocoa tea", key=2, both_sides=False, step=3)
    assert words(found.text, found.span) == "coffee cocoa tea"
    assert found.key == 2


def test_several_highest_tokens_do_not_hinder_each_other():
    assert kept(neurons.either_word, "tea it tea", key=0, step=5) == "tea it tea"
    assert kept(neurons.either_word, "tea it tea", key=2) == "tea"


@pytest.mark.parametrize(
    ("both_sides", "expected"),
    [(False, "it is not very good"), (True, "it is not very good on it and so")],
)
def test_every_fifth_length_keeps_more_than_is_needed(both_sides, expected):
    string = "it was so the one of it is not very good on it and so it was for this one"
    assert kept(neurons.bigram_with_gap, string, both_sides=both_sides, step=5) == expected


def test_beyond_the_limit_only_the_whole_is_tried():
    def rule(words):
        return [k for k, w in enumerate(words) if w == "bank" and "river" in words[:k]]

    string = "river " + "it " * 9 + "bank"
    found, asked = pruned(rule, string, both_sides=False, until=3)
    assert found.span == (0, 11)
    assert asked == ["bank", "it bank", "it it bank"]


# What follows


def test_up_to_so_many_tokens_of_the_same_sentence_follow():
    string = "it was coffee on it so very the a . one of"
    assert kept(neurons.a_word, string, following=5) == "coffee on it so very the"
    assert kept(neurons.a_word, string, following=2) == "coffee on it"
    assert kept(neurons.a_word, "so coffee . the it", following=5) == "coffee ."
    assert kept(neurons.a_word, "so coffee on", following=5) == "coffee on"


def test_what_follows_is_dropped_where_it_silences_the_key_token():
    def shy(words):
        ends = words[-1] in ("so", "coffee")
        return [k for k, w in enumerate(words) if w == "coffee" and ends]

    assert kept(shy, "it coffee on it so", following=2) == "coffee"
    assert kept(shy, "it coffee on it so", following=3) == "coffee on it so"


# Encoders: both sides


@pytest.mark.parametrize(
    ("rule", "string", "expected"),
    [
        (neurons.before_another, "it was so hot a water on the one", "hot a water"),
        (neurons.between, "it was river hot water on the one", "river hot water"),
        (neurons.after_another, "it river so a bank on the one it", "river so a bank"),
    ],
)
def test_each_side_is_as_long_as_it_has_to_be(rule, string, expected):
    assert kept(rule, string) == expected


def test_parts_grow_on_both_sides_before_each_is_shortened():
    _, asked = pruned(neurons.before_another, "it so hot a water on the one")
    assert asked[:2] == ["hot", "so hot a"]
    assert asked[2:] == ["it so hot a water", "hot a water", "hot", "hot a"]


def test_at_the_edge_of_a_text_parts_grow_on_the_other_side_alone():
    assert kept(neurons.before_another, "hot a water on") == "hot a water"
    assert kept(neurons.after_another, "so river it bank") == "river it bank"


strings = st.lists(st.sampled_from([*FILLER[:3], "not", "water"]), min_size=1, max_size=9)


@given(strings, st.data(), st.sampled_from([0.2, 0.5]), st.booleans())
def test_what_is_kept_is_the_first_length_that_holds(some, data, drop, both_sides):
    def rule(words):  # some activation that depends on all the context that it may
        seen = [words if both_sides else words[: k + 1] for k in range(len(words))]
        values = (1 + sum(map(len, w)) % 7 + len(words[k]) / 9 for k, w in enumerate(seen))
        return np.array(list(values))

    values, key = rule(some), data.draw(st.integers(0, len(some) - 1))
    found, _ = pruned(rule, " ".join(some), both_sides=both_sides, key=key, drop=drop)
    first, last = found.span

    def holds(start, end):
        part = rule(some[start:end])
        lower = [part[k - start] for k in range(start, end) if values[k] <= values[key]]
        return part[key - start] >= (1 - drop) * values[key] and part[key - start] >= max(lower)

    assert first <= key < last and holds(first, last)
    assert not any(holds(first, end) for end in range(key + 1, last))
    if not both_sides:
        assert last == key + 1
        assert not any(holds(start, last) for start in range(first + 1, last))


# One activation a text


def whole(rule, string, **changes):
    subject, text = Neurons({0: rule}, whole=True), text_of(string)
    values = subject.excited(0, text.tokens)
    how = {"drop": 0.5, "step": 1, "until": None} | changes
    [found] = together([(0, prune_whole(text, values, **how))], subject)
    return found, subject.asked


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("it was cheap so broken on it", "cheap so broken"),
        ("cheap broken", "cheap broken"),
        ("cheap broken it was cheap so broken the", "cheap so broken"),
    ],
)
def test_of_a_whole_text_the_beginning_and_the_end_are_cut(string, expected):
    found, _ = whole(neurons.pair, string)
    assert words(found.text, found.span) == expected
    assert (found.key, found.scale) == (0, 1.0)


def test_the_shortest_end_is_found_first_then_its_shortest_beginning():
    _, asked = whole(neurons.pair, "it cheap broken on")
    assert asked == ["on", "broken on", "cheap broken on", "cheap", "cheap broken"]


@pytest.mark.parametrize(
    ("string", "span"),
    [("it was so very on", (2, 5)), ("it was so very", (2, 4)), ("it", (0, 1))],
)
def test_a_whole_text_may_lose_its_share_and_its_scale_gives_it_back(string, span):
    def rule(words):
        return np.array([float(len(words))])

    found, _ = whole(rule, string)
    assert found.span == span
    assert found.scale * found.activations[0] == found.before[0] == len(string.split())
