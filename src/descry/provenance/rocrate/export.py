"""A run as a Workflow Run RO-Crate: one folder or .zip that others can read without descry."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from descry.errors import InputError, not_installed
from descry.io.atomic import atomic, atomic_folder
from descry.provenance.rocrate.sources import read_sources


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
            or is not as it records; or the package rocrate is not installed.
    """
    try:
        from descry.provenance.rocrate.entities import Description
    except ModuleNotFoundError as error:
        raise not_installed("rocrate", "crate", "export-crate") from error
    output = output.absolute()
    is_zip = output.suffix == ".zip"
    if output.exists() and (is_zip or not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: exists already: name another, or remove it")
    sources = read_sources(root)
    held = sources.contents(reviews=reviews, activations=activations)
    crate = Description(sources, held).crate
    if is_zip:
        with atomic(output) as part, TemporaryDirectory(dir=output.parent, prefix=".crate") as full:
            crate.write(full)
            _zip(Path(full), part)
    else:
        with atomic_folder(output) as folder:
            crate.write(folder)
    absent = [content for content in held.values() if content.absent is not None]
    files = len(crate.get_by_type("File")) - sum(not content.is_folder for content in absent)
    return {"files": files, "left out": len(absent), "entities": len(crate.get_entities())}


def _zip(folder: Path, output: Path) -> None:
    """Pack a folder; no times stand in the archive."""
    with ZipFile(output, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = ZipInfo(file.relative_to(folder).as_posix())
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
