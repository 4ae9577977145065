"""Which cells the oracle is asked about, and what the proxy decides: one group of cells.

The cells are in the order of the proxy's log-odds. Cells of the head get Yes, cells of the
tail No, unasked; the oracle answers what is between, a sample of both, and a pilot. A sample has
each cell with a fixed probability, drawn by a hash of seed, sentence and descriptor, so what the
oracle says in it bounds what it would say outside (bounds.py):

- recall: Yes of the oracle in the tail, of all its Yes. The middle is extended into the tail until
  the bound is low enough. However far that is, the bound holds: the places where too many would be
  missed are those behind one place, which the answers decide and the sample does not.
- precision: No of the oracle in the head, of all Yes of B. Some heads are tried, at parts of delta.
- accuracy: wrong guesses of the proxy among its surest. The sample says at once how many of those
  there may be.

The pilot has cells of all log-odds, drawn by none; it plans the sample's size, and counts as asked.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from descry.annotators.cascade.bounds import left_out, within
from descry.annotators.cascade.plan import likely, tail

UNASKED, FAILED = -2, -1  # beside 0 No and 1 Yes
HEADS = (1.0, 0.6, 0.35, 0.2)  # parts of the longest head that are tried
_STEP, _GROWTH = 0.005, 0.1  # by which the middle grows at least: of all cells, and of its own
_RATES = np.geomspace(0.02, 1.0, 24)  # of the head
_RATE_OF_HEAD = 0.3  # where no precision is asked for
_WAY = 0.7  # of the way that is expected: what goes too far is asked in vain


@dataclass(frozen=True)
class Goal:
    """The guarantees for a group of cells; see `spec.Cascade`.

    Attributes:
        most: cells that may be asked.
    """

    recall: float | None
    precision: float | None
    accuracy: float | None
    delta: float
    most: int
    pilot: int


@dataclass(frozen=True)
class Decision:
    """The decision about a group of cells.

    Attributes:
        known: int8 [cells], the oracle's answers: 1 Yes, 0 No, -1 none that can be used, -2 not
            asked: there the proxy's word counts.
        cut: log-odds of the proxy above which its word is Yes.
        reached: whether every goal is; False where the budget was too small.
    """

    known: np.ndarray
    cut: float
    reached: bool

    @property
    def by_proxy(self) -> np.ndarray:
        """The cells where the proxy's answer counts: bool [cells]."""
        return np.asarray(self.known == UNASKED)


Search = Generator[np.ndarray, np.ndarray, Decision]  # cells to ask; their answers


class _Group:
    """Cells in the order of the proxy's log-odds, the highest first, and what is known of them."""

    def __init__(self, odds: np.ndarray, lots: np.ndarray, most: int) -> None:
        sure = np.isfinite(odds)
        self.cells = np.argsort(np.where(sure, -odds, -np.inf), kind="stable")
        self.without = int((~sure).sum())  # cells of which the proxy says nothing: the first
        self.odds = odds[self.cells]
        self.odds[: self.without] = self.odds[self.without :].max(initial=0.0)
        self.lots, self.most = lots[self.cells], most
        self.known = np.full(len(odds), UNASKED, dtype=np.int8)

    @property
    def asked(self) -> np.ndarray:
        """bool [cells]."""
        return np.asarray(self.known != UNASKED)

    @property
    def left(self) -> int:
        """How many may still be asked."""
        return self.most - int(self.asked.sum())

    def ask(self, places: np.ndarray) -> Generator[np.ndarray, np.ndarray, bool]:
        """Ask about unknown cells; False if the budget does not suffice for all."""
        wanted = places[~self.asked[places]]
        able = wanted[: max(0, self.left)]
        if len(able):
            self.known[able] = yield self.cells[able]
        return len(able) == len(wanted)

    def pilot(self, number: int) -> np.ndarray:
        """Cells spread over the logarithm of the rank: half of them among the highest few."""
        behind = len(self.cells) - self.without
        if not behind:
            return np.empty(0, dtype=np.int64)
        ranks = np.geomspace(1, behind + 1, min(number, behind) + 1)[:-1].astype(np.int64)
        return self.without + np.unique(ranks) - 1

    def whole(self, place: int) -> int:
        """Move a place behind cells with the same log-odds, so that no cut goes through them."""
        if not self.without < place < len(self.odds):
            return max(place, self.without)
        return int(np.searchsorted(-self.odds, -self.odds[place - 1], side="right"))

    def cut(self, head: int) -> float:
        """Log-odds above which a cell is in the head."""
        if head <= self.without:
            return np.inf
        return float(self.odds[head]) if head < len(self.odds) else -np.inf

    def guessed(self, *, reached: bool) -> Decision:
        """The proxy's answer is Yes where the oracle's answer is more likely Yes than No."""
        head = int((likely(self.odds, self.known)[self.without :] > 0.5).sum())
        return self.decision(self.cut(self.whole(self.without + head)), reached=reached)

    def decision(self, cut: float, *, reached: bool) -> Decision:
        """The decision for the cells, in the cells' own order."""
        known = np.empty_like(self.known)
        known[self.cells] = self.known
        return Decision(known, cut, reached)


