"""What is kept of latents, which are 0 for most, is what a sort and scipy find in all of them."""

import json

import dictionaries
import extracting
import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import AutoTokenizer

import descry
from descry.activations import sparse
from descry.activations.exemplar_files import read_exemplars, read_silent
from descry.activations.histogram import BINS
from descry.activations.sparse import Firings, SparseDistribution, SparseTopK, spread_leaders
from descry.activations.streaming import SparseStats
from descry.activations.top_k import NOBODY, leaders
from descry.corpus.splits import HALVES
from descry.errors import InputError
from descry.io.hdf5 import reading_hdf5
from descry.io.sharding import Shard
from descry.models.checkpoints import contents_sha256
from descry.models.dictionaries.dictionary import dictionary_sha256
from descry.models.neurons import whose
from descry.models.spec import Pinned
from descry.reporting.explorer import overview
from descry.run import Run
from descry.stages.activations import extract_activations
from descry.stages.exemplars import Exemplars, select_exemplars

NEURONS = 6


def latents(seed, sentences, neurons=NEURONS):
    """Activations that are 0 for most, with ties; one never fires, one on every sentence."""
    lots = np.random.default_rng(seed)
    values = lots.integers(1, 50, (sentences, neurons)) * 2.0 ** lots.integers(-9, 6, neurons)
    values[lots.random(values.shape) < lots.uniform(0.3, 0.95, neurons)] = 0
    values[:, 0] = 0
    values[:, 1] = lots.integers(1, 4, sentences)
    return values.astype(np.float32)


def blocks(values, cuts):
    """The firings of rows in blocks, with the rows' numbers."""
    for rows in np.split(np.arange(len(values)), sorted(cuts)):
        yield rows, Firings.of(values[rows], np.arange(len(rows)), len(rows))


def every_row(rows, block):
    return block.at(np.ones(len(rows), dtype=bool), rows)


cuts = st.lists(st.integers(0, 120), max_size=4)


@given(st.integers(0, 10**6), st.integers(1, 120), cuts, st.integers(1, 20), st.booleans())
@settings(max_examples=40, deadline=None)
def test_leaders_are_those_of_all_that_fire(seed, sentences, cuts, size, often):
    values = latents(seed, sentences)
    pending, sparse._PENDING = sparse._PENDING, 0 if often else 2**21
    try:
        kept = SparseTopK(NEURONS, size)
        for rows, block in blocks(values, cuts):
            kept.add(every_row(rows, block))
        state = kept.state()
    finally:
        sparse._PENDING = pending
    rows, found = spread_leaders(state, slice(0, NEURONS))
    wanted, highest = leaders(np.ascontiguousarray(values.T), size)
    taken = wanted.shape[1]
    assert (np.where(highest > 0, wanted, NOBODY) == rows[:, :taken]).all()
    assert (highest == found[:, :taken]).all()
    assert (rows[:, taken:] == NOBODY).all() and not found[:, taken:].any()
    some, _ = spread_leaders(state, slice(2, 4))
    assert (some == rows[2:4]).all()


@given(st.integers(0, 10**6), st.integers(2, 120), cuts)
@settings(max_examples=40, deadline=None)
def test_the_distribution_is_that_of_all_sentences(seed, sentences, cuts):
    values = latents(seed, sentences)
    running = SparseDistribution.of(NEURONS)
    for _, block in blocks(values, cuts):
        running.add(block)
    running = SparseDistribution.restored(running.state())
    found, exact = running.summary(), values.astype(np.float64)
    np.testing.assert_allclose(found["mean"], exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["deviation"], exact.std(axis=0), rtol=1e-5, atol=1e-9)
    changing = np.flatnonzero(exact.std(axis=0) > 0)
    for name, moment in {"skewness": stats.skew, "kurtosis": stats.kurtosis}.items():
        wanted = moment(exact[:, changing], axis=0)
        np.testing.assert_allclose(found[name][changing], wanted, rtol=1e-4, atol=1e-4)
    assert (found["lowest"] == values.min(axis=0)).all()
    assert (found["highest"] == values.max(axis=0)).all()
    assert (found["at_lowest"] == (values == values.min(axis=0)).sum(axis=0)).all()
    assert (found["at_highest"] == (values == values.max(axis=0)).sum(axis=0)).all()
    for neuron in range(NEURONS):
        own = values[:, neuron]
        edges = found["low"][neuron] + found["step"][neuron] * np.arange(BINS + 1)
        counts = found["counts"][neuron]
        assert counts[0] == (own == 0).sum() and counts[-1] == 0
        assert counts[1:-1].tolist() == np.histogram(own[own > 0], edges)[0].tolist()
        if own.any():  # not more than half of the range is empty
            assert edges[-1] / 2 <= own.max() < edges[-1]


