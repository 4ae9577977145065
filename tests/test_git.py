"""What git knows of a project; where it cannot tell, that is said, and why."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from descry.errors import InputError
from descry.io.git import GitError, Head, commit_of, head, log, made_at, text_at


def git(root, *arguments):
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path):
    """A repository of one commit with a file, which has been changed since."""
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "a file").write_text("one\n")
    (root / "other").write_text("same\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    (root / "a file").write_text("two\n")
    return root


def test_a_commit_and_what_has_changed_since(root):
    sha = git(root, "rev-parse", "HEAD")
    assert head(root) == Head(sha, ["a file"], None)
    git(root, "commit", "-qam", "second")
    assert head(root).changed == []
    git(root, "mv", "a file", "moved")
    assert head(root).changed == ["a file", "moved"]


def test_a_conflict_is_a_change(root):
    git(root, "commit", "-qam", "second")
    git(root, "checkout", "-q", "-b", "side", "HEAD~1")
    (root / "a file").write_text("three\n")
    git(root, "commit", "-qam", "third")
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "main")
    assert head(root).changed == ["a file"]


def test_no_repository_and_no_commit_are_known_to_be_none(tmp_path):
    assert head(tmp_path) == Head()
    git(tmp_path, "init", "-q")
    assert head(tmp_path) == Head()


def test_no_repository_is_known_even_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert head(tmp_path) == Head()


def _spoil_index(root):
    (root / ".git/index").write_bytes(b"spoilt")


def _spoil_objects(root):
    for path in (root / ".git/objects").glob("??/*"):
        path.chmod(0o600)
        path.write_bytes(b"spoilt")


def _lose_objects(root):
    shutil.rmtree(root / ".git/objects")
    (root / ".git/objects").mkdir()


def _spoil_config(root):
    (root / ".git/config").write_text("[core\n")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_spoil_index, "index file smaller than expected"),
        (_spoil_objects, "loose object|bad object|inflate|bad tree"),
        (_lose_objects, "bad object HEAD"),
        (_spoil_config, "bad config"),
        (lambda root: (root / ".git/HEAD").write_text(""), "not a git repository"),
        (lambda root: (root / ".git/refs/heads/main").write_text(""), "is damaged"),
        (lambda root: (root / ".git/refs/heads/main").write_text("spoilt\n"), "is damaged"),
    ],
)
def test_of_a_damaged_repository_nothing_is_said_to_be_clean_or_without_commit(root, spoil, reason):
    # One around it must not answer in its stead.
    git(root.parent, "init", "-q")
    git(root.parent, "commit", "-q", "--allow-empty", "-m", "another project's")
    sha = git(root, "rev-parse", "HEAD")
    spoil(root)
    found = head(root)
    assert found.changed is None
    assert found.sha in (sha, None)
    assert re.search(reason, found.unknown)
    assert str(root.parent) not in found.unknown


def test_without_git_on_this_machine_a_commit_is_not_known(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert head(root) == Head(None, None, "not installed")
    with pytest.raises(GitError, match="git: not installed"):
        commit_of(root, "HEAD")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_repository_of_somebody_else_is_not_known(root, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for path in (root, root / ".git"):
        os.chown(path, 12345, 12345)
    found = head(root)
    assert (found.sha, found.changed) == (None, None)
    assert found.unknown == "detected dubious ownership in repository at '.'"
    with pytest.raises(GitError, match=f"dubious ownership in repository at '{root}'"):
        commit_of(root, "HEAD")


def test_what_git_sets_for_its_hooks_leads_nowhere_else(root, tmp_path, monkeypatch):
    expected = head(root)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert head(root) == expected


def test_a_file_that_a_commit_does_not_have_is_told_from_a_git_that_fails(root):
    sha = git(root, "rev-parse", "HEAD")
    assert text_at(root, sha, "a file") == "one\n"
    assert text_at(root, sha, "none") is None
    assert log(root, sha, sha, "a file") == []
    _spoil_objects(root)
    for answer_prompts in (lambda: text_at(root, sha, "none"), lambda: made_at(root, sha)):
        with pytest.raises(GitError, match=r"^git: "):
            answer_prompts()
    with pytest.raises(GitError, match=r"^git: "):
        log(root, f"{sha}~1", sha, "a file")


def test_no_such_revision_is_told_from_a_git_that_fails(root):
    with pytest.raises(InputError, match=r"^nope: no such commit or DVC experiment here$"):
        commit_of(root, "nope")
    _spoil_config(root)
    with pytest.raises(GitError, match="bad config"):
        commit_of(root, "nope")


def test_outside_of_git_there_is_no_revision(tmp_path):
    with pytest.raises(InputError, match=r"HEAD: no such commit .* not under git"):
        commit_of(tmp_path, "HEAD")


def test_when_a_commit_was_made(root, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2024-01-02T03:04:05+01:00")
    git(root, "commit", "-qam", "second")
    assert made_at(Path(root), "HEAD") == "2024-01-02T02:04:05+00:00"
