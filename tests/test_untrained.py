"""Random weights in the place of the trained ones: a null of the same shape, drawn by the seed."""

import h5py
import numpy as np
import pytest
import tiny
from extracting import activation_params, compute, section, sentences, write_corpus

from descry.activations.exemplar_files import has_exemplars, read_exemplars
from descry.corpus.splits import SPLITS
from descry.io.hdf5 import hdf5_provenance
from descry.io.provenance import without_places
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.models.hooked_model import HookedModel
from descry.stages.activations import extract_activations
from descry.stages.exemplars import Exemplars, select_exemplars
from descry.stages.untrained import Untrained, select_untrained_exemplars

SELECTION = {"top_percent": 10.0, "min_size": 3, "window": 5, "lowest": True}
NAMES = ["bert", "gpt2", "t5"]  # an encoder, a decoder, and one with both


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny models by name."""
    base = tmp_path_factory.mktemp("models")
    return {name: tiny.make(name, base / name) for name in NAMES}


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.parquet", sentences(100))


def weights(folder, seed, dtype="float32"):
    """All weights of a target by name, as float32."""
    target = HookedModel(
        Checkpoint(str(folder), contents_sha256(folder)),
        site="ffn_output",
        position="last",
        layers=None,
        dtype=dtype,
        device="cpu",
        max_tokens=64,
        untrained=seed,
    )
    state = target.model.state_dict()
    return {name: tensor.float().numpy() for name, tensor in state.items()}


def run(corpus, output, told, seed=0, enabled=True, **selection):
    extraction, chosen = activation_params(told), Exemplars(**SELECTION | selection)
    sections = Untrained(enabled=enabled, seed=seed), extraction, chosen
    files = {"corpus": corpus, "untrained": output}
    return select_untrained_exemplars(*sections, **files, progress=lambda *_: None)


def selected(corpus, activations, exemplars):
    files = {"corpus": corpus, "activations": activations, "exemplars": exemplars}
    return select_exemplars(Exemplars(**SELECTION), None, **files)


def matrices(state):
    """Weights that are drawn at random: norms and biases are not."""
    return {name: w for name, w in state.items() if w.ndim > 1 and w.std() > 0}


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_drawn_by_the_seed_and_have_the_models_shapes(models, name):
    trained, one, again, other = (weights(models[name], seed) for seed in (None, 1, 1, 2))
    assert {n: w.shape for n, w in one.items()} == {n: w.shape for n, w in trained.items()}
    for key, values in one.items():
        np.testing.assert_array_equal(values, again[key])
    drawn = matrices(one)
    assert drawn
    for key, values in drawn.items():
        assert not np.array_equal(values, other[key])
        assert not np.array_equal(values, trained[key])


def test_the_draw_leaves_the_other_lots_alone(models):
    import torch

    next_lots = []
    for seed in (None, 1, 2):
        torch.manual_seed(7)
        weights(models["bert"], seed)
        next_lots.append(torch.rand(3).tolist())
    assert next_lots[0] == next_lots[1] == next_lots[2]


def test_weights_have_the_numbers_that_the_target_reckons_with(models):
    for values in matrices(weights(models["gpt2"], 1, "bfloat16")).values():
        assert not (values.view(np.uint32) & 0xFFFF).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_that_of_stage_exemplars_over_the_random_model(models, corpus, tmp_path, name):
    told, output = section(models[name]), tmp_path / "untrained.h5"
    counts = run(corpus, output, told)
    assert has_exemplars(output)
    kept, expected = tmp_path / "kept.h5", tmp_path / "expected.h5"
    streamed = activation_params(told | {"store": "exemplars"})
    files = {"corpus": corpus, "activations": kept}
    extract_activations(streamed, **files, untrained=0, progress=lambda *_: None)
    found = selected(corpus, kept, expected)
    assert counts == found | {"most tokens": 64, "sentences cut": 0}
    with h5py.File(output) as file:
        params = hdf5_provenance(file)["params"]
    assert (params["untrained"]["seed"], params["activations"]) == (0, without_places(told))
    for split in SPLITS:
        for end in ("highest", "lowest"):
            pair = (read_exemplars(path, split, end) for path in (output, expected))
            np.testing.assert_array_equal(*pair)
    assert sorted(path.name for path in tmp_path.glob("*untrained*")) == ["untrained.h5"]


def test_the_same_seed_gives_the_same_bytes_and_another_other_exemplars(models, corpus, tmp_path):
    told, found = section(models["bert"]), {}
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        found[folder] = tmp_path / folder / "untrained.h5"
        found[folder].parent.mkdir()
        run(corpus, found[folder], told, seed)
    sets = [read_exemplars(found[folder], "all") for folder in "abc"]
    np.testing.assert_array_equal(sets[0], sets[1])
    assert not np.array_equal(sets[0], sets[2])


def test_random_weights_are_not_those_of_the_model(models, corpus, tmp_path):
    told = section(models["bert"])
    run(corpus, tmp_path / "untrained.h5", told)
    files = tmp_path / "activations.h5", tmp_path / "exemplars.h5"
    compute(corpus, files[0], told)
    selected(corpus, *files)
    trained = read_exemplars(files[1], "all")
    random = read_exemplars(tmp_path / "untrained.h5", "all")
    assert trained.shape == random.shape
    assert not np.array_equal(trained, random)


def test_what_is_not_enabled_loads_no_model(corpus, tmp_path):
    output = tmp_path / "untrained.h5"
    assert run(corpus, output, {"target": {}}, enabled=False) == {"neurons": 0}
    assert not has_exemplars(output)
    with h5py.File(output) as file:
        made = hdf5_provenance(file)
    assert (made["stage"], made["params"]) == ("untrained", {"enabled": False, "seed": 0})