@given(st.integers(0, 10**6), st.permutations(range(4)))
@settings(max_examples=20, deadline=None)
def test_neither_the_order_of_blocks_nor_that_of_shards_changes_a_digit(seed, order):
    parts = list(blocks(latents(seed, 100), [25, 50, 75]))
    one, other = SparseDistribution.of(NEURONS), SparseDistribution.of(NEURONS)
    leading, joined = SparseTopK(NEURONS, 9), SparseTopK(NEURONS, 9)
    for rows, block in parts:
        one.add(block)
        leading.add(every_row(rows, block))
    for place in order:
        rows, block = parts[place]
        shard, some = SparseDistribution.of(NEURONS), SparseTopK(NEURONS, 9)
        shard.add(block)
        some.add(every_row(rows, block))
        other.join(SparseDistribution.restored(shard.state()))
        joined.join(some.state())
    for first, second in ((one.state(), other.state()), (leading.state(), joined.state())):
        assert first.keys() == second.keys()
        assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("stopped", range(4))
def test_stopped_after_any_block_it_goes_on_as_if_it_had_not_been(stopped):
    values = latents(0, 100)
    halves = np.random.default_rng(1).choice(HALVES, 100)

    def run(running, places):
        for place in places:
            rows = np.arange(25 * place, 25 * place + 25)
            block = Firings.of(values[rows], np.arange(25), 25)
            running.add(block, rows, halves[rows], rows + 1)
            running.next = place + 1
        return running

    whole = run(SparseStats(NEURONS, 9), range(4)).state()
    first = run(SparseStats(NEURONS, 9), range(stopped + 1)).state()
    second = SparseStats(NEURONS, 9)
    second.restore(first)
    found = run(second, range(stopped + 1, 4)).state()
    assert found.keys() == whole.keys()
    assert all((found[name] == whole[name]).all() for name in whole)


# The stages

WORD = "battery"
SITE = "encoder.layer.0.attention.output.LayerNorm"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A tiny BERT, sentences, and a dictionary with a latent that a word makes fire."""
    home = tmp_path_factory.mktemp("study")
    model = tiny.make("bert", home / "bert", words=[*extracting.WORDS, *map(str, range(10))])
    texts = extracting.sentences(2500, most=4)
    corpus = extracting.write_corpus(home / "corpus.parquet", texts)
    every = dictionaries.weights(width=32, latents=64)
    plain = descry.extract_activations(
        texts, model, site=SITE, position="tokens", layers=[0], device="cpu", max_tokens=64
    )
    tokens = plain.values[:, 0].astype(np.float64)
    every["W_enc"][:, 0], every["threshold"][0] = _direction(model, texts, tokens)
    every["b_enc"][0], every["b_dec"][:] = 0, 0
    every["threshold"][1] = 1e6  # never fires
    reach = tokens @ every["W_enc"][:, 2].double().numpy() + float(every["b_enc"][2])
    highest = np.sort(np.maximum.reduceat(reach, plain.start[:-1]))
    every["threshold"][2] = highest[-4:-2].mean()  # fires on three
    hook = {"metadata": {"hook_name": SITE}}
    place = dictionaries.write_saelens(home / "sae", "jumprelu", every, d_in=32, d_sae=64, **hook)
    return home, model, texts, corpus, place


def _direction(model, texts, tokens):
    """What of a token's values says that it is the word, and from where on no other has it."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = np.concatenate([tokenizer(text)["input_ids"] for text in texts])
    own = ids == tokenizer.convert_tokens_to_ids(WORD)
    away = tokens - tokens.mean(axis=0)
    found = np.linalg.solve(away.T @ away + np.eye(32), away.T @ (own - own.mean()))
    return torch.tensor(found, dtype=torch.float32), float((tokens @ found)[~own].max())


def told(study, **changes):
    _, model, _, _, place = study
    section = extracting.section(model, site=SITE, position="max", layers=[0], keep=300, **changes)
    section["target"]["revision"] = contents_sha256(model)
    dictionary = Pinned(path=str(place), revision=dictionary_sha256(place))
    return extracting.activation_params(section | {"dictionary": dictionary})


def silent(*_):
    pass


