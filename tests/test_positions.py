"""Unit token: positions of tokens in the place of sentences."""

import numpy as np
import pyarrow as pa
import pytest
from dictionaries import weights, write_saelens
from extracting import activation_params, section, sentences, write_corpus
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, kstest
from tiny import make

from descry.activations.exemplar_files import QUANTILES, at_rows, read_exemplars, read_quantiles
from descry.activations.position_table import windows
from descry.activations.positions import (
    SAMPLE,
    STRIDE,
    SampleMatrix,
    codes,
    located,
    places_of,
    sampled,
    sentence_of,
    token_of,
)
from descry.activations.streaming import read_distribution, read_leaders
from descry.corpus.splits import HALVES
from descry.corpus.units import LEFT, RIGHT
from descry.errors import InputError
from descry.io.hdf5 import reading_hdf5
from descry.io.parquet import read_table, write_table
from descry.io.sharding import Shard
from descry.labels.strata import LEAST
from descry.labels.trigger_words import (
    NO_WORD,
    discovery_rates,
    frequency_strata,
    over_represented,
)
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.models.dictionaries.dictionary import Dictionary, dictionary_sha256
from descry.models.hooked_model import HookedModel
from descry.models.spec import Pinned
from descry.stages.activations import extract_activations
from descry.stages.exemplars import Exemplars, select_exemplars
from descry.stages.tokens import Tokens, find_tokens

TOKEN = {"unit": "token", "position": "tokens", "store": "exemplars", "sample": 200, "keep": 30}


def hooked(folder, **changes):
    how = {"site": "ffn_output", "position": "tokens", "layers": None, "dtype": "float32"}
    how |= {"device": "cpu", "max_tokens": 32} | changes
    return HookedModel(Checkpoint(str(folder), contents_sha256(folder)), **how)


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def folder(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp(request.param) / "model")


@pytest.mark.parametrize("number", [1, 3, 40])
def test_peaks_are_those_of_a_sort_over_the_tokens_of_a_text_alone(folder, number):
    model, texts = hooked(folder), sentences(7)
    ids = model.tokenize(texts)
    whole = np.split(model.activations(ids), np.cumsum([len(one) for one in ids])[:-1])
    single = [np.array([len(one) - 1, 0][: row % 3]) for row, one in enumerate(ids)]
    found = model.peaks(ids, number, single)
    for row, values in enumerate(whole):
        own = model.own_places(ids[row])
        inner = values[own.start : own.stop]
        for sign, high, at in (
            (1, found.highest, found.highest_at),
            (-1, found.lowest, found.lowest_at),
        ):
            order = np.argsort(-sign * inner, axis=0, kind="stable")[:number]
            known = len(order)
            expected = np.take_along_axis(inner, order, axis=0)
            np.testing.assert_allclose(high[row, :known], expected, rtol=1e-4, atol=1e-5)
            assert (at[row, :known] == order + own.start).mean() > 0.99  # but for near ties
            assert np.isinf(high[row, known:]).all()
    alone = [whole[row][place] for row, of in enumerate(single) for place in of]
    np.testing.assert_allclose(found.single, alone, rtol=1e-4, atol=1e-5)


def test_special_tokens_and_sinks_are_no_peaks(folder):
    model = hooked(folder)
    (ids,) = model.tokenize(["cheap small battery"])
    own = model.own_places(ids)
    assert own.start == 1  # behind [CLS], or behind the sink of a decoder
    assert own.stop == len(ids) - len(model.behind)
    assert model.own_places(ids[:1]) == range(1 if model.before else 0, 1 - len(model.behind))


