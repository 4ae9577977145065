"""A run as a Workflow Run RO-Crate: one folder or .zip that others can read without descry."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from descry.errors import InputError
from descry.io.atomic import atomic, guarded
from descry.provenance.rocrate.contents import contents
from descry.provenance.rocrate.metadata import described
from descry.provenance.rocrate.run import read_run


def export_crate(root: Path, output: Path, *, reviews: bool, activations: bool) -> dict[str, int]:
    """Write the run in a project's folder as a crate.

    Args:
        output: a folder that is not there yet, or is empty; or a new .zip.
        reviews: whether files that hold texts of reviews go into it.
        activations: whether the activation matrix does.

    Returns:
        How many files it has; how many files, or whole folders, are only described; its entities.

    Raises:
        InputError: the output is there, dvc.lock does not record a whole run, or a file is missing
            or is not as it records.
    """
    if output.exists() and not _is_empty(output):
        raise InputError(f"{output}: is there already: name another, or remove it")
    run = read_run(root)
    held = contents(run, reviews=reviews, activations=activations)
    crate = described(run, held)
    with _unpacked(output) as folder:
        crate.write(folder)
    absent = sum(content.absent is not None for content in held.files.values())
    files = len(crate.get_by_type("File")) - absent
    return {"files": files, "left out": held.absent, "entities": len(crate.get_entities())}


def _is_empty(output: Path) -> bool:
    return output.is_dir() and output.suffix != ".zip" and not any(output.iterdir())


@contextmanager
def _unpacked(output: Path) -> Iterator[Path]:
    """Yield a folder beside the output; when it is full it becomes the output, else it goes."""
    output = output.absolute()
    folder = output.with_name(f".{output.name}.{os.getpid()}.folder")
    try:
        with guarded(output):
            folder.mkdir(parents=True)
            yield folder
            if output.suffix == ".zip":
                _zip(folder, output)
            else:
                folder.replace(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _zip(folder: Path, output: Path) -> None:
    """Pack a folder; no times stand in the archive."""
    with atomic(output) as part, ZipFile(part, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = ZipInfo(file.relative_to(folder).as_posix())
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
