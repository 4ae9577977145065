"""An environment with what requirements.lock names and the built package, and nothing else."""

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from miniature import ROOT

SOURCES = ("src", "pyproject.toml", "README.md", "LICENSE")


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line]


def environment(folder):
    """A virtual environment whose packages are links to those of this one.

    Returns:
        its folder of programs.
    """
    venv.create(folder, symlinks=True)
    place = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for name in locked():
        found = distribution(name)
        for file in found.files:
            source, target = file.locate(), Path(os.path.normpath(folder / place / str(file)))
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.parent.name == "bin":
                _, _, rest = source.read_bytes().partition(b"\n")
                target.write_bytes(b"#!%b\n%b" % (bytes(folder / "bin/python"), rest))
                target.chmod(0o755)
            elif target.suffix != ".pyc" and not target.exists():
                _link(source, target)
    return folder / "bin"


def _link(source, target):
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def wheel(folder):
    """The built package, by way of the source distribution; nothing is fetched for it.

    The test is skipped where the setuptools that builds it is not installed.
    """
    pytest.importorskip("setuptools", minversion="77")
    copy = folder / "copy"
    copy.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, copy / name, ignore=skipped)
        else:
            shutil.copy(source, copy / name)
    packed = _built("sdist", copy, folder)
    shutil.unpack_archive(packed, folder / "unpacked", filter="data")
    (sources,) = (folder / "unpacked").iterdir()
    return _built("wheel", sources, folder)


def _built(what, sources, folder):
    name = folder / f"{what}.txt"
    code = f"""
import pathlib, sys
from setuptools.build_meta import build_{what} as build
pathlib.Path(sys.argv[2]).write_text(build(sys.argv[1]))
"""
    command = [sys.executable, "-c", code, folder, name]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / name.read_text()


def install(built, programs):
    """Install the built package in an environment."""
    command = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "-q"]
    command += ["--no-deps", "--no-index", "--disable-pip-version-check", built]
    subprocess.run(command, check=True, capture_output=True)