def test_a_sample_is_drawn_by_lot_and_by_nothing_but_a_positions_own_name():
    names = [(f"{row:016x}", range(1, 1 + row % 9)) for row in range(400)]
    found = sampled(iter(names), 300, 7)
    assert (np.diff(found) > 0).all() and len(found) == 300
    again = sampled(iter(names), 301, 7)
    assert set(found) < set(again)
    # A sentence less: the others' positions keep their lots.
    some = {f"{names[s][0]}:{t}" for s, t in zip(sentence_of(found), token_of(found), strict=True)}
    fewer = names[:200] + names[201:]
    positions = sampled(iter(fewer), 300, 7)
    pairs = zip(sentence_of(positions), token_of(positions), strict=True)
    assert some - {f"{fewer[s][0]}:{t}" for s, t in pairs} <= {
        f"{names[200][0]}:{t}" for t in range(9)
    }
    everything = sampled(iter(names), 10**6, 7)
    assert len(everything) == sum(len(places) for _, places in names)


def test_every_position_is_as_likely_to_be_drawn():
    names = [(f"{row:016x}", range(row % 5 + 1)) for row in range(50)]
    every = sampled(iter(names), 10**6, 0)
    counts = np.zeros(len(every))
    for seed in range(300):
        counts[np.isin(every, sampled(iter(names), 30, seed))] += 1
    share = 30 / len(every)
    far = (counts - 300 * share) / np.sqrt(300 * share * (1 - share))
    assert np.abs(far).max() < 4.5 and far.std() == pytest.approx(1, abs=0.25)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, unique=True))
def test_codes_stand_for_sentences_and_tokens_in_their_order(pairs):
    pairs = sorted(pairs)
    sentence, token = np.array(pairs).T
    found = codes(sentence, token)
    assert (np.diff(found) > 0).all()
    assert sentence_of(found).tolist() == sentence.tolist()
    assert token_of(found).tolist() == token.tolist()
    assert located(np.append(found, -1), found).tolist() == [*range(len(pairs)), -1]
    of = places_of(found, range(51))
    assert [(s, t) for s, places in enumerate(of) for t in places] == pairs


# What a position looks like


def spans(text):
    """Tokens of two characters at most, white space apart."""
    found, start = [], 0
    for word in text.split(" "):
        for first in range(0, len(word), 2):
            found.append((start + first, min(start + first + 2, start + len(word))))
        start += len(word) + 1
    return found


def test_a_window_is_whole_words_around_the_word_of_the_position():
    text = "The battery-pack isn't good, and «cheap» tools fail"
    tokens = spans(text)
    place = next(i for i, span in enumerate(tokens) if text[slice(*span)] == "tt")
    (found,) = windows(text, tokens, [place], 2)
    assert found.text == "The «battery-pack»"
    assert (found.word, found.piece, found.before) == ("battery-pack", "tt", 1)
    (found,) = windows(text, tokens, [place], 8)
    assert found.text == "The «battery-pack» isn't good"
    mark = next(
        i
        for i, span in enumerate(tokens)
        if text[slice(*span)].startswith("ch") or "c" in text[slice(*span)]
    )
    (found,) = windows(text, tokens, [mark], 1)
    assert found.text.count(LEFT) == found.text.count(RIGHT) == 1  # a review's own are others


@given(st.text("ab «».,-'é\n", max_size=40), st.integers(1, 5), st.data())
def test_no_window_cuts_a_word_or_shows_two_marks(text, width, data):
    tokens = [span for span in spans(text.replace("\n", " ")) if span[0] < span[1]]
    if not tokens:
        return
    place = data.draw(st.integers(0, len(tokens) - 1))
    (found,) = windows(text, tokens, [place], width)
    assert found.text.count(LEFT) == found.text.count(RIGHT) == 1
    before, rest = found.text.split(LEFT)
    word, behind = rest.split(RIGHT)
    shown = text.translate({ord(LEFT): "‹", ord(RIGHT): "›"})
    bare = (before + word + behind).strip()
    first = shown.find(bare)
    assert first >= 0
    ends = first, first + len(bare)
    inside = [shown[e - 1 : e + 1] for e in ends if 0 < e < len(shown)]
    assert not any(len(pair) == 2 and all(c.isalnum() for c in pair) for pair in inside)


