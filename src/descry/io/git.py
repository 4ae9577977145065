"""What git knows about a project: commits, and whether the tree is clean.

A git that fails is told apart from a folder without a repository, a file that a commit does not
have, and a revision that does not exist.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from descry.errors import InputError

# What git sets for its hooks would lead git from one project to another.
LEADING_ASTRAY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_PREFIX",
)
_FOLDERS = re.compile(r"(?<![\w.])/[^\s':]*/")
_VERIFY = ("rev-parse", "--verify", "--quiet", "--end-of-options")
_NONE_SUCH = 1  # its exit status where there is no such revision


class GitError(InputError):
    """Git could not tell."""


@dataclass(frozen=True)
class Head:
    """What is checked out in a folder.

    Attributes:
        sha: of the commit; None: there is no repository or commit, or else `unknown` says why git
            could not tell.
        changed: tracked files that differ from the commit; None: not known.
        unknown: why git could not tell everything, without folders of this machine.
    """

    sha: str | None = None
    changed: list[str] | None = None
    unknown: str | None = None


def head(root: Path) -> Head:
    """Return what is checked out in a folder, which need not be under git."""
    top = repository_of(root)
    if top is None:
        return Head()
    status = ("status", "--porcelain=v2", "--branch", "--untracked-files=no", "--no-renames", "-z")
    try:
        lines = _git(root, *status).split("\0")
    except GitError as error:
        unknown = _FOLDERS.sub("", str(error).removeprefix("git: ").replace(str(top), "."))
        return Head(_revision(root, "HEAD"), None, unknown)
    branch = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    if branch["branch.oid"] == "(initial)":
        broken = branch["branch.head"] == "(unknown)"
        return Head(unknown="the branch that HEAD names is damaged" if broken else None)
    # The path stands behind 8 fields, or 10 of a conflict.
    changed = [
        line.split(" ", 10 if line[0] == "u" else 8)[-1]
        for line in lines
        if line[:2] in ("1 ", "u ")
    ]
    return Head(branch["branch.oid"], changed)


def commit_of(root: Path, revision: str) -> str:
    """Return the commit of a revision, or of the name of a DVC experiment.

    Raises:
        InputError: there is none, or git fails.
    """
    if repository_of(root) is None:
        raise InputError(f"{revision}: no such commit or DVC experiment here: not under git")
    sha = _git(root, *_VERIFY, f"{revision}^{{commit}}", none_such=_NONE_SUCH)
    if not sha:
        refs = _git(root, "for-each-ref", "refs/exps", "--format=%(objectname) %(refname)")
        lines = (line.split(" ", 1) for line in refs.splitlines())
        sha = next((s for s, ref in lines if ref.rpartition("/")[2] == revision), "")
    if not sha:
        raise InputError(f"{revision}: no such commit or DVC experiment here")
    return sha.strip()


def made_at(root: Path, commit: str) -> str:
    """Return the time of a commit (ISO 8601, UTC).

    Raises:
        GitError: git fails.
    """
    seconds = _git(root, "show", "--no-patch", "--format=%ct", commit)
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def log(root: Path, first: str, second: str, path: str) -> list[str]:
    """Return the commits between two commits that changed a file, one line each.

    Raises:
        GitError: git fails.
    """
    return _git(root, "log", "--oneline", f"{first}..{second}", "--", path).splitlines()


def text_at(root: Path, commit: str, path: str) -> str | None:
    """Return a file's text in a commit; None if the commit has no such file.

    Raises:
        GitError: git fails.
    """
    if not _git(root, "ls-tree", "--full-tree", "-z", commit, "--", path):
        return None
    return _git(root, "show", f"{commit}:{path}")


def _revision(root: Path, name: str) -> str | None:
    """The commit that a name stands for, as far as git can still tell."""
    try:
        return _git(root, *_VERIFY, name, none_such=_NONE_SUCH).strip() or None
    except GitError:
        return None


def repository_of(root: Path) -> Path | None:
    """The folder, or one around it, that has a repository, usable or not."""
    here = root.resolve()
    return next((place for place in (here, *here.parents) if os.path.lexists(place / ".git")), None)


def _git(root: Path, *arguments: str, none_such: int | None = None) -> str:
    """What git prints; nothing where it ends with `none_such` and has no complaint.

    Raises:
        GitError: git fails, or is not installed.
    """
    kept = {name: value for name, value in os.environ.items() if name not in LEADING_ASTRAY}
    kept["LC_ALL"] = "C"
    if top := repository_of(
        root
    ):  # a repository that is damaged must not be passed over for one around it
        kept["GIT_CEILING_DIRECTORIES"] = str(top.parent)
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, env=kept)
    except FileNotFoundError as error:
        raise GitError("git: not installed") from error
    except OSError as error:
        raise GitError(f"git: cannot be run ({error.strerror})") from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode and (said or done.returncode != none_such):
        lines = said.splitlines() or [f"exit status {done.returncode}"]
        worst = next((line for line in lines if line.startswith("fatal: ")), lines[0])
        raise GitError(f"git: {worst.removeprefix('fatal: ').removeprefix('error: ')}")
    return done.stdout.decode(errors="replace")
