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
    """The built package; the test is skipped where what builds it cannot be had."""
    copy = folder / "copy"
    copy.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, copy / name, ignore=skipped)
        else:
            shutil.copy(source, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found" in done.stderr or "ConnectionError" in done.stderr:
        pytest.skip("what builds the wheel cannot be had")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def install(built, programs):
    """Install the built package in an environment."""
    command = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "-q"]
    command += ["--no-deps", "--no-index", "--disable-pip-version-check", built]
    subprocess.run(command, check=True, capture_output=True)
