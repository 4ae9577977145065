"""The stage activations: values a text at a time would have, and no work is lost or mixed up."""

import errno
import os
import re
import shutil
import time
from importlib.metadata import version

import extracting
import h5py
import numpy as np
import pytest
import tiny
import torch
from extracting import BLOCK, compute, forked, section, sentences, write_corpus
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model

from descry.activations import outputs
from descry.activations.histogram import Distribution
from descry.activations.top_k import ENDS, HIGHEST
from descry.corpus.splits import HALVES
from descry.errors import InputError
from descry.io.atomic import part_of
from descry.io.hashing import sha256_file, sha256_text
from descry.io.hdf5 import hdf5_provenance
from descry.io.provenance import without_places
from descry.models.checkpoints import Checkpoint, weights_sha256
from descry.models.hooked_model import HookedModel
from descry.workflow.params import parse

NEAR = 1e-4  # of the largest value of a layer
MIXED = ["great", *sentences(25, most=30), "Price " * 50, "cheap", *sentences(25, most=9, seed=1)]
SIX = 6000  # sentences, of six blocks


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny models by name."""
    base = tmp_path_factory.mktemp("models")
    return {name: tiny.make(name, base / name) for name in ("bert", "gpt2")}


@pytest.fixture(scope="module")
def gpt2(models):
    return models["gpt2"]


@pytest.fixture
def mixed(tmp_path):
    """A corpus of sentences of very different lengths."""
    return write_corpus(tmp_path / "corpus.parquet", MIXED)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """A corpus of six blocks."""
    return write_corpus(tmp_path_factory.mktemp("six") / "corpus.parquet", sentences(SIX))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, six, gpt2):
    """What a run over six blocks writes that nothing comes between, by what it stores."""
    base = tmp_path_factory.mktemp("undisturbed")
    for store in ("matrix", "exemplars"):
        compute(six, base / store, section(gpt2, store=store))
    return {store: (base / store).read_bytes() for store in ("matrix", "exemplars")}


@pytest.fixture
def computed(monkeypatch):
    """How many texts go through the model, batch by batch."""
    seen, run = [], HookedModel.activations

    def count(model, batch):
        seen.append(len(batch))
        return run(model, batch)

    monkeypatch.setattr(HookedModel, "activations", count)
    return seen


def target(told):
    options = ("site", "position", "layers", "dtype", "device", "max_tokens")
    return HookedModel(Checkpoint(**told["target"]), **{name: told[name] for name in options})


def one_by_one(told, texts):
    """The activations of each text, computed alone."""
    model = target(told)
    return [model.activations([ids]) for ids in model.tokenize(texts)]


def assert_near(found, wanted):
    assert found.shape == wanted.shape
    scale = np.abs(wanted).max(axis=(0, 2), keepdims=True)
    assert (np.abs(found - wanted) <= NEAR * scale).all()


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "corpus.parquet")


# Values


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("bert", {"position": "cls"}),
        ("bert", {"position": "mean", "site": "residual"}),
        ("gpt2", {"position": "last"}),
        ("gpt2", {"position": "max", "site": "ffn_hidden", "layers": [1]}),
    ],
)
def test_rows_are_the_sentences_in_the_order_of_the_corpus(tmp_path, models, mixed, name, changes):
    told = section(models[name], batch_tokens=200, **changes)
    counts = compute(mixed, tmp_path / "a.h5", told)
    wanted = np.concatenate(one_by_one(told, MIXED))
    sizes = dict(zip(("sentences", "layers", "neurons"), wanted.shape, strict=True))
    assert counts == sizes | {"most tokens": 64, "sentences cut": 0}
    with h5py.File(tmp_path / "a.h5") as file:
        own = ["at"] if changes["position"] == "max" else []
        assert sorted(file) == sorted(["activations", "id", "split", "tokens", "written", *own])
        assert_near(file["activations"][:], wanted)
        assert file["activations"].dtype == np.float32
        assert file["id"][:].tolist() == [sha256_text(text)[:16].encode() for text in MIXED]
        assert file["split"][:].tolist() == [HALVES[i % 2].encode() for i in range(len(MIXED))]
    assert files(tmp_path) == ["a.h5"]


def test_several_blocks_have_the_values_of_one(tmp_path, gpt2):
    texts = sentences(3100)
    corpus = write_corpus(tmp_path / "corpus.parquet", texts)
    compute(corpus, tmp_path / "four.h5", section(gpt2))
    compute(corpus, tmp_path / "one.h5", section(gpt2, block=4096, batch_tokens=700))
    rows = [0, 1, 1023, 1024, 2047, 2048, 3071, 3072, 3099]
    wanted = np.concatenate(one_by_one(section(gpt2), [texts[row] for row in rows]))
    with h5py.File(tmp_path / "four.h5") as four, h5py.File(tmp_path / "one.h5") as one:
        assert (four["written"].shape, one["written"].shape) == ((4,), (1,))
        assert four["written"][:].all()
        assert_near(four["activations"][:], one["activations"][:])
        assert_near(four["activations"][:][rows], wanted)


def test_a_longer_sentence_is_cut_at_max_tokens(tmp_path, gpt2):
    corpus = write_corpus(tmp_path / "corpus.parquet", ["price" + " price" * n for n in (30, 7)])
    counts = compute(corpus, tmp_path / "a.h5", section(gpt2, max_tokens=8))
    assert (counts["most tokens"], counts["sentences cut"]) == (8, 1)
    with h5py.File(tmp_path / "a.h5") as file:
        assert_near(file["activations"][:1], file["activations"][1:])
        assert (file["tokens"][:].tolist(), file["tokens"].dtype) == ([31, 8], np.int32)
        assert file.attrs["max_tokens"] == 8


def test_tokens_that_the_model_does_not_see_are_counted_whatever_is_stored(tmp_path, models):
    texts = [f"price{' price' * (row % 11)} {row}" for row in range(BLOCK + 40)]
    corpus = write_corpus(tmp_path / "corpus.parquet", texts)
    told = section(models["bert"], max_tokens=8)
    tokenizer = target(told).tokenizer
    wanted = [len(tokenizer(text)["input_ids"]) for text in texts]
    cut = sum(tokens > 8 for tokens in wanted)
    assert 0 < cut < len(texts)
    for changes in ({}, {"position": "tokens"}, {"store": "exemplars"}):
        counts = compute(corpus, tmp_path / "a.h5", told | changes)
        assert counts["sentences cut"] == cut
        with h5py.File(tmp_path / "a.h5") as file:
            assert file["tokens"][:].tolist() == wanted


def test_that_the_model_takes_fewer_tokens_than_asked_for_is_said(tmp_path, models):
    corpus = write_corpus(tmp_path / "corpus.parquet", ["price " * (tiny.LIMIT + 3), "great"])
    counts = compute(corpus, tmp_path / "a.h5", section(models["bert"], max_tokens=9999))
    assert counts["most tokens"] == f"{tiny.LIMIT} (all that the model takes, not 9999)"
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["tokens"][:].tolist() == [tiny.LIMIT + 5, 3]


def test_layers_are_the_ones_asked_for(tmp_path, models, mixed):
    compute(mixed, tmp_path / "all.h5", section(models["bert"]))
    compute(mixed, tmp_path / "some.h5", section(models["bert"], layers=[2, 0]))
    with h5py.File(tmp_path / "all.h5") as whole, h5py.File(tmp_path / "some.h5") as some:
        assert np.array_equal(some["activations"], whole["activations"][:, [0, 2]])
        assert whole.attrs["layers"].tolist() == [0, 1, 2]
        assert some.attrs["layers"].tolist() == [0, 2]


def test_the_file_says_what_made_it(tmp_path, models, mixed):
    told = section(models["bert"], position="cls")
    compute(mixed, tmp_path / "a.h5", told)
    compute(mixed, tmp_path / "e.h5", told | {"store": "exemplars"})
    with h5py.File(tmp_path / "a.h5") as file, h5py.File(tmp_path / "e.h5") as state:
        made, names = hdf5_provenance(file), dict(file.attrs)
        assert sorted(state.attrs) == sorted(names)
    wanted = {
        "model": models["bert"].name,  # not the place on this machine
        "revision": told["target"]["revision"],
        "weights": weights_sha256(models["bert"]),
        "tokenizer": target(told).tokenizer_sha256,
        "site": "ffn_output",
        "position": "cls",
        "dtype": "float32",
        "corpus": sha256_file(mixed),
        "max_tokens": 64,
        "sinks": 0,
    }
    assert {name: names[name] for name in wanted} == wanted
    assert (names["layers"].tolist(), made["layers"]) == ([0, 1, 2], [0, 1, 2])
    assert sorted(names) == sorted([*wanted, "layers", "descry"])
    assert (made["stage"], made["params"]) == ("activations", without_places(told))
    assert made["inputs"] == {mixed.name: wanted["corpus"]}
    for name in ("weights", "tokenizer", "site", "position"):
        assert made[name] == wanted[name]
    packages = ["descry", "h5py", "numpy", "tokenizers", "torch", "transformers"]
    assert made["versions"] == {name: version(name) for name in packages}


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_same_inputs_give_the_same_bytes_whatever_the_number_of_threads(
    tmp_path, gpt2, torch_threads
):
    corpus = write_corpus(tmp_path / "corpus.parquet", [*MIXED, *sentences(1500)])
    for store in ("matrix", "exemplars"):
        told = section(gpt2, store=store, batch_tokens=1000)
        bytes_of = []
        for threads in (1, 1, 2, 3):
            torch_threads(threads)
            compute(corpus, tmp_path / "a.h5", told)
            assert torch.get_num_threads() == threads
            bytes_of.append((tmp_path / "a.h5").read_bytes())
        assert len(set(bytes_of)) == 1


def test_progress_is_told_up_to_the_last_sentence(tmp_path, six, gpt2):
    seen = []
    told = section(gpt2, store="exemplars")
    compute(six, tmp_path / "a.h5", told, lambda *given: seen.append(given))
    counts = [*range(BLOCK, SIX, BLOCK), SIX]
    assert seen == [("sentences", done, SIX) for done in counts]


# Types of numbers


def changed(folder, to, change):
    """A model with other weights."""
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        change(model)
    model.save_pretrained(to)
    AutoTokenizer.from_pretrained(folder).save_pretrained(to)
    return to


def test_half_the_precision_is_that_of_rounding(tmp_path, gpt2, mixed):
    compute(mixed, tmp_path / "full.h5", section(gpt2))
    compute(mixed, tmp_path / "half.h5", section(gpt2, store_dtype="float16"))
    with h5py.File(tmp_path / "full.h5") as full, h5py.File(tmp_path / "half.h5") as half:
        assert half["activations"].dtype == np.float16
        assert np.array_equal(half["activations"], full["activations"][:].astype(np.float16))


def test_values_too_large_for_half_the_precision_are_refused(tmp_path, gpt2, mixed):
    loud = changed(gpt2, tmp_path / "loud", lambda model: model.h[1].mlp.c_proj.bias.fill_(7e4))
    with pytest.raises(InputError, match=r"store_dtype: .*loud has activations of 70\d\d\d, too"):
        compute(mixed, tmp_path / "a.h5", section(loud, store_dtype="float16"))
    compute(mixed, tmp_path / "b.h5", section(loud))
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("store", ["matrix", "exemplars"])
def test_activations_that_are_not_finite_are_refused(tmp_path, gpt2, mixed, dtype, store):
    def spoil(model):
        model.h[0].mlp.c_proj.bias[3] = float("inf")

    broken = changed(gpt2, tmp_path / "broken", spoil)
    with pytest.raises(InputError, match=f"broken: activations are not finite in {dtype}"):
        compute(mixed, tmp_path / "a.h5", section(broken, dtype=dtype, store=store))
    assert not (tmp_path / "a.h5").exists()


# Every token


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_every_token_has_a_row(tmp_path, models, name):
    texts = [*MIXED, *sentences(300, most=12, seed=2)]
    corpus = write_corpus(tmp_path / "corpus.parquet", texts)
    told = section(models[name], position="tokens", max_tokens=200)
    compute(corpus, tmp_path / "a.h5", told)
    ids = target(told).tokenize(texts)
    with h5py.File(tmp_path / "a.h5") as file:
        found = {name: values[:] for name, values in file.items()}
    start, length, values = found["start"], found["length"], found["activations"]
    assert length.tolist() == [len(tokens) for tokens in ids]
    owner = np.full(len(values), -1)
    tokens = owner.copy()
    for row, wanted in enumerate(one_by_one(told, texts)):
        span = slice(start[row], start[row] + length[row])
        assert (owner[span] == -1).all()  # nobody else's
        owner[span], tokens[span] = row, ids[row]
        assert_near(values[span], wanted)
        assert start[row] // BLOCK == (span.stop - 1) // BLOCK  # of one block
    assert np.array_equal(found["sentence"], owner)
    assert np.array_equal(found["token"], tokens)
    unused = owner == -1
    assert (values[unused] == 0).all()
    assert 0 < unused.sum() < 0.02 * len(owner)
    assert len(found["written"]) > 2
    assert (len(found["id"]), len(found["split"])) == (len(texts), len(texts))


def test_a_sentence_with_more_tokens_than_a_block_has_rows_is_refused(tmp_path, gpt2, mixed):
    most = max(len(ids) for ids in target(section(gpt2)).tokenize(MIXED))
    told = section(gpt2, position="tokens", block=most - 1)
    with pytest.raises(InputError, match=rf"block: {most - 1} is less than a sentence's {most} "):
        compute(mixed, tmp_path / "a.h5", told)
    assert files(tmp_path) == []


def test_exemplars_of_tokens_are_refused(gpt2):
    told = section(gpt2, store="exemplars")
    assert parse("activations", told, "p").model_dump() == told
    with pytest.raises(InputError, match=r"p: .*store exemplars needs one activation per"):
        parse("activations", told | {"position": "tokens"}, "p")


# What is kept for the exemplars


@pytest.mark.parametrize("keep", [7, 4000])
def test_what_is_kept_is_what_the_matrix_has(tmp_path, six, gpt2, keep, undisturbed):
    compute(six, tmp_path / "e.h5", section(gpt2, store="exemplars", keep=keep))
    (tmp_path / "a.h5").write_bytes(undisturbed["matrix"])
    with h5py.File(tmp_path / "a.h5") as matrix, h5py.File(tmp_path / "e.h5") as kept:
        values = matrix["activations"][:].reshape(SIX, -1)
        halves = matrix["split"][:].astype(str)
        for half in HALVES:
            rows = np.flatnonzero(halves == half)
            for end in ENDS:
                signed = values[rows] if end == HIGHEST else -values[rows]
                order = np.argsort(-signed, axis=0, kind="stable")[: keep + 1].T
                places = order.shape[1]
                group = kept[f"{half}/{end}"]
                assert group["row"].shape == (values.shape[1], keep + 1)  # and the one beyond
                assert np.array_equal(group["row"][:, :places], rows[order])
                leading = np.take_along_axis(signed.T, order, axis=1)
                assert np.array_equal(group["value"][:, :places], leading)
                assert (group["row"][:, places:] == -1).all()
        found = kept["distribution"]
        assert found["number"][()] == SIX
        assert (found["counts"][:].sum(axis=1) == SIX).all()
        assert np.array_equal(found["lowest"], values.min(axis=0))
        assert np.array_equal(found["highest"], values.max(axis=0))
        state = {name: values[()] for name, values in found.items()}
        mean = Distribution.restored(state).moments()["mean"]
        assert mean == pytest.approx(values.mean(axis=0, dtype=np.float64), abs=1e-6)
    assert files(tmp_path) == ["a.h5", "e.h5"]


# Stopped and gone on with


def test_killed_at_any_moment_the_matrix_is_gone_on_with(
    tmp_path, six, gpt2, undisturbed, computed
):
    output, told = tmp_path / "a.h5", section(gpt2)
    # A block is its tokens, a chunk for each of two layers, then its flag.
    kills = [
        ("descry.activations.store", "_write", 1, 0),  # before anything is written
        ("descry.activations.store", "_write", 4, 0),  # before the first flag
        ("descry.activations.store", "_write", 5, 1),  # after it
        ("descry.activations.store", "_write", 10, 3),  # amid a block
        ("descry.activations.store", "_sync", 2, 4),
        ("pathlib:Path", "replace", 1, 6),  # before the file gets its name
    ]
    for owner, name, call, done in kills:
        with forked(extracting.killed, six, output, told, owner, name, call) as process:
            process.join()
        assert process.exitcode == -9
        assert files(tmp_path) == [".a.h5.part"]
        with h5py.File(part_of(output)) as file:
            assert file["written"][:].tolist() == [1] * done + [0] * (6 - done)
    compute(six, output, told)
    assert computed == []
    assert output.read_bytes() == undisturbed["matrix"]
    assert files(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("store", ["matrix", "exemplars"])
def test_killed_at_any_moment_what_was_cut_is_known(tmp_path, six, gpt2, store):
    told = section(gpt2, store=store, max_tokens=6)
    counts = compute(six, tmp_path / "whole.h5", told)
    assert 0 < counts["sentences cut"] < SIX
    place = {
        "matrix": ("descry.activations.store", "_sync"),
        "exemplars": ("descry.activations.outputs", "writing_hdf5"),
    }[store]
    for call in (2, 3):
        with forked(extracting.killed, six, tmp_path / "a.h5", told, *place, call) as process:
            process.join()
        assert process.exitcode == -9
    assert compute(six, tmp_path / "a.h5", told) == counts
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def until(ready, process):
    """Wait until a process has come so far."""
    end = time.monotonic() + 60
    while not ready():
        assert process.is_alive() and time.monotonic() < end
        time.sleep(0.005)


def test_killed_from_outside_it_goes_on_and_computes_no_block_twice(
    tmp_path, six, gpt2, undisturbed, computed
):
    output, told = tmp_path / "a.h5", section(gpt2)

    def written():
        if not part_of(output).exists():
            return 0
        with h5py.File(part_of(output)) as file:
            return int(file["written"][:].sum())

    for number in (1, 3, 5):
        with forked(extracting.slowly, six, output, told, 0.1) as process:
            until(lambda least=number: written() >= least, process)
            if number == 3:
                with pytest.raises(InputError, match="another run is writing it"):
                    compute(six, output, told)
            process.kill()
            process.join()
        assert number <= written() < 6
    done = written()
    seen = []
    compute(six, output, told, lambda *given: seen.append(given))
    assert sum(computed) == SIX - done * BLOCK
    assert seen[-1] == ("sentences", SIX, SIX)
    assert seen[0][1] == min((done + 1) * BLOCK, SIX)
    assert output.read_bytes() == undisturbed["matrix"]
    assert files(tmp_path) == ["a.h5"]


def test_killed_at_any_moment_what_is_kept_for_exemplars_is_gone_on_with(
    tmp_path, six, gpt2, undisturbed, computed
):
    output, told = tmp_path / "a.h5", section(gpt2, store="exemplars")
    file = "descry.activations.outputs:_Stats"
    kills = [
        (file, "save", 1, None),  # before anything is saved
        (file, "save", 2, 1),
        ("descry.activations.streaming:StreamingStats", "state", 3, 3),  # amid the third saving
        ("descry.activations.histogram:Distribution", "add", 2, 4),  # amid a block
    ]
    for owner, name, call, done in kills:
        with forked(extracting.killed, six, output, told, owner, name, call) as process:
            process.join()
        assert process.exitcode == -9
        assert part_of(output).exists() == (done is not None)
        if done is not None:
            with h5py.File(part_of(output)) as file:
                assert file["next"][()] == done
    seen = []
    compute(six, output, told, lambda *given: seen.append(given))
    assert sum(computed) == SIX - 4 * BLOCK
    assert seen == [("sentences", done, SIX) for done in (5 * BLOCK, SIX)]
    assert output.read_bytes() == undisturbed["exemplars"]
    assert files(tmp_path) == ["a.h5"]


def test_killed_before_it_tidies_up_it_only_does_that(tmp_path, six, gpt2, undisturbed, computed):
    output, told = tmp_path / "a.h5", section(gpt2, store="exemplars")
    given = six, output, told, "pathlib:Path", "unlink", 1
    with forked(extracting.killed, *given) as process:
        process.join()
    assert files(tmp_path) == [".a.h5.part", "a.h5"]
    assert output.read_bytes() == undisturbed["exemplars"]
    compute(six, output, told)
    assert computed == []
    assert output.read_bytes() == undisturbed["exemplars"]
    assert files(tmp_path) == ["a.h5"]


def test_what_killed_runs_left_goes_with_the_end_of_one_and_nothing_else(tmp_path, gpt2, mixed):
    theirs = ["..a.h5.part.123.part", ".a.h5.45.part"]
    others = [".b.h5.part", ".a2.h5.part", ".a.x.h5.part", ".a.h5", "a.h5.part"]
    for name in [*theirs, *others]:
        (tmp_path / name).touch()
    compute(mixed, tmp_path / "a.h5", section(gpt2, store="exemplars"))
    assert files(tmp_path) == sorted([*others, "a.h5"])


@pytest.fixture
def stopped(tmp_path, six, gpt2, monkeypatch):
    """Stops the stage in its fourth block: params, and the unfinished file's bytes, by store."""
    corpus = shutil.copy(six, tmp_path / "corpus.parquet")
    run = HookedModel.activations

    def stop(store):
        told, texts = section(gpt2, store=store), []

        def fail(model, batch):
            texts.extend(batch)
            if len(texts) > 3 * BLOCK:
                raise KeyboardInterrupt
            return run(model, batch)

        with monkeypatch.context() as patch:
            patch.setattr(outputs, "SAVE", -1)
            patch.setattr(HookedModel, "activations", fail)
            with pytest.raises(KeyboardInterrupt):
                compute(corpus, tmp_path / "a.h5", told)
        part = part_of(tmp_path / "a.h5")
        return corpus, told, part

    return stop


