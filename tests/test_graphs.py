"""Stage graphs: which texts are taken, killed runs, the tables, and the explorer's part."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import dictionaries
import numpy as np
import planted
import pytest
import tiny
from extracting import WORDS, activation_params, section, sentences, write_corpus
from miniature import ROOT
from neurons import IDS, PAPER, Neurons, explained, settings, text_of, tokens_of
from neurons import WORDS as SPOKEN
from planted import CORPUS, GRAPH_SCORES, GRAPHS, HOSTILE, run_report

import descry
from descry.annotators.bitset import Answers
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.io.atomic import part_of
from descry.io.csv_rows import read_csv, write_csv
from descry.io.parquet import read_table, table_provenance, write_table
from descry.io.provenance import provenance
from descry.models.checkpoints import Checkpoint
from descry.models.dictionaries.dictionary import dictionary_sha256
from descry.models.hooked_model import HookedModel
from descry.models.spec import Model, Pinned
from descry.n2g.build import firing_rows, make_records
from descry.n2g.label_overlap import Held, Talk, held, talk
from descry.n2g.paths import IGNORE, TURN
from descry.n2g.scoring import Score, average
from descry.n2g.tables import (
    COLUMNS,
    EVERY,
    PREDICTORS,
    Record,
    Tokens,
    layer_rows,
    read_records,
    write_records,
)
from descry.n2g.texts import Sentences
from descry.n2g.top_texts import leading_rows
from descry.n2g.weighted import weighted_graphs
from descry.stages import graphs
from descry.stages.graphs import Graphs, graph_neurons
from descry.workflow.params import load, parse

NAN = float("nan")
SHIPPED = load(ROOT / "presets/sample.yaml").graphs


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make("bert", tmp_path_factory.mktemp("bert"), words=WORDS)


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.parquet", sentences(60))


def make(corpus, model, folder, extraction=None, **changes):
    told = SHIPPED.model_dump() | {"neurons": ["L0:3", "L1:0", "L1:5"], "texts": 8, "train": 4}
    told |= {"augment": None, "method": "published", "site": None} | changes
    files = {"graphs": folder / "graphs.parquet", "scores": folder / "graphs.csv"}
    model_of = activation_params(section(model) | (extraction or {}))
    how = {"progress": lambda *_: None}
    return graph_neurons(graph_params(told), model_of, corpus=corpus, **files, **how)


def graph_params(told):
    """The section of these values, which need not be those of real params."""
    augment = told["augment"]
    augment = Model.model_construct(**augment) if isinstance(augment, dict) else augment
    return Graphs.model_construct(**told | {"augment": augment})


def table(folder):
    """graphs.parquet without what made it."""
    return read_table(folder / "graphs.parquet", "graphs").to_pylist()


def contents(folder):
    return [(folder / name).read_bytes() for name in ("graphs.parquet", "graphs.csv")]


def test_graphs_are_of_latents_where_they_have_no_site_of_their_own(corpus, model, tmp_path):
    every = dictionaries.weights(width=32, latents=64)
    hook = {"metadata": {"hook_name": "blocks.1.hook_resid_post"}, "d_in": 32, "d_sae": 64}
    place = dictionaries.write_saelens(tmp_path / "sae", "topk", every, **hook)
    pinned = Pinned(path=str(place), revision=dictionary_sha256(place))
    latents = {"site": "residual", "dictionary": pinned}
    asked = {"neurons": ["L1:63"], "method": "weighted"}  # a neuron of that name is not there
    make(corpus, model, tmp_path, latents, **asked)
    (record,), made = read_records(tmp_path / "graphs.parquet")
    assert record.name == "L1:63"
    assert made["dictionary"]["sha256"] == pinned.revision
    with pytest.raises(InputError, match="L1:63: no such neuron: the neurons are L0:0 to L2:47"):
        make(corpus, model, tmp_path, latents, **asked | {"site": "ffn_hidden"})


# Parameters

BAD = {
    "augment": "bert",
    "neurons": -1,
    "until": 0,
    "drop": 1.0,
    "keys": 0.0,
    "firing": 0.0,
    "position": "first",
    "train": 21,
    "method": "linear",
    "site": "everywhere",
    "sampled": 0,
    "paths": 0,
}


@pytest.mark.parametrize("key", BAD)
def test_a_value_that_makes_no_sense_is_named(key):
    with pytest.raises(InputError, match=rf"^params: graphs\.{key}"):
        parse("graphs", SHIPPED.model_dump() | {key: BAD[key]}, "params")


@pytest.mark.parametrize("augment", [None, "embeddings", {"model": "bert", "revision": "0" * 40}])
def test_substitutes_come_from_nowhere_the_target_or_a_masked_model(augment):
    section = parse("graphs", SHIPPED.model_dump() | {"augment": augment}, "params")
    assert section.model_dump()["augment"] == augment


def test_the_shipped_numbers_are_those_of_the_paper():
    told = SHIPPED.model_dump()
    assert {key: told[key] for key in PAPER} == PAPER


# Which texts are taken


def target_of(model, position="tokens", **changes):
    told = {name: section(model)[name] for name in ("site", "layers", "dtype", "device")} | changes
    checkpoint = Checkpoint(**section(model)["target"])
    return HookedModel(checkpoint, position=position, max_tokens=64, **told)


@pytest.mark.parametrize("position", ["tokens", "mean", "cls"])
def test_the_texts_are_those_of_a_plain_loop_over_all_activations(model, corpus, position):
    target = target_of(model, position)
    blocks = list(Sentences(corpus, target.tokenizer, 62).blocks())
    prompts = [prompt for block in blocks for prompt in block]
    start, end = target.tokenizer.cls_token_id, target.tokenizer.sep_token_id
    chosen = [(0, 3), (1, 0), (1, 5)]
    highest = np.array([_highest(target, [start, *p, end], chosen) for p in prompts])
    expected = np.argsort(-highest, axis=0, kind="stable")[:7].T
    parts = [prompts[:20], prompts[20:21], prompts[21:]]
    found = leading_rows(target, parts, ([start], [end]), chosen, size=7, batch_tokens=128)
    assert found.tolist() == expected.tolist()


def _highest(target, ids, chosen):
    values = target.activations([ids])
    own = values[1:-1] if target.position == "tokens" else values
    return [own[:, layer, index].max() for layer, index in chosen]


class Constant:
    """A target all of whose neurons have one activation on every text: its first token's id."""

    name, device, position = "constant", "cpu", "last"

    def activations(self, batch):
        return np.array([[[ids[0]] * 2] for ids in batch], dtype=np.float32)


