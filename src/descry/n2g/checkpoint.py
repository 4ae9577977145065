"""The finished graphs of an unfinished run, so that a killed run can resume."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from descry.activations.store import refuse_another
from descry.io.atomic import part_of
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5, writing_hdf5
from descry.n2g.tables import Record, read_records, write_records


class Unfinished:
    """A folder beside a result: each file in it is whole, and of one run's inputs."""

    def __init__(self, output: Path, made: JSON) -> None:
        """Begin the folder, or resume it.

        Raises:
            InputError: it was begun with other inputs or params.
        """
        self.folder, self.made = part_of(output), made
        marker = self.folder / "begun.h5"
        if marker.exists():
            refuse_another(marker, made)
            return
        self.clear()
        with writing_hdf5(marker, made):
            pass

    def texts(self, select: Callable[[], np.ndarray]) -> np.ndarray:
        """The rows of each neuron's texts: selected now, or by an earlier run."""
        path = self.folder / "texts.h5"
        if not path.exists():
            with writing_hdf5(path, self.made) as file:
                file.create_dataset("row", data=select())
        with reading_hdf5(path, "graphs") as file:
            return np.asarray(file["row"][:])

    def records(self, number: int, make: Callable[[], list[Record]]) -> list[Record]:
        """The records of a group of neurons: made now, or by an earlier run."""
        path = self.folder / f"{number}.parquet"
        if not path.exists():
            write_records(path, make(), self.made)
        return read_records(path)[0]

    def clear(self) -> None:
        """Remove the folder, where there is one."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
