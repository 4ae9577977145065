"""Folders as DVC versions them: the hash is the one that DVC itself writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from descry.io.dvc_files import cache_of, files_of, hashes_of, kept, listing, md5
from descry.io.hashing import md5_file

IGNORED = """
# notes
out/data/commit.js
.stamp
*.tmp
 /out/drafts/
!kept.tmp
"""
# The order of a listing is that of whole paths: a.js is before a/b.js, a-b.js before both.
FILES = [
    "index.html", "a/b.js", "a.js", "a-b.js", "a/b/c.js", "data/run.js", "data/.hidden", "ä/ö.js",
    "data/commit.js.gz", "deep/data/commit.js", "kept.tmp", "empty",
]  # fmt: skip
NOT_COUNTED = ["data/commit.js", ".stamp", "a/.stamp", "a/x.tmp", "drafts/x.js", "drafts/y/z.js"]


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "empty" else f"of {name}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """A project with a folder that DVC was given, beside what it ignores there."""
    root = tmp_path_factory.mktemp("added")
    write(root / "out", [*FILES, *NOT_COUNTED])
    dvc = [sys.executable, "-m", "dvc"]
    for command in (["git", "init"], [*dvc, "init"]):
        subprocess.run([*command, "-q"], cwd=root, check=True)
    (root / ".dvcignore").write_text(IGNORED)
    subprocess.run([*dvc, "add", "-q", "out"], cwd=root, check=True)
    return root


def recorded(root):
    return yaml.safe_load((root / "out.dvc").read_text())["outs"][0]["md5"]


def test_the_md5_of_a_folder_is_the_one_that_dvc_writes(added, monkeypatch):
    assert md5(added / "out", added) == recorded(added)
    monkeypatch.chdir(added)
    assert md5(Path("out"), Path()) == recorded(added)
    Path("docs").mkdir()  # where a notebook may be
    assert md5(Path("docs/../out"), Path("docs/..")) == recorded(added)


def test_what_dvc_ignores_is_no_file_of_a_folder(added):
    assert list(files_of(added / "out", added)) == sorted(FILES)
    elsewhere = added / "elsewhere"  # no project of its own: nothing is ignored there
    assert set(files_of(added / "out", elsewhere)) == {*FILES, *NOT_COUNTED}


def test_a_dvcignore_of_an_inner_folder_counts_as_it_does_for_dvc(added):
    write(added / "data/inner", ["a.js", "x.bak", "deep/y.bak", "deep/z.js"])
    (added / "data/.dvcignore").write_text("*.bak\n")
    dvc = [sys.executable, "-m", "dvc", "add", "-q", "data/inner"]
    subprocess.run(dvc, cwd=added, check=True)
    known = yaml.safe_load((added / "data/inner.dvc").read_text())["outs"][0]["md5"]
    assert md5(added / "data/inner", added) == known
    assert list(files_of(added / "data/inner", added)) == ["a.js", "deep/z.js"]


def test_dvcs_cache_has_the_listing_of_a_folder_and_its_files(added):
    cache, known = cache_of(added), recorded(added)
    assert listing(cache, known) == hashes_of(added / "out", added)
    places = kept(cache, known)
    assert {name: place.read_text() for name, place in places.items()} == {
        name: place.read_text() for name, place in files_of(added / "out", added).items()
    }
    alone = md5_file(added / "out/a.js")
    assert kept(cache, alone) == {"": places["a.js"]}


def test_what_dvcs_cache_lacks_or_has_damaged_is_not_kept(added, tmp_path):
    assert (listing(tmp_path, "ab" * 16 + ".dir"), kept(tmp_path, "ab" * 16)) == (None, None)
    subprocess.run(["cp", "-a", cache_of(added), tmp_path / "cache"], check=True)
    known = recorded(added)
    place = tmp_path / "cache/files/md5" / known[:2] / known[2:]
    one = kept(tmp_path / "cache", known)["a.js"]
    one.chmod(0o644)
    one.write_text("damaged")
    assert kept(tmp_path / "cache", known) is None
    assert listing(tmp_path / "cache", known) is not None
    place.chmod(0o644)
    place.write_text(json.dumps([]))
    assert listing(tmp_path / "cache", known) is None


def test_a_file_is_alone_and_nothing_has_no_md5(tmp_path):
    (tmp_path / "file").write_text("x")
    assert files_of(tmp_path / "file", tmp_path) == {"": tmp_path / "file"}
    assert md5(tmp_path / "file", tmp_path) == md5_file(tmp_path / "file")
    assert files_of(tmp_path / "none", tmp_path) == {}
    assert md5(tmp_path / "none", tmp_path) is None


def test_a_folder_of_nothing_that_counts_has_an_md5(tmp_path):
    write(tmp_path / "out", [".stamp"])
    (tmp_path / ".dvcignore").write_text(".stamp\n")
    (tmp_path / "other").mkdir()
    assert files_of(tmp_path / "out", tmp_path) == {}
    assert md5(tmp_path / "out", tmp_path) == md5(tmp_path / "other", tmp_path)


def test_a_file_is_read_whatever_its_time_says(tmp_path):
    # DVC's own status takes one whose time and size are the same for unchanged.
    write(tmp_path / "out", ["a.js"])
    place = tmp_path / "out/a.js"
    before, times = md5(tmp_path / "out", tmp_path), place.stat()
    place.write_text(place.read_text().upper())
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert md5(tmp_path / "out", tmp_path) != before
