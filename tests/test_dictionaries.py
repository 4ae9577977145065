"""Latents are those of the formats' own arithmetic; what does not fit is refused in one line."""

import json

import dictionaries
import numpy as np
import pytest
import tiny
import torch
from dictionaries import LATENTS, WIDTH, by_hand, weights, write_saelens, write_sparsify
from hypothesis import given, settings
from hypothesis import strategies as st
from miniature import ROOT
from safetensors.torch import load_file, save_file

from descry.errors import InputError
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256
from descry.models.dictionaries.dictionary import Dictionary, dictionary_sha256
from descry.models.dictionaries.encoder import Encoder, highest
from descry.models.dictionaries.formats import read_coder
from descry.models.hooked_model import HookedModel
from descry.workflow.params import load
from descry.workflow.pinning import pin_models

VALUES = np.random.default_rng(1).normal(size=(64, WIDTH)).astype(np.float32)
NEAR = {"rtol": 1e-5, "atol": 1e-5}
TEXTS = ["battery", "great price, small and cheap: it works", "I love this battery " * 4, "cheap"]


def latents(place, values=VALUES):
    """Latents of values, those above 0 by the sparse way, too."""
    with torch.inference_mode():
        encode = Encoder(read_coder(place, None), "cpu")
        found = encode(torch.tensor(values)).numpy()
        if encode.coder.sparse:
            row, latent, value = (of.numpy() for of in encode.firings(torch.tensor(values)))
            alone = np.zeros_like(found)
            alone[row, latent] = value
            assert len(row) == np.count_nonzero(found) and (np.diff(row) >= 0).all()
            np.testing.assert_array_equal(alone, found)
    return found


# Arithmetic


@pytest.mark.parametrize("normalize", dictionaries.NORMALIZATIONS)
@pytest.mark.parametrize("architecture", dictionaries.SAELENS)
def test_latents_of_saelens(tmp_path, architecture, normalize):
    every = weights()
    place = write_saelens(tmp_path / "sae", architecture, normalize_activations=normalize)
    wanted = by_hand(VALUES, architecture, every, normalize=normalize)
    found = latents(place)
    assert 0 < np.count_nonzero(wanted) < wanted.size
    np.testing.assert_allclose(found, wanted, **NEAR)
    assert ((found > 0) == (wanted > 0)).all()


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated"])
def test_the_bias_of_the_decoder_is_taken_off_only_where_the_config_says_so(tmp_path, architecture):
    place = write_saelens(tmp_path / "sae", architecture, apply_b_dec_to_input=False)
    wanted = by_hand(VALUES, architecture, weights(), centred=False)
    np.testing.assert_allclose(latents(place), wanted, **NEAR)
    assert not np.allclose(wanted, by_hand(VALUES, architecture, weights(), centred=True))


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_products_times_the_norms_of_the_decoder(tmp_path, architecture):
    place = write_saelens(tmp_path / "sae", architecture, rescale_acts_by_decoder_norm=True)
    wanted = by_hand(VALUES, architecture, weights(), rescaled=True)
    np.testing.assert_allclose(latents(place), wanted, **NEAR)


def test_what_was_saved_for_inference_is_not_rescaled_again(tmp_path):
    """SAELens 6 keeps the key in the config of a JumpReLU whose weights have the norms."""
    place = write_saelens(tmp_path / "sae", "jumprelu", rescale_acts_by_decoder_norm=True)
    np.testing.assert_allclose(latents(place), by_hand(VALUES, "jumprelu", weights()), **NEAR)


@pytest.mark.parametrize(
    "old",
    [
        {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}},
        {"activation_fn": "topk", "activation_fn_kwargs": {"k": 5}, "normalize_activations": False},
    ],
)
def test_a_topk_as_earlier_releases_wrote_it(tmp_path, old):
    place = write_saelens(tmp_path / "sae", "standard", metadata=None, **old)
    np.testing.assert_allclose(latents(place), by_hand(VALUES, "topk", weights()), **NEAR)


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("transcode", [False, True])
def test_latents_of_sparsify(tmp_path, activation, transcode):
    told = {"activation": activation, "transcode": transcode, "skip_connection": transcode}
    place = write_sparsify(tmp_path / "layers.1.mlp", **told)
    wanted = by_hand(VALUES, activation, weights(), centred=not transcode)
    assert 0 < np.count_nonzero(wanted) < wanted.size
    np.testing.assert_allclose(latents(place), wanted, **NEAR)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_directions_are_dot_products(tmp_path, dtype):
    matrix = torch.tensor(np.random.default_rng(2).normal(size=(3, WIDTH)), dtype=dtype)
    save_file({"probe": matrix}, tmp_path / "probes.safetensors")
    wanted = VALUES.astype(np.float64) @ matrix.double().numpy().T
    assert (wanted < 0).any()
    np.testing.assert_allclose(latents(tmp_path / "probes.safetensors"), wanted, **NEAR)


