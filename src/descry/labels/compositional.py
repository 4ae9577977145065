"""Labels composed of several descriptors (Mu & Andreas 2020, section 3).

"Compositional explanations of neurons": beam search finds the formula with AND, OR and AND NOT
whose sentences are nearest to the neuron's exemplar set. With only AND the formula is a list of
descriptors that an exemplar must all have (Mondal et al. 2024).

The score is theirs, IoU times penalty**(length - 1). Unlike theirs, the beam keeps the best of each
length, so that the shorter never crowd out the longer; and a descriptor that no exemplar has may
follow AND NOT, which is where it says most. No answer counts as No, also after NOT: to leave out
every sentence that lacks one would cost too many.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal

import numpy as np

from descry.annotators.bitset import BitMatrix

Op = Literal["and", "or", "and not"]
OPS: tuple[Op, ...] = ("and", "or", "and not")
_REMEMBERED = 2**16  # formulas: many neurons extend the same ones


@dataclass(frozen=True)
class Formula:
    """Descriptors joined from left to right: (first op second) op third.

    Attributes:
        first: column of B.
        rest: each further column, and how it joins all that stands before it.
    """

    first: int
    rest: tuple[tuple[Op, int], ...] = ()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The formula's columns of B, in order."""
        return (self.first, *(descriptor for _, descriptor in self.rest))

    @property
    def length(self) -> int:
        """How many descriptors the formula has."""
        return 1 + len(self.rest)

    def text(self, names: list[str]) -> str:
        """In words, such as (price OR cost) AND NOT food; parentheses where OR meets AND."""
        text, before = names[self.first], self.rest[0][0] if self.rest else None
        for op, descriptor in self.rest:
            left = text if (op == "or") == (before == "or") else f"({text})"
            text, before = f"{left} {op.upper()} {names[descriptor]}", op
        return text

    def holds(self, flags: np.ndarray) -> np.ndarray:
        """The sentences that the formula holds for: flags [sentences], or words of them.

        Args:
            flags: of a Yes, bool [descriptors, sentences], or several in an integer.
        """
        held: np.ndarray = flags[self.first]
        for op, descriptor in self.rest:
            held = _joined(held, op, flags[descriptor])
        return held


class Composer:
    """Finds the best formula of neurons, any number of them at a time.

    Args:
        yes: what has a Yes in B, in a split's sentences alone.
        length: the most descriptors in a formula, from 1.
        beam: how many formulas of each length are extended, from 1.
        penalty: what IoU is multiplied by for each descriptor after the first, above 0 to 1.
    """

    def __init__(self, yes: BitMatrix, *, length: int, beam: int, penalty: float) -> None:
        self._yes, self._counts = yes, _Counts(yes)
        self._length, self._beam, self._penalty = length, beam, penalty

    def compose(self, exemplars: np.ndarray) -> list[Formula | None]:
        """The best formula of every neuron; ties by the shorter, then by the earlier descriptors.

        Args:
            exemplars: int [neurons, size], rows of B, each once, all of the split; -1 behind the
                end of a smaller set.

        Returns:
            One per neuron; None where no descriptor holds for an exemplar.
        """
        how = self._counts, self._length, self._beam, self._penalty
        return [_best(self._yes.at(rows[rows >= 0]).T, *how) for rows in exemplars]


def iou(formulas: list[Formula | None], exemplars: np.ndarray, yes: BitMatrix) -> np.ndarray:
    """Sentences that are exemplars and hold over those that are or do, float64 [neurons].

    NaN where there is no formula, no set, or no such sentence.

    Args:
        formulas: one per neuron, found in these sentences or in others.
        exemplars: int [neurons, size], rows of B, each once; -1 behind the end of a smaller set.
        yes: what has a Yes in B, in the split's sentences alone.
    """
    neurons: dict[Formula, list[int]] = {}
    for neuron, formula in enumerate(formulas):
        if formula is not None:
            neurons.setdefault(formula, []).append(neuron)
    found = np.full(len(formulas), np.nan)
    taken = exemplars >= 0
    sizes = np.count_nonzero(taken, axis=1)
    for formula, rows in neurons.items():
        held = BitMatrix(formula.holds(yes.packed)[None], yes.sentences)
        inside = np.count_nonzero(held.at(exemplars[rows])[0] & taken[rows], axis=1)
        found[rows] = _iou(inside, held.totals, sizes[rows])
    found[sizes == 0] = np.nan
    return found


