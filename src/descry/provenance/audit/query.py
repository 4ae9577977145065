"""One question to the audit: about a neuron, a review, a descriptor or two commits."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.tree import Node
from descry.provenance.audit.brief import brief
from descry.provenance.audit.chain import ALL, audit
from descry.provenance.audit.changes import changes
from descry.provenance.audit.evidence import as_json
from descry.provenance.audit.project import Project
from descry.provenance.audit.tree import tree, tree_of_changes, tree_of_descriptor, tree_of_review
from descry.provenance.audit.uses import of_descriptor, of_review

# Followed at each branch, where nobody says how many; and mentions of each raw descriptor in what
# is else whole: a common one has thousands.
ROWS, GIVEN = 3, 20


class Finding(NamedTuple):
    """The result of an audit, as JSON or in words."""

    as_json: Callable[[], JSON]
    tree: Callable[[], Node]


def inquire(
    project: Project,
    subjects: Mapping[str, str | None],
    revisions: tuple[str, str] | None,
    rows: int | None,
    *,
    whole: bool,
    full: bool = True,
) -> Finding:
    """Answer a question.

    Args:
        subjects: by kind (neuron, review, descriptor), of which one is named.
        revisions: two commits, if the question is what changed for a neuron between them.
        rows: how much to follow at each branch.
        whole: follow all but mentions, where nobody says how much.
        full: of a neuron all of the evidence in words; else a few lines.

    Raises:
        InputError: not one subject, or there is no such thing.
    """
    named = [(kind, subject) for kind, subject in subjects.items() if subject is not None]
    if len(named) != 1:
        raise InputError(
            "audit: name one neuron, --review or --descriptor: type `descry audit L5:50`"
        )
    ((kind, subject),) = named
    most = (rows, rows) if rows is not None else (ALL, GIVEN) if whole else (ROWS, ROWS)
    if revisions is not None and kind != "neuron":
        raise InputError(
            "audit: --diff is about a neuron: type `descry audit --diff FROM TO L5:50`"
        )
    if revisions is not None:
        return _finding(changes(project, *revisions, subject), tree_of_changes)
    if kind == "review":
        return _finding(of_review(project, subject), tree_of_review)
    if kind == "descriptor":
        return _finding(of_descriptor(project, subject, *most), tree_of_descriptor)
    return _finding(audit(project, subject, *most), tree if full else brief)


Evidence = TypeVar("Evidence")


def _finding(evidence: Evidence, words: Callable[[Evidence], Node]) -> Finding:
    return Finding(partial(as_json, evidence), partial(words, evidence))
