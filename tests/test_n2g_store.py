"""Questions to all graphs of a run: known answers, and the index against plain loops."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import IDS, WORDS

from descry.errors import InputError
from descry.io.hashing import canonical
from descry.io.parquet import write_table
from descry.n2g.graph import graph_json, make_graph
from descry.n2g.paths import IGNORE, TURN, Path, Step
from descry.n2g.render import contexts
from descry.n2g.search import (
    Entry,
    activated_by,
    index_of,
    read_graphs,
    responding_to,
    similar,
    subsets_of,
)

SIGNS = {"*": IGNORE, ">": TURN}
NAMES = dict(enumerate(WORDS))


def path(string, activation=1.0):
    keys = [SIGNS.get(word) or IDS[word] for word in string.split()]
    return Path(tuple(Step(key, 0.0 if key < 0 else 0.9) for key in keys), activation)


def graph(*paths, neuron=0, max_gap=None):
    return make_graph(neuron, 4.0, list(paths), [], max_gap=max_gap)


def entry(*paths, words=NAMES, **named):
    return Entry(graph(*paths, **named), words, {})


def index(**paths):
    """An index of neurons whose paths are given by letter."""
    return index_of({name: entry(*some) for name, some in paths.items()})


def told(responses):
    return [(one.neuron, [(str(p), p.activation) for p in one.phrases]) for one in responses]


# Tokens


KNOWN = index(
    A=[path("hot * river > so * water", 0.9), path("tea", 0.6)],
    B=[path("tea hot", 1.0), path("tea > so", 0.7)],
    C=[],
    D=[path("good not", 0.8)],
)


def test_a_token_finds_the_neurons_that_it_activates_the_strongest_first_with_contexts():
    assert told(activated_by(KNOWN, "tea")) == [
        ("B", [("hot [tea]", 1.0), ("[tea] so", 0.7)]),
        ("A", [("[tea]", 0.6)]),
    ]
    assert told(activated_by(KNOWN, "hot")) == [("A", [("river [hot] so water", 0.9)])]


def test_a_context_reads_from_left_to_right():
    [[_, [phrase]]] = activated_by(index(A=[path("hot river the > so water", 0.9)]), "hot")
    assert phrase.before == ["the", "river"]
    assert (phrase.token, phrase.behind) == ("hot", ["so", "water"])


def test_of_a_whole_text_the_context_follows():
    found = index_of({"A": entry(path("cheap so broken", 0.9), max_gap=2)})
    assert told(activated_by(found, "cheap")) == [("A", [("[cheap] so broken", 0.9)])]


def test_a_token_finds_the_neurons_that_respond_where_it_is_around():
    assert told(responding_to(KNOWN, "so")) == [
        ("A", [("river [hot] so water", 0.9)]),
        ("B", [("[tea] so", 0.7)]),
    ]
    assert told(responding_to(KNOWN, "hot")) == [("B", [("hot [tea]", 1.0)])]


def test_a_token_that_no_graph_has_finds_nothing():
    assert activated_by(KNOWN, "zeppelin") == responding_to(KNOWN, "zeppelin") == []
    assert activated_by(KNOWN, 10**8) == responding_to(KNOWN, "id:99999999") == []


def of_tokens(*strings):
    """Neurons 0, 1, ... each of which a token with such a string activates."""
    words = dict(enumerate(strings))
    return index_of(
        {
            str(token): entry(Path((Step(token, 1.0),), 0.9), words={token: word})
            for token, word in words.items()
        }
    )


def test_a_word_is_every_token_that_reads_so_and_an_id_is_one():
    found = of_tokens("tea", "Tea", "Ġtea", "##tea", "▁TEA", "teas", "7")
    for word in ("tea", "TEA", "##tea", "Ġtea"):
        assert [one.neuron for one in activated_by(found, word)] == ["0", "1", "2", "3", "4"]
    assert [one.neuron for one in activated_by(found, 2)] == ["2"]
    assert [one.neuron for one in activated_by(found, "id:2")] == ["2"]
    assert [one.neuron for one in activated_by(found, "7")] == ["6"]


def test_words_found_are_harmless():
    [[_, [phrase]]] = activated_by(of_tokens("\x1b[31m"), 0)
    assert phrase.token == "�[31m"


# Similar graphs, and graphs within graphs


def test_equal_graphs_are_similar_by_one_and_graphs_without_a_common_token_are_not_found():
    paths = [path("tea hot", 0.7), path("good", 0.9)]
    found = index(A=paths, B=[*reversed(paths)], C=[path("hot tea")], D=[])
    assert [(one.neuron, one.similarity) for one in similar(found, "A")] == [("B", 1.0)]


def test_the_similarity_is_the_weighted_share_of_common_nodes():
    found = index(
        A=[path("tea hot", 0.8)],
        B=[path("tea hot", 0.6)],
        C=[path("tea so", 0.8)],
        D=[path("tea > hot", 0.8), path("good", 0.8)],
    )
    expected = [("B", 0.6 / 0.8, 2), ("C", 0.8 / 2.4, 1), ("D", 0.8 / 3.2, 1)]
    assert similar(found, "A") == [(name, pytest.approx(s), n) for name, s, n in expected]


def test_the_most_similar_comes_first_and_equally_similar_ones_in_their_order():
    found = index(
        A=[path("tea hot", 0.8)],
        D=[path("tea so", 0.8)],
        C=[path("tea it", 0.8)],
        E=[path("tea hot", 0.8)],
    )
    assert [one.neuron for one in similar(found, "A")] == ["E", "D", "C"]


def test_a_neuron_may_be_named_in_small_letters():
    found = index_of({"L0:3": entry(path("tea")), "L0:4": entry(path("tea"))})
    assert similar(found, "l0:3") == similar(found, "L0:3") != []
    assert subsets_of(found, "l0:3") == [("L0:4", 1)]


def test_a_subset_is_a_graph_all_of_whose_paths_are_anothers():
    found = index(
        A=[path("tea hot", 0.8), path("tea", 0.7), path("good", 0.9)],
        B=[path("tea hot", 0.6)],
        C=[path("tea hot"), path("good")],
        D=[path("tea hot"), path("river")],
        E=[path("good not")],
        F=[],
        G=[path("good", 0.9), path("tea", 0.7), path("tea hot", 0.8)],
    )
    assert subsets_of(found, "A") == [("G", 3), ("C", 2), ("B", 1)]
    assert subsets_of(found, "B") == subsets_of(found, "F") == []


def test_a_path_that_goes_on_is_not_one_that_ends_there():
    found = index(A=[path("tea hot")], B=[path("tea")])
    assert subsets_of(found, "A") == subsets_of(found, "B") == []


def test_an_empty_graph_is_like_none():
    assert similar(KNOWN, "C") == subsets_of(KNOWN, "C") == []


@pytest.mark.parametrize("question", [similar, subsets_of])
def test_a_neuron_without_a_graph_is_an_error(question):
    with pytest.raises(InputError, match="L9:9: no such neuron among the 4 with a graph"):
        question(KNOWN, "L9:9")


# The index against plain loops

tokens = st.sampled_from(["tea", "hot", "so", "it"])


@st.composite
def some_path(draw):
    before, behind = (draw(st.lists(tokens, max_size=2)) for _ in range(2))
    words = [draw(tokens), *before, *([">", *behind] if behind else [])]
    return path(" ".join(words), draw(st.sampled_from([0.6, 0.7, 0.1 + 0.2, 1.0])))


runs = st.lists(st.lists(some_path(), max_size=4), min_size=1, max_size=6).map(
    lambda some: {f"L0:{k}": entry(*paths, neuron=k) for k, paths in enumerate(some)}
)


def ends(one):
    return {context: node for context, node in contexts(one.graph).items() if node.end}


def by_activation(found):
    return sorted(found, key=lambda pair: -pair[1])


@given(runs, tokens)
def test_a_token_finds_what_a_loop_over_all_graphs_finds(entries, word):
    found, token = index_of(entries), IDS[word]
    for question, within in (
        (activated_by, lambda context: token == context.token),
        (responding_to, lambda context: token in context.before + context.behind),
    ):
        expected = []
        for name, one in entries.items():
            values = [node.activation for c, node in ends(one).items() if within(c)]
            if values:
                expected.append((name, max(values), sorted(values, reverse=True)))
        answers = [
            (r.neuron, r.phrases[0].activation, [p.activation for p in r.phrases])
            for r in question(found, word)
        ]
        assert answers == by_activation(expected)


@given(runs)
def test_similar_graphs_and_subsets_are_those_that_a_loop_over_all_pairs_finds(entries):
    found = index_of(entries)
    for name, one in entries.items():
        own, likes, parts = contexts(one.graph), {}, set()
        for other in entries.keys() - {name}:
            theirs = contexts(entries[other].graph)
            value = [
                [nodes[c].activation if c in nodes else 0 for nodes in (own, theirs)]
                for c in own.keys() | theirs.keys()
            ]
            if own.keys() & theirs.keys():
                likes[other] = sum(map(min, value)) / sum(map(max, value))
            if theirs and ends(entries[other]).keys() <= ends(one).keys():
                parts.add(other)
        assert {s.neuron: s.similarity for s in similar(found, name)} == pytest.approx(likes)
        assert {s.neuron for s in subsets_of(found, name)} == parts


@given(runs)
def test_each_of_two_neurons_is_as_similar_to_the_other(entries):
    found = index_of(entries)
    both = {(a, s.neuron): s.similarity for a in entries for s in similar(found, a)}
    assert all(both[b, a] == value for (a, b), value in both.items())


# graphs.parquet

ROWS = [(0, 3, [path("tea hot", 0.8)]), (5, 24, [path("good", 0.9)]), (5, 25, [])]


def row(layer, neuron, paths):
    one = graph(*paths, neuron=neuron)
    return {
        "layer": layer,
        "neuron": neuron,
        "highest": one.highest,
        "graph": canonical(graph_json(one)),
        "words": canonical({str(token): word for token, word in NAMES.items()}),
        "positive": 1,
        "negative": 2,
        "graph_f1": 0.5 if paths else None,
        "train": ["an id"],
    }


@pytest.fixture
def stored(tmp_path):
    """A graphs.parquet, some of whose cells may be other ones."""

    def write(without=(), **changes):
        rows = [row(*one) | changes for one in ROWS]
        table = pa.Table.from_pylist(rows).drop_columns(list(without))
        write_table(tmp_path / "graphs.parquet", table, {"stage": "graphs"})
        return tmp_path / "graphs.parquet"

    return write


def test_all_graphs_are_read_in_their_order(stored):
    found = read_graphs(stored())
    assert list(found) == ["L0:3", "L5:24", "L5:25"]
    assert found["L0:3"] == Entry(graph(path("tea hot", 0.8), neuron=3), NAMES, {})


def test_one_neuron_is_read_with_its_scores(stored):
    file = stored()
    assert read_graphs(file, "l5:24") == {
        "L5:24": Entry(graph(path("good", 0.9), neuron=24), NAMES, {"graph_f1": 0.5})
    }
    assert read_graphs(file, "L5:25")["L5:25"].scores == {"graph_f1": None}


@pytest.mark.parametrize("name", ["L5:26", "L1:24"])
def test_a_neuron_that_is_not_there_is_an_error(stored, name):
    with pytest.raises(InputError, match=f"{name}: no such neuron in .*graphs.parquet"):
        read_graphs(stored(), name)


@pytest.mark.parametrize("name", ["5:24", "L5", "L5:24 ", "L5:9999999999", ""])
def test_what_is_no_name_of_a_neuron_is_an_error(stored, name):
    with pytest.raises(InputError, match="not a neuron: write it as L5:24"):
        read_graphs(stored(), name)


@pytest.mark.parametrize(
    "changes",
    [{"graph": "{"}, {"graph": "{}"}, {"words": "[]"}, {"words": '{"a": "b"}'}, {"graph": None}],
)
def test_a_damaged_graph_is_named(stored, changes):
    file = stored(**changes)
    with pytest.raises(InputError, match=r"graphs\.parquet: L0:3: not a graph .*again$"):
        read_graphs(file)


@pytest.mark.parametrize("only", [None, "L5:24"])
def test_a_file_without_graphs_is_an_error(stored, only):
    file = stored(without=["graph"])
    with pytest.raises(InputError, match=r"graphs\.parquet"):
        read_graphs(file, only)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(InputError, match="make it with `descry stage graphs`"):
        read_graphs(tmp_path / "graphs.parquet")
