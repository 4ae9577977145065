"""The whole way: of neurons whose trigger is known the graph says what it is."""

import json

import neurons
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import QUIET, Neurons, explained, random_strings, settings, shown, text_of

from descry.errors import InputError
from descry.n2g.augment import Augmenter
from descry.n2g.explain import explain, halves, sample
from descry.n2g.graph import graph_json, graph_of
from descry.n2g.scoring import BASELINES, graph_scores

END = {"END": 1.0}
TEXTS = {
    "a word": [
        "we had coffee on it",
        "coffee was so",
        "it was the coffee",
        "the coffee . the coffee",
    ],
    "bigram with a gap": [
        "it was not very good",
        "not so good for one",
        "we had it . not a good one",
    ],
    "either of two words": ["the tea was so", "my cocoa was it", "so we had tea"],
    "after another": ["the river bank is", "a river the bank so", "it is river and the bank"],
    "before another": ["it was hot water for", "so hot the water", "the hot a water . so"],
    "between two others": ["the river hot water is", "a river hot water ."],
}
CASES = {
    "a word": (neurons.a_word, {"coffee": END}),
    "bigram with a gap": (neurons.bigram_with_gap, {"good": {"*": {"not": END}}}),
    "either of two words": (neurons.either_word, {"tea": END, "cocoa": END}),
    "after another": (
        neurons.after_another,
        {"bank": {"river": END, "*": {"river": END, "*": {"river": END}}}},
    ),
    "before another": (
        neurons.before_another,
        {"hot": {">": {"water": END, "*": {"water": END}}}},
    ),
    "between two others": (neurons.between, {"hot": {"river": {">": {"water": END}}}}),
}
ONE_SIDED = [name for name in CASES if name not in ("before another", "between two others")]


WORDS = {
    neurons.a_word: ["coffee", "tea"],
    neurons.bigram_with_gap: ["not", "good"],
    neurons.either_word: ["tea", "cocoa", "coffee"],
    neurons.after_another: ["river", "bank"],
    neurons.before_another: ["hot", "water"],
    neurons.between: ["river", "hot", "water"],
    neurons.pair: ["cheap", "broken"],
}


def held_out(rule, seed):
    """Random texts full of the words that matter, in which the neuron sometimes fires."""
    strings = random_strings(np.random.default_rng(seed), 40, WORDS[rule])
    assert sum(bool(rule(string.split())) for string in strings) > 0
    return strings


def tokens_and_values(subject, strings, neuron=0):
    found = sample({neuron: [text_of(string) for string in strings]}, subject)[neuron]
    return [(one.text.tokens, one.activations) for one in found]


def scores_of(graph, subject, train, held):
    known, unknown = tokens_and_values(subject, train), tokens_and_values(subject, held)
    return graph_scores(graph, known, unknown, firing=0.5)


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_the_trigger_and_finds_it_in_random_texts(name):
    rule, expected = CASES[name]
    subject = Neurons({0: rule})
    graph = explained(subject, TEXTS[name])
    assert shown(graph.trie) == expected
    for seed in range(3):
        found = scores_of(graph, subject, TEXTS[name], held_out(rule, seed))["graph"]
        assert (found.precision, found.recall, found.f1, found.pearson) == pytest.approx((1,) * 4)


@pytest.mark.parametrize("name", ONE_SIDED)
def test_of_a_decoder_too(name):
    rule, expected = CASES[name]
    subject = Neurons({0: rule}, both_sides=False)
    graph = explained(subject, TEXTS[name])
    assert shown(graph.trie) == expected
    assert scores_of(graph, subject, TEXTS[name], held_out(rule, 0))["graph"].f1 == 1


@pytest.mark.parametrize("name", CASES)
def test_every_fifth_length_up_to_thirty_gives_the_same_graph(name):
    rule, expected = CASES[name]
    strings = [f"it is so . the one of it is {string} . we had this one" for string in TEXTS[name]]
    graph = explained(Neurons({0: rule}), strings, step=5, until=30)
    assert shown(graph.trie) == expected


def test_the_baselines_miss_what_the_graph_finds():
    rule, strings = neurons.bigram_with_gap, TEXTS["bigram with a gap"]
    subject = Neurons({0: rule})
    found = scores_of(explained(subject, strings), subject, strings, held_out(rule, 0))
    assert found["graph"].f1 == 1
    assert all(found[name].f1 < 0.5 for name in BASELINES)
    assert len({(one.number, one.fires) for one in found.values()}) == 1