def test_ties_go_to_the_lower_row_and_texts_without_a_token_are_left_out():
    blocks = [[(5,), (), (7,)], [(7,), (5,)]]
    choose = partial(leading_rows, Constant(), around=((), ()), chosen=[(0, 1)], batch_tokens=2)
    assert choose(blocks, size=3).tolist() == [[2, 3, 0]]
    assert choose(blocks, size=6).tolist() == [[2, 3, 0, 4, -1, -1]]


def test_an_activation_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match=r"^constant: activations are not finite$"):
        leading_rows(Constant(), [[(np.inf,)]], ((), ()), [(0, 0)], size=1, batch_tokens=8)


# What is written


def test_every_neuron_has_a_graph_with_the_strings_of_its_tokens(model, corpus, tmp_path):
    counts = make(corpus, model, tmp_path)
    rows = table(tmp_path)
    assert [(row["layer"], row["neuron"]) for row in rows] == [(0, 3), (1, 0), (1, 5)]
    with_path = sum(row["nodes"] > 0 for row in rows)
    assert counts == {"neurons": 3, "with a path": with_path, "sentences cut": 0}
    assert counts["with a path"] > 0
    vocabulary = target_of(model).tokenizer.get_vocab()
    for row in rows:
        words = {int(token): word for token, word in json.loads(row["words"]).items()}
        tokens = {key for _, key, _ in json.loads(row["graph"])["trie"] if key >= 0}
        assert set(words) == tokens
        assert {vocabulary[word] for word in words.values()} == tokens


