"""Position `max`: where in a sentence its highest activation is."""

import numpy as np
import pytest
from dictionaries import weights, write_saelens
from extracting import activation_params, section, sentences, write_corpus
from tiny import make

from descry.activations.exemplar_files import read_exemplars, read_neuron_exemplars
from descry.activations.store import AT, DATA
from descry.corpus.splits import HALVES
from descry.corpus.units import marked
from descry.errors import InputError
from descry.io.hdf5 import reading_hdf5
from descry.io.parquet import read_table, write_table
from descry.io.sharding import Shard
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.models.dictionaries.dictionary import Dictionary, dictionary_sha256
from descry.models.hooked_model import HookedModel
from descry.models.spec import Pinned
from descry.stages.activations import extract_activations
from descry.stages.exemplars import Exemplars, select_exemplars

STORES = ["matrix", "exemplars"]


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def folder(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp(request.param) / "model")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    write_corpus(path, [f"«{text}» 🙂 end" for text in sentences(60)])
    table = read_table(path, "corpus").replace_schema_metadata(None)
    write_table(path, table, {"stage": "corpus", "params": {"language": "en"}})
    return path


@pytest.fixture(scope="module")
def latents(folder, tmp_path_factory):
    width = hooked(folder, "tokens", site="residual").neurons
    place = tmp_path_factory.mktemp("sae") / "sae"
    every = weights(width=width, latents=48)
    write_saelens(place, "topk", every, k=4, metadata=None, d_in=width, d_sae=48)
    return Pinned(path=str(place), revision=dictionary_sha256(place))


def hooked(folder, position, **changes):
    how = {"site": "ffn_output", "layers": None, "dtype": "float32"}
    how |= {"device": "cpu", "max_tokens": 64} | changes
    return HookedModel(Checkpoint(str(folder), contents_sha256(folder)), position=position, **how)


def extracted(folder, corpus, path, store, shard=None, **changes):
    params = activation_params(section(folder, position="max", store=store, **changes))
    files = {"corpus": corpus, "activations": path}
    of = {} if shard is None else {"parts": shard} if isinstance(shard, list) else {"shard": shard}
    extract_activations(params, **files, **of, progress=lambda *_: None)
    return params


def selected(params, corpus, activations, path, *, lowest=True):
    how = Exemplars(top_percent=20.0, min_size=2, window=3, lowest=lowest)
    files = {"corpus": corpus, "activations": activations, "exemplars": path}
    select_exemplars(how, params, **files)


def by_hand(folder, corpus, **changes):
    """Of each sentence the highest activation over its tokens, and the first of those: [n, all]."""
    model = hooked(folder, "tokens", **changes)
    texts = read_table(corpus, "corpus")["text"].to_pylist()
    value, token = [], []
    for ids in model.tokenize(texts):
        of = model.activations([ids]).reshape(len(ids), -1)
        of = of[model.sinks if len(ids) > model.sinks else 0 :]
        value.append(of.max(axis=0))
        token.append(of.argmax(axis=0) + len(ids) - len(of))
    return np.array(value), np.array(token), texts, model


def word_at(text, model, ids, token):
    """The word of a token by plain means: that with the characters of the token in it."""
    place = token - len(model.before)
    encoded = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if not 0 <= place < len(encoded["offset_mapping"]):
        return None
    first, last = encoded["offset_mapping"][place]
    piece = text[first:last].strip() or text[first:last]
    if not piece.isalnum():
        return piece
    start, stop = text.index(piece, first), text.index(piece, first) + len(piece)
    while start and text[start - 1].isalnum():
        start -= 1
    while stop < len(text) and text[stop].isalnum():
        stop += 1
    return text[start:stop]


