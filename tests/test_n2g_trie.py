"""Paths of what matters, and the tries that they make: the one that predicts and the one drawn."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import IDS, WORDS, shown, tokens_of

from descry.errors import InputError
from descry.n2g.graph import Drawn, drawn_json, drawn_of, drawn_trie
from descry.n2g.paths import IGNORE, TURN, Path, Step, token_paths, whole_path
from descry.n2g.saliency import Reading
from descry.n2g.trie import full_trie, trie_json, trie_of

SIGNS = {"*": IGNORE, ">": TURN}
NAMES = {sign: name for name, sign in SIGNS.items()}


def path(string, activation=1.0):
    """A path written as words, from the activating token on."""
    keys = [SIGNS.get(word) or IDS[word] for word in string.split()]
    return Path(tuple(Step(key, 0.0 if key < 0 else 0.9) for key in keys), activation)


def written(one):
    return " ".join(NAMES.get(step.key) or WORDS[step.key] for step in one.steps)


def reading(string, activations, **matters):
    """A prompt; what matters to its tokens, by the activating token."""
    tokens = tokens_of(string)
    words = string.split()
    importance = np.zeros((len(tokens), len(tokens)))
    for word, rows in matters.items():
        importance[:, words.index(word)] = rows
    return Reading(tokens, np.array(activations), importance)


# Paths


def paths_of(*given, activation=0.5, importance=0.75, **named):
    found = token_paths(reading(*given, **named), activation=activation, importance=importance)
    return [(written(one), one.activation) for one in found]


def test_a_path_goes_back_to_the_last_token_that_matters():
    found = paths_of("it not so good on", [0, 0, 0, 0.9, 0], good=[0, 0.8, 0, 1, 0])
    assert found == [("good * not", 0.9)]
    found = paths_of("it was not so good", [0, 0, 0, 0, 0.9], good=[0.9, 0, 0.8, 0.9, 1])
    assert found == [("good so not * it", 0.9)]


def test_a_path_turns_to_what_matters_behind_its_token():
    found = paths_of("it hot a water on", [0, 0.9, 0, 0, 0], hot=[0, 1, 0, 0.8, 0])
    assert found == [("hot > * water", 0.9)]
    found = paths_of("river so hot water", [0, 0, 0.9, 0], hot=[0.8, 0.7, 1, 0.9])
    assert found == [("hot * river > water", 0.9)]


def test_the_activating_token_is_kept_whether_it_matters_or_not():
    assert paths_of("so good", [0, 0.6], good=[0, -3]) == [("good", 0.6)]


def test_each_token_above_the_threshold_has_a_path_and_none_at_it():
    assert paths_of("so good it", [0.5, 0.6, 0.500001]) == [("good", 0.6), ("it", 0.500001)]


def test_what_matters_is_above_its_threshold_not_at_it():
    assert paths_of("not good", [0, 1], good=[0.75, 1]) == [("good", 1)]
    assert paths_of("not good", [0, 1], good=[0.7500001, 1]) == [("good not", 1)]


def test_tokens_at_the_edges_have_paths_too():
    found = paths_of("good it bank", [1, 0, 1], good=[1, 0, 0.9], bank=[0.9, 0, 1])
    assert found == [("good > * bank", 1), ("bank * good", 1)]


def whole(string, matters, value=1.0, max_gap=2):
    told = Reading(tokens_of(string), np.array([value]), np.array(matters)[:, None])
    found = whole_path(told, activation=0.5, importance=0.75, max_gap=max_gap)
    return [written(one) for one in found]


def test_of_a_whole_text_the_path_is_what_matters_in_its_order():
    assert whole("it cheap so broken on", [0, 1, 0.2, 0.9, 0]) == ["cheap broken"]


def test_of_a_whole_text_what_matters_is_above_its_threshold_too():
    assert whole("it cheap so", [0.75, 1, 0.7500001]) == ["cheap so"]


def test_of_a_whole_text_that_is_not_active_there_is_no_path():
    assert whole("it cheap", [0, 1], value=0.5) == []


def test_of_a_whole_text_the_token_that_matters_most_is_a_path_though_it_matters_little():
    assert whole("it cheap so broken", [0, 0.3, 0, 0.3]) == ["cheap"]


@pytest.mark.parametrize(
    ("matters", "expected"),
    [
        ([0.8, 0, 0, 1, 0], "cheap broken"),
        ([0.8, 0, 0, 0, 1], "on"),
        ([1, 0, 0, 0, 0.8], "cheap"),
        ([0.8, 1, 0, 0, 0.9], "cheap so on"),
    ],
)
def test_a_path_is_cut_where_the_gap_is_too_wide(matters, expected):
    assert whole("cheap so it broken on", matters) == [expected]


# The trie that predicts


def trie(*strings):
    return shown(full_trie([path(string) for string in strings]))


END = {"END": 1.0}


def test_paths_share_their_beginning():
    assert trie("good not", "good so", "tea") == {"good": {"not": END, "so": END}, "tea": END}


def test_a_path_may_end_where_another_goes_on():
    assert trie("good", "good not") == {"good": END | {"not": END}}


def test_what_a_token_goes_on_with_is_merged_where_another_path_passes_over_its_place():
    assert trie("good * not", "good so very") == {"good": {"*": {"not": END, "very": END}}}


def test_a_token_stays_beside_the_place_that_is_passed_over_where_a_path_ends_with_it():
    found = trie("good * not", "good so", "good so very")
    assert found == {"good": {"*": {"not": END, "very": END}, "so": END}}


def test_a_token_stays_there_where_its_side_ends_with_it():
    found = trie("hot * river", "hot so > water", "hot so very > tea")
    assert found == {
        "hot": {"*": {"river": END, "very": {">": {"tea": END}}}, "so": {">": {"water": END}}}
    }


def test_places_behind_the_token_are_merged_too():
    found = trie("hot > * water", "hot > so tea", "hot > it")
    assert found == {"hot": {">": {"*": {"water": END, "tea": END}, "it": END}}}


def test_merging_goes_on_below():
    found = trie("good * * not", "good so very it", "good * a one")
    assert found == {"good": {"*": {"*": {"not": END, "it": END, "one": END}}}}


def test_an_end_has_the_mean_of_the_paths_that_end_there():
    found = full_trie([path("good", 0.6), path("good", 0.9), path("good so", 0.7)])
    assert shown(found) == {"good": {"END": 0.75, "so": {"END": 0.7}}}


def test_ends_that_come_together_by_merging_are_pooled():
    found = full_trie([path("good * not", 0.6), path("good so not", 1.0), path("good it not", 0.8)])
    assert shown(found) == {"good": {"*": {"not": {"END": 0.8}}}}


words = st.sampled_from(["so", "it", "on", "*", "*"])


@st.composite
def some_path(draw):
    """Any path that could be: no side ends with a place that is passed over."""
    side = st.lists(words, max_size=3).filter(lambda side: not side or side[-1] != "*")
    before, behind = draw(side), draw(side)
    keys = [draw(st.sampled_from(["so", "it"])), *before, *([">", *behind] if behind else [])]
    return path(" ".join(keys), draw(st.sampled_from([0.6, 0.7, 0.1 + 0.2, 1.0])))


some_paths = st.lists(some_path(), max_size=8)


@given(some_paths, st.randoms())
def test_the_order_of_the_paths_does_not_matter(paths, random):
    other = random.sample(paths, len(paths))
    assert trie_json(full_trie(other)) == trie_json(full_trie(paths))
    assert drawn_trie(other) == drawn_trie(paths)


@given(some_paths)
def test_a_trie_comes_back_from_json(paths):
    found = full_trie(paths)
    assert trie_of(json.loads(json.dumps(trie_json(found)))) == found
    nodes = drawn_trie(paths)
    assert drawn_of(json.loads(json.dumps(drawn_json(nodes)))) == nodes


@given(some_paths)
def test_no_two_children_of_a_node_have_one_key_and_they_ascend(paths):
    nodes = trie_json(full_trie(paths))[1:]
    pairs = [(parent, key) for parent, key, _ in nodes]
    assert pairs == sorted(set(pairs))


def test_a_path_as_long_as_a_long_text_is_no_trouble():
    long = path("good " + "* " * 3000 + "not")
    assert len(full_trie([long, path("good so not")]).keys) == 3004
    assert trie_of(json.loads(json.dumps(trie_json(full_trie([long]))))) == full_trie([long])


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [[0, -3, None]],
        [[-1, 5, None]],
        [[-1, -3, None], [1, 5, 1.0]],
        [[-1, -3, None], [0, 5]],
        [[-1, -3, None], [-1, 5, 1.0]],
        [[-1, -3, None], [0, 5, "1"]],
    ],
)
def test_what_is_no_trie_is_refused(value):
    with pytest.raises(InputError, match="not the nodes of a trie"):
        trie_of(value)


# The trie that is drawn


def test_what_is_passed_over_is_not_drawn():
    found = drawn_trie([path("hot * river > so * water", 0.8), path("hot", 0.6)])
    assert found == [
        Drawn(-1, "activating", IDS["hot"], 0.9, pytest.approx(0.7), True),
        Drawn(0, "before", IDS["river"], 0.9, 0.8, False),
        Drawn(1, "behind", IDS["so"], 0.9, 0.8, False),
        Drawn(2, "behind", IDS["water"], 0.9, 0.8, True),
    ]


def test_one_word_on_both_sides_is_drawn_twice():
    found = drawn_trie([path("hot so"), path("hot > so")])
    assert [(node.parent, node.side) for node in found] == [
        (-1, "activating"),
        (0, "before"),
        (0, "behind"),
    ]


def test_a_node_has_the_mean_importance_of_its_paths():
    one, other = (Path((Step(IDS["good"], 1.0), Step(IDS["not"], i)), 1.0) for i in (0.8, 1.3))
    assert [node.importance for node in drawn_trie([one, other])] == pytest.approx([1.0, 0.9])


def test_nothing_is_drawn_of_no_path():
    assert drawn_trie([]) == []
    assert shown(full_trie([])) == {}
