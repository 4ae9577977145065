"""One question to the audit: about a neuron, a review, a descriptor, an answer or two commits."""

from collections.abc import Mapping
from typing import NamedTuple

from descry.audit.chain import ALL, audit
from descry.audit.change_tree import tree_of_changes
from descry.audit.changes import changes
from descry.audit.project import Project
from descry.audit.tree import Node, tree
from descry.audit.use_tree import tree_of_descriptor, tree_of_prompt, tree_of_review
from descry.audit.uses import of_descriptor, of_prompt, of_review
from descry.errors import InputError
from descry.storage import JSON

ROWS = 3  # followed at each branch, where nobody says how many


class Finding(NamedTuple):
    """What an audit found: as data and in words."""

    evidence: JSON
    tree: Node


def inquire(
    project: Project,
    subjects: Mapping[str, str | None],
    revisions: tuple[str, str] | None,
    rows: int | None,
    *,
    whole: bool,
) -> Finding:
    """Answer a question.

    Args:
        subjects: by kind (neuron, review, descriptor, prompt), of which one is named.
        revisions: two commits, if the question is what changed for a neuron between them.
        rows: how much to follow at each branch.
        whole: follow all, where nobody says how much.

    Raises:
        InputError: not one subject, or there is no such thing.
    """
    named = [(kind, subject) for kind, subject in subjects.items() if subject is not None]
    if len(named) != 1:
        raise InputError("audit: name one neuron, --review, --descriptor or --prompt")
    ((kind, subject),) = named
    most = rows if rows is not None else ALL if whole else ROWS
    if revisions is not None and kind != "neuron":
        raise InputError("audit: --diff is about a neuron, such as L5:24")
    if revisions is not None:
        changed = changes(project, *revisions, subject)
        return Finding(changed.as_json(), tree_of_changes(changed))
    if kind == "review":
        review = of_review(project, subject)
        return Finding(review.as_json(), tree_of_review(review))
    if kind == "descriptor":
        descriptor = of_descriptor(project, subject, most)
        return Finding(descriptor.as_json(), tree_of_descriptor(descriptor))
    if kind == "prompt":
        prompt = of_prompt(project, subject)
        return Finding(prompt.as_json(), tree_of_prompt(prompt))
    found = audit(project, subject, most)
    return Finding(found.as_json(), tree(found))
