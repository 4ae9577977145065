"""What an audit found, in words: trees of lines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from descry.activations.exemplar_files import activation_places, spread
from descry.activations.top_k import HIGHEST
from descry.corpus.covariates import in_words
from descry.evaluation.confounders import told
from descry.io.hashing import JSON, canonical
from descry.io.nested import flat
from descry.io.number_format import fixed, small
from descry.io.tree import Node
from descry.labels.results import Numbers
from descry.models.neurons import whose
from descry.provenance.audit.changes import Changes, LabelChange
from descry.provenance.audit.evidence import (
    Answer,
    Audit,
    Cluster,
    Exemplar,
    File,
    Label,
    Review,
    Step,
)
from descry.provenance.audit.files import UNCHANGED
from descry.provenance.audit.uses import DescriptorUse, Given, ReviewUse, Support

FEW = 4  # files of a stage that are listed one by one


def tree(audit: Audit) -> Node:
    """The evidence for a neuron's labels."""
    target = audit.target
    quantized = f", quantised as {target['quantization']}" if "quantization" in target else ""
    left_out = " without its first tokens" if target.get("sinks") else ""
    made_by = target.get("dictionary")
    of = f"the {made_by['kind']}s of {whose(made_by)}, over " if made_by else ""
    top = Node(
        f"{audit.neuron} of {of}{target['model']} @ {target['revision']}"
        f" (weights sha256 {target['weights']}{quantized}), {target['site']} at"
        f" {target['position']}{left_out}"
    )
    top.add(f"activations of {audit.sentences} sentences: {spread(audit.spread)}")
    for label in audit.labels:
        _label(top, label, activation_places(audit.spread))
    for end, nearest in audit.strongest.items():
        top.add(f"{_at_end(end)}no label; nearest to one: {_nearest(nearest)}")
    for end, descriptors in audit.explained.items():
        for name, numbers in descriptors.items():
            by = in_words(audit.strata)
            top.add(f"{_at_end(end)}explained by {by}: {name}: {_numbers(numbers)}")
    for end, why in audit.silent.items():
        top.add(f"{_at_end(end)}no exemplars, no label: {why}")
    if audit.follows:
        node = top.add("what it follows beside topics")
        for row in audit.follows:
            node.add(_follows(row))
    for words in audit.warnings:
        top.add(f"warning: {words}")
    for dropped in audit.dropped:
        top.add(f"no label of any neuron: {dropped['descriptor']}: {dropped['reason']}")
    top.children.append(_steps(audit.steps))
    _commit(top, audit)
    return top


def _at_end(end: str) -> str:
    """What stands before a line about the lowest activations."""
    return "" if end == HIGHEST else f"{end} activations: "


def _nearest(nearest: JSON) -> str:
    return f"{nearest['descriptor']}, f {fixed(nearest['f'])}, q {small(nearest['q'])}"


def _label(top: Node, label: Label, digits: int) -> None:
    node = top.add(f"{_at_end(label.end)}label: {label.descriptor} (the rule: {label.rule})")
    for split, numbers in label.splits.items():
        node.add(f"{split}: {label.verdicts[split]}: {_numbers(numbers)}")
    below = node.add(f"{label.tagged} of {label.size} exemplars have it")
    for exemplar in label.exemplars:
        _exemplar(below, exemplar, digits)
    _cluster(node, label.cluster)


def _numbers(n: Numbers) -> str:
    return (
        f"{n.count} exemplars, {fixed(n.expected, 1)} expected of the strata, f {fixed(n.f)},"
        f" base rate {fixed(n.base_rate)}, lift {fixed(n.lift, 1)}, p {small(n.p)}, q {small(n.q)};"
        f" among all sentences p {small(n.p_unmatched)}, q {small(n.q_unmatched)}"
    )


def _follows(row: JSON) -> str:
    exemplars, matched, corpus = told(row)
    return (
        f"{row['covariate']}: rho {fixed(row['rho'], 2)} (95% of unrelated neurons are below"
        f" {fixed(row['rho_chance'], 2)}); exemplars {exemplars}, random sentences of the same"
        f" strata {matched}, corpus {corpus}"
    )


def _exemplar(node: Node, exemplar: Exemplar, digits: int) -> None:
    review = exemplar.review
    value = fixed(exemplar.activation, digits)
    below = node.add(f"exemplar {exemplar.rank}, activation {value}: {review.text}")
    if exemplar.seen:
        below.add(exemplar.seen)
    below.add(_place(review))
    answer(below, exemplar.answer)


def _place(review: Review) -> str:
    """Where a sentence was read."""
    known = {"asin": review.asin, "reviewer": review.reviewer, "rating": review.overall}
    who = ", ".join(f"{name} {value}" for name, value in known.items() if value)
    return (
        f"review {review.id} ({review.split} half): {review.source} line {review.line}"
        f" (sha256 {review.sha256})" + (f", {who}" if who else "")
    )


def answer(node: Node, it: Answer) -> Node:
    """Add an annotator's answer, with its prompt and key."""
    who = it.annotator
    odds = ", in words" if it.score is None else f", log-odds {fixed(it.score)}"
    odds += "" if it.taken_off is None else f" after {fixed(it.taken_off)} was taken off"
    if it.yes_above is not None:
        odds += f", the proxy's (Yes above {fixed(it.yes_above)}; its oracle was not asked)"
    below = node.add(
        f"answer {it.says or 'none that can be used'}{odds}, by {who['name']}: {who['model']} @"
        f" {who['revision']}, {who['dtype']}"
        + (f"; the prompt's sentence was cut by {it.cut} tokens" if it.cut else "")
    )
    below.add("prompt: " + it.prompt.replace("\n", "\\n"))
    wrong = "" if it.follows else ", WHICH DOES NOT FOLLOW FROM PROMPT AND ANNOTATOR"
    below.add(f"key {it.key}{wrong}; {_stored(it)}")
    return below


