"""Two planted runs over one corpus: what the second model's neurons do is known."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import planted
from planted import made_in

from descry.io.parquet import read_table


def run_in(
    folder, changed=lambda data: data, before=lambda: None, layers=(0, 1), lowest=False, **label
):
    """A run of a model whose activations are those of the planted one, changed.

    Args:
        changed: activations [sentences, layers, neurons] to others, of any number of neurons.
        before: what happens to the files before they are labelled.
        label: parameters of stage label.
    """
    folder.mkdir(parents=True)

    def make():
        rng = np.random.default_rng(0)
        planted.write_reviews()
        planted.run_corpus()
        table = read_table(planted.CORPUS, "corpus")
        planted.write_descriptors(table)
        topic = planted.topics_of(table)
        answer = np.column_stack([np.ones(len(topic)), np.eye(len(planted.TOPICS))[topic]])
        score = (answer * 2 - 1) * rng.uniform(0.5, 4, answer.shape)
        planted.write_annotations(table, answer, score)
        write_activations(table, changed(planted.activations_of(table, rng, lowest)), layers)
        before()
        planted.run_exemplars(lowest=lowest)
        planted.run_label(**label)

    return made_in(folder, make) / "results"


def write_activations(table, data, layers):
    width = planted.WIDTH
    try:
        planted.WIDTH = data.shape[2]  # of a chunk
        planted.write_activations(table, data.astype(np.float32), layers)
    finally:
        planted.WIDTH = width


def copy_of(results, folder):
    """A run that a test may spoil."""
    return shutil.copytree(results.parent, folder) / results.name


def moved(places):
    """Neurons of the first layer put elsewhere: {from: to}."""

    def change(data):
        found = data.copy()
        for old, new in places.items():
            found[:, 0, new] = data[:, 0, old]
        return found

    return change


def record(path: Path, **changes):
    """Change what an HDF5 file says made it, parameters by dotted key."""
    from descry.io.hashing import canonical
    from descry.io.hdf5 import hdf5_provenance

    with h5py.File(path, "r+") as file:
        made = hdf5_provenance(file)
        for key, value in changes.items():
            of, *rest = key.split("__")
            place = made
            while rest:
                place, of = place[of], rest.pop(0)
            place[of] = value
        file.attrs["descry"] = canonical(made)