def search(goal: Goal, odds: np.ndarray, lots: np.ndarray) -> Search:
    """Ask, in rounds, until the goals are reached or the budget is spent.

    Args:
        odds: of the proxy, float64 [cells]; NaN where it gave no answer: the oracle is asked.
        lots: float64 [cells], uniform in [0, 1) and independent of all else.

    Yields:
        Cells that the oracle is to be asked about; its answers, int8 as in `Decision`, are sent.
    """
    group = _Group(odds, lots, goal.most)
    yield from group.ask(np.arange(group.without))
    yield from group.ask(group.pilot(goal.pilot))
    if goal.accuracy is not None:
        return (yield from _accuracy(goal, group))
    if goal.recall is None and goal.precision is None:
        return (yield from _spend(group))
    return (yield from _recall_and_precision(goal, group))


def _spend(group: _Group) -> Search:
    """The budget for what is nearest to where the proxy begins to say Yes: no guarantee."""
    chance = likely(group.odds, group.known)
    nearest = np.argsort(np.abs(chance - 0.5), kind="stable")
    unknown = nearest[~group.asked[nearest]]
    yield from group.ask(np.sort(unknown[: max(0, group.left)]))
    return group.guessed(reached=True)


# Accuracy


def _accuracy(goal: Goal, group: _Group) -> Search:
    assert goal.accuracy is not None
    chance = likely(group.odds, group.known)
    head = group.whole(int((chance > 0.5).sum()))
    cut = group.cut(head)
    guess = group.odds > cut
    doubt = np.where(guess, 1 - chance, chance)
    order = np.argsort(-doubt, kind="stable")
    share = 1 - goal.accuracy

    def allowed() -> float:
        return share * (len(order) - int((group.known == FAILED).sum()))

    may = np.full(len(order) + 1, allowed())
    plan = tail(doubt[order], group.asked[order], may, goal.delta)
    rate = _affordable(group, plan.rate)
    drawn = ~group.asked & (group.lots < rate)
    whole = yield from group.ask(np.flatnonzero(drawn))
    # What is asked in front does not change what is wrong behind: where it ends is known now.
    wrong = (drawn & (group.known != guess))[order] if whole else np.ones(len(order), bool)
    behind = np.concatenate([np.cumsum(wrong[::-1])[::-1], [0]])
    few = within(behind, np.array(allowed()), rate, goal.delta)
    few[-1] = True
    whole = (yield from group.ask(np.sort(order[: int(np.argmax(few))]))) and whole
    return group.decision(cut, reached=True) if whole else group.guessed(reached=False)


def _affordable(group: _Group, rate: float) -> float:
    """The rate, or what half of the budget that is left allows."""
    unknown = max(1, int((~group.asked).sum()))
    return rate if group.left >= unknown else min(rate, max(group.left / 2 / unknown, 1e-9))


def _step(cells: int, asked: int) -> int:
    """By how many cells the middle grows at least."""
    return max(8, round(_STEP * cells), round(_GROWTH * asked))


# Recall and precision


@dataclass(frozen=True)
class _Sample:
    """What was drawn, and with which probability: bool [cells]."""

    drawn: np.ndarray
    rate: float
    delta: float


def _recall_and_precision(goal: Goal, group: _Group) -> Search:
    chance = likely(group.odds, group.known)
    said = group.without + int((group.odds[group.without :] > 0).sum())
    part = goal.delta / (1 if goal.recall is None else 2)
    longest, rate_of_head = _longest_head(goal, group, chance, part, said)
    split = part if longest > group.without else goal.delta
    rate = 0.0
    if goal.recall is not None:
        may = _may_be_missed(goal, group, chance, longest)
        rate = tail(chance[longest:], group.asked[longest:], may, split).rate
        rate = _affordable(group, rate)
    rate_of_head = max(rate, _affordable(group, rate_of_head))
    unknown = ~group.asked
    in_tail = _Sample(unknown & (group.lots < rate), rate, split)
    in_head = _Sample(unknown & (group.lots < rate_of_head), rate_of_head, part)
    in_head.drawn[longest:] = False
    whole = yield from group.ask(np.flatnonzero(in_tail.drawn | in_head.drawn))
    behind, head = 0, group.without
    for head, wrong in _heads(goal, group, in_head, longest):
        if not whole or wrong > (1 - (goal.precision or 0.0)) * _yes_expected(group, head):
            continue
        behind = max(behind, head)
        if goal.recall is None:
            behind = group.whole(max(head, said))
            whole = yield from group.ask(np.arange(head, behind))
        else:
            behind, whole = yield from _until_few_are_missed(
                goal.recall, group, (head, wrong, behind), in_tail
            )
        if not whole or wrong <= (1 - (goal.precision or 0.0)) * _yes(group, head):
            break
    return group.decision(group.cut(head), reached=True) if whole else group.guessed(reached=False)