def _stored(it: Answer) -> str:
    if not it.in_cache:
        return "not in this cache"
    versions = ", ".join(f"{name} {version}" for name, version in (it.versions or {}).items())
    at = f" at {it.server['base_url']}" if it.server else ""
    otherwise = "" if it.agrees else ", WHERE THE RESPONSE IS ANOTHER"
    stored = f"in the cache{otherwise}: {canonical(it.response)}, made {it.made}{at}"
    return f"{stored} with {versions or 'versions not recorded'}"


def _cluster(node: Node, it: Cluster) -> None:
    """Add what is behind a descriptor."""
    below = node.add(
        f"descriptor {it.descriptor}: {it.size} raw descriptors, {it.mentions} mentions"
    )
    for old in it.edited_from:
        below.add(f"renamed by hand from {old} ({it.edits})")
    for phrase in it.phrases:
        leaf = below.add(f"raw descriptor {phrase.phrase} ({phrase.mentions} mentions)")
        for mention in phrase.given:
            line = leaf.add(f"{_place(mention.review)}: {mention.review.text}")
            answer(line, mention.answer)


def _steps(steps: Sequence[Step]) -> Node:
    node = Node("files, params, code and versions")
    for step in steps:
        below = node.add(f"stage {step.stage}")
        below.add("params " + ", ".join(f"{k} {v}" for k, v in flat(step.params).items()))
        for word, files in (("from", step.inputs), ("to", step.outputs), ("code", step.code)):
            _files(below, word, files)
        below.add("by " + ", ".join(f"{name} {version}" for name, version in step.versions.items()))
    return node


def _file(file: File) -> str:
    hashes = {"sha256": file.sha256, "md5": file.md5}
    known = ", ".join(f"{name} {value}" for name, value in hashes.items() if value)
    return f"{file.path} ({file.state}{', ' + known if known else ''})"


def _files(node: Node, word: str, files: Sequence[File]) -> None:
    """Each of a few files; of many only those that are not as they were."""
    if len(files) <= FEW:
        for file in files:
            node.add(f"{word} {_file(file)}")
        return
    strange = [file for file in files if file.state != UNCHANGED]
    rest = f"all unchanged but {len(strange)}" if strange else "all unchanged"
    below = node.add(f"{word} {len(files)} files, {rest} (--json lists them)")
    for file in strange:
        below.add(_file(file))


def _commit(top: Node, audit: Audit) -> None:
    why = f"not known (git: {audit.unknown})"
    if audit.commit is None:
        top.add(f"git commit {why}" if audit.unknown else "no git commit here")
    elif audit.changed is None:
        top.add(f"git commit {audit.commit}, files changed since: {why}")
    else:
        clean = f"{len(audit.changed)} files changed since" if audit.changed else "clean"
        node = top.add(f"git commit {audit.commit}, {clean}")
        for path in audit.changed:
            node.add(path)


def tree_of_review(use: ReviewUse) -> Node:
    """The labels that a review went into."""
    top = Node(f"review {use.review.id}: {use.review.text}")
    top.add(_place(use.review))
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
            line = f"{_at_end(end)}label of {len(neurons)} neurons in split {split}"
            top.add(line + (": " if neurons else "") + ", ".join(neurons))
    if use.cluster:
        _cluster(top, use.cluster)
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
            line = f"{it.neuron}: {_at_end(it.end)}{it.descriptor}"
            below.add(f"{line} (exemplar {it.rank}, activation {fixed(it.activation, it.digits)})")


Of = TypeVar("Of", Given, Support)


def _by_answer(uses: Sequence[Of]) -> list[list[Of]]:
    found: dict[str, list[Of]] = {}
    for use in uses:
        found.setdefault(use.answer.key, []).append(use)
    return list(found.values())


def tree_of_changes(changes: Changes) -> Node:
    """The labels that came and went, and the causes."""
    top = Node(f"{changes.neuron}: {changes.first} -> {changes.second}")
    for label in changes.labels:
        top.add(label_change(label))
    if not changes.labels:
        top.add("no label before or after")
    for end, (common, before, after) in changes.exemplars.items():
        top.add(
            f"{_at_end(end)}exemplars: {common} in both sets, of {before} before, {after} after"
        )
    causes = top.add("causes" if changes.causes else "no cause: nothing differs")
    for cause in changes.causes:
        without = "" if cause.effective else " (without effect: the stage's outputs are the same)"
        node = causes.add(f"stage {cause.stage}: {cause.kind}: {cause.what}{without}")
        for commit in cause.commits:
            node.add(f"commit {commit}")
    if changes.unchanged:
        top.add(f"stages with the same outputs: {', '.join(changes.unchanged)}")
    return top


def label_change(label: LabelChange) -> str:
    """A descriptor before and after, in a line."""
    was, now = (_f_and_q(numbers) for numbers in (label.before, label.after))
    return (
        f"{_at_end(label.end)}{label.descriptor} {label.change}: {was} -> {now}; the annotator said"
        f" the same of {label.same_answers} exemplars in common"
    )


def _f_and_q(numbers: Numbers | None) -> str:
    if numbers is None:
        return "no such descriptor"
    return f"f {fixed(numbers.f)}, q {small(numbers.q)}"