PAIRS = ["it was cheap and broken", "so cheap broken it", "the cheap one is so broken of it"]


def test_of_a_neuron_with_one_activation_a_text_the_graph_is_its_words_in_order():
    subject = Neurons({0: neurons.pair}, whole=True)
    graph = explained(subject, PAIRS)
    assert shown(graph.trie) == {"cheap": {"broken": END}}
    found = scores_of(graph, subject, PAIRS, held_out(neurons.pair, 1))["graph"]
    assert found.number == 40 and 5 < found.fires < 35
    assert (found.f1, found.pearson) == (1, pytest.approx(1))


def test_neurons_explained_together_are_those_explained_alone():
    subject = Neurons()
    texts = {k: [text_of(s) for s in strings] for k, strings in enumerate(TEXTS.values())}
    graphs = explain(sample(texts, subject), subject, settings(), None)
    alone = [explained(Neurons(), strings, k) for k, strings in enumerate(TEXTS.values())]
    assert [graph_json(one) for one in graphs] == [graph_json(one) for one in alone]
    assert [graph.neuron for graph in graphs] == list(texts)


def test_the_order_of_the_texts_does_not_matter():
    strings = [s for some in TEXTS.values() for s in some]
    graph = explained(Neurons({0: neurons.after_another}), strings)
    other = explained(Neurons({0: neurons.after_another}), strings[::-1])
    assert graph_json(graph) == graph_json(other)


def rises(words):
    """Highest at `coffee`, less at `tea`, little at `cocoa`."""
    strength = {"coffee": 4.0, "tea": 3.0, "cocoa": 1.0}
    return np.array([strength.get(word, QUIET) for word in words])


def test_activations_are_shares_of_the_highest_in_the_training_texts():
    strings = ["the coffee", "so a tea", "the cocoa"]
    graph = explained(Neurons({0: rises}), strings)
    assert graph.highest == 4.0
    assert shown(graph.trie) == {"coffee": {"END": 1.0}, "tea": {"END": 0.75}}
    assert graph.predict(text_of("tea cocoa so coffee").tokens).tolist() == [0.75, 0, 0, 1]
    assert graph.shares(rises(["tea"])).tolist() == [0.75]


def test_key_tokens_may_be_others_than_the_highest():
    alone, all_of_them = (
        explained(Neurons({0: rises}), ["coffee so very . and it was tea"], keys=keys, following=0)
        for keys in (1.0, 0.75)
    )
    assert shown(alone.trie) == {"coffee": {"END": 1.0}}
    assert shown(all_of_them.trie) == {"coffee": {"END": 1.0}, "tea": {"END": 0.75}}


def louder_alone(words):
    """`tea` fires wherever `it` does not stand first in its text; there it stays below half."""
    tea = 0.9 if words[0] == "it" else 1.5
    return np.array([{"coffee": 2.0, "tea": tea}.get(word, QUIET) for word in words])


@pytest.mark.parametrize("confirmed", [False, True])
def test_what_fires_in_a_part_only_starts_no_path_where_it_is_to_be_confirmed(confirmed):
    string = "it is coffee tea"
    graph = explained(Neurons({0: louder_alone}), [string], confirmed=confirmed)
    assert list(shown(graph.trie)) == (["coffee"] if confirmed else ["coffee", "tea"])


def test_a_neuron_that_is_never_active_has_no_path_and_no_prediction():
    subject = Neurons({0: neurons.nothing})
    graph = explained(subject, ["the coffee", "a tea"])
    assert (graph.highest, shown(graph.trie), graph.drawn) == (0.0, {}, [])
    assert graph.predict(text_of("the coffee").tokens).tolist() == [0, 0]
    assert graph.shares(np.array([-0.5, 0.0])).tolist() == [0, 0]
    assert len(subject.rounds) == 1  # nothing was asked but the texts themselves


def test_neurons_without_texts_have_an_empty_graph():
    graph = explained(Neurons(), [])
    assert shown(graph.trie) == {}


def test_texts_without_a_token_are_left_out():
    subject = Neurons()
    [only] = sample({0: [text_of(""), text_of("the coffee")]}, subject)[0]
    assert only.text.string == "the coffee"


