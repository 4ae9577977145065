"""A GGUF file is the model that it was made from, whole, or one clear line."""

import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import tiny
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import descry.models.gguf
from descry.annotators.factory import create
from descry.annotators.prompts import p2
from descry.annotators.records import origin_of
from descry.errors import InputError
from descry.io.hashing import sha256_file
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.models.hooked_model import HookedModel
from descry.workflow.pinning import pinned

TEXTS = ["It works, and the price is small.", "a  12\n\n3 Battery", "電池 10/10"]
SMOLLM2 = Path(__file__).parents[1] / "models/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.make("llama", tmp_path_factory.mktemp("llama"), chat=True)


@pytest.fixture(scope="module")
def whole(llama, tmp_path_factory):
    return tiny.make_gguf(llama, tmp_path_factory.mktemp("whole") / "tiny.F32.gguf")


@pytest.fixture(scope="module")
def quantized(llama, tmp_path_factory):
    file = tmp_path_factory.mktemp("quantized") / "tiny.Q8_0.gguf"
    return tiny.make_gguf(llama, file, quantized=True)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where conversions go, empty."""
    monkeypatch.setenv("DESCRY_CONVERTED", str(tmp_path / "kept"))
    return tmp_path / "kept"


def checkpoint(place):
    return Checkpoint(str(place), contents_sha256(place))


def made(kept):
    return [place for place in kept.iterdir() if place.is_dir()]


# The same model


def test_it_is_the_model_that_it_was_made_from(llama, whole):
    converted = checkpoint(whole).folder
    one, other = (AutoTokenizer.from_pretrained(place) for place in (llama, converted))
    assert other(TEXTS)["input_ids"] == one(TEXTS)["input_ids"]
    assert other.chat_template == one.chat_template
    ids = torch.tensor([one(TEXTS[0])["input_ids"]])
    logits = [AutoModelForCausalLM.from_pretrained(p)(ids).logits for p in (llama, converted)]
    assert torch.allclose(*logits, atol=1e-5)


def test_its_neurons_are_those_of_the_folder(llama, whole):
    how = {"site": "ffn_hidden", "position": "mean", "layers": None, "dtype": "float32"}
    how |= {"device": "cpu", "max_tokens": 64}
    models = [HookedModel(checkpoint(place), **how) for place in (llama, whole)]
    values = [model.activations(model.tokenize(TEXTS)) for model in models]
    np.testing.assert_allclose(*values, atol=1e-5)


def test_quantised_weights_are_computed_back_and_said_to_be_so(llama, quantized):
    found = checkpoint(quantized)
    name = "model.layers.0.mlp.up_proj.weight"
    kind = gguf.GGMLQuantizationType.Q8_0
    there = load_file(llama / "model.safetensors")[name]
    wanted = gguf.dequantize(gguf.quantize(there, kind), kind)
    got = load_file(found.folder / "model.safetensors")[name]
    np.testing.assert_array_equal(got, wanted)
    assert np.abs(got - there).max() > 0
    assert (found.quantization, found.weights) == ("Q8_0", sha256_file(quantized))
    who = create(tiny.spec(quantized), "p2")
    assert who.identity.name == "tiny.Q8_0.gguf (float32, dequantised)"
    (prompt,) = p2([TEXTS[0]], ["Price"])
    assert origin_of(who, who.frame, prompt)["quantization"] == "Q8_0"


def test_weights_that_are_not_quantised_are_not_said_to_be(llama, whole):
    who = create(tiny.spec(whole), "p2")
    (prompt,) = p2([TEXTS[0]], ["Price"])
    assert "quantization" not in origin_of(who, who.frame, prompt)
    assert checkpoint(llama).quantization is None


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ("gpt-2", ["a", "Ġ", "Ġ12", "Ċ", "Ċ", "3"]),
        ("smollm", ["a", "ĠĠ", "1", "2", "ĊĊ", "3"]),
        ("qwen2", ["a", "Ġ", "Ġ", "1", "2", "ĊĊ", "3"]),
    ],
)
def test_texts_are_split_as_its_vocabulary_was_learnt(llama, tmp_path, split, parts):
    folder = checkpoint(tiny.make_gguf(llama, tmp_path / "x.gguf", split=split)).folder
    splitter = AutoTokenizer.from_pretrained(folder).backend_tokenizer.pre_tokenizer
    assert [part for part, _ in splitter.pre_tokenize_str("a  12\n\n3")] == parts


# Converted once


def test_it_is_converted_once_and_a_damaged_conversion_again(whole, kept, monkeypatch):
    convert, calls = descry.models.gguf._convert, []

    def counted(*arguments):
        calls.append(1)
        convert(*arguments)

    monkeypatch.setattr(descry.models.gguf, "_convert", counted)
    folder = checkpoint(whole).folder
    assert checkpoint(whole).folder == folder
    assert len(calls) == 1
    weights = folder / "model.safetensors"
    good = weights.read_bytes()
    for damage in (good[:-1], good[:-1] + b"\0" + good[-1:]):
        weights.write_bytes(damage)
        assert checkpoint(whole).folder == folder
        assert weights.read_bytes() == good
    assert len(calls) == 3


def test_what_a_kill_left_is_no_conversion(whole, kept, monkeypatch):
    def killed(file, header, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(descry.models.gguf, "_convert", killed)
        with pytest.raises(KeyboardInterrupt):
            _ = checkpoint(whole).folder
    assert made(kept) == []
    assert (checkpoint(whole).folder / "model.safetensors").stat().st_size > 1000
    assert len(made(kept)) == 1


def test_a_folder_with_one_is_pinned_by_its_contents(whole, tmp_path, kept):
    folder = tmp_path / "tiny-GGUF"
    folder.mkdir()
    shutil.copy(whole, folder)
    section = pinned({"model": str(folder), "revision": "unpinned"})
    found = Checkpoint(**section)
    assert found.folder == checkpoint(whole).folder
    assert found.weights == sha256_file(whole)
    (folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match="contents have sha256"):
        _ = Checkpoint(**section).folder


def test_a_file_is_pinned_by_its_hash(whole):
    section = pinned({"model": str(whole), "revision": "unpinned"})
    assert section["revision"] == sha256_file(whole)


# What is none


def cut(file, place):
    place.write_bytes(file.read_bytes()[:-1])


def beginning(file, place):
    place.write_bytes(file.read_bytes()[:3000])


def rubbish(file, place):
    place.write_bytes(b"hello" * 100)


def empty(file, place):
    place.write_bytes(b"")


def other_architecture(file, place):
    place.write_bytes(file.read_bytes().replace(b"llama", b"klama"))


def without_weights(file, place):
    place.write_bytes(file.read_bytes().replace(b"blk.0.ffn_up.weight", b"blk.0.ffn_xx.weight"))


BAD = {
    cut: "no whole GGUF file",
    beginning: "no whole GGUF file",
    rubbish: "no whole GGUF file",
    empty: "no whole GGUF file",
    other_architecture: "cannot be loaded .*klama",
    without_weights: "has no weights for 1, such as model.layers.0.mlp.up_proj.weight",
}


@pytest.mark.parametrize("damage", BAD)
def test_a_file_that_cannot_be_read_is_told_in_one_line(whole, tmp_path, kept, damage):
    place = tmp_path / "bad.gguf"
    damage(whole, place)
    with pytest.raises(InputError, match=BAD[damage]) as told:
        _ = checkpoint(place).folder
    assert "\n" not in str(told.value)
    assert "bad.gguf" in str(told.value)
    assert made(kept) == []


def test_a_split_that_is_not_known_is_refused(llama, tmp_path, kept):
    file = tiny.make_gguf(llama, tmp_path / "x.gguf", split="brand-new")
    with pytest.raises(InputError, match="splits texts by 'brand-new', which is not known"):
        _ = checkpoint(file).folder


def test_another_file_than_the_pinned_one_is_refused(whole):
    with pytest.raises(InputError, match=f"it has sha256 {sha256_file(whole)}, not 0000"):
        _ = Checkpoint(str(whole), "0" * 64).folder


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"nope\.gguf: no such file"):
        _ = Checkpoint(str(tmp_path / "nope.gguf"), "0" * 64).folder


def test_of_several_in_a_folder_one_is_to_be_named(whole, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(whole, tmp_path / name)
    with pytest.raises(InputError, match=r"has 2 GGUF files, such as a\.gguf: name the one meant"):
        contents_sha256(tmp_path)


def test_without_its_package_it_is_told_which(whole, kept, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match="install the package gguf"):
        _ = checkpoint(whole).folder


# Real weights

# Token ids that llama.cpp's server gives for these texts.
TOKENS = {
    "  2019 x": [256, 34, 32, 33, 41, 1792],
    "a\n\n12": [81, 1116, 33, 34],
    "don't I'LL 3rd  3rd": [12420, 982, 339, 23, 16421, 216, 35, 7212, 256, 35, 7212],
    "\t\t7 8": [1656, 39, 216, 40],
    "naïve 電池 ½ ²": [3546, 46494, 30866, 245, 136, 177, 126, 250, 216, 16738, 216, 19133],
    "a  b   c\n  d": [81, 216, 278, 256, 265, 3805, 287],
    "½x Ⅳ ٣٤": [16738, 104, 216, 173, 223, 113, 216, 164, 113, 164, 114],
}


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.is_file(), reason="`make decoder` has not fetched it")
def test_smollm2_reads_texts_as_llama_cpp_does():
    found = checkpoint(SMOLLM2)
    assert found.quantization == "Q4_1"
    read = AutoTokenizer.from_pretrained(found.folder)
    assert {text: read(text)["input_ids"] for text in TOKENS} == TOKENS