@pytest.mark.parametrize("store", ["matrix", "exemplars"])
def test_what_a_run_with_other_inputs_left_is_refused(
    tmp_path, models, stopped, store, undisturbed, computed
):
    corpus, told, part = stopped(store)
    left, output = part.read_bytes(), tmp_path / "a.h5"
    other = "exemplars" if store == "matrix" else "matrix"

    def refused(told, message):
        with pytest.raises(InputError, match=message) as caught:
            compute(corpus, output, told)
        assert str(caught.value).startswith(f"{part}: left by a stopped run, with ")
        assert part.read_bytes() == left

    spoilt = changed(models["gpt2"], tmp_path / "spoilt", lambda model: model.ln_f.bias.fill_(1))
    refused(told | {"batch_tokens": 2048}, r"params\.batch_tokens 4096, now 2048: set it back")
    refused(told | {"layers": [1]}, r"layers \[0,1\], now \[1\]")
    refused(told | {"store": other}, rf'params\.store "{store}", now "{other}"')
    refused(section(spoilt, store=store), r"params\.target\.model")
    refused(section(models["bert"], store=store), r"layers \[0,1\], now \[0,1,2\]")
    write_corpus(corpus, sentences(SIX, seed=5))
    refused(told, rf"inputs\.{re.escape(corpus.name)} ")
    assert computed == []
    write_corpus(corpus, sentences(SIX))
    compute(corpus, output, told)
    assert 0 < sum(computed) <= SIX - 2 * BLOCK
    assert (tmp_path / ".a.h5.part").exists() is False
    with h5py.File(output) as file:
        assert "written" not in file or file["written"][:].all()