@pytest.mark.parametrize("store", STORES)
def test_each_exemplar_has_the_token_of_its_maximum_and_its_word(folder, corpus, tmp_path, store):
    params = extracted(folder, corpus, tmp_path / "a.h5", store)
    selected(params, corpus, tmp_path / "a.h5", path := tmp_path / "e.h5")
    value, token, texts, model = by_hand(folder, corpus)
    ids = model.tokenize(texts)
    looked_at = 0
    with reading_hdf5(path, "exemplars") as file:
        for group in ("all", *HALVES, "lowest/all", "bottom"):
            rows, at, words, reached = (
                file[f"{group}/{name}"][:].reshape(value.shape[1], -1, *last)
                for name, last in (("row", ()), ("token", ()), ("word", (2,)), ("activation", ()))
            )
            assert ((rows < 0) == (at < 0)).all() and (words[rows < 0] == -1).all()
            for neuron, place in zip(*np.nonzero(rows >= 0), strict=True):
                row = rows[neuron, place]
                assert reached[neuron, place] == pytest.approx(
                    value[row, neuron], rel=2**-11, abs=1e-5
                )
                if at[neuron, place] != token[row, neuron]:
                    continue  # a near tie, which another batch turned
                looked_at += 1
                wanted = word_at(texts[row], model, ids[row], token[row, neuron])
                start, stop = words[neuron, place]
                assert (texts[row][start:stop] if start >= 0 else None) == wanted
    assert looked_at > 500
    found = read_neuron_exemplars(path, 0, 0, ["highest"])
    assert found.words["highest"].shape == (len(found.sets["highest"][0]), 2)


def test_both_stores_and_shards_give_the_same(folder, corpus, tmp_path):
    found = {}
    for store in STORES:
        params = extracted(folder, corpus, whole := tmp_path / f"{store}.h5", store)
        parts = [tmp_path / f"{store}{i}.h5" for i in (1, 2)]
        for i, part in enumerate(parts, 1):
            extracted(folder, corpus, part, store, Shard.parse(f"{i}-of-2"))
        extracted(folder, corpus, joined := tmp_path / f"{store}-joined.h5", store, parts)
        assert joined.read_bytes() == whole.read_bytes()
        selected(params, corpus, whole, path := tmp_path / f"e-{store}.h5")
        with reading_hdf5(path, "exemplars") as file:
            found[store] = {name: file[f"all/{name}"][:] for name in ("row", "token", "word")}
    for name, values in found["matrix"].items():
        np.testing.assert_array_equal(values, found["exemplars"][name])


@pytest.mark.parametrize("store", STORES)
def test_maxima_of_latents_are_placed_too(folder, latents, corpus, tmp_path, store):
    how = {"site": "residual", "layers": [1]}
    params = extracted(folder, corpus, tmp_path / "a.h5", store, dictionary=latents, **how)
    selected(params, corpus, tmp_path / "a.h5", path := tmp_path / "e.h5", lowest=False)
    dictionary = Dictionary(**latents.model_dump())
    value, token, *_ = by_hand(folder, corpus, dictionary=dictionary, **how)
    with reading_hdf5(path, "exemplars") as file:
        rows, at = (file[f"all/{name}"][0] for name in ("row", "token"))
    neuron, place = np.nonzero(rows >= 0)
    assert len(neuron) > 100
    row = rows[neuron, place]
    same = at[neuron, place] == token[row, neuron]
    assert same.mean() > 0.98  # but for near ties
    assert (value[row, neuron] > 0).all()
    assert (read_exemplars(path, "all")[0] == rows).all()


def test_the_matrix_says_where_its_maxima_are(folder, corpus, tmp_path):
    extracted(folder, corpus, path := tmp_path / "a.h5", "matrix")
    value, token, *_ = by_hand(folder, corpus)
    with reading_hdf5(path, "activations") as file:
        found, at = (file[name][:].reshape(value.shape) for name in (DATA, AT))
        assert file[AT].dtype == np.uint16
    np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
    assert (at == token).mean() > 0.98


def test_a_matrix_of_before_is_refused_in_one_line(folder, corpus, tmp_path):
    params = extracted(folder, corpus, path := tmp_path / "a.h5", "matrix")
    import h5py

    with h5py.File(path, "r+") as file:
        del file[AT]
    with pytest.raises(InputError, match="does not say where the maxima are: run"):
        selected(params, corpus, path, tmp_path / "e.h5")


def test_a_marked_text_has_two_marks_whatever_is_in_it():
    assert marked("a «b» c", 3, 4) == "a ‹«b»› c"
    assert marked("🙂 ok", 2, 4) == "🙂 «ok»"
