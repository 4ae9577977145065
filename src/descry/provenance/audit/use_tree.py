"""In words, which labels a review, a descriptor or an answer went into."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from descry.io.hashing import canonical
from descry.io.number_format import fixed
from descry.io.tree import Node
from descry.provenance.audit.tree import answer, at_end, cluster, place, prompt
from descry.provenance.audit.uses import DescriptorUse, Given, PromptUse, ReviewUse, Support


def tree_of_review(use: ReviewUse) -> Node:
    """The labels that a review went into."""
    top = Node(f"review {use.review.id}: {use.review.text}")
    top.add(place(use.review))
    _given(top, use.given)
    line = f"{len(use.labels)} labels count it; it is an exemplar of {use.exemplar_of} neurons"
    if use.base_rate_of:
        line += f", and one of {use.base_rate_of} sentences behind every base rate"
    _supported(top, use.labels, line)
    return top


def tree_of_descriptor(use: DescriptorUse) -> Node:
    """The labels that a descriptor is."""
    top = Node(f"descriptor {use.descriptor}")
    if use.fate:
        top.add(f"no label of any neuron: {use.fate}")
    top.add(f"{use.yes} of {use.answered} sentences have it, by the annotator's answers")
    for end, splits in use.neurons.items():
        for split, neurons in splits.items():
            line = f"{at_end(end)}label of {len(neurons)} neurons in split {split}"
            top.add(line + (": " if neurons else "") + ", ".join(neurons))
    if use.cluster:
        cluster(top, use.cluster)
    return top


def tree_of_prompt(use: PromptUse) -> Node:
    """The labels that an answer went into."""
    top = Node(f"key {use.key}, {use.task}")
    if use.prompt is not None:
        top.add(prompt(use.prompt))
    if use.record is None:
        top.add("not in this cache")
    else:
        origin = use.record["origin"]
        top.add(f"answered {canonical(use.record['response'])}, made {use.record['made']}")
        top.add(f"by {origin['model']} @ {origin['revision']}, {origin['dtype']}")
    for review in use.reviews:
        top.add(f"{place(review)}: {review.text}")
    if use.task == "p1":
        _given(top, use.given)
    if use.task == "p2":
        _supported(top, use.labels, f"{len(use.labels)} labels count it")
    return top


def _given(top: Node, given: Sequence[Given]) -> None:
    """Raw descriptors below the answers that named them."""
    node = top.add(f"{len(given)} raw descriptors named")
    for answers in _by_answer(given):
        said = replace(answers[0].answer, says=", ".join(it.phrase for it in answers))
        below = answer(node, said)
        for it in answers:
            went = f"went into {it.descriptor}" if it.descriptor else "went into no descriptor"
            below.add(f"{it.phrase}: {went}")


def _supported(top: Node, labels: Sequence[Support], text: str) -> None:
    """Labels below the answers that they count."""
    node = top.add(text)
    for counted in _by_answer(labels):
        below = answer(node, counted[0].answer)
        for it in counted:
            line = f"{it.neuron}: {at_end(it.end)}{it.descriptor}"
            below.add(f"{line} (exemplar {it.rank}, activation {fixed(it.activation, it.digits)})")


Of = TypeVar("Of", Given, Support)


def _by_answer(uses: Sequence[Of]) -> list[list[Of]]:
    found: dict[str, list[Of]] = {}
    for use in uses:
        found.setdefault(use.answer.key, []).append(use)
    return list(found.values())