def test_the_texts_are_parted_into_those_of_the_graph_and_those_that_score_it(
    model, corpus, tmp_path
):
    make(corpus, model, tmp_path)
    ids = set(read_table(corpus, "corpus")["id"].to_pylist())
    for row in table(tmp_path):
        assert (len(row["train"]), len(row["held"])) == (4, 4)
        assert len({*row["train"], *row["held"]} & ids) == 8


def test_the_file_says_what_made_it(model, corpus, tmp_path):
    make(corpus, model, tmp_path)
    made = table_provenance(read_table(tmp_path / "graphs.parquet", "graphs"))
    assert made["stage"] == "graphs"
    assert set(made["params"]) == {"graphs", "activations"}
    assert (made["position"], made["site"], made["layers"]) == ("tokens", "ffn_output", [0, 1, 2])
    assert len(made["weights"]) == len(made["tokenizer"]) == 64


def test_sentences_in_which_a_graph_fires_are_those_where_it_predicts_so(model, corpus, tmp_path):
    make(corpus, model, tmp_path, firing=0.6)
    target = target_of(model)
    texts = Sentences(corpus, target.tokenizer, 62).texts(range(60))
    records, _ = read_records(tmp_path / "graphs.parquet")
    for record in records:
        predicted = [record.graph.predict(text.tokens).max() for text in texts]
        assert record.fires == [row for row, value in enumerate(predicted) if value >= 0.6]
    assert any(record.fires for record in records)


def test_a_sentences_one_activation_can_be_explained_too(model, corpus, tmp_path):
    make(corpus, model, tmp_path, position="mean")
    records, made = read_records(tmp_path / "graphs.parquet")
    assert made["position"] == "mean"
    assert {record.graph.max_gap for record in records} == {SHIPPED.max_gap}
    assert {record.scores["graph"].number for record in records} == {4}
    assert all(record.tokens == [] for record in records)


def given(strings, **interface):
    """The record of a hand-made neuron that fires at `coffee`, made of all these sentences."""
    neurons = Neurons(**interface)
    tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda ids: [SPOKEN[i] for i in ids])
    neurons.target = SimpleNamespace(layers=[5], tokenizer=tokenizer)
    leading = {0: np.arange(len(strings))}

    def texts(rows):
        return [text_of(strings[row]) for row in rows]

    [found] = make_records(neurons, leading, texts, settings(train=len(strings)), None)
    return found


def test_a_token_has_its_activation_as_a_share_of_the_highest():
    strings = ["It was hot coffee.", "Coffee so very good"]
    found = given(strings)
    first = Tokens(["it", "was", "hot", "coffee", "."], [-0.125] * 3 + [1.0, -0.125])
    second = Tokens(["coffee", "so", "very", "good"], [1.0] + [-0.125] * 3)
    expected = dict(zip(map(sentence_id, strings), (first, second), strict=True))
    assert dict(zip(found.train, found.tokens, strict=True)) == expected


def test_shares_have_three_digits_and_no_negative_zero():
    values = np.array([-0.0001, 1.0, 3.0], dtype=np.float32)
    [text] = given(["so very good"], rules={0: lambda words: values[-len(words) :]}).tokens
    assert [str(share) for share in text.activations] == ["0.0", "0.333", "1.0"]


def test_where_a_neuron_is_never_active_every_share_is_zero():
    [text] = given(["so very good"]).tokens
    assert text == (["so", "very", "good"], [0.0] * 3)


def test_a_text_without_a_token_has_neither_an_id_nor_activations():
    found = given(["the coffee", "!"])
    assert (len(found.train), len(found.tokens)) == (1, 1)