class _Counts:
    """How many of all sentences formulas hold for, counted once for many neurons.

    Attributes:
        each: int64 [descriptors].
    """

    def __init__(self, yes: BitMatrix) -> None:
        words = -(-yes.packed.shape[1] // 8)
        self._bits = np.zeros((len(yes), words), dtype=np.uint64)
        self._bits.view(np.uint8)[:, : yes.packed.shape[1]] = yes.packed
        self.each = yes.totals
        self.together = lru_cache(_REMEMBERED)(self._together)

    def _together(self, formula: Formula) -> np.ndarray:
        """For how many both a formula and a descriptor hold: int64 [descriptors]."""
        both = self._bits & formula.holds(self._bits)
        return np.asarray(np.bitwise_count(both).sum(axis=1, dtype=np.int64))


@dataclass
class _Beam:
    """Formulas of one length, best first, at least one.

    Attributes:
        score: IoU of the first.
        held: bool [formulas, exemplars], which exemplars they hold for.
        whole: int64 [formulas], how many sentences they hold for.
    """

    formulas: list[Formula]
    score: float
    held: np.ndarray
    whole: np.ndarray


def _best(
    yes: np.ndarray, counts: _Counts, length: int, beam: int, penalty: float
) -> Formula | None:
    """A neuron's best formula, of its exemplars' answers: bool [exemplars, descriptors]."""
    current = _singles(yes, counts, beam)
    if current is None:
        return None
    best, score = current.formulas[0], current.score
    for longer in range(2, length + 1):
        current = _extended(current, yes, counts, beam if longer < length else 1)
        if current is None:
            break
        penalised = current.score * penalty ** (longer - 1)
        if penalised > score:
            best, score = current.formulas[0], penalised
    return best


def _singles(yes: np.ndarray, counts: _Counts, width: int) -> _Beam | None:
    """The descriptors nearest to the exemplar set; None if none holds for an exemplar."""
    scores = _iou(np.count_nonzero(yes, axis=0), counts.each, len(yes))
    order = np.argsort(-scores, kind="stable")[:width]
    order = order[scores[order] > 0]
    if not len(order):
        return None
    formulas = [Formula(descriptor) for descriptor in order.tolist()]
    return _Beam(formulas, float(scores[order[0]]), yes.T[order], counts.each[order])


def _extended(beam: _Beam, yes: np.ndarray, counts: _Counts, width: int) -> _Beam | None:
    """The best formulas that are longer by a descriptor; None if none says more."""
    both = beam.held.astype(np.float32) @ yes.astype(np.float32)  # exact below 2**24 exemplars
    held = np.count_nonzero(beam.held, axis=1)
    inside = _numbers(held, np.count_nonzero(yes, axis=0), both.astype(np.int64))
    together = np.stack([counts.together(formula) for formula in beam.formulas])
    whole = _numbers(beam.whole, counts.each, together)
    scores = _iou(inside, whole, len(yes))
    scores[_idle(beam, whole, counts.each)] = 0
    places = _leaders(scores, beam.formulas, width)
    if not places:
        return None
    ops, parents, descriptors = np.unravel_index(list(places.values()), scores.shape)
    joined = [
        _joined(beam.held[parent], OPS[op], yes[:, descriptor])
        for op, parent, descriptor in zip(ops, parents, descriptors, strict=True)
    ]
    first = float(scores[ops[0], parents[0], descriptors[0]])
    return _Beam(list(places), first, np.array(joined), whole[ops, parents, descriptors])


def _numbers(formulas: np.ndarray, descriptors: np.ndarray, both: np.ndarray) -> np.ndarray:
    """How many hold for each formula joined with each descriptor: [ops, formulas, descriptors].

    Args:
        formulas, descriptors: how many each holds for.
        both: [formulas, descriptors], how many both hold for.
    """
    first = formulas[:, None]
    return np.stack([both, first + descriptors - both, first - both])


def _idle(beam: _Beam, whole: np.ndarray, each: np.ndarray) -> np.ndarray:
    """What a formula of fewer descriptors says as well: bool [ops, formulas, descriptors].

    A descriptor that is there already adds nothing: say that it holds, or that it does not, and the
    rest of such a chain says the same without it.
    """
    idle: np.ndarray = whole == beam.whole[:, None]
    idle[:2] |= whole[:2] == each  # a subset, or a superset, of the same number is the same
    for row, formula in enumerate(beam.formulas):
        idle[:, row, formula.descriptors] = True
    return idle


def _leaders(scores: np.ndarray, formulas: list[Formula], width: int) -> dict[Formula, int]:
    """The `width` best of the longer formulas, best first, and their places in `scores`.

    Without those that hold for no exemplar, which no further descriptor can better.
    """
    found: dict[Formula, int] = {}
    flat, least = scores.ravel().tolist(), 0.0
    for place in np.argsort(-scores, axis=None, kind="stable").tolist():
        if flat[place] <= 0 or (len(found) >= width and flat[place] < least):
            break
        rest, descriptor = divmod(place, scores.shape[2])
        op, parent = divmod(rest, scores.shape[1])
        found.setdefault(_longer(formulas[parent], OPS[op], descriptor), place)
        least = flat[place]

    def order(formula: Formula) -> tuple[float, tuple[int, ...], list[int]]:
        ops = [OPS.index(op) for op, _ in formula.rest]
        return -flat[found[formula]], formula.descriptors, ops

    ranked = sorted(found, key=order)
    return {formula: found[formula] for formula in ranked[:width]}


def _longer(formula: Formula, op: Op, descriptor: int) -> Formula:
    """A formula with a further descriptor, in the one order of all that say the same.

    What is joined by OR commutes, and so does what is joined by AND and AND NOT: the earlier
    descriptor goes first, those after NOT last.
    """
    rest = (*formula.rest, (op, descriptor))
    opening: Op = "or" if rest[0][0] == "or" else "and"
    runs = groupby(((opening, formula.first), *rest), key=lambda part: part[0] == "or")
    parts = [
        part
        for _, run in runs
        for part in sorted(run, key=lambda part: (part[0] == "and not", part[1]))
    ]
    return Formula(parts[0][1], tuple(parts[1:]))


def _joined(held: np.ndarray, op: Op, descriptor: np.ndarray) -> np.ndarray:
    """Flags, or bits of them, joined with a descriptor's."""
    joined: np.ndarray
    if op == "or":
        joined = held | descriptor
    else:
        joined = held & (descriptor if op == "and" else ~descriptor)
    return joined


def _iou(inside: np.ndarray, whole: np.ndarray, size: int | np.ndarray) -> np.ndarray:
    """IoU with a set of `size` of what holds for `inside` of it and `whole` of all sentences."""
    union = whole + size - inside
    shares = np.full(union.shape, np.nan)
    np.divide(inside, union, out=shares, where=union > 0)
    return shares
