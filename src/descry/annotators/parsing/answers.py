"""The answers to p2, `intruder` and `simulation`: a word or a number, parsed strictly."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from descry.annotators.parsing.unwrap import UnparsableError, begun, json_values, refuses
from descry.annotators.prompts import HIGHEST_RATING
from descry.annotators.templates import P2
from descry.io.hashing import JSON


class Verdict(NamedTuple):
    """An answer to p2.

    Attributes:
        yes: what it says.
        odds: log-odds of Yes; NaN where the annotator gave words only.
        greedy: whether it is also the word that the annotator would have written.
    """

    yes: bool
    odds: float
    greedy: bool


def parse_verdict(response: JSON, min_mass: float) -> Verdict:
    """The verdict in a response to p2: {"text", "finish"}, or {"yes", "no"} as log-probabilities.

    Args:
        min_mass: the probability that Yes and No must have together; below it the annotator did not
            answer the question, however the two compare.

    Raises:
        UnparsableError: neither Yes nor No, both, cut off, or not finite.
    """
    if isinstance(response, dict) and "text" in response:
        return Verdict(_says_yes(response), math.nan, True)
    try:
        yes, no = float(response["yes"]), float(response["no"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UnparsableError("no log-probabilities") from None
    if not (math.isfinite(yes) and math.isfinite(no)):
        raise UnparsableError("log-probabilities are not finite")
    if max(yes, no) > 0.01:  # more than rounding: no probability is above 1
        raise UnparsableError("no log-probabilities")
    if math.exp(yes) + math.exp(no) < min_mass:
        raise UnparsableError("neither Yes nor No")
    return Verdict(yes > no, yes - no, "instead" not in response)


# Yes or No

NEITHER, BOTH = "neither Yes nor No", "both Yes and No"
_SO = r"(?:(?:so|thus|therefore|hence),?\s+)?(?:(?:my|the)\s+)?(?:(?:final|correct|short)\s+)?"
_ANSWER = rf"{_SO}(?:answer|verdict|response|output|result|a)\b(?:\s+is\b\s*:?|\s*[:=–-])"
_PREFIX = re.compile(rf"\W{{0,20}}{_ANSWER}", re.IGNORECASE)
_CLEAR_END = re.compile(rf"(?:^|[.!?\n])\s*{_ANSWER}\W{{0,9}}(yes|no)\W{{0,9}}$", re.IGNORECASE)
_LAST = 120  # characters in which such an end stands
_BEGINS = re.compile(r"\W{0,20}(yes|no)\b", re.IGNORECASE)
# The word is the answer where it stands alone, or a reason follows: "No doubt" says Yes.
_FIRST = re.compile(
    _BEGINS.pattern + r"(?![-'’]\w|\.\s?\d)(?=\W*$|\s*[^\w\s]|\s*\n|\s+(?:because|since|as|the|it"
    r"|this|that|there|but|and|or|he|she|they|i|not|indeed|definitely|mention|reference)\b)",
    re.IGNORECASE,
)
# The other word as an answer of its own; in "Yes, there is no mention of it" a reason has it.
_BARE = re.compile(r"\b(yes|no)\b(?!['’-]?\w| +\w)", re.IGNORECASE)
# The other word at the beginning of a second thought, such as "Yes. Wait, no it does not."
_SECOND = re.compile(
    r"(?:[.!?;\n]|\b(?:wait|rather|correction|actually)\b)[\s,:]{0,9}(?:the answer is )?(yes|no)\b"
    r"(?! (?:doubt|question|problem|one|mention|need|matter|reference|other|explicit|direct)\b)",
    re.IGNORECASE,
)
# "No, I cannot help with that" is no No.
_DECLINES = re.compile(
    r"\b(?:can ?not|can['’]t|won['’]t|unable to|not able to)"
    r" (?:assist|help|comply|answer|judge|determine|provide)\b"
    r"|\bas an? (?:ai|(?:large )?language model)\b",
    re.IGNORECASE,
)
# A key of JSON of one's own, whose value says Yes or No; {"no": true} and {"absent": true} do not.
_OF_YES = re.compile(
    r"(?i)(?:is_?)?(?:talk|mention|discuss|about|relevan|appl|present|contain|yes)"
)
_YES_NO_KEYS = ("answer", "verdict", "response", "result", "value", "label", "prediction", "output")


def _says_yes(response: JSON) -> bool:
    """Whether the words say Yes. More words may follow, and be cut off, but not within the word.

    The first word decides, or else an end such as "The answer is No." Where the other word is an
    answer of its own too, there is none. JSON counts by its boolean or its string; Y, N, 1 and 0
    are no answer.
    """
    text, reason = begun(response)
    told = _told(text, reason, _YES_NO_KEYS, _OF_YES)
    said: JSON = {"true": True, "false": False}.get(text.lower(), told)
    if isinstance(said, bool):
        return said
    if not isinstance(said, str):
        raise UnparsableError(NEITHER)
    # Without emphasis, and without the question, told again before or behind the answer.
    before, told, after = said.partition(P2[0])
    if told and not before.strip():
        before = after.partition(P2[0])[0].rpartition("Answer in Yes/No A:")[2]
    whole = re.sub(r"[*_`]+", "", before).strip()
    prefix = _PREFIX.match(whole)
    body = whole[prefix.end() :] if prefix else whole
    first, bare = _FIRST.match(body), {found[1].lower() for found in _BARE.finditer(body)}
    if first and _DECLINES.search(body):
        raise UnparsableError("refusal")
    bare |= {found[1].lower() for found in _SECOND.finditer(body)}
    if first and bare <= {first[1].lower()}:
        if reason and first.end() == len(body) and response["text"][-1:].isalnum():
            raise UnparsableError(reason)
        return first[1].lower() == "yes"
    if first:
        raise UnparsableError(BOTH)
    if reason:
        raise UnparsableError(reason)
    if end := _CLEAR_END.search(whole[-_LAST:]):
        return end[1].lower() == "yes"
    begins = _BEGINS.match(body)
    if bare - ({begins[1].lower()} if begins else bare):
        raise UnparsableError(BOTH)
    raise UnparsableError("refusal" if refuses(whole) else NEITHER)


def _told(
    text: str, reason: str | None, keys: Sequence[str], alone: re.Pattern[str] | None = None
) -> JSON:
    """What JSON says under one of the keys, the first first; without JSON the text.

    Args:
        alone: other keys that count where there is no second one.
    """
    try:
        values = json_values(text)
    except UnparsableError as error:
        raise UnparsableError(reason or str(error)) from None
    if not values:
        return text
    value = values[0] if len(values) == 1 else None
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if isinstance(value, dict):
        named = {name.lower(): inner for name, inner in value.items()}
        found = [named[key] for key in keys if key in named]
        if not found and alone and len(named) == 1 and alone.match(next(iter(named))):
            found = list(named.values())
        value = found[0] if len(found) == 1 or (found and keys[0] in named) else None
    if value is None or isinstance(value, dict | list):
        raise UnparsableError("JSON of another form")
    return value


# Numbers

_NO_NUMBER = "not one number alone"
_WHAT = (
    r"[^\w-]*(?:(?:(?:the|my)\s+)?(?:final\s+)?(?:answer|a|intruder|odd one out|rating)\b"
    r"(?:\s+is\b|\s*[:=])[^\w-]*)?"
    r"(?:(?:the\s+)?(?:sentence|review|number|rating)[^\w-]*)?(?<![.,])"  # .5 is not 5
)
_CHOICE = re.compile(_WHAT + r"([0-9]{1,4})[^\w\n]*", re.IGNORECASE)
_RATING = re.compile(
    _WHAT + r"([0-9]{1,4}(?:\.[0-9]{1,6})?)(?:\s*(?:/|out of)\s*10)?[^\w\n]*", re.IGNORECASE
)


def parse_intruder(response: JSON, sentences: int) -> int:
    """Return which of a number of sentences a response to `intruder` names: 0 for the first.

    Raises:
        UnparsableError: not one number alone, none of the list, a refusal, or cut off.
    """
    chosen = int(_number(response, _CHOICE))
    if not 1 <= chosen <= sentences:
        raise UnparsableError("no such sentence")
    return chosen - 1


def parse_rating(response: JSON) -> float:
    """The rating in a response to `simulation`, 0 to 10.

    Raises:
        UnparsableError: not one number alone, not within the scale, a refusal, or cut off.
    """
    if (rating := float(_number(response, _RATING))) > HIGHEST_RATING:
        raise UnparsableError(f"not from 0 to {HIGHEST_RATING}")
    return rating


_NUMBER_KEYS = (
    *("answer", "choice", "rating", "score", "intruder"),
    *("number", "sentence", "review", "response"),
)


def _number(response: JSON, form: re.Pattern[str]) -> str:
    """The number that an answer consists of; lines without another one may follow.

    Strict, since a list that is told again, or a second thought, begins with a number too.
    """
    text, reason = begun(response)
    if refuses(text):
        raise UnparsableError("refusal")
    text = re.sub(r"[*_`]+", "", str(_told(text, reason, _NUMBER_KEYS))).strip()
    text = text.replace("\u2212", "-")  # the minus sign of mathematics
    match = form.match(text)
    if match is None or text[match.end() :][:1] not in ("", "\n"):
        raise UnparsableError(reason or _NO_NUMBER)
    rest = text[match.end() :]
    if re.search(r"\d", rest):
        raise UnparsableError(_NO_NUMBER)
    if reason and not rest:
        raise UnparsableError(reason)  # the number may go on
    return match[1]