def test_where_a_sentence_has_one_activation_its_tokens_have_none():
    assert given(["the coffee", "so"], whole=True).tokens == []


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_tokens_and_activations_are_those_of_a_plain_pass(name, corpus, tmp_path):
    folder = tiny.make(name, tmp_path / name, words=WORDS)
    make(corpus, folder, tmp_path, bos=False)
    records, _ = read_records(tmp_path / "graphs.parquet")
    target, texts = target_of(folder), read_table(corpus, "corpus").to_pylist()
    strings = {row["id"]: row["text"] for row in texts}
    for record in records:
        found = [plainly(target, strings[name], record) for name in record.train]
        highest = max(values.max() for _, values in found)
        for (words, values), text in zip(found, record.tokens, strict=True):
            assert text.words == words
            np.testing.assert_allclose(text.activations, values / highest, atol=6e-4)


def plainly(target, string, record):
    """The tokens of a sentence and the neuron's activations at them, special ones left out."""
    encoded = target.tokenizer(string, return_special_tokens_mask=True)
    own = np.flatnonzero(np.array(encoded["special_tokens_mask"]) == 0)
    ids = encoded["input_ids"]
    values = target.activations([ids])[own, target.layers.index(record.layer), record.graph.neuron]
    return target.tokenizer.convert_ids_to_tokens([ids[place] for place in own]), values


