"""The sentences that a page of two runs shows: sets with their values, texts with answers."""

import numpy as np

from descry.activations.exemplar_files import exemplar_group
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.run import Run


def exemplar_sets(run: Run, end: str) -> tuple[np.ndarray, np.ndarray]:
    """Exemplars of the whole corpus and their activations, [neurons, size]; rows end with -1."""
    with reading_hdf5(run.path("exemplars.h5"), "exemplars") as file:
        group = file[exemplar_group("all", end)]
        rows, values = (group[name][:] for name in ("row", "activation"))
    return rows.reshape(-1, rows.shape[2]), values.reshape(-1, values.shape[2])


def shown_sentences(run: Run, rows: list[int]) -> dict[str, JSON]:
    """By row the id, the text, and the places of the descriptors that it has."""
    table = run.sentences(rows).select(["id", "text"]).to_pylist()
    yes = run.annotations.at(np.array(rows, dtype=np.intp)) == 1
    return {
        str(row): [one["id"], one["text"], np.flatnonzero(said).tolist()]
        for row, one, said in zip(rows, table, yes, strict=True)
    }