def test_weights_that_changed_under_the_same_name_are_refused(tmp_path, gpt2, mixed):
    folder = shutil.copytree(gpt2, tmp_path / "model")
    compute(mixed, tmp_path / "a.h5", section(folder))
    (tmp_path / "a.h5").rename(tmp_path / ".a.h5.part")
    changed(gpt2, folder, lambda model: model.wte.weight.mul_(2))
    with pytest.raises(InputError, match=r"with params\.target\.revision"):
        compute(mixed, tmp_path / "a.h5", section(folder))


@pytest.mark.parametrize("store", ["matrix", "exemplars"])
@pytest.mark.parametrize("content", [b"", b"no HDF5 at all" * 99])
def test_an_unreadable_unfinished_file_is_told(tmp_path, gpt2, mixed, store, content):
    (tmp_path / ".a.h5.part").write_bytes(content)
    with pytest.raises(InputError, match=r"\.a\.h5\.part: cannot be read \(.*\): remove it"):
        compute(mixed, tmp_path / "a.h5", section(gpt2, store=store))


# Full disks


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_before_anything_is_computed(
    tmp_path, gpt2, mixed, computed, monkeypatch
):
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"\.a\.h5\.part: the disk is full"):
        compute(mixed, tmp_path / "a.h5", section(gpt2))
    assert (computed, files(tmp_path)) == ([], [])