def test_without_blanks_a_token_is_a_word():
    text = "电池很好用"
    (found,) = windows(text, [(i, i + 1) for i in range(5)], [2], 1, blanks=False)
    assert (found.text, found.word, found.before) == ("池«很»好", "很", 2)


# The stages


def corpus_of(path, number=60):
    """Sentences in which one word in three is `battery`, in the first half of them alone."""
    rng = np.random.default_rng(3)
    others = ["price", "great", "small", "cheap", "works", "love", "review", "about", "and"]
    texts = []
    for row in range(number):
        words = rng.choice(others, 9).tolist()
        words[int(rng.integers(9))] = "battery" if row % 2 else "great"
        texts.append(" ".join(words) + f" {row}")
    write_corpus(path, texts)
    table = read_table(path, "corpus").replace_schema_metadata(None)
    write_table(path, table, {"stage": "corpus", "params": {"language": "en"}})
    return texts


def target(folder):
    return activation_params(section(folder, **TOKEN))


def extracted(folder, corpus, path, shard=None, **changes):
    params = activation_params(section(folder, **TOKEN | changes))
    files = {"corpus": corpus, "activations": path}
    if isinstance(shard, list):
        return extract_activations(params, **files, parts=shard, progress=lambda *_: None)
    of = {} if shard is None else {"shard": shard}
    return extract_activations(params, **files, **of, progress=lambda *_: None)


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    """Corpus, activations, exemplars and positions of a tiny model."""
    root = tmp_path_factory.mktemp("study")
    corpus, activations = root / "corpus.parquet", root / "activations.h5"
    corpus_of(corpus)
    extracted(folder, corpus, activations)
    found = {"exemplars": root / "exemplars.h5", "positions": root / "positions.parquet"}
    how = Exemplars(top_percent=20.0, min_size=3, window=3, lowest=True)
    counts = select_exemplars(how, target(folder), corpus=corpus, activations=activations, **found)
    return {"corpus": corpus, "activations": activations, "counts": counts, **found}


def dense(folder, corpus):
    """Activations of every own token, NaN elsewhere: [sentences, tokens, neurons]."""
    model = hooked(folder, max_tokens=64)
    table = read_table(corpus, "corpus")
    ids = model.tokenize(table["text"].to_pylist())
    values = np.full((len(ids), max(map(len, ids)), len(model.layers) * model.neurons), np.nan)
    flat = model.activations(ids).reshape(-1, values.shape[2])
    start = 0
    for row, tokens in enumerate(ids):
        own = model.own_places(tokens)
        values[row, own.start : own.stop] = flat[start + own.start : start + own.stop]
        start += len(tokens)
    return values, np.array(table["split"].to_pylist())


@pytest.mark.parametrize("end", ["highest", "lowest"])
def test_sets_are_the_strongest_position_of_each_of_the_strongest_sentences(folder, study, end):
    values, split = dense(folder, study["corpus"])
    table = read_table(study["positions"], "corpus")
    sign = 1 if end == "highest" else -1
    peaks = np.nanmax(sign * values, axis=1)  # [sentences, neurons]
    for half in ("all", *HALVES):
        rows = np.arange(len(split)) if half == "all" else np.flatnonzero(split == half)
        found = read_exemplars(study["exemplars"], half, end)
        found = found.reshape(-1, found.shape[2])
        for neuron, members in enumerate(found):
            order = rows[np.argsort(-peaks[rows, neuron], kind="stable")]
            picked = table.take(pa.array(members[members >= 0]))
            size = len(picked)
            assert picked["sentence"].to_pylist() == order[:size].tolist()
            at = picked["token"].to_numpy()
            reached = sign * values[order[:size], at, neuron]
            np.testing.assert_allclose(reached, peaks[order[:size], neuron], rtol=1e-4, atol=1e-5)


