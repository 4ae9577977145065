"""What made a result, whatever its format."""

from pathlib import Path

from descry.io.hashing import JSON
from descry.io.hdf5 import hdf5_provenance, reading_hdf5
from descry.io.json_files import read_json
from descry.io.provenance import PROVENANCE
from descry.io.readable import made_in, readable


def provenance_of(path: Path, made_by: str) -> JSON:
    """Read what made a result (Parquet, HDF5 or JSON), and nothing else of the file.

    Raises:
        InputError: the file is missing or damaged.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with readable(path, made_by, "Parquet"):
            metadata = pq.read_schema(path).metadata or {}
            return made_in(path, made_by, metadata.get(PROVENANCE.encode()))
    if path.suffix == ".h5":
        with reading_hdf5(path, made_by) as file:
            return hdf5_provenance(file)
    return read_json(path, made_by)["made"]
