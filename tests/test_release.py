"""What a release needs says the same everywhere, in the forms that other tools read."""

import re
import tomllib
from datetime import date

import pytest
import yaml
from miniature import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]  # keep-a-changelog.com
INPUTS = {"textarea", "dropdown", "input", "checkboxes"}


def test_the_changelog_has_the_form_of_keep_a_changelog():
    head, *versions = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert head == "[Unreleased]"
    for version in versions:
        number, day = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (.+)", version).groups()
        assert date.fromisoformat(day)
        assert number
    for part in re.split(r"^## .+$", CHANGELOG, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]  # each once, in this order


def test_version_licence_and_date_are_the_same_everywhere():
    newest, day = re.search(r"^## \[(\d.*)\] - (.+)$", CHANGELOG, re.MULTILINE).groups()
    assert PROJECT["version"] == newest == CITATION["version"]
    assert CITATION["date-released"] == day
    assert PROJECT["license"] == CITATION["license"]


def test_the_citation_file_has_what_its_format_demands():
    assert {"cff-version", "message", "title", "authors"} <= CITATION.keys()
    assert CITATION["cff-version"] == "1.2.0"
    for work in (CITATION, *CITATION["references"]):
        assert {"type", "title", "authors"} <= work.keys()
        assert all({"name"} == who.keys() or "family-names" in who for who in work["authors"])
    named = {
        identifier["value"] for work in CITATION["references"] for identifier in work["identifiers"]
    }
    readme = (ROOT / "README.md").read_text()
    assert all(name.removeprefix("arXiv:") in readme for name in named)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_one(path):
    form = yaml.safe_load(path.read_text())
    if path.name == "config.yml":
        assert form == {"blank_issues_enabled": True}
        return
    assert form["name"] and form["description"]
    asked = [part for part in form["body"] if part["type"] in INPUTS]
    assert {part["type"] for part in form["body"]} <= INPUTS | {"markdown"}
    assert len({part["id"] for part in asked}) == len(asked) > 0
    assert all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)
