"""Graphs of weighted contexts: the sums, the weights, and neurons whose trigger is known."""

import math

import neurons
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import FILLER, IDS, Neurons, text_of

from descry.n2g.build import firing_rows
from descry.n2g.contexts import (
    PENALTIES,
    coded,
    codes,
    design,
    kinds,
    path_of,
    predict_sums,
    tables,
    tokens_of,
    weighted_trie,
)
from descry.n2g.graph import graph_json, graph_of
from descry.n2g.paths import IGNORE, TURN
from descry.n2g.render import contexts
from descry.n2g.ridge import best_cut, ridge
from descry.n2g.scoring import graph_scores
from descry.n2g.weighted import weighted_graphs

token = st.integers(0, 3)
prompts = st.lists(st.lists(token, max_size=6).map(tuple), min_size=1, max_size=4)
some_kinds = st.sampled_from(list(PENALTIES))


def plainly(prompt, place, offsets):
    """The tokens of a context, None where one is beyond an end."""
    if not all(0 <= place + offset < len(prompt) for offset in offsets):
        return None
    return tuple(prompt[place + offset] for offset in offsets)


# Contexts


@given(prompts, some_kinds)
def test_codes_are_the_tokens_around_each_and_none_beyond_its_text(texts, offsets):
    expected = [plainly(text, k, offsets) for text in texts for k in range(len(text))]
    found = codes(texts, offsets).tolist()
    assert [None if code < 0 else tokens_of(code, offsets) for code in found] == expected


def test_three_tokens_of_the_largest_vocabulary_have_a_code_of_their_own():
    text = ((1 << 21) - 1, (1 << 21) - 2, (1 << 21) - 1)
    assert tokens_of(int(codes([text], (-1, 0, 1))[1]), (-1, 0, 1)) == text


@given(prompts, st.integers(1, 2))
def test_the_design_has_a_one_where_a_context_stands_often_enough(texts, least):
    found, columns = design(texts, PENALTIES, least=least)
    described = [(offsets, tokens_of(c, offsets)) for offsets in columns for c in columns[offsets]]
    every = [
        {offsets: plainly(text, k, offsets) for offsets in PENALTIES}
        for text in texts
        for k in range(len(text))
    ]
    for place, row in enumerate(found.toarray() if found.shape[1] else []):
        there = {described[c] for c in np.flatnonzero(row)}
        assert there == {
            (offsets, tokens)
            for offsets, tokens in every[place].items()
            if tokens and sum(one[offsets] == tokens for one in every) >= least
        }


def test_paths_say_the_activating_token_then_those_before_then_those_behind():
    code = int(codes([(5, 6, 7)], (-1, 0, 1))[1])
    assert path_of(code, (-1, 0, 1)) == (6, 5, TURN, 7)
    assert path_of(9, (-2,)) == (IGNORE, IGNORE, 9)
    assert path_of(9, (3,)) == (IGNORE, TURN, IGNORE, IGNORE, 9)
    assert path_of(9, (0,)) == (9,)


def test_without_what_follows_no_context_has_a_token_behind():
    assert {offsets[-1] for offsets in kinds(both_sides=False)} == {-3, -2, -1, 0}
    assert kinds(both_sides=True) == list(PENALTIES)


@given(prompts, st.integers(0, 99))
def test_a_trie_predicts_the_sum_of_the_weights_of_all_its_contexts(texts, seed):
    rng = np.random.default_rng(seed)
    _, columns = design(texts, PENALTIES, least=1)
    weights = {
        (offsets, int(code)): round(float(rng.normal()), 4)
        for offsets, some in columns.items()
        for code in some
        if rng.random() < 0.7
    }
    trie = weighted_trie({path_of(code, offsets): w for (offsets, code), w in weights.items()})
    expected = [
        sum(w for (o, code), w in weights.items() if plainly(text, k, o) == tokens_of(code, o))
        for text in texts
        for k in range(len(text))
    ]
    np.testing.assert_allclose(predict_sums(tables(trie), coded(texts)), expected, atol=1e-12)


# Weights


def problem(seed=0):
    rng = np.random.default_rng(seed)
    texts = [tuple(rng.integers(0, 4, 8).tolist()) for _ in range(30)]
    matrix, columns = design(texts, [(0,), (-1,), (-1, 0)], least=1)
    penalties = np.repeat([0.3, 10, 3], [len(some) for some in columns.values()])
    values = rng.normal(size=(matrix.shape[0], 3)).astype(np.float32)
    used = rng.random(values.shape) < 0.8
    return matrix, values, used, penalties


def test_the_weights_are_those_of_the_normal_equations():
    matrix, values, used, penalties = problem()
    found, bias = ridge(matrix, values, used, penalties)
    dense = matrix.toarray().astype(float)
    for k in range(3):
        rows = used[:, k]
        part, own = dense[rows], values[rows, k].astype(float)
        seen = part.sum(axis=0) >= 2
        normal = part[:, seen].T @ part[:, seen] + np.diag(penalties[seen])
        expected = np.linalg.solve(normal, part[:, seen].T @ (own - own.mean()))
        assert bias[k] == pytest.approx(own.mean(), abs=1e-6)
        np.testing.assert_allclose(found[seen, k], expected, atol=2e-4)
        assert not found[~seen, k].any()