def _until_few_are_missed(
    recall: float, group: _Group, where: tuple[int, int, int], sample: _Sample
) -> Generator[np.ndarray, np.ndarray, tuple[int, bool]]:
    """Extend the middle into the tail; where it ends, and whether the budget was enough.

    Args:
        where: the head's end, how many of its cells are no Yes at most, and the middle's end.
    """
    head, wrong, behind = where
    share = (1 - recall) / recall
    while True:
        whole = yield from group.ask(np.arange(head, behind))
        seen = (sample.drawn & (group.known == 1))[behind:]
        allowed = np.array(max(0.0, share * (_yes(group, head) - wrong)))
        few = sample.rate and within(seen.sum(), allowed, sample.rate, sample.delta)
        if not whole or few or behind == len(group.known):
            return behind, whole
        behind = _further(group, share, (head, wrong, behind), sample)


def _yes(group: _Group, head: int) -> int:
    """How many Yes B has, if the head ends there."""
    return int((group.known == 1).sum() + (~group.asked[:head]).sum())


def _yes_expected(group: _Group, head: int) -> float:
    """The expected number of Yes once the oracle has answered the middle."""
    found = np.where(group.asked, group.known == 1, likely(group.odds, group.known))
    return float(found[head:].sum() + np.where(group.asked, found, 1.0)[:head].sum())


def _longest_head(
    goal: Goal, group: _Group, chance: np.ndarray, delta: float, said: int
) -> tuple[int, float]:
    """How long the head is at most, and at what rate to draw from it."""
    start, unknown = group.without, ~group.asked
    if goal.precision is None:  # the proxy's own Yes counts; recall wants to know how many are true
        return group.whole(said), _RATE_OF_HEAD
    delta, best = delta / len(HEADS), (start, 0.0, 0.0)
    wrong = np.cumsum(np.where(unknown, 1 - chance, 0.0)[start:])
    size = np.cumsum(unknown[start:])
    allowed = np.array((1 - goal.precision) * chance.sum())
    for rate in _RATES.tolist():
        good = within(rate * wrong, allowed, rate, delta)
        saved = np.where(good, (1 - rate) * size, 0.0)
        place = int(np.argmax(saved)) if len(saved) else 0
        if len(saved) and saved[place] > best[2]:
            best = group.whole(start + place + 1), rate, float(saved[place])
    return best[0], best[1]


def _may_be_missed(goal: Goal, group: _Group, chance: np.ndarray, head: int) -> np.ndarray:
    """How many Yes may be left out behind each place after the head, expected."""
    assert goal.recall is not None
    found = np.where(group.asked, group.known == 1, chance)
    surely = (goal.precision or 0.9) * found[:head].sum()
    after = np.concatenate([[0.0], np.cumsum(found[head:])])
    return np.asarray((1 - goal.recall) / goal.recall * (surely + after))


def _heads(goal: Goal, group: _Group, sample: _Sample, longest: int) -> Iterator[tuple[int, int]]:
    """Heads, the longest first, and how many cells of each are no Yes at most; the last is empty.

    All bounds hold together.
    """
    parts = HEADS if goal.precision is not None else (1.0,)
    found = {}
    for part in parts:
        head = group.whole(group.without + round(part * (longest - group.without)))
        if group.without < head <= longest:
            no = (sample.drawn[:head] & (group.known[:head] != 1)).sum()
            wrong = int(left_out(no, sample.rate, sample.delta / len(parts)))
            found[head] = min(wrong, int((~group.asked[:head]).sum()))
    yield from sorted(found.items(), reverse=True)
    yield group.without, 0


def _further(group: _Group, share: float, where: tuple[int, int, int], sample: _Sample) -> int:
    """The next place at which the middle may end, by what is known now."""
    head, wrong, behind = where
    cells = len(group.known)
    chance = likely(group.odds, group.known)
    seen = (sample.drawn & (group.known == 1))[behind:]
    left = np.concatenate([np.cumsum(seen[::-1])[::-1], [0]])
    more = np.concatenate([[0.0], np.cumsum(np.where(group.asked, 0.0, chance)[behind:])])
    allowed = np.maximum(0.0, share * (_yes(group, head) - wrong + more))
    few = within(left, allowed, sample.rate, sample.delta) if sample.rate else np.zeros(1, bool)
    # Not all of the way at once: what is expected may be too much.
    way = _WAY * int(np.argmax(few)) if few.any() else cells - behind
    return group.whole(min(cells, behind + max(round(way), _step(cells, behind - head))))
