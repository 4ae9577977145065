"""A model of which some neurons never fire, through the stages that read it."""

import h5py
import numpy as np
import pytest
import tiny
from extracting import activation_params, compute, section, sentences, write_corpus

from descry.activations.exemplar_files import read_exemplars, read_silent
from descry.activations.top_k import NEVER
from descry.corpus.splits import SPLITS
from descry.stages.exemplars import Exemplars, select_exemplars

SILENT, SENTENCES = 3, 90


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_silent(tmp_path_factory.mktemp("model"), SILENT)


def selected(folder, model, name, **changes):
    """The exemplars of its neurons, and what the stage says of them."""
    corpus = write_corpus(folder / "corpus.parquet", sentences(SENTENCES))
    told = section(model, site="ffn_hidden", **changes)
    compute(corpus, folder / f"{name}.activations.h5", told)
    how = {"top_percent": 10.0, "min_size": 3, "window": 5, "lowest": True}
    output = folder / f"{name}.h5"
    files = {"corpus": corpus, "activations": folder / f"{name}.activations.h5"}
    params = activation_params(told)
    counts = select_exemplars(Exemplars(**how), params, **files, exemplars=output)
    return output, counts


@pytest.mark.parametrize("position", ["last", "mean", "max"])
def test_neurons_that_never_fire_have_no_set_however_activations_are_kept(
    tmp_path, model, position
):
    kinds = {"matrix": {}, "half": {"store_dtype": "float16"}, "kept": {"store": "exemplars"}}
    found = {}
    for name, changes in kinds.items():
        path, counts = selected(tmp_path, model, name, position=position, **changes)
        found[name] = read_exemplars(path, "all")
        layers, width = found[name].shape[:2]
        assert counts[NEVER] == layers * SILENT
        words = read_silent(path).words
        never = {number for number, why in words.items() if why == "never changes"}
        assert never == {layer * width + n for layer in range(layers) for n in range(SILENT)}
        for split in SPLITS:
            assert (read_exemplars(path, split)[:, :SILENT] == -1).all()
        with h5py.File(path) as file:
            values, at = file["all/activation"][:], file["distribution/at_lowest"][:]
            assert (at[:, :SILENT] == SENTENCES).all()
        assert not (values[found[name] >= 0] <= 0).any()  # nobody at the floor
    np.testing.assert_array_equal(found["matrix"], found["kept"])