def test_a_text_that_excites_less_than_half_costs_nothing():
    subject = Neurons({0: rises})
    explained(subject, ["the coffee", "so the cocoa"])
    assert [prompt for prompt in subject.asked if "cocoa" in prompt] == ["so the cocoa"]


def test_an_error_of_the_model_is_the_callers():
    class Broken(Neurons):
        def __call__(self, prompts, asked):
            if self.rounds:
                raise InputError("no value")
            return super().__call__(prompts, asked)

    with pytest.raises(InputError, match="no value"):
        explained(Broken(), ["so the coffee"])


# Augmentation


def drinks(words):
    return [k for k, word in enumerate(words) if word in ("coffee", "tea", "cocoa")]


def augmenter(others):
    return Augmenter(lambda gaps: [others.get(gap.word, []) for gap in gaps], neurons.spell)


def test_words_that_excite_as_well_are_learnt_from_substitutes():
    others = augmenter({"coffee": ["tea", "cocoa", "brick"], "the": ["a"]})
    graph = explained(Neurons({0: drinks}), ["it was the coffee"], augmenter=others)
    assert shown(graph.trie) == {"coffee": END, "tea": END, "cocoa": END}
    assert (graph.positive, graph.negative) == (2, 1)
    assert shown(explained(Neurons({0: drinks}), ["it was the coffee"]).trie) == {"coffee": END}


def test_substitutes_of_the_context_show_which_context_is_needed():
    others = augmenter({"not": ["so", "very"], "good": ["brick"]})
    graph = explained(
        Neurons({0: neurons.bigram_with_gap}), ["it was not very good"], augmenter=others
    )
    assert shown(graph.trie) == {"good": {"*": {"not": END}}}
    assert (graph.positive, graph.negative) == (0, 3)


def test_in_a_prompt_that_excites_no_token_nothing_is_masked():
    subject, others = Neurons({0: drinks}), augmenter({"coffee": ["brick"]})
    explained(subject, ["so coffee on"], augmenter=others)
    assert [prompt for prompt in subject.asked if "brick" in prompt] == ["brick on"]


def test_a_gap_of_several_texts_is_asked_about_once():
    asked = []
    others = Augmenter(lambda gaps: (asked.extend(gaps), [["tea"] for _ in gaps])[1], neurons.spell)
    explained(Neurons({0: drinks}), ["it was coffee", "so coffee"], augmenter=others, following=0)
    assert [gap.word for gap in asked] == ["coffee"]


def test_whole_texts_are_augmented_too():
    subject = Neurons({0: neurons.pair}, whole=True)
    graph = explained(subject, PAIRS, augmenter=augmenter({"cheap": ["brick"]}))
    assert shown(graph.trie) == {"cheap": {"broken": END}}
    assert (graph.positive, graph.negative) == (0, 3)


# The halves


@given(st.integers(0, 25), st.integers(0, 2**32))
def test_halves_are_a_partition_by_seed_whatever_the_order(number, seed):
    texts = [text_of(" ".join(["so"] * k)) for k in range(number)]
    train, held = halves(texts, train=10, seed=seed)
    assert len(train) == min(10, number)
    assert sorted(len(t.tokens) for t in train + held) == list(range(number))
    assert halves(texts[::-1], train=10, seed=seed) == (train, held)


def test_another_seed_parts_differently():
    texts = [text_of(" ".join(["so"] * k)) for k in range(20)]
    parted = {tuple(t.string for t in halves(texts, train=10, seed=s)[0]) for s in range(5)}
    assert len(parted) == 5


# As JSON


def test_a_graph_comes_back_from_json_as_it_was():
    graph = explained(Neurons({0: neurons.between}), TEXTS["between two others"])
    assert graph_of(json.loads(json.dumps(graph_json(graph), allow_nan=False))) == graph


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"version": 1}, "version 1, not 2"), ({"trie": []}, "not the nodes"), ({"odd": 1}, "odd")],
)
def test_what_is_no_graph_is_refused(change, complaint):
    told = graph_json(explained(Neurons(), ["the coffee"])) | change
    with pytest.raises(InputError, match=complaint):
        graph_of(told)
    with pytest.raises(InputError, match="not a graph"):
        graph_of({"version": 2})
