"""In words, what changed for a neuron between two commits."""

from descry.io.number_format import fixed, small
from descry.io.tree import Node
from descry.labels.results import Numbers
from descry.provenance.audit.changes import Changes, LabelChange
from descry.provenance.audit.tree import at_end


def tree_of_changes(changes: Changes) -> Node:
    """The labels that came and went, and the causes."""
    top = Node(f"{changes.neuron}: {changes.first} -> {changes.second}")
    for label in changes.labels:
        top.add(_label(label))
    if not changes.labels:
        top.add("no label before or after")
    for end, (common, before, after) in changes.exemplars.items():
        top.add(f"{at_end(end)}exemplars: {common} in both sets, of {before} before, {after} after")
    causes = top.add("causes" if changes.causes else "no cause: nothing differs")
    for cause in changes.causes:
        without = "" if cause.effective else " (without effect: the stage's outputs are the same)"
        node = causes.add(f"stage {cause.stage}: {cause.kind}: {cause.what}{without}")
        for commit in cause.commits:
            node.add(f"commit {commit}")
    if changes.unchanged:
        top.add(f"stages with the same outputs: {', '.join(changes.unchanged)}")
    return top


def _label(label: LabelChange) -> str:
    was, now = (_numbers(numbers) for numbers in (label.before, label.after))
    return (
        f"{at_end(label.end)}{label.descriptor} {label.change}: {was} -> {now}; the annotator said"
        f" the same of {label.same_answers} exemplars in common"
    )


def _numbers(numbers: Numbers | None) -> str:
    if numbers is None:
        return "no such descriptor"
    return f"f {fixed(numbers.f)}, q {small(numbers.q)}"