@given(st.integers(0, 2**31), st.integers(1, 8), st.sampled_from([31, 64, 1024, 1056]))
@settings(max_examples=30, deadline=None)
def test_the_highest_stay_in_their_places(seed, k, size):
    lots = np.random.default_rng(seed)
    values = lots.integers(0, 40, size=(5, size)) / 4  # with ties
    found, places = (of.numpy() for of in highest(torch.tensor(values), k))
    for whole, kept, at in zip(values, found, places, strict=True):
        assert len(set(at)) == k and (whole[at] == kept).all()
        assert sorted(kept) == np.sort(whole)[-k:].tolist()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("normalize", dictionaries.NORMALIZATIONS)
@pytest.mark.parametrize("architecture", [a for a in dictionaries.SAELENS if "batch" not in a])
def test_latents_are_those_of_saelens_itself(tmp_path, architecture, normalize):
    sae_lens = pytest.importorskip("sae_lens", reason="sae-lens is no dependency")
    place = write_saelens(tmp_path / "sae", architecture, normalize_activations=normalize)
    with torch.inference_mode():
        wanted = sae_lens.SAE.load_from_disk(place).encode(torch.tensor(VALUES)).numpy()
    np.testing.assert_allclose(latents(place), wanted, **NEAR)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("transcode", [False, True])
def test_latents_are_those_of_sparsify_itself(tmp_path, activation, transcode):
    sparsify = pytest.importorskip("sparsify", reason="eai-sparsify is no dependency")
    told = {"activation": activation, "transcode": transcode, "num_latents": LATENTS}
    place = write_sparsify(tmp_path / "layers.1.mlp", **told)
    coder = sparsify.SparseCoder.load_from_disk(place)
    with torch.inference_mode():
        found = coder.encode(torch.tensor(VALUES))
        wanted = torch.zeros(len(VALUES), LATENTS)
        wanted.scatter_(1, found.top_indices, found.top_acts)
    np.testing.assert_allclose(latents(place), wanted.numpy(), **NEAR)


# On a model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny BERT and a tiny Llama, of three and two layers."""
    home = tmp_path_factory.mktemp("models")
    return {name: tiny.make(name, home / name) for name in ("bert", "llama")}


def pinned(place):
    return Dictionary(str(place), dictionary_sha256(place))


def hooked(folder, place=None, *, site="residual", position="last", layers=None, **more):
    return HookedModel(
        Checkpoint(str(folder), contents_sha256(folder)),
        site=site,
        position=position,
        layers=layers,
        dtype="float32",
        device="cpu",
        max_tokens=64,
        dictionary=None if place is None else pinned(place),
        **more,
    )


EVERY = weights(width=32, latents=64)
WIDE = {"every": EVERY, "d_in": 32, "d_sae": 64}


def named(hook, model=None, **more):
    """What a config of SAELens says of where it was trained."""
    return {
        "metadata": {"hook_name": hook, "model_name": model, "sae_lens_version": "6.0.0"} | more
    }