def test_words_are_replaced_by_the_nearest_of_the_target_or_a_masked_models(
    model, corpus, tmp_path
):
    folder = tmp_path / "masked"
    masked = tiny.make("bert", folder)
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    AutoModelForMaskedLM.from_config(target_of(model).model.config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    told = section(masked)["target"]
    for augment in ("embeddings", told):
        make(corpus, model, tmp_path, augment=augment)
        records, made = read_records(tmp_path / "graphs.parquet")
        assert sum(one.graph.positive + one.graph.negative for one in records) > 0
        assert (made["substitutes"] is None) == (augment == "embeddings")


# Off


def test_no_neurons_load_no_model_and_write_files_without_rows(model, tmp_path):
    counts = make(tmp_path / "absent", model, tmp_path, {"target": {}}, neurons=0)
    assert counts == {"neurons": 0, "with a path": 0}
    assert read_records(tmp_path / "graphs.parquet")[0] == []
    assert (tmp_path / "graphs.csv").read_text().count("\n") == 1


# Kills and shards


@pytest.fixture
def half_done(model, corpus, tmp_path, monkeypatch):
    """A folder in which a run was stopped after its first group, and one that was not."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    make(corpus, model, whole, together=1)
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "make_records", failing_after(1, graphs.make_records))
        with pytest.raises(KeyboardInterrupt):
            make(corpus, model, stopped, together=1)
    assert sorted(path.name for path in stopped.iterdir()) == [".graphs.parquet.part"]
    return whole, stopped


def failing_after(calls, function):
    left = iter(range(calls))

    def called(*given):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*given)

    return called


def test_a_run_that_was_stopped_is_gone_on_with(model, corpus, half_done, monkeypatch):
    whole, stopped = half_done
    asked = []

    def noted(subject, leading, *others):
        asked.append(sorted(leading))
        return kept(subject, leading, *others)

    kept = graphs.make_records
    monkeypatch.setattr(graphs, "make_records", noted)
    monkeypatch.setattr(graphs, "leading_rows", None)  # the texts are known
    make(corpus, model, stopped, together=1)
    assert asked == [[0], [5]]
    assert contents(stopped) == contents(whole)
    assert sorted(path.name for path in stopped.iterdir()) == ["graphs.csv", "graphs.parquet"]


def test_what_another_run_began_is_refused(model, corpus, half_done):
    with pytest.raises(InputError, match=r"params\.graphs\.drop 0\.5, now 0\.25: set it back"):
        make(corpus, model, half_done[1], together=1, drop=0.25)


def test_without_its_first_file_an_unfinished_run_is_forgotten(model, corpus, half_done):
    _, stopped = half_done
    (part_of(stopped / "graphs.parquet") / "begun.h5").unlink()
    make(corpus, model, stopped, together=1, drop=0.25)
    assert len(table(stopped)) == 3


@pytest.mark.parametrize("together", [2, 64])
def test_the_graphs_are_the_same_whatever_is_worked_on_together(model, corpus, tmp_path, together):
    found = []
    for size in (1, together):
        make(corpus, model, tmp_path, together=size)
        found.append(table(tmp_path))
    for one, other in zip(*found, strict=True):
        assert {k: v for k, v in one.items() if k not in CLOSE} == {
            k: v for k, v in other.items() if k not in CLOSE
        }
        numbers = [[row[name] or 0 for name in CLOSE[2:]] for row in (one, other)]
        np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-4)
        tries = (json.loads(row["graph"])["trie"] for row in (one, other))
        assert len({tuple((parent, key) for parent, key, _ in trie) for trie in tries}) == 1
        for text, same in zip(one["tokens"], other["tokens"], strict=True):
            assert text["words"] == same["words"]
            np.testing.assert_allclose(text["activations"], same["activations"], atol=2e-3)


# Not to the last digit: batches differ.
CLOSE = ["graph", "tokens", "highest"] + [
    f"{name}_{score}".replace(" ", "_") for name in PREDICTORS for score in ("pearson", "r2")
]


# Weighted graphs


def weighted(corpus, model, folder, **changes):
    make(corpus, model, folder, **{"method": "weighted", "site": "ffn_hidden"} | changes)
    return read_records(folder / "graphs.parquet")


def test_weighted_graphs_are_of_all_sentences_but_the_held_ones(model, corpus, tmp_path):
    records, made = weighted(corpus, model, tmp_path)
    assert (made["site"], made["method"], made["neurons"]) == ("ffn_hidden", "weighted", 48)
    for one in records:
        assert (len(one.train), len(one.held), one.learnt) == (4, 4, 56)
        assert one.graph.bias is not None and one.scores["graph"].number > 0


def test_a_held_sentence_changes_nothing_of_its_graph(model, corpus, tmp_path):
    """Its words become others' words: the graph is learnt from the other sentences."""
    [first, *_], _ = weighted(corpus, model, tmp_path, neurons=["L1:5"])
    rows = read_table(corpus, "corpus").to_pylist()
    kept = [row for row in rows if row["id"] not in first.held]
    target = target_of(model, site="ffn_hidden")
    target.layers = [1]
    prompts = [target.tokenizer(row["text"], add_special_tokens=False)["input_ids"] for row in kept]
    start, end = target.tokenizer.cls_token_id, target.tokenizer.sep_token_id
    values = [target.activations([[start, *p, end]])[1:-1, 0, [5]] for p in prompts]
    [graph] = weighted_graphs(
        [5], list(map(tuple, prompts)), np.concatenate(values), np.ones((len(kept), 1), dtype=bool),
        paths=10_000, firing=0.5, both_sides=True,
    )  # fmt: skip
    text = tuple(prompts[0])
    np.testing.assert_allclose(first.graph.predict(text), graph.predict(text), atol=2e-3)


def test_of_a_decoder_nothing_that_follows_counts(corpus, tmp_path):
    folder = tiny.make("gpt2", tmp_path / "gpt2", words=WORDS)
    records, _ = weighted(corpus, folder, tmp_path)
    assert all(TURN not in one.graph.trie.keys for one in records)
    assert any(IGNORE in one.graph.trie.keys for one in records)


def test_what_is_computed_once_and_what_again_have_the_same_digits(model, corpus, tmp_path):
    found = []
    for folder, together in ((tmp_path / "once", 64), (tmp_path / "again", 64)):
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            if folder.name == "again":
                patch.setattr(graphs, "leading_rows", without_keeping(graphs.leading_rows))
            weighted(corpus, model, folder, together=together)
        found.append(contents(folder))
    assert found[0] == found[1]


def without_keeping(select):
    return lambda *told, kept, **how: select(*told, kept=None, **how)


def test_weights_of_a_whole_sentence_are_refused():
    told = SHIPPED.model_dump() | {"position": "cls"}
    with pytest.raises(InputError, match=r"graphs\.position cls needs graphs\.method published"):
        parse("graphs", told, "params")


# Mean scores


def record(layer, neuron, f1=0.5, fires=3, sentences=()):
    """A neuron that fires at `coffee`, with the scores given."""
    graph = explained(Neurons(), ["the coffee"])
    graph = replace(graph, neuron=neuron)
    scores = {name: Score(9, fires, 2, NAN, f1, f1 / 2, 0.1, -0.2) for name in PREDICTORS}
    scores["graph"] = scores["graph"]._replace(precision=1.0)
    words = {IDS["coffee"]: "coffee"}
    tokens = [Tokens(["the", "coffee"], [-0.125, 1.0])]
    return Record(layer, graph, words, ["a"], ["b"], 1, tokens, scores, list(sentences))


RECORDS = [record(0, 4, 0.2), record(0, 1, 0.4), record(2, 0, 0.9), record(2, 1, 0.7, fires=0)]


def test_the_table_has_the_averages_of_each_layer_and_of_all():
    rows = layer_rows(RECORDS)
    assert [row["layer"] for row in rows] == [0] * 4 + [2] * 4 + [EVERY] * 4
    assert [(row["neurons"], row["firing"]) for row in rows[::4]] == [(2, 2), (2, 1), (4, 3)]
    for row in rows:
        some = [one for one in RECORDS if row["layer"] in (one.layer, EVERY)]
        expected = average([one.scores[row["predictor"]] for one in some])
        means = ("precision", "recall", "f1", "pearson", "r2")
        np.testing.assert_equal([row[m] for m in means], [getattr(expected, m) for m in means])
    assert [row["recall"] for row in rows[::4]] == pytest.approx([0.3, 0.9, 0.5])


def test_a_layer_in_which_no_neuron_fires_has_no_mean():
    [row, *_] = layer_rows([record(0, 1, fires=0)])
    assert (row["neurons"], row["firing"]) == (1, 0)
    assert np.isnan(row["f1"])


def test_the_csv_is_that_table(model, corpus, tmp_path):
    make(corpus, model, tmp_path)
    names = ("neurons", "firing", "precision", "recall", "f1", "pearson", "r2")
    found = read_csv(tmp_path / "graphs.csv", "graphs", names)
    expected = layer_rows(read_records(tmp_path / "graphs.parquet")[0])
    assert [row["layer"] for row in found] == ["0"] * 4 + ["1"] * 4 + ["all"] * 4
    for one, other in zip(found, expected, strict=True):
        pair = ([float(row[name]) for name in names] for row in (one, other))
        np.testing.assert_allclose(*pair, atol=1e-6)


def test_records_are_read_as_they_were_written_sorted(tmp_path):
    path = tmp_path / "graphs.parquet"
    write_records(path, RECORDS[::-1], {"stage": "graphs"})
    found, made = read_records(path)
    assert made == {"stage": "graphs"}
    ordered = [RECORDS[1], RECORDS[0], *RECORDS[2:]]
    assert [one.name for one in found] == ["L0:1", "L0:4", "L2:0", "L2:1"]
    for one, other in zip(found, ordered, strict=True):
        assert (one.graph, one.words, one.train) == (other.graph, other.words, other.train)
        assert one.tokens == other.tokens
        for name in PREDICTORS:
            np.testing.assert_equal(astuple_of(one, name), astuple_of(other, name))


def astuple_of(one, predictor):
    return tuple(one.scores[predictor])


def test_a_table_of_another_version_is_refused(tmp_path):
    path = tmp_path / "graphs.parquet"
    write_records(path, RECORDS, {})
    write_table(path, read_table(path, "graphs").drop_columns(["tokens"]), {})
    with pytest.raises(
        InputError, match=r"graphs\.parquet: cannot be read .*tokens.*make it again"
    ):
        read_records(path)


def test_a_damaged_graph_is_named(tmp_path):
    path = tmp_path / "graphs.parquet"
    write_records(path, RECORDS[:1], {})
    table = read_table(path, "graphs")
    damaged = table.set_column(table.column_names.index("graph"), "graph", [["{"]])
    write_table(path, damaged, {})
    with pytest.raises(InputError, match=r"graphs\.parquet: L0:4: not a graph .*again$"):
        read_records(path)


# Where graphs fire


def test_a_graph_fires_in_the_texts_with_its_path():
    coffee = explained(Neurons(), ["the coffee"])
    gap = explained(Neurons(), ["it was not very good", "not so good for one"], neuron=1)
    strings = ["good coffee", "the tea", "not a good coffee", "very good", "not the good"]
    tokens = [tokens_of(string) for string in strings]
    found = firing_rows([coffee, gap], [tokens[:2], tokens[2:]], firing=0.5)
    assert found == [[0, 2], [2, 4]]
    assert firing_rows([coffee], [tokens], firing=1.01) == [[]]


# What a graph's sentences talk about

ANSWERS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0], [1, 0, -1]], np.int8)


