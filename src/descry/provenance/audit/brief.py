"""What an audit found of a neuron, in a few lines: its labels, and the reviews behind them."""

from descry.activations.exemplar_files import activation_places
from descry.activations.top_k import HIGHEST
from descry.corpus.splits import HALVES
from descry.io.number_format import fixed, small
from descry.io.tree import Node
from descry.models.neurons import whose
from descry.provenance.audit.evidence import Audit, Label
from descry.provenance.audit.files import CHANGED, GONE

NO_COMMIT = "no git commit here: `git add -A && git commit` keeps the run"
_SHORT = 12  # digits of a hash


def brief(audit: Audit) -> Node:
    """The evidence for a neuron's labels, as far as a reader first wants it."""
    target, made_by = audit.target, audit.target.get("dictionary")
    of = f"the {made_by['kind']}s of {whose(made_by)}, over " if made_by else ""
    top = Node(
        f"{audit.neuron} of {of}{target['model']} @ {target['revision'][:_SHORT]} (weights sha256"
        f" {target['weights'][:_SHORT]}), {target['site']} at {target['position']}"
    )
    for label in audit.labels:
        _label(top, label, activation_places(audit.spread))
    for end, nearest in audit.strongest.items():
        told = f"{nearest['descriptor']}, q {small(nearest['q'])}"
        top.add(f"{_at_end(end)}no label; nearest to one: {told}")
    for end, why in audit.silent.items():
        top.add(f"{_at_end(end)}no exemplars, no label: {why}")
    for words in audit.warnings:
        top.add(f"warning: {words}")
    _files(top, audit)
    changed = f", {len(audit.changed)} files changed since" if audit.changed else ""
    if audit.commit is not None:
        top.add(f"git commit {audit.commit[:_SHORT]}{changed}")
    else:
        top.add(f"git commit not known ({audit.unknown})" if audit.unknown else NO_COMMIT)
    top.add(f"all of the evidence: descry audit {audit.neuron} --full")
    return top


def _at_end(end: str) -> str:
    return "" if end == HIGHEST else f"{end} activations: "


def _label(top: Node, label: Label, digits: int) -> None:
    numbers = label.splits["all"]
    sure = sum(label.splits[half].confirmed for half in HALVES)
    halves = {2: "both halves confirm it", 1: "one half confirms it", 0: "no half confirms it"}[
        sure
    ]
    node = top.add(
        f"{_at_end(label.end)}label {label.descriptor}: {label.tagged} of {label.size} exemplars"
        f" have it, {fixed(numbers.expected, 1)} by chance (q {small(numbers.q)}); {halves}"
    )
    for exemplar in label.exemplars:
        review, value = exemplar.review, fixed(exemplar.activation, digits)
        below = node.add(f"{review.source}:{review.line}: {review.text}")
        said = f"exemplar {exemplar.rank}, activation {value}, id {review.id}"
        below.add(f"{said}, {exemplar.seen}" if exemplar.seen else said)
    more = label.tagged - len(label.exemplars)
    if more > 0:
        node.add(f"and {more} more")


def _files(top: Node, audit: Audit) -> None:
    """The files on the way that are not as they were, if there are any."""
    looked = {
        file.path: file.state
        for step in audit.steps
        for file in (*step.inputs, *step.outputs, *step.code)
    }
    other = {path: state for path, state in looked.items() if state in (CHANGED, GONE)}
    if not other:
        top.add(f"no file on the way has changed since ({len(looked)} looked at)")
        return
    node = top.add(f"{len(other)} of {len(looked)} files on the way are not as they were")
    for path, state in sorted(other.items()):
        node.add(f"{path}: {state}")
