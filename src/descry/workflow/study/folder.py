"""The folder of a study: written whole, or not at all."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dvc.utils.serialize import modify_yaml

from descry.corpus.files import review_files
from descry.errors import InputError
from descry.io.atomic import atomic_folder, write_text
from descry.io.git import LEADING_ASTRAY, repository_of
from descry.io.sanitize import printable
from descry.workflow.package import PACKAGE
from descry.workflow.stage import STARTED_WITH
from descry.workflow.study.checks import PRESET, Checked

_FILES = Path(__file__).parent / "files"
_WRITTEN = {  # places in the study, by the files here
    "Snakefile": "Snakefile",
    "gitignore": ".gitignore",
    "descriptors.yaml": "data/descriptors.yaml",
}
_BY_DVC = {"dvcignore": ".dvcignore", "dvc_config": ".dvc/config"}  # in the place of DVC's own
_PROFILES = "profiles"
_ABOUT = "# `descry preset NAME` "  # begins the line of a preset that says which one it is
_HEAD = (
    "# `descry init` wrote this file; `descry preset NAME` writes a preset over it. What begins"
    "\n# with docs/ is a page of descry's documentation.\n"
)
_COMMENT = re.compile(r"(?<=\S) {2,}# ")
Progress = Callable[[str], None]


def make(study: Checked, progress: Progress) -> None:
    """Make the folder of a study that was checked: files, repositories of git and DVC, dvc.yaml.

    Args:
        progress: is told of each step, in a line.

    Raises:
        InputError: git or DVC fails, or the disk is full; what was written is gone.
    """
    with atomic_folder(study.choices.folder.resolve()) as folder:
        _fill(study, folder, progress)


def _fill(study: Checked, folder: Path, progress: Progress) -> None:
    progress("reviews")
    reviews = _bring(study, folder / study.changes["corpus"]["reviews"])
    for place, model in study.links.items():
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).symlink_to(model)
    for name, place in _WRITTEN.items():
        shutil.copyfile(_FILES / name, folder / place)
    shutil.copytree(PACKAGE / "workflow" / _PROFILES, folder / _PROFILES)
    write_params(folder / "params.yaml", study.changes)
    progress("git and DVC")
    dvc = (sys.executable, "-m", "dvc")
    own = repository_of(folder) is None
    if own:
        _run(folder, "git", "-c", "init.defaultBranch=main", "init", "--quiet")
    _run(folder, *dvc, "init", "--quiet", *([] if own else ["--subdir"]))
    for name, place in _BY_DVC.items():
        shutil.copyfile(_FILES / name, folder / place)
    if study.choices.link:
        write_text(reviews.parent / ".gitignore", f"/{reviews.name}\n")
    else:
        _run(folder, *dvc, "add", "--quiet", reviews.relative_to(folder).as_posix())
    progress("dvc.yaml")
    _run(folder, sys.executable, "-m", "descry", "dvc")


def _bring(study: Checked, place: Path) -> Path:
    """Copy the reviews to their place, or link to them."""
    given = study.choices.reviews
    assert given is not None
    place.parent.mkdir()
    if study.choices.link:
        place.symlink_to(given.resolve())
    elif given.is_dir():
        place.mkdir()
        for file in review_files(given):
            shutil.copy2(file, place / file.name)
    else:
        shutil.copy2(given, place)
    return place


def write_params(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the preset with some values changed; its comments stay.

    Args:
        changes: by section and key.
    """
    lines = PRESET.read_text(encoding="utf-8").splitlines(keepends=True)
    write_text(path, "".join(_HEAD if line.startswith(_ABOUT) else line for line in lines))
    with modify_yaml(path) as params:
        for section, values in changes.items():
            for key, value in values.items():
                _set(params[section], key, value)
    text = path.read_text(encoding="utf-8")
    write_text(path, _COMMENT.sub(" # ", text))  # in DVC's own form: one blank before each


def _set(inside: Any, key: Any, value: Any) -> None:
    """Set a value; what is the same in it stays, with its comment."""
    old = inside[key]
    if isinstance(value, dict) and isinstance(old, dict):
        for name in [name for name in old if name not in value]:
            del old[name]
        for name, part in value.items():
            if name in old:
                _set(old, name, part)
            else:
                old[name] = part
    elif isinstance(value, list) and isinstance(old, list) and len(value) == len(old):
        for place, part in enumerate(value):
            _set(old, place, part)
    elif value != old:
        inside[key] = value


def _run(folder: Path, *command: str) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in (*LEADING_ASTRAY, STARTED_WITH)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        lines = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
        names = [part for part in command if part not in (sys.executable, "-m")]
        raise InputError(printable(f"{' '.join(names[:3])}: {lines[-1]}"))
