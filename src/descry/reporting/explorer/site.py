"""The site: a folder with the page and the packs of a run, put in place as a whole."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from descry.io.atomic import atomic_folder
from descry.io.prefetch import cores, map_ahead
from descry.reporting.explorer import APP
from descry.reporting.explorer.packs import Pack, script

PAGE, DATA = "index.html", "data"


def write_site(path: Path, packs: Iterable[Pack], commit: Pack) -> dict[str, int]:
    """Write the page, what belongs to it under `app/`, and each pack under `data/`.

    Args:
        commit: a note that is no part of the result, which DVC therefore leaves aside.

    Returns:
        How many packs, and bytes of them, without the note.
    """
    written = size = 0
    with atomic_folder(path) as folder:
        _copy_page(folder)
        (folder / DATA).mkdir()
        for name, text in map_ahead(_named, packs, cores()):
            (folder / DATA / f"{name}.js").write_text(text, encoding="ascii")
            written, size = written + 1, size + len(text)
        (folder / DATA / f"{commit.name}.js").write_text(script(commit), encoding="ascii")
    return {"packs": written, "bytes": size}


def _copy_page(folder: Path) -> None:
    for file in sorted(APP.rglob("*")):
        inside = file.relative_to(APP)
        if file.is_file() and not any(part.startswith(".") for part in inside.parts):
            copy = folder / PAGE if inside == Path(PAGE) else folder / "app" / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _named(pack: Pack) -> tuple[str, str]:
    return pack.name, script(pack)
