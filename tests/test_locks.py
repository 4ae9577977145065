"""The locks: what a study needs is in one, what only tests and checks need in the other."""

import importlib.metadata
import re
import sys
import tomllib

import pytest
from miniature import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(name):
    lines = [line for line in (ROOT / name).read_text().splitlines() if line[:1] not in ("", "#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.]+", line) for line in lines)
    return {canonicalize_name(line.partition("==")[0]) for line in lines}


def needed(requirements):
    """The packages that some need, and those that these need, and so on."""
    todo, seen = [Requirement(one) for one in requirements], set()
    while todo:
        one = todo.pop()
        if (key := (canonicalize_name(one.name), frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        for text in importlib.metadata.requires(one.name) or []:
            further = Requirement(text)
            extras = one.extras | {""}
            if not further.marker or any(further.marker.evaluate({"extra": e}) for e in extras):
                todo.append(further)
    return {name for name, _ in seen} - {"setuptools", "pip"}  # of every environment


def test_requirements_lock_is_what_a_study_needs_and_nothing_else():
    wanted = needed(PROJECT["dependencies"])
    assert wanted <= locked("requirements.lock")
    if sys.version_info[:2] == (3, 11):  # another Python brings some of them itself
        assert wanted == locked("requirements.lock")


def test_the_other_lock_is_what_tests_and_checks_need_besides():
    besides = needed(PROJECT["optional-dependencies"]["dev"]) - locked("requirements.lock")
    assert besides <= locked("requirements.dev.lock")
    if sys.version_info[:2] == (3, 11):
        assert besides == locked("requirements.dev.lock")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements.dev.lock"])
def test_no_package_is_in_a_lock_twice(name):
    lines = (ROOT / name).read_text().splitlines()
    names = [line.partition("==")[0].lower() for line in lines if "==" in line]
    assert len(names) == len(set(names))
