"""Yes and No by the log-probabilities of the likeliest first tokens."""

import math
from collections.abc import Callable, Iterable

from descry.annotators.base import Answer
from descry.annotators.openai_server.connection import SHOWN
from descry.annotators.openai_server.schema import Token, word_of
from descry.annotators.prompts import NO, YES
from descry.io.hashing import JSON

NEITHER = "neither Yes nor No"
_YES, _NO = YES.casefold(), NO.casefold()
QUOTED = 5  # tokens of an answer that is none


def scored(listed: list[Token], clean: Callable[[str], str]) -> Answer:
    """Log-probabilities of Yes, No and the rest.

    A word that is not listed is less likely than any that is: that is its bound.

    Args:
        listed: the likeliest first tokens, at least one.
        clean: takes what must not be stored out of a server's text.
    """
    logs = [token.logprob for token in listed]
    highest, bound = max(logs), min(logs)
    if not (math.isfinite(sum(logs)) and highest < 0.01):  # a NaN shows in the sum alone
        return Answer(None, fault="log-probabilities are not finite")
    first = listed[logs.index(highest)]
    masses: dict[str, list[float]] = {_YES: [], _NO: []}
    words = map(word_of, [token.token for token in listed])
    for word, log in zip(words, logs, strict=True):
        if word in masses:
            masses[word].append(log)
    found = {word: log_sum(logs) for word, logs in masses.items()}
    greedy = first.word in masses
    instead = {} if greedy else {"instead": clean(first.token)[:SHOWN]}
    unlisted = [word for word, mass in found.items() if mass is None]
    if len(unlisted) == len(found):
        most = sorted(listed, key=lambda token: -token.logprob)[:QUOTED]
        came = [clean(token.token)[:SHOWN] for token in most]
        return Answer(instead | {"likeliest": came}, fault=NEITHER)
    known = sum(math.exp(mass) for mass in found.values() if mass is not None)
    bound -= 1e-6  # less likely, so never a tie
    response: JSON = {w: _rounded(bound if m is None else m) for w, m in found.items()}
    response["rest"] = _rounded(math.log(max(1 - known, 1e-9)))
    return Answer(response | ({"bound": unlisted[0]} if unlisted else {}) | instead)


def likeliest(listed: list[Token]) -> Token:
    """The token that a greedy model would write."""
    return max(listed, key=lambda token: token.logprob)


def log_sum(logs: Iterable[float]) -> float | None:
    """The logarithm of a sum of probabilities; None of nothing."""
    masses = sorted(logs, reverse=True)
    if not masses:
        return None
    if len(masses) == 1:
        return min(0.0, masses[0])
    return min(0.0, masses[0] + math.log(sum(math.exp(mass - masses[0]) for mass in masses)))


def _rounded(x: float) -> float:
    return round(x, 6) + 0.0  # no -0.0