def test_shares_and_lifts_are_those_of_the_sentences_with_an_answer():
    found = talk(np.array([0, 1, 3]), Answers.of(ANSWERS), np.ones(6, dtype=bool))
    assert found.sentences == 3
    np.testing.assert_allclose(found.share, [2 / 3, 1 / 2, 0])
    np.testing.assert_allclose(found.lift, [(2 / 3) / (3 / 6), (1 / 2) / (2 / 5), NAN])
    assert found.top == 0


def test_sentences_that_do_not_stand_for_the_corpus_are_left_out():
    sampled = np.array([1, 0, 1, 1, 1, 0], dtype=bool)
    found = talk(np.array([1, 2, 4]), Answers.of(ANSWERS), sampled)
    assert found.sentences == 2
    np.testing.assert_allclose(found.share, [0, 1 / 2, 0])
    np.testing.assert_allclose(found.lift, [0, (1 / 2) / (1 / 3), NAN])
    assert found.top == 1


def test_where_a_graph_never_fires_nothing_is_defined():
    found = talk(np.array([], dtype=np.int64), Answers.of(ANSWERS), np.ones(6, dtype=bool))
    assert (found.sentences, found.top) == (0, None)
    assert np.isnan(found.share).all()


def test_labels_are_counted_beside_the_other_descriptors_of_labelled_neurons():
    talks = [Talk(4, np.zeros(3), np.array(lift), 0) for lift in LIFTS]
    labels = [np.array(own, dtype=bool) for own in ([1, 0, 0], [1, 1, 0], [0, 0, 0])]
    assert held(talks, labels) == Held(labels=2, above=1, others=3, others_above=2)
    assert held([], []) == Held(0, 0, 0, 0)