def test_no_neuron_changes_anothers_weights():
    matrix, values, used, penalties = problem()
    every, _ = ridge(matrix, values, used, penalties)
    alone, _ = ridge(matrix, values[:, 1:2], used[:, 1:2], penalties)
    np.testing.assert_allclose(every[:, 1:2], alone, atol=2e-6)


def test_contexts_that_may_have_no_weight_are_as_if_they_were_not_there():
    matrix, values, used, penalties = problem()
    some = np.arange(matrix.shape[1]) % 3 > 0
    among = np.repeat(some[:, None], 3, axis=1)
    found, _ = ridge(matrix, values, used, penalties, among)
    alone, _ = ridge(matrix[:, some], values, used, penalties[some])
    assert not found[~some].any()
    np.testing.assert_allclose(found[some], alone, atol=2e-6)


def test_a_neuron_without_a_text_has_no_weight():
    matrix, values, used, penalties = problem()
    used[:, 0] = False
    found, bias = ridge(matrix, values, used, penalties)
    assert not found[:, 0].any() and bias[0] == 0


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.9])), min_size=1, max_size=9
    )
)
def test_the_best_cut_has_the_best_f1_of_all(told):
    fires, predicted = (np.array(column) for column in zip(*told, strict=True))
    found = best_cut(fires, predicted)
    if not fires.any():
        assert math.isinf(found)
        return

    def f1(cut):
        return 2 * (fires & (predicted >= cut)).sum() / (fires.sum() + (predicted >= cut).sum())

    assert f1(found) == pytest.approx(max(f1(cut) for cut in predicted))


# Neurons whose trigger is known

ODD = ["coffee", "tea", "not", "good", "river", "bank", "hot", "water"]


def language(number, seed):
    rng = np.random.default_rng(seed)
    words = np.array(FILLER[:6] + ODD)
    return [text_of(" ".join(rng.choice(words, 9))) for _ in range(number)]


RULES = {0: neurons.a_word, 1: neurons.between, 2: neurons.either_word}


def river_bank(words):
    """`bank` right behind `river`."""
    return [k for k in range(1, len(words)) if words[k - 1 : k + 1] == ["river", "bank"]]


def made(rule, paths=10_000, number=600):
    subject, texts = Neurons({0: rule}), language(number, 0)
    tokens = [text.tokens for text in texts]
    values = np.concatenate(subject(tokens, [[0]] * len(tokens)))
    used = np.ones((len(tokens), 1), dtype=bool)
    how = {"paths": paths, "firing": 0.5, "both_sides": True}
    [graph] = weighted_graphs([7], tokens, values, used, **how)
    return graph, subject, list(zip(tokens, np.split(values[:, 0], number), strict=True))


def scored(graph, subject, train):
    held = [text.tokens for text in language(200, 1)]
    known = [(t, v[:, 0]) for t, v in zip(held, subject(held, [[0]] * len(held)), strict=True)]
    return graph_scores(graph, train, known, firing=0.5)


def test_a_context_is_found_that_no_look_up_of_tokens_has():
    graph, subject, train = made(river_bank)
    found = scored(graph, subject, train)
    assert found["graph"].f1 == 1 and found["graph"].pearson > 0.95
    assert found["token mean"].f1 < 0.5 and found["token highest"].f1 < 0.5
    drawn = contexts(graph)
    assert graph.neuron == 7 and graph.highest > 0
    assert {(c.before, c.token, c.behind) for c, node in drawn.items() if node.end} == {
        ((IDS["river"],), IDS["bank"], ())
    }
    river = next(node for context, node in drawn.items() if context.before)
    assert river.importance > 0.5 and river.activation == pytest.approx(1)


def test_a_single_token_is_a_path_without_a_context():
    graph, subject, train = made(neurons.a_word)
    assert scored(graph, subject, train)["graph"].f1 == 1
    assert {context.around for context in contexts(graph)} == {()}


def test_what_is_read_back_predicts_the_same():
    graph, *_ = made(river_bank, number=60)
    again = graph_of(graph_json(graph))
    text = text_of("the river bank was good").tokens
    assert again == graph and np.array_equal(again.predict(text), graph.predict(text))


def test_a_graph_has_no_more_paths_than_it_may_and_those_that_say_most():
    graph, *_ = made(neurons.a_word, paths=1)
    assert [graph.trie.keys[k] for k, end in enumerate(graph.trie.ends) if end is not None] == [
        IDS["coffee"]
    ]


def test_a_neuron_that_is_never_active_predicts_nothing():
    graph, *_ = made(lambda words: [], number=30)
    assert graph.highest == 0 and graph.drawn == []
    assert not graph.predict(text_of("the coffee").tokens).any()


def test_it_fires_in_the_texts_in_which_a_token_is_predicted_to():
    graph, *_ = made(river_bank)
    strings = ["the river bank", "the bank", "it was the river bank", ""]
    blocks = [
        [text_of(one).tokens for one in strings[:2]],
        [text_of(s).tokens for s in strings[2:]],
    ]
    assert firing_rows([graph], blocks, firing=0.5) == [[0, 2]]