def test_a_disk_that_fills_up_meanwhile_costs_no_written_block(
    tmp_path, six, gpt2, computed, monkeypatch, undisturbed
):
    pwrite, calls = os.pwrite, []

    def write(*given):
        calls.append(given)
        return pwrite(*given) if len(calls) <= 9 else full()

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", write)
        with pytest.raises(InputError, match=r"\.a\.h5\.part: the disk is full"):
            compute(six, tmp_path / "a.h5", section(gpt2))
    computed.clear()
    compute(six, tmp_path / "a.h5", section(gpt2))
    assert sum(computed) == SIX - 2 * BLOCK
    assert (tmp_path / "a.h5").read_bytes() == undisturbed["matrix"]


# Memory


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    config = GPT2Config(vocab_size=1000, n_embd=16, n_inner=512, n_layer=2, n_head=2)
    config.bos_token_id = config.eos_token_id = 0
    GPT2Model(config).save_pretrained(tmp_path / "wide")
    tiny.byte_pairs().save_pretrained(tmp_path / "wide")
    told = section(tmp_path / "wide", site="ffn_hidden", store="exemplars")
    peaks = []
    for number in (5_000, 20_000):
        corpus = write_corpus(tmp_path / "corpus.parquet", sentences(number, most=2))
        given = corpus, tmp_path / "a.h5", told, tmp_path / "peak"
        with forked(extracting.measured, *given) as process:
            process.join()
        assert process.exitcode == 0
        peaks.append(int((tmp_path / "peak").read_text()))
    matrix = 15_000 * 2 * 512 * 4  # bytes that the others would take
    assert peaks[1] - peaks[0] < min(0.1 * peaks[0], matrix / 3)