LIFTS = [[1.5, 2.0, 0.5], [NAN, 1.0, 3.0], [9.0, 9.0, 9.0]]


# The explorer


def write_graphs(*records, **told):
    """Graphs made from the first sentences of the corpus, and their mean scores."""
    ids = read_table(CORPUS, "corpus")["id"].to_pylist()
    found = [replace(one, train=ids[4:5], held=ids[2:4]) for one in records]
    made = provenance("graphs", {"neurons": len(records)}, [CORPUS], []) | {"position": "tokens"}
    made |= told
    write_records(GRAPHS, found, made)
    write_csv(GRAPH_SCORES, layer_rows(found), COLUMNS)


def test_without_graphs_the_explorer_has_none(run):
    packs = run_report()
    assert packs["run"]["graphs"] is None
    assert "graphs-0" not in packs
    assert not any(neuron["graph"] for neuron in packs["neurons-0"])


def topic_rows(topic):
    found = planted.topics_of(read_table(CORPUS, "corpus"))
    return np.flatnonzero(found == topic).tolist()


def test_the_explorer_holds_labels_against_the_graphs_sentences(run):
    write_graphs(
        record(0, 2, 0.4, sentences=topic_rows(2)),
        record(0, 3, 0.8, sentences=topic_rows(0)),
        record(1, 0, fires=0),
    )
    found = run_report()["run"]["graphs"]
    assert (found["position"], found["number"]) == ("tokens", 3)
    rows = {(row["layer"], row["predictor"]): row for row in found["scores"]}
    graph = {"neurons": 2, "firing": 2, "precision": 1, "recall": 0.6, "f1": 0.3}
    assert rows["0", "graph"].items() >= (graph | {"pearson": 0.1, "r2": -0.2}).items()
    assert (rows["0", "token mean"]["precision"], rows["1", "graph"]["precision"]) == (None, None)
    assert (rows["all", "graph"]["neurons"], rows["all", "graph"]["firing"]) == (3, 2)
    others = 2 * (len(planted.TOPICS) - 1)
    assert found["held"] == {"labels": 2, "above": 1, "others": others, "others_above": 1}


