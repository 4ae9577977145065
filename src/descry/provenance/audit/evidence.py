"""The parts of the evidence for a neuron's labels."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from descry.io.hashing import JSON
from descry.labels.results import Numbers


def as_json(evidence: Any) -> JSON:
    """Evidence as JSON. (`dataclasses.asdict` would copy every value: seconds for a long audit.)"""
    if is_dataclass(evidence):
        return {it.name: as_json(getattr(evidence, it.name)) for it in fields(evidence)}
    if isinstance(evidence, list | tuple):
        return [as_json(item) for item in evidence]
    if isinstance(evidence, dict):
        return {key: as_json(value) for key, value in evidence.items()}
    return evidence


@dataclass(frozen=True)
class Review:
    """A sentence of the corpus, and the place in the source it was read from.

    Attributes:
        id: of the sentence: a hash of its text.
        source: the review file, and `line` in it.
        sha256: of that file, as the corpus was made of it.
    """

    id: str
    text: str
    category: str
    split: str
    source: str
    line: int
    sha256: str | None
    asin: str | None
    reviewer: str | None
    overall: float | None


@dataclass(frozen=True)
class Answer:
    """An annotator's answer to one prompt.

    Attributes:
        says: Yes, No or None where there is no usable answer; of p1, the phrase that was taken.
        score: log-odds of Yes; None where the annotator gave words only.
        prompt: to the letter, with what a chat template puts around it.
        key: of the cache.
        annotator: name, model, revision, dtype and decoding.
        in_cache: whether the answer is in the cache of this audit; what follows is from there.
        follows: whether the key is that of this very prompt and annotator.
        agrees: whether the response says what the result has; None where it is not in the cache.
        cut: tokens of the prompt's sentence that the annotator did not read, where that is known.
        taken_off: of the log-odds, for a centre and a threshold; None where nothing was.
        yes_above: of an answer by the proxy of a cascade, the log-odds above which it is Yes.
        made: when it was stored (UTC).
        versions: packages then.
    """

    says: str | None
    score: float | None
    prompt: str
    key: str
    annotator: JSON
    in_cache: bool
    follows: bool
    agrees: bool | None
    response: JSON
    made: str | None
    versions: JSON
    server: JSON
    cut: int = 0
    taken_off: float | None = None
    yes_above: float | None = None


@dataclass(frozen=True)
class Exemplar:
    """One of the sentences that excite a neuron most; rank 1 is the first.

    Attributes:
        seen: where the target model has not seen all of the sentence, how much of it.
    """

    rank: int
    activation: float
    review: Review
    answer: Answer
    seen: str | None


@dataclass(frozen=True)
class Mention:
    """A sentence of which an annotator named a raw descriptor, and its answer to p1."""

    review: Review
    answer: Answer


@dataclass(frozen=True)
class Phrase:
    """A raw descriptor of a cluster; `given` are the mentions that are shown."""

    phrase: str
    mentions: int
    given: list[Mention]


@dataclass(frozen=True)
class Cluster:
    """What a descriptor stands for; `phrases` are the raw descriptors that are shown.

    Attributes:
        size: how many raw descriptors there are.
        edited_from: names that a person changed to this one, in the file `edits`.
    """

    descriptor: str
    mentions: int
    size: int
    edited_from: list[str]
    edits: str | None
    phrases: list[Phrase]


@dataclass(frozen=True)
class Label:
    """A label and all that it rests on; `exemplars` are those that are shown.

    Attributes:
        rule: in words.
        verdicts: what each split's numbers say, in words.
        tagged: exemplars that the annotator said Yes of, in a set of `size`.
    """

    descriptor: str
    end: str
    rule: str
    splits: dict[str, Numbers]
    verdicts: dict[str, str]
    tagged: int
    size: int
    exemplars: list[Exemplar]
    cluster: Cluster


@dataclass(frozen=True)
class File:
    """A file on the way, and whether it is still the one that was used.

    Attributes:
        md5: in dvc.lock.
        sha256: that the result made of it recorded.
        state: unchanged, changed, gone, or not read (too large for a look: `verify` reads it).
    """

    path: str
    state: str
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Step:
    """A stage on the way to the labels: from what, how, with what, and what came of it."""

    stage: str
    params: JSON
    versions: JSON
    inputs: list[File]
    outputs: list[File]
    code: list[File]


@dataclass(frozen=True)
class Audit:
    """The evidence for a neuron's labels.

    Attributes:
        target: the model, its revision, weights (sha256), their quantization where they have one,
            site, position, and how many first tokens are left out.
        spread: mean, deviation and so on of the neuron's activations.
        strongest: where there is no label, what came nearest to one, by end.
        explained: descriptors that are significant among all sentences but not within strata, by
            end: their numbers in the whole corpus.
        strata: the covariates that sentences are matched on.
        follows: what it follows beside topics: its rows of confounders.parquet; none where that
            file is not here.
        silent: where there are no exemplars, why not, by end.
        warnings: what speaks against the labels of the run.
        dropped: descriptors that are no label of any neuron, with the reason.
        commit: that is checked out; `changed` files are not as in it (None: not known).
        unknown: why git could not tell all of this.
    """

    neuron: str
    target: JSON
    sentences: int
    spread: dict[str, float | None]
    labels: list[Label]
    strongest: dict[str, JSON]
    explained: dict[str, dict[str, Numbers]]
    strata: list[str]
    follows: list[JSON]
    silent: dict[str, str]
    warnings: list[str]
    dropped: list[JSON]
    steps: list[Step]
    commit: str | None
    changed: list[str] | None = None
    unknown: str | None = None
