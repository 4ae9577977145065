"""From texts that excite neurons to the neurons' graphs (Foote et al. 2023).

Every step is taken for all texts of all neurons together, so that the model is asked in few and
large batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descry.corpus.splits import draw
from descry.n2g.augment import Augmenter, Measured, Word, important_words, measure, variants
from descry.n2g.batching import Activate, Plan, Prompt, together
from descry.n2g.graph import Graph, make_graph
from descry.n2g.paths import Path, token_paths, whole_path
from descry.n2g.prune import Pruned, prune_token, prune_whole
from descry.n2g.saliency import Reading, last_active, read_prompt
from descry.n2g.texts import Text


@dataclass(frozen=True)
class Settings:
    """The numbers of the algorithm; in brackets the paper's.

    Attributes:
        texts: that excite a neuron most, taken of each neuron (20).
        train: of them, those that its graph is made from (10); the others score it.
        seed: of the lots that part them.
        keys: share of a text's highest activation from which on a token is a key token, around
            which a part is kept (1: the highest alone; an earlier version of the code: 0.75).
        drop: share of its activation that a key token may lose in a part of its text (0.5).
        step: step between the lengths tried for a part, in tokens (1; the paper's code: 5),
            then the whole.
        until: the longest of them; None: the whole (None; the paper's code: 30).
        following: tokens of the same sentence kept behind a key token (5).
        substituted: importance from which on a word is replaced by others (0.8).
        substitutes: words that replace it, at most (5).
        probability: least that a masked language model gives such a word (1e-5).
        importance: above which a token is on a path (0.75).
        activation: share of the neuron's highest above which a token starts a path (0.5).
        confirmed: a token of a part starts a path only if it would in the whole text, too (false).
        firing: share of it from which on the neuron is said to fire (0.5).
        max_gap: where a text has one activation, most tokens between two of a path (not in it).
    """

    texts: int
    train: int
    seed: int
    keys: float
    drop: float
    step: int
    until: int | None
    following: int
    substituted: float
    substitutes: int
    probability: float
    importance: float
    activation: float
    confirmed: bool
    firing: float
    max_gap: int


class Sample(NamedTuple):
    """A text, and a neuron's activations on it: float [tokens], or [1]."""

    text: Text
    activations: np.ndarray


class _Part(NamedTuple):
    """A part of a text that excites a neuron.

    Attributes:
        unit: what activations of its prompts are multiplied by to be shares of the highest.
        highest: of the neuron's activations in the training texts.
    """

    neuron: int
    pruned: Pruned
    unit: float
    highest: float


class _Prompt(NamedTuple):
    """A prompt that came of a part: the part's own, or an augmented one."""

    part: _Part
    tokens: Prompt
    activations: np.ndarray


def halves(texts: Sequence[Text], *, train: int, seed: int) -> tuple[list[Text], list[Text]]:
    """Split texts at random into `train` texts that make a graph, and others that score it."""
    drawn = sorted(texts, key=lambda text: draw(seed, text.string))
    return drawn[:train], drawn[train:]


def sample(texts: Mapping[int, Sequence[Text]], activate: Activate) -> dict[int, list[Sample]]:
    """The activations of neurons on their texts; those without a token are left out."""

    def plan(some: Sequence[Text]) -> Plan[list[Sample]]:
        found = yield [text.tokens for text in some]
        return [Sample(text, values) for text, values in zip(some, found, strict=True)]

    whole = {neuron: [text for text in some if text.tokens] for neuron, some in texts.items()}
    found = together([(neuron, plan(some)) for neuron, some in whole.items()], activate)
    return dict(zip(whole, found, strict=True))


def explain(
    samples: Mapping[int, Sequence[Sample]],
    activate: Activate,
    settings: Settings,
    augmenter: Augmenter | None,
) -> list[Graph]:
    """The graphs of neurons, in the order given.

    A text on which a neuron stays at or below the share `activation` of its highest has no path,
    and is left out before it costs anything.

    Memory grows with the number of neurons: of thousands, take some hundreds at a time.

    Args:
        samples: of each neuron, its training texts, with its activations by `activate`.
        augmenter: where other words come from; None to augment nothing.
    """
    highest = {neuron: _highest(some) for neuron, some in samples.items()}
    parts = _parts(samples, highest, activate, settings)
    whole = [_Prompt(part, part.pruned.prompt, _starting(part, settings)) for part in parts]
    readings = _readings(whole, activate, settings)
    tried = _augmented(parts, readings, activate, settings, augmenter) if augmenter else []
    more = [_Prompt(part, one.variant.prompt, one.activations) for part, one in tried]
    readings += _readings(more, activate, settings)
    paths: dict[int, list[Path]] = {neuron: [] for neuron in samples}
    for prompt, reading in zip([*whole, *more], readings, strict=True):
        paths[prompt.part.neuron] += _paths(reading, activate.whole, settings)
    positive: dict[int, list[bool]] = {neuron: [] for neuron in samples}
    for part, one in tried:
        positive[part.neuron].append(one.positive)
    gap = settings.max_gap if activate.whole else None
    return [
        make_graph(neuron, highest[neuron], paths[neuron], positive[neuron], max_gap=gap)
        for neuron in samples
    ]


def _highest(samples: Sequence[Sample]) -> float:
    return max([0.0, *(float(sample.activations.max()) for sample in samples)])


def _parts(
    samples: Mapping[int, Sequence[Sample]],
    highest: Mapping[int, float],
    activate: Activate,
    settings: Settings,
) -> list[_Part]:
    """The parts of the texts around the tokens at which a neuron is active."""
    active = [
        (neuron, one, key)
        for neuron, some in samples.items()
        for one in some
        for key in _keys(one, highest[neuron], settings)
    ]
    plans = ((neuron, _pruning(one, key, activate, settings)) for neuron, one, key in active)
    found = together(plans, activate)
    return [
        _Part(neuron, pruned, pruned.scale / highest[neuron], highest[neuron])
        for (neuron, _, _), pruned in zip(active, found, strict=True)
    ]


def _keys(one: Sample, highest: float, settings: Settings) -> list[int]:
    """The places of a text's key tokens; 0 where it has one activation."""
    least = settings.keys * one.activations.max()
    above = settings.activation * highest
    return np.flatnonzero((one.activations >= least) & (one.activations > above)).tolist()


def _pruning(one: Sample, key: int, activate: Activate, settings: Settings) -> Plan[Pruned]:
    drop, step, until = settings.drop, settings.step, settings.until
    if activate.whole:
        return prune_whole(one.text, one.activations, drop=drop, step=step, until=until)
    return prune_token(
        one.text,
        one.activations,
        key,
        both_sides=activate.both_sides,
        drop=drop,
        step=step,
        until=until,
        following=settings.following,
    )


def _starting(part: _Part, settings: Settings) -> np.ndarray:
    """The activations of a part; 0 where a token is to be active in the whole text and is not."""
    found = part.pruned.activations
    if not settings.confirmed:
        return found
    return np.where(part.pruned.before > settings.activation * part.highest, found, 0)


def _readings(prompts: Sequence[_Prompt], activate: Activate, settings: Settings) -> list[Reading]:
    """What prompts tell; in one without an active token nothing is masked."""

    def plan(prompt: _Prompt) -> Plan[Reading]:
        found, unit = prompt.activations, prompt.part.unit
        upto = last_active(found, unit=unit, threshold=settings.activation)
        if upto and activate.both_sides:
            upto = len(prompt.tokens)
        return read_prompt(prompt.tokens, found, unit=unit, mask=activate.mask, upto=upto)

    return together(((prompt.part.neuron, plan(prompt)) for prompt in prompts), activate)


def _augmented(
    parts: Sequence[_Part],
    readings: Sequence[Reading],
    activate: Activate,
    settings: Settings,
    augmenter: Augmenter,
) -> list[tuple[_Part, Measured]]:
    """The augmented prompts of the parts; a gap that several parts have is asked about once."""
    words = [
        important_words(
            part.pruned, reading.importance[:, part.pruned.key], threshold=settings.substituted
        )
        for part, reading in zip(parts, readings, strict=True)
    ]
    gaps = list(dict.fromkeys(word.gap for some in words for word in some))
    proposed = dict(zip(gaps, augmenter.propose(gaps), strict=True))

    def plan(part: _Part, some: Sequence[Word]) -> Plan[list[Measured]]:
        others = [proposed[word.gap] for word in some]
        tried = variants(part.pruned, some, others, augmenter.spell, activate.limit)
        return measure(part.pruned, tried, drop=settings.drop)

    plans = [(part.neuron, plan(part, some)) for part, some in zip(parts, words, strict=True)]
    found = together(plans, activate)
    return [(part, one) for part, some in zip(parts, found, strict=True) for one in some]


def _paths(reading: Reading, whole: bool, settings: Settings) -> list[Path]:
    activation, importance = settings.activation, settings.importance
    if whole:
        gap = settings.max_gap
        return whole_path(reading, activation=activation, importance=importance, max_gap=gap)
    return token_paths(reading, activation=activation, importance=importance)