def test_a_graph_stands_with_its_neuron_token_by_token(run):
    write_graphs(record(0, 2, 0.4, sentences=topic_rows(2)), record(1, 7))
    packs = run_report()
    graphs = {n for n, neuron in enumerate(packs["neurons-0"]) if neuron["graph"]}
    assert graphs == {2, 15} == {int(n) for n in packs["graphs-0"]}
    found = packs["graphs-0"]["2"]
    (node,) = found["nodes"]
    assert (node["parent"], node["side"], node["text"], node["end"]) == (
        -1, "activating", "coffee", True,
    )  # fmt: skip
    assert (found["train"], found["held"]) == ([4], [2, 3])
    assert (found["fires"], found["shown"]) == (12, topic_rows(2)[:10])
    assert (found["scores"]["graph"]["f1"], found["scores"]["token mean"]["precision"]) == (
        0.2,
        None,
    )
    words = [" the", " coffee"]
    assert found["tokens"] == [{"row": 4, "words": words, "activations": [-0.125, 1]}]


@pytest.mark.parametrize(
    ("read", "shown"),
    [
        (["cof", "##fee", "-", "##a"], [" cof", "fee", " -", "a"]),
        (["Ġcof", "fee", ".", "ĊĠ"], [" cof", "fee", ".", "↵ "]),
        (["▁cof", "fee", "##"], [" cof", "fee", "##"]),
        ([HOSTILE], [" \N{REPLACEMENT CHARACTER}" + HOSTILE[1:].replace(" ", "␣")]),
    ],
)
def test_words_are_joined_again_from_their_tokens(run, read, shown):
    tokens = [Tokens(read, [0.0] * len(read))]
    write_graphs(replace(record(0, 2), tokens=tokens))
    assert run_report()["graphs-0"]["2"]["tokens"][0]["words"] == shown


def test_a_token_of_a_strangers_vocabulary_is_data(run):
    write_graphs(replace(record(0, 2), words={IDS["coffee"]: HOSTILE}))
    (node,) = run_report()["graphs-0"]["2"]["nodes"]
    assert "\x1b" not in node["text"]
    assert "alert(1)" in node["text"]


def test_a_neuron_that_has_no_row_of_labels_is_named(run):
    write_graphs(record(7, 0))
    with pytest.raises(InputError, match=r"^L7:0: no such neuron: "):
        run_report()


def test_graphs_at_another_site_than_labels_have_pages_of_their_own(run):
    write_graphs(record(0, 2), record(1, 999, 0.25), site="elsewhere", method="weighted")
    packs = run_report()
    found = packs["run"]["graphs"]
    assert found["pages"] == [["L0:2", 0.25], ["L1:999", 0.125]]
    assert (found["site"], found["method"], found["held"]) == ("elsewhere", "weighted", None)
    assert not any(neuron["graph"] for neuron in packs["neurons-0"])
    assert packs["graphs-0"]["1"]["scores"]["graph"]["f1"] == 0.125
    assert descry.open().neuron("L0:2").graph is None


def test_a_graph_of_another_corpus_is_named(run):
    write_graphs(record(0, 2))
    records, made = read_records(GRAPHS)
    write_records(GRAPHS, [replace(records[0], held=["0" * 16])], made)
    with pytest.raises(InputError, match=r"^L0:2: .* sentence 0+, which is not in the corpus: run"):
        run_report()