def test_the_sample_has_the_models_activations_and_quantiles_are_its_own(folder, study):
    values, _ = dense(folder, study["corpus"])
    with reading_hdf5(study["activations"], "activations") as file:
        which, found = file[f"{SAMPLE}/position"][:], file[f"{SAMPLE}/activation"][:]
    expected = values[which // STRIDE, which % STRIDE]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    rows, at = read_quantiles(study["exemplars"])
    exact = np.quantile(found, QUANTILES, axis=0, method="nearest").T
    assert np.abs(at - exact).max() <= np.abs(np.diff(np.sort(found, axis=0), axis=0)).max() + 1e-6
    table = read_table(study["positions"], "corpus").take(pa.array(rows.ravel()))
    assert all(table["sampled"].to_pylist())


def test_positions_stand_in_the_form_of_a_corpus(study):
    table = read_table(study["positions"], "corpus")
    sentences_of = read_table(study["corpus"], "corpus")
    ids = table["id"].to_pylist()
    assert ids == sorted(ids) or len(set(ids)) == len(ids)
    whole = sentences_of.take(table["sentence"])
    assert table["split"].to_pylist() == whole["split"].to_pylist()
    for row, text in zip(table.to_pylist(), whole["text"].to_pylist(), strict=True):
        assert row["id"].partition(":")[0] in sentences_of["id"].to_pylist()
        assert row["text"].replace(LEFT, "").replace(RIGHT, "") in text
        assert row["piece"] in row["word"] and f"{LEFT}{row['word']}{RIGHT}" in row["text"]
    assert sum(table["sampled"].to_pylist()) == 200


def test_shards_and_several_peaks_give_the_same_bytes_or_more(folder, study, tmp_path):
    whole = study["activations"]
    parts = [tmp_path / f"{i}.h5" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        extracted(folder, study["corpus"], part, Shard.parse(f"{i}-of-2"))
    extracted(folder, study["corpus"], joined := tmp_path / "joined.h5", parts)

    assert joined.read_bytes() == whole.read_bytes()
    extracted(folder, study["corpus"], several := tmp_path / "several.h5", peaks=3, keep=60)
    with reading_hdf5(several, "activations") as file:
        rows = file["calibration/highest/row"][0]
    owner = sentence_of(rows[rows >= 0])
    assert np.bincount(owner).max() > 1


def test_the_untrained_copys_positions_are_among_them(folder, study, tmp_path):
    copy, coded = tmp_path / "copy.h5", tmp_path / "untrained.h5"
    extracted(folder, study["corpus"], copy, keep=12)
    how = Exemplars(top_percent=20.0, min_size=3, window=3, lowest=False)
    select_exemplars(how, target(folder), corpus=study["corpus"], activations=copy, exemplars=coded)
    assert read_exemplars(coded, "all").max() > STRIDE
    found = {"exemplars": tmp_path / "e.h5", "positions": tmp_path / "positions.parquet"}
    files = {"corpus": study["corpus"], "activations": study["activations"]}
    select_exemplars(how, target(folder), **files, untrained=coded, **found)
    with at_rows(coded, found["positions"]) as read:
        np.testing.assert_array_equal(
            read_exemplars(read, "all"), read_exemplars(found["exemplars"], "all")
        )


# Latents, which are kept by their firings


@pytest.fixture(scope="module")
def latents(folder, tmp_path_factory):
    """A TopK SAE of random weights on the tiny model's residual stream, pinned."""
    width = hooked(folder, site="residual").neurons
    place = tmp_path_factory.mktemp("sae") / "sae"
    told = {"k": 4, "metadata": None}
    write_saelens(place, "topk", weights(width=width, latents=48), d_in=width, d_sae=48, **told)
    return Pinned(path=str(place), revision=dictionary_sha256(place))


@pytest.mark.parametrize("number", [1, 3])
def test_positions_of_latents_are_those_of_a_sort_over_all_tokens(
    folder, latents, tmp_path, number
):
    corpus, texts = tmp_path / "corpus.parquet", corpus_of(tmp_path / "corpus.parquet")
    how = {"site": "residual", "layers": [1], "dictionary": latents, "peaks": number}
    extracted(folder, corpus, whole := tmp_path / "whole.h5", **how, keep=200)
    with reading_hdf5(whole, "activations") as file:
        every = {name: file[name][()] for name in ("calibration/highest/row", "sample/position")}
        leading = {h: read_leaders(file, h, "highest", slice(0, 48)) for h in HALVES}
        matrix = SampleMatrix(file, 1)[:, 0, slice(0, 48)]
        spread = read_distribution(file).summary()
    assert every["calibration/highest/row"].dtype == np.int64
    dictionary = Dictionary(**latents.model_dump())
    model = hooked(folder, site="residual", layers=[1], max_tokens=64, dictionary=dictionary)
    split = read_table(corpus, "corpus")["split"].to_pylist()
    found, at_sample, highest = {half: [] for half in HALVES}, {}, np.zeros((len(texts), 48))
    for row, ids in enumerate(model.tokenize(texts)):
        values, own = model.activations([ids])[:, 0], model.own_places(ids)
        at_sample |= {row * STRIDE + place: values[place] for place in own}
        inner = values[own.start : own.stop]
        highest[row] = inner.max(axis=0)
        for order in np.argsort(-inner, axis=0, kind="stable")[:number]:
            for neuron, token in enumerate(order):
                if inner[token, neuron] > 0:
                    code = row * STRIDE + own.start + token
                    found[split[row]].append((neuron, -inner[token, neuron], code))
    for half, (rows, values) in leading.items():
        kept = [
            (n, v, r)
            for n, of in enumerate(rows)
            for v, r in zip(values[n], of, strict=True)
            if r >= 0
        ]
        wanted = sorted(found[half])
        assert {(n, r) for n, _, r in kept} == {(n, r) for n, _, r in wanted}
        np.testing.assert_allclose(
            sorted(v for _, v, _ in kept), sorted(-v for _, v, _ in wanted), rtol=1e-4, atol=1e-5
        )
    expected = np.array([at_sample[code] for code in every["sample/position"].tolist()])
    np.testing.assert_allclose(matrix, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(spread["mean"], highest.mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(spread["highest"], highest.max(axis=0), rtol=1e-4, atol=1e-5)


def test_shards_of_latents_positions_give_the_same_bytes_and_sets(folder, latents, tmp_path):
    corpus = tmp_path / "corpus.parquet"
    corpus_of(corpus)
    how = {"site": "residual", "layers": [1], "dictionary": latents}
    extracted(folder, corpus, whole := tmp_path / "whole.h5", **how)
    parts = [tmp_path / f"{i}.h5" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        extracted(folder, corpus, part, Shard.parse(f"{i}-of-2"), **how)
    extracted(folder, corpus, joined := tmp_path / "joined.h5", parts, **how)
    assert joined.read_bytes() == whole.read_bytes()
    files = {"exemplars": tmp_path / "e.h5", "positions": tmp_path / "positions.parquet"}
    select = Exemplars(top_percent=20.0, min_size=2, window=3, lowest=False)
    select_exemplars(select, target(folder), corpus=corpus, activations=whole, **files)
    rows, at = read_quantiles(files["exemplars"])
    table = read_table(files["positions"], "corpus")
    with reading_hdf5(whole, "activations") as file:
        matrix, drawn = SampleMatrix(file, 1)[:, 0, slice(0, 48)], file["sample/position"][:]
    code = codes(*(table[name].to_numpy() for name in ("sentence", "token")))
    place = np.searchsorted(drawn, code[rows])
    np.testing.assert_array_equal(np.take_along_axis(matrix.T, place, axis=1), at)
    ranks = np.round(np.array(QUANTILES) * (len(drawn) - 1)).astype(int)
    np.testing.assert_array_equal(np.sort(matrix, axis=0)[ranks].T, at)


# The words at peaks


def test_rates_are_those_of_all_tests_with_the_others_at_one():
    p = np.random.default_rng(0).random(40) ** 4
    padded = np.concatenate([p, np.ones(160)])
    np.testing.assert_allclose(discovery_rates(p, 200), false_discovery_control(padded)[:40])


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=80))
def test_strata_are_of_words_about_as_frequent(occurrences):
    occurrences = np.array(occurrences)
    of = frequency_strata(occurrences)
    sizes = np.bincount(of)
    assert (sizes >= min(LEAST, len(occurrences))).all()
    order = np.argsort(-occurrences, kind="stable")
    assert (np.diff(of[order]) >= 0).all()


def test_p_is_uniform_where_positions_fall_by_lot():
    rng = np.random.default_rng(1)
    occurrences = np.array([4000, 2500, 2400, 2200, *[900] * 10, *[150] * 40, *[12] * 300])
    lots = rng.choice(len(occurrences), (3000, 60), p=occurrences / occurrences.sum())
    found = over_represented(lots, occurrences, 1)
    frequent = found.word == 0
    p = np.ones(3000)
    p[found.neuron[frequent]] = found.p[frequent]
    # Among words as frequent the rest of the stratum takes turns: uniform but for its steps.
    assert kstest(p, "uniform").statistic < 0.08
    assert (found.q < 0.01).sum() <= 2
    assert found.expected[frequent].mean() == pytest.approx(found.count[frequent].mean(), rel=0.1)


def test_a_planted_word_is_found_and_a_frequent_one_is_none():
    rng = np.random.default_rng(2)
    occurrences = np.array([5000, 4000, 3900, 3700, 3500, 3400, 3300, 3100, *[200] * 60])
    lots = rng.choice(len(occurrences), (200, 50), p=occurrences / occurrences.sum())
    lots[7, :30] = 20
    lots[8] = NO_WORD
    found = over_represented(lots, occurrences, 5)
    sure = found.q < 0.001
    assert list(zip(found.neuron[sure], found.word[sure], strict=True)) == [(7, 20)]
    assert not (found.neuron == 8).any()


def test_words_at_peaks_of_a_model(study, folder, tmp_path):
    files = {name: study[name] for name in ("corpus", "positions", "exemplars")}
    # The model itself in the copy's place has as many words.
    select_exemplars(
        Exemplars(top_percent=20.0, min_size=3, window=3, lowest=False),
        target(folder),
        corpus=study["corpus"],
        activations=study["activations"],
        exemplars=tmp_path / "untrained.h5",
    )
    files["untrained"] = tmp_path / "untrained.h5"
    told = find_tokens(Tokens(min_count=2, fdr=0.01), **files, tokens=tmp_path / "tokens.parquet")
    table = read_table(tmp_path / "tokens.parquet", "tokens")
    assert told["words at peaks"] == sum(
        row["assigned"]
        for row in table.to_pylist()
        if (row["end"], row["split"]) == ("highest", "all")
    )
    assert told["of a copy with random weights"] == told["words at peaks"]
    shown = read_table(study["positions"], "corpus")["word"].to_pylist()
    sets = read_exemplars(study["exemplars"], "all")
    for row in table.to_pylist()[:50]:
        if (row["end"], row["split"]) == ("highest", "all"):
            members = sets[row["layer"], row["neuron"]]
            words = [shown[member].lower() for member in members if member >= 0]
            assert words.count(row["word"]) == row["count"]


# Bad input


def test_sets_of_positions_want_positions(study, folder, tmp_path):
    extracted(folder, study["corpus"], path := tmp_path / "a.h5", unit="sentence", position="last")
    how = Exemplars(top_percent=20.0, min_size=3, window=3, lowest=False)
    files = {"corpus": study["corpus"], "activations": path}
    with pytest.raises(InputError, match="not of positions"):
        select_exemplars(
            how,
            target(folder),
            **files,
            exemplars=tmp_path / "e.h5",
            positions=tmp_path / "p.parquet",
        )