@pytest.mark.parametrize("position", ["cls", "last", "mean", "max", "tokens"])
def test_latents_of_a_model_are_those_of_its_tokens(models, tmp_path, position, monkeypatch):
    """Pooled behind the encoder, as a text has them; however few tokens it takes at a time."""
    place = write_saelens(tmp_path / "sae", "topk", **WIDE, **named("blocks.1.hook_resid_post"))
    monkeypatch.setattr("descry.models.hooked_model._LATENTS", 1500)
    model = hooked(models["bert"], place, position=position)
    assert (model.layers, model.neurons, model.kind) == ([1], 64, "latent")
    batch = model.tokenize(TEXTS)
    found = model.activations(batch)[:, 0]
    plain = hooked(models["bert"], position="tokens", layers=[1])
    tokens = [by_hand(plain.activations([ids])[:, 0], "topk", EVERY) for ids in batch]
    pool = {"cls": lambda t: t[:1], "last": lambda t: t[-1:], "tokens": lambda t: t}
    pool |= {"mean": lambda t: t.mean(0, keepdims=True), "max": lambda t: t.max(0, keepdims=True)}
    wanted = np.concatenate([pool[position](one) for one in tokens])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_beginning_of_a_text_is_left_out_of_means_as_before(models, tmp_path):
    place = write_saelens(tmp_path / "sae", **WIDE, **named("blocks.0.hook_mlp_out"))
    model = hooked(models["llama"], place, site="ffn_output", position="mean", sinks=2)
    every = hooked(models["llama"], place, site="ffn_output", position="tokens")
    ids = model.tokenize(TEXTS[1:2])
    wanted = every.activations(ids)[2:].mean(axis=0, keepdims=True)
    np.testing.assert_allclose(model.activations(ids), wanted, rtol=1e-5, atol=1e-6)


def test_a_transcoder_reads_what_goes_into_its_module(models, tmp_path):
    place = write_sparsify(tmp_path / "layers.1.mlp", EVERY, transcode=True)
    model = hooked(models["llama"], place, site="layers.*.mlp:input", position="tokens")
    plain = hooked(models["llama"], site="layers.*.mlp:input", position="tokens", layers=[1])
    ids = model.tokenize(TEXTS)
    wanted = by_hand(plain.activations(ids)[:, 0], "topk", EVERY, centred=False)
    assert model.layers == [1]
    np.testing.assert_allclose(model.activations(ids)[:, 0], wanted, rtol=1e-4, atol=1e-4)


def test_a_dictionary_of_several_layers(models, tmp_path):
    """In the order of the layers, whatever order their folders have; params may name some."""
    other = weights(5, width=32, latents=64)
    for number, every in {2: EVERY, 0: other}.items():
        hook = named(f"blocks.{number}.hook_resid_post")
        write_saelens(tmp_path / f"sae/{9 - number}", "topk", **WIDE | {"every": every}, **hook)
    model = hooked(models["bert"], tmp_path / "sae")
    assert model.layers == [0, 2]
    ids = model.tokenize(TEXTS)
    plain = hooked(models["bert"], layers=[0, 2]).activations(ids)
    found = model.activations(ids)
    for row, every in enumerate([other, EVERY]):
        wanted = by_hand(plain[:, row], "topk", every)
        np.testing.assert_allclose(found[:, row], wanted, rtol=1e-4, atol=1e-4)
    some = hooked(models["bert"], tmp_path / "sae", layers=[2])
    assert (some.activations(ids)[:, 0] == found[:, 1]).all()


def test_directions_by_layer_are_files_with_its_number(models, tmp_path):
    for layer in (0, 1):
        matrix = torch.full((2, 32), float(layer + 1))
        save_file({"d": matrix}, tmp_path / f"layer_{layer}.safetensors")
    model = hooked(models["bert"], tmp_path)
    ids = model.tokenize(TEXTS)
    plain = hooked(models["bert"], layers=[0, 1]).activations(ids).sum(axis=2)
    assert (model.layers, model.neurons, model.kind) == ([0, 1], 2, "direction")
    wanted = np.repeat(plain[:, :, None] * [[[1], [2]]], 2, axis=2)
    np.testing.assert_allclose(model.activations(ids), wanted, rtol=1e-4, atol=1e-4)


def test_latents_do_not_depend_on_the_other_texts_of_a_batch(models, tmp_path):
    place = write_saelens(tmp_path / "sae", "topk", **WIDE, **named("blocks.1.hook_resid_post"))
    model = hooked(models["bert"], place, position="mean")
    ids = model.tokenize(TEXTS)
    alone = np.concatenate([model.activations([one]) for one in ids])
    np.testing.assert_allclose(model.activations(ids), alone, rtol=1e-4, atol=1e-5)


# What does not fit