def made(study, folder, store, shards=1, lowest=False):
    """Stages activations and exemplars, with what they count."""
    folder.mkdir()
    corpus, params = study[3], told(study, store=store)
    parts = [folder / f"{k}.h5" for k in range(1, shards + 1)] if shards > 1 else []
    for index, part in enumerate(parts):
        shard = Shard(index, shards)
        extract_activations(params, corpus=corpus, activations=part, shard=shard, progress=silent)
    activations, exemplars = folder / "activations.h5", folder / "exemplars.h5"
    files = {"corpus": corpus, "activations": activations}
    counts = extract_activations(params, **files, parts=parts, progress=silent)
    selection = Exemplars(top_percent=8.0, min_size=5, window=5, lowest=lowest)
    return exemplars, counts, select_exemplars(selection, params, **files, exemplars=exemplars)


def datasets(path):
    found = {}
    with reading_hdf5(path, "exemplars") as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return found


def test_a_planted_latent_is_found_and_sets_hold_what_fires_alone(study, tmp_path):
    exemplars, counts, selected = made(study, tmp_path / "run", "exemplars")
    texts = np.array(study[2])
    has_word = np.array([WORD in text for text in texts])
    sets = read_exemplars(exemplars, "all")[0]
    values = descry.extract_activations(
        study[2],
        study[1],
        site=SITE,
        position="max",
        layers=[0],
        dictionary=study[4],
        device="cpu",
        max_tokens=64,
    )
    assert (values.kind, values.layers, values.values.shape[2]) == ("latent", (0,), 64)
    assert repr(values) == "<Activations: 2500 rows, 1 layer of 64 latents>"
    assert counts["latents"] == 64
    own = sets[0][sets[0] >= 0]
    assert len(own) >= 100 and has_word[own].mean() > 0.95 > 3 * has_word.mean()
    for latent, rows in enumerate(sets):
        assert (values.values[rows[rows >= 0], 0, latent] > 0).all()
    # Dead and rare ones are counted, with the reason.
    fires = np.count_nonzero(values.values[:, 0], axis=0)
    assert selected["never change"] == (fires == 0).sum() > 0
    assert fires[2] == 3 and selected["fire on too few"] == ((fires > 0) & (fires < 5)).sum() > 0
    words = read_silent(exemplars).words
    assert (words[1], words[2]) == ("never changes", "fires on 3 sentences")
    # The label is the word for the planted latent, and for few of the others.
    applies = np.stack([has_word, np.array(["price" in text for text in texts])], axis=1)
    labels = descry.assign_labels(sets, applies, [WORD, "price"])
    assert labels.of(0) == [WORD]


def test_what_streams_by_is_what_a_matrix_gives_and_shards_together(study, tmp_path):
    matrix = datasets(made(study, tmp_path / "matrix", "matrix")[0])
    for number in (1, 2):
        streamed = datasets(made(study, tmp_path / f"{number}", "exemplars", number)[0])
        assert matrix.keys() == streamed.keys()
        for name, values in matrix.items():
            np.testing.assert_array_equal(values, streamed[name], err_msg=name)


def test_the_lowest_of_latents_are_not_kept(study, tmp_path):
    with pytest.raises(InputError, match=r"^exemplars.lowest: with activations.store exemplars no"):
        made(study, tmp_path / "run", "exemplars", lowest=True)


def test_the_record_says_which_dictionary(study, tmp_path):
    exemplars, _, _ = made(study, tmp_path / "run", "exemplars")
    with reading_hdf5(exemplars, "exemplars") as file:
        said = json.loads(file.attrs["descry"])["dictionary"]
    assert said["sha256"] == dictionary_sha256(study[4])
    assert (said["name"], said["kind"], said["latents"]) == ("sae", "latent", 64)
    assert said["layers"]["0"]["hook"] == SITE


def test_what_is_shown_says_whose_latents_they_are(study, tmp_path, capsys):
    """As far as exemplars.h5 alone says it: a run's other files are of other stages."""
    exemplars, _, _ = made(study, tmp_path / "results", "exemplars")
    run = Run(exemplars.parent)
    assert (run.kind, run.dictionary["latents"]) == ("latent", 64)
    said = whose(run.dictionary)
    assert said == f"sae (SAELens jumprelu, sha256 {dictionary_sha256(study[4])[:12]})"
    told = overview.target(run.provenance("activations.h5"), 64)
    assert (told["kind"], told["dictionary"]) == ("latent", said)
    with reading_hdf5(exemplars, "exemplars") as file:
        assert file["all/row"].compression == "gzip"  # mostly gaps


def test_a_latent_has_a_graph_of_tokens(study):
    _, model, texts, _, place = study
    graph = descry.explain_neuron(
        texts[:300],
        "L0:0",
        model,
        site=SITE,
        dictionary=place,
        augment=None,
        device="cpu",
        max_tokens=64,
    )
    first = str(graph).splitlines()[1]
    assert WORD in first
