"""A cascade over all of B: the searches of its groups of cells, in rounds asked together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from descry.annotators.cascade.search import UNASKED, Decision, Goal, Search, search
from descry.annotators.cascade.spec import Cascade
from descry.annotators.parsing.answers import Verdict
from descry.corpus.splits import draw

# The oracle: cells, int64 ascending, to their answers: int8, 1 Yes, 0 No, -1 none to be used. A
# cell is the place of its prompt: sentence by sentence, of those that are asked about.
Oracle = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Decided:
    """Who answers what.

    Attributes:
        known: int8 [sentences, descriptors], the oracle's answers; -2 where the proxy's count.
        cut: float64 [descriptors], log-odds of the proxy above which its answer is Yes.
        reached: bool [descriptors], whether the goals are.
        rounds: in which the oracle was asked.
    """

    known: np.ndarray
    cut: np.ndarray
    reached: np.ndarray
    rounds: int

    @property
    def by_proxy(self) -> np.ndarray:
        """bool [sentences, descriptors]."""
        return np.asarray(self.known == UNASKED)


def strength(verdict: Verdict) -> float:
    """The number by which an answer is ordered: log-odds of Yes; 1 or -1 for words."""
    return verdict.odds if verdict.odds == verdict.odds else (1.0 if verdict.yes else -1.0)


def strengths(answer: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """The strength of many answers: float32, NaN where there is none.

    Args:
        answer: int8, 1 Yes, 0 No, below 0 none.
        odds: float32 of the same shape, NaN where there are words or nothing.
    """
    words = np.where(answer == 1, np.float32(1), np.float32(-1))
    known = np.where(np.isnan(odds), words, odds)
    return np.where(answer < 0, np.float32(np.nan), known)


def lots(ids: Sequence[str], descriptors: Sequence[str], seed: int) -> np.ndarray:
    """A random number for each cell, uniform in [0, 1): float64 [sentences, descriptors]."""
    found = np.empty((len(ids), len(descriptors)))
    for row, sentence in enumerate(ids):
        for column, name in enumerate(descriptors):
            lot = draw(seed, f"cascade:{sentence}:{name}")
            found[row, column] = int.from_bytes(lot[:6]) / 2**48
    return found


def decide(params: Cascade, odds: np.ndarray, lots: np.ndarray, oracle: Oracle) -> Decided:
    """Ask the oracle as far as the goals need it.

    Args:
        odds: the strength of the proxy's answers, float32 [sentences, descriptors], NaN where there
            is none.
        lots: of the same shape.
    """
    descriptors = odds.shape[1]
    known = np.full(odds.shape, UNASKED, dtype=np.int8)
    cut, reached = np.zeros(descriptors), np.ones(descriptors, dtype=bool)
    each = np.arange(odds.size).reshape(odds.shape)
    together = [each.T.ravel()] if params.over == "all" else list(each.T)
    running: dict[int, tuple[Search, np.ndarray]] = {}
    ended: dict[int, Decision] = {}
    for i, cells in enumerate(together):
        goal = _goal(params, len(cells), descriptors if params.over == "all" else 1)
        found = search(goal, odds.ravel()[cells].astype(np.float64), lots.ravel()[cells])
        _go_on(running, ended, i, found, None)
    rounds = 0
    while running:
        rounds += 1
        wanted = {i: together[i][cells] for i, (_, cells) in running.items()}
        every = np.sort(np.concatenate(list(wanted.values())))
        answers = oracle(every)
        for i, cells in wanted.items():
            _go_on(running, ended, i, running.pop(i)[0], answers[np.searchsorted(every, cells)])
    for i, decision in ended.items():
        columns = slice(None) if params.over == "all" else i
        known.ravel()[together[i]] = decision.known
        cut[columns], reached[columns] = decision.cut, decision.reached
    return Decided(known, cut, reached, rounds)


def _goal(params: Cascade, cells: int, descriptors: int) -> Goal:
    most = cells if params.budget is None else int(params.budget * cells)
    goals = params.recall, params.precision, params.accuracy
    return Goal(*goals, params.delta, most, params.pilot * descriptors)


def _go_on(
    running: dict[int, tuple[Search, np.ndarray]],
    ended: dict[int, Decision],
    i: int,
    one: Search,
    answers: np.ndarray | None,
) -> None:
    """Let a search take in its answers, and say what it wants next or that it has ended."""
    try:
        running[i] = one, next(one) if answers is None else one.send(answers)
    except StopIteration as end:
        ended[i] = end.value


def reports(
    decided: Decided, descriptors: Sequence[str]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Report by descriptor: cells the oracle was asked about, and whether goals hold."""
    asked = (~decided.by_proxy).sum(axis=0)
    for name, number, reached in zip(descriptors, asked, decided.reached, strict=True):
        yield name, {"asked": int(number), "reached": bool(reached)}


def foresee(
    params: Cascade, odds: np.ndarray, lots: np.ndarray, stored: Oracle
) -> tuple[np.ndarray, bool]:
    """Return the cells that the oracle would be asked about, and whether that is certain.

    Args:
        odds, lots: as `decide` takes them.
        stored: the answers that there are, -2 where there is none: those are drawn, with the
            probability that the proxy gives them.
    """
    rng, guessed = np.random.default_rng(params.seed), False

    def oracle(cells: np.ndarray) -> np.ndarray:
        nonlocal guessed
        answers, lot = stored(cells), rng.random(len(cells))
        unknown = answers == UNASKED
        guessed = guessed or bool(unknown.any())
        chance = 1 / (1 + np.exp(-np.clip(np.nan_to_num(odds.ravel()[cells]), -30, 30)))
        return np.where(unknown, lot < chance, answers).astype(np.int8)

    decided = decide(params, odds, lots, oracle)
    return np.flatnonzero(~decided.by_proxy.ravel()), not guessed