HASH = r"sha256 [0-9a-f]{64}"
RESID = "blocks.1.hook_resid_post"
REFUSED = {  # what is said: (config of a folder, what is asked of the model)
    r"reads 12 values of a token, and activations.site has 32 in layer 1$": (
        {**named(RESID), "every": weights()},
        {},
    ),
    r"activations.layers: .* is of layer 1, not 2$": ({**WIDE, **named(RESID)}, {"layers": [2]}),
    r"is of layer 0, not 1$": ({**WIDE, **named("blocks.1.hook_resid_pre")}, {"layers": [1]}),
    r"blocks.7.hook_resid_post is of layer 7, which the model does not have$": (
        {**WIDE, **named("blocks.7.hook_resid_post")},
        {},
    ),
    r"blocks.0.hook_resid_pre is of layer -1, which the model does not have$": (
        {**WIDE, **named("blocks.0.hook_resid_pre")},
        {},
    ),
    r"trained on gpt2-small, and activations.target is .*/bert: if they are one, say so": (
        {**WIDE, **named(RESID, "gpt2-small")},
        {},
    ),
    r"not of activations.site ffn_output: blocks.1.hook_resid_post is activations.site residual$": (
        {**WIDE, **named(RESID)},
        {"site": "ffn_output"},
    ),
    r"not of activations.site residual: its values are of encoder.layer.\*.output.dense$": (
        {**WIDE, **named("encoder.layer.1.output.dense")},
        {},
    ),
    r"name the module whose values blocks.1.attn.hook_z are by its path$": (
        {**WIDE, **named("blocks.1.attn.hook_z")},
        {},
    ),
    r"is of one layer and does not say of which: name it, such as \[0\]$": (WIDE, {}),
    r"architecture 'matching_pursuit' is not known here: known are standard, ": (
        {**WIDE, "architecture": "matching_pursuit"},
        {},
    ),
    r"activation function tanh-relu is not known here$": (
        {**WIDE, "activation_fn_str": "tanh-relu"},
        {},
    ),
    r"normalize_activations 'covariance_whitening' is not known here": (
        {**WIDE, "normalize_activations": "covariance_whitening"},
        {},
    ),
    r"k 65 is no number from 1 to its 64 latents$": (
        {**WIDE, "architecture": "topk", "k": 65},
        {},
    ),
    r"it reads one attention head": ({**WIDE, **named(RESID, hook_head_index=3)}, {}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(models, tmp_path, said):
    config, asked = REFUSED[said]
    place = write_saelens(tmp_path / "sae", **config)
    with pytest.raises(InputError, match=said) as error:
        hooked(models["bert"], place, **asked)
    assert "\n" not in str(error.value)


def spoiled(name, values):
    def spoil(place):
        file = place / "sae_weights.safetensors"
        tensors = load_file(file) | ({name: values} if values is not None else {})
        if values is None:
            del tensors[name]
        save_file(tensors, file)

    return spoil


def cut(place):
    file = place / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


DAMAGED = {
    r"sae_weights.safetensors: no whole safetensors file \(": cut,
    r"W_enc: NaN or infinite somewhere$": spoiled("W_enc", torch.full((32, 64), float("nan"))),
    r"b_enc: no such tensor$": spoiled("b_enc", None),
    r"b_enc: of shape \[3\], not \[64\]$": spoiled("b_enc", torch.zeros(3)),
    r"W_enc: of shape \[3\], no matrix$": spoiled("W_enc", torch.zeros(3)),
    r"cfg.json: cannot be read": lambda place: (place / "cfg.json").write_text("{"),
    r"cfg.json: not a mapping$": lambda place: (place / "cfg.json").write_text("[]"),
    r"neither sae_weights.safetensors nor sae.safetensors is beside its cfg.json$": lambda place: (
        place / "sae_weights.safetensors"
    ).rename(place / "other.safetensors"),
}


@pytest.mark.parametrize("said", DAMAGED)
def test_a_damaged_dictionary_is_refused_in_one_line(models, tmp_path, said):
    place = write_saelens(tmp_path / "sae", **WIDE, **named(RESID))
    DAMAGED[said](place)
    with pytest.raises(InputError, match=said):
        hooked(models["bert"], place)


def test_a_jumprelu_without_thresholds_is_refused(tmp_path):
    place = write_saelens(tmp_path / "sae", "batchtopk")
    tensors = load_file(place / "sae_weights.safetensors")
    del tensors["topk_threshold"]
    save_file(tensors, place / "sae_weights.safetensors")
    with pytest.raises(InputError, match="no tensor threshold in it: save it for inference"):
        read_coder(place, None)


def test_directions_that_are_several_matrices_are_refused(tmp_path):
    save_file({"a": torch.ones(2, 32), "b": torch.ones(2, 32)}, tmp_path / "two.safetensors")
    with pytest.raises(InputError, match=r"2 tensors in it \(a, b\): directions are one matrix"):
        read_coder(tmp_path / "two.safetensors", None)


def test_a_sparsify_folder_of_another_model_or_module_is_refused(models, tmp_path):
    """The model's name stands in the training run's config, beside the folders of the layers."""
    write_sparsify(tmp_path / "run/layers.1.mlp", EVERY)
    (tmp_path / "run/config.json").write_text(json.dumps({"model": "EleutherAI/pythia-70m"}))
    with pytest.raises(InputError, match=r"trained on EleutherAI/pythia-70m, and .*/llama"):
        hooked(models["llama"], tmp_path / "run", site="layers.*.mlp")
    with pytest.raises(InputError, match=r"its values are of layers\.\*\.mlp$"):
        hooked(models["llama"], tmp_path / "run/layers.1.mlp")
    with pytest.raises(InputError, match=r"its values are of layers\.\*\.mlp$"):
        hooked(models["llama"], tmp_path / "run/layers.1.mlp", site="layers.*.mlp:input")
    (tmp_path / "run/config.json").write_text(json.dumps({"model": "someone/LLaMA.Q4_1.gguf"}))
    assert hooked(models["llama"], tmp_path / "run", site="layers.*.mlp").neurons == 64


def test_layers_of_different_sizes_are_refused(models, tmp_path):
    for number, size in {0: 64, 1: 32}.items():
        every = weights(width=32, latents=size)
        write_saelens(tmp_path / f"sae/layer_{number}", **WIDE | {"every": every})
    with pytest.raises(InputError, match=r"not as many latents in every layer \(0: 64, 1: 32\)$"):
        hooked(models["bert"], tmp_path / "sae")


def test_two_of_one_layer_are_refused_until_one_is_named(models, tmp_path):
    for seed in (0, 1):
        write_sparsify(tmp_path / f"run/layers.1.mlp/seed{seed}", EVERY)
    with pytest.raises(InputError, match=r"several of layer 1: name one \(seed0, seed1\)$"):
        hooked(models["llama"], tmp_path / "run", site="layers.*.mlp")
    one = tmp_path / "run/layers.1.mlp/seed1"
    assert hooked(models["llama"], one, site="layers.*.mlp").layers == [1]


# Pins


def test_a_dictionary_is_pinned_by_the_hash_of_its_files(tmp_path):
    place = write_saelens(tmp_path / "sae")
    revision = dictionary_sha256(place)
    assert Dictionary(str(place), revision).coders
    (place / "sparsity.txt").write_text("beside it, and not read")
    assert dictionary_sha256(place) == revision
    for change in (lambda: cut(place), lambda: (place / "cfg.json").write_text("{} ")):
        change()
        assert dictionary_sha256(place) != revision
    with pytest.raises(InputError, match=f"its contents have {HASH}, not {revision}: set the rev"):
        _ = Dictionary(str(place), revision).coders
    with pytest.raises(InputError, match="not pinned: run `descry pin`"):
        _ = Dictionary(str(place), "unpinned").coders


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_no_dictionary_at_all(tmp_path, what):
    place = tmp_path / what
    if what == "empty":
        place.mkdir()
    with pytest.raises(InputError, match=r"no such file or folder$|no \.safetensors file in it$"):
        dictionary_sha256(place)


def test_pin_writes_the_hash_of_a_dictionary_beside_that_of_a_model(tmp_path, monkeypatch):
    place = write_saelens(tmp_path / "sae")
    model = tiny.make("bert", tmp_path / "bert")
    text = (ROOT / "presets/sample.yaml").read_text()
    before, after = text.split("  dictionary:", 1)
    named = f"    path: {place} # trained by hand\n    revision: unpinned"
    whole = f"{before}  dictionary:\n{named}\n{after.split(chr(10), 1)[1]}"
    target = whole.replace(f"    model: {MINILM}\n", f"    model: {model}\n")
    target = target.replace(f"    revision: {MINILM_COMMIT}", "    revision: unpinned")
    file = tmp_path / "params.yaml"
    file.write_text(target)
    pin_models(file)
    found = load(file).activations
    assert found.dictionary.revision == dictionary_sha256(place)
    assert found.target.revision == contents_sha256(model)
    assert f"path: {place} # trained by hand" in file.read_text()
