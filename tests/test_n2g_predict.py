"""Where a trie says that a neuron fires: that of a search without any trie."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import IDS, tokens_of
from test_n2g_trie import path, some_paths

from descry.n2g.paths import IGNORE, TURN
from descry.n2g.trie import full_trie, predict_tokens, predict_whole


def predicted(string, *paths):
    return predict_tokens(full_trie(list(paths)), tokens_of(string)).tolist()


def test_a_token_fires_whatever_is_around_it():
    assert predicted("tea so tea", path("tea", 0.8)) == [0.8, 0, 0.8]


def test_a_token_fires_in_its_context_alone():
    assert predicted("not so good not good", path("good * not", 0.9)) == [0, 0, 0.9, 0, 0]
    assert predicted("hot a water hot water", path("hot > * water", 0.9)) == [0.9, 0, 0, 0, 0]


def test_both_sides_have_to_be_there():
    one = path("hot river > water", 0.9)
    assert predicted("river hot water", one) == [0, 0.9, 0]
    assert predicted("river hot so", one) == [0, 0, 0]
    assert predicted("so hot water", one) == [0, 0, 0]


def test_a_text_that_ends_before_its_path_does_not_fire():
    assert predicted("so good", path("good * not")) == [0, 0]
    assert predicted("hot so", path("hot > * water")) == [0, 0]


def test_the_longest_path_that_ends_says_the_activation():
    short, long = path("good", 0.9), path("good so not", 0.6)
    assert predicted("not so good", short, long) == [0, 0, 0.6]
    assert predicted("it so good", short, long) == [0, 0, 0.9]


def test_of_equally_long_paths_the_highest_does():
    before, behind = path("good so", 0.6), path("good > it", 0.9)
    assert predicted("so good it", before, behind) == [0, 0.9, 0]
    assert predicted("so good on", before, behind) == [0, 0.6, 0]


def test_places_on_both_sides_count_to_the_length():
    one, other = path("good so not", 0.9), path("good so > it on", 0.6)
    assert predicted("not so good it on", one, other) == [0, 0, 0.6, 0, 0]


def test_a_token_beside_a_place_passed_over_hides_no_longer_path():
    # The public code goes into `so`, where nothing more comes, and never sees `not`.
    paths = path("good so", 0.9), path("good * not", 0.6)
    assert predicted("not so good", *paths) == [0, 0, 0.6]
    assert predicted("it so good", *paths) == [0, 0, 0.9]
    assert predicted("not it good", *paths) == [0, 0, 0.6]


def test_of_equal_paths_the_last_to_come_changes_as_much_as_the_first():
    # The public code keeps the first.
    paths = path("tea", 0.6), path("tea", 1.0)
    assert predicted("tea", *paths) == predicted("tea", *paths[::-1]) == [0.8]


def test_an_empty_trie_predicts_nothing():
    assert predicted("so good") == [0, 0]
    assert predict_tokens(full_trie([path("tea")]), ()).tolist() == []


# Without a trie


def merged(paths):
    """Each path's keys after merging: at a place that a path with the same beginning passes over,
    one that goes on from there on its side passes over it, too.
    """
    found = [[step.key for step in one.steps] for one in paths]
    for place in range(max(map(len, found), default=0)):
        over = {tuple(keys[:place]) for keys in found if keys[place : place + 1] == [IGNORE]}
        for keys in found:
            goes_on = len(keys) > place + 1 and keys[place] != TURN and keys[place + 1] != TURN
            if goes_on and tuple(keys[:place]) in over:
                keys[place] = IGNORE
    return [tuple(keys) for keys in found]


def stands(keys, tokens, place):
    """Whether a path's keys stand around a place of a text."""
    turn = keys.index(TURN) if TURN in keys else len(keys)
    wanted = [(place - k, key) for k, key in enumerate(keys[:turn])]
    wanted += [(place + 1 + k, key) for k, key in enumerate(keys[turn + 1 :])]
    inside = all(0 <= k < len(tokens) for k, _ in wanted)
    return inside and all(key in (IGNORE, tokens[k]) for k, key in wanted)


def searched(paths, tokens, place):
    keyed = merged(paths)
    there = [keys for keys in set(keyed) if stands(keys, tokens, place)]

    def rank(keys):
        ends = [one.activation for own, one in zip(keyed, paths, strict=True) if own == keys]
        return len(keys) - (TURN in keys), np.mean(ends)

    return max((rank(keys) for keys in there), default=(0, 0.0))[1]


@given(some_paths, st.lists(st.sampled_from(["so", "it", "on", "a"]), min_size=1, max_size=8))
def test_predictions_are_those_of_a_search_through_all_paths(paths, text):
    tokens = tokens_of(" ".join(text))
    found = predict_tokens(full_trie(paths), tokens)
    expected = [searched(paths, tokens, place) for place in range(len(tokens))]
    assert found.tolist() == pytest.approx(expected)


# Neurons with one activation a text


def whole(string, *paths, max_gap=1):
    return predict_whole(full_trie(list(paths)), tokens_of(string), max_gap=max_gap)


@pytest.mark.parametrize(
    ("string", "value"),
    [
        ("it cheap broken on", 0.9),
        ("cheap so broken", 0.9),
        ("cheap so it broken", 0),
        ("broken cheap", 0),
        ("cheap it cheap it broken", 0.9),
        ("cheap", 0),
    ],
)
def test_a_whole_text_has_the_words_in_their_order_and_no_wide_gap(string, value):
    assert whole(string, path("cheap broken", 0.9)) == value


def test_of_a_whole_text_the_longest_path_says_the_activation():
    paths = path("cheap", 0.9), path("cheap broken", 0.6), path("tea", 0.7)
    assert whole("cheap so", *paths) == 0.9
    assert whole("tea cheap broken", *paths) == 0.6
    assert whole("tea cheap", *paths) == 0.9
    assert whole("so it", *paths) == 0


letters = st.sampled_from(["so", "it", "on"])


@given(
    st.lists(st.tuples(st.lists(letters, min_size=1, max_size=3), st.floats(0.5, 1)), max_size=4),
    st.lists(letters, max_size=8),
    st.integers(0, 3),
)
def test_of_a_whole_text_it_is_that_of_a_search_through_all_places(some, text, max_gap):
    paths = [path(" ".join(words), value) for words, value in some]
    best = (0, 0.0)
    for words, _ in some:
        values = [value for others, value in some if others == words]
        for places in itertools.combinations(range(len(text)), len(words)):
            near = all(b - a <= max_gap + 1 for a, b in itertools.pairwise(places))
            if near and [text[k] for k in places] == words:
                best = max(best, (len(words), np.mean(values)))
    assert whole(" ".join(text), *paths, max_gap=max_gap) == pytest.approx(best[1])


def test_a_long_text_of_one_word_is_no_trouble():
    many = path(" ".join(["so"] * 30))
    tokens = (IDS["so"],) * 200
    assert predict_whole(full_trie([many]), tokens, max_gap=5) == 1.0
