"""Stage exemplars: corpus and activations -> exemplars.h5 (section 3.3)."""

from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.exemplars import exemplar_sets, exemplar_size
from descry.splits import split_rows
from descry.storage import provenance, read_table, reading_hdf5, writing_hdf5

PACKAGES = ["h5py", "numpy"]


def run(
    corpus: Path,
    activations: Path,
    output: Path,
    *,
    section: dict[str, Any],
    top_percent: float,
    min_size: int,
) -> dict[str, int]:
    """Write the exemplar sets, a group per split (all, calibration, validation).

    Datasets of a group: `row` int32 [layer, neuron, exemplar], the rows of the corpus, highest
    activation first; `activation` float32 of the same shape.
    """
    sentences = read_table(corpus, "corpus")
    splits = split_rows(sentences["split"].to_pylist())
    sizes = {name: exemplar_size(len(rows), top_percent, min_size) for name, rows in splits.items()}
    inputs = [corpus, activations]
    with (
        reading_hdf5(activations, "activations") as source,
        writing_hdf5(output, provenance("exemplars", section, inputs, PACKAGES)) as file,
    ):
        if source["id"].asstr()[:].tolist() != sentences["id"].to_pylist():
            raise InputError(f"{activations}: not of this corpus: run `descry activations` again")
        data = source["activations"]
        _, layers, neurons = data.shape
        for name in splits:
            shape = (layers, neurons, sizes[name])
            file.create_dataset(f"{name}/row", shape=shape, dtype="int32")
            file.create_dataset(f"{name}/activation", shape=shape, dtype="float32")
        for layer in range(layers):
            block = data[:, layer, :]
            for name, rows in splits.items():
                chosen, values = exemplar_sets(block[rows], sizes[name])
                file[f"{name}/row"][layer] = rows[chosen]
                file[f"{name}/activation"][layer] = values
    return {"neurons": layers * neurons} | {f"{name} set": size for name, size in sizes.items()}
