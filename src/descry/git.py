"""What git knows of a project: commits, and whether the tree is clean."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from descry.errors import InputError


class Commit(NamedTuple):
    """The commit that is checked out.

    Attributes:
        changed: tracked files that are no longer as in it.
    """

    sha: str
    changed: list[str]


def head(root: Path) -> Commit | None:
    """The commit that is checked out in a folder; None where there is no repository or commit."""
    sha = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if sha is None:
        return None
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "-z") or ""
    return Commit(sha.strip(), [entry[3:] for entry in status.split("\0") if entry[2:3] == " "])


def commit_of(root: Path, revision: str) -> str:
    """The commit that a revision or the name of a DVC experiment means.

    Raises:
        InputError: there is none.
    """
    sha = _git(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if sha is None:
        refs = _git(root, "for-each-ref", "refs/exps", "--format=%(objectname) %(refname)") or ""
        lines = (line.split(" ", 1) for line in refs.splitlines())
        sha = next((s for s, ref in lines if ref.rpartition("/")[2] == revision), None)
    if sha is None:
        raise InputError(f"{revision}: no such commit or DVC experiment here")
    return sha.strip()


def made_at(root: Path, commit: str) -> str:
    """When a commit was made (ISO 8601, UTC)."""
    seconds = _git(root, "show", "--no-patch", "--format=%ct", commit) or "0"
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def log(root: Path, first: str, second: str, path: str) -> list[str]:
    """The commits that changed a file on the way from one to the other, a line each."""
    return (_git(root, "log", "--oneline", f"{first}..{second}", "--", path) or "").splitlines()


def text_at(root: Path, commit: str, path: str) -> str | None:
    """A file's text in a commit; None if the commit has no such file."""
    return _git(root, "show", f"{commit}:{path}")


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace")
