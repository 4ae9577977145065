"""The prompts: rendered for any labeller, and their answers parsed strictly.

The paper's two: p1 (Figure 3) asks for the topics of a sentence, with one example; p2 (Figure 4)
asks whether a sentence talks about a descriptor. And two that try a neuron out: `intruder` asks
which of several sentences does not belong, `simulation` how strongly a neuron with a description
responds to a sentence.
"""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

JSON = Any
YES, NO = "Yes", "No"
Task = Literal["p1", "p2", "intruder", "simulation"]
# What stands before the sentence, between it and the descriptor, and behind that.
Template = tuple[str, str, str]
WORDS = 8  # new tokens of an answer of one word or number: "Yes.", and a blank before it


class Prompt(NamedTuple):
    """A prompt as its parts: a labeller may cut the sentence, share it, or not read at all.

    Attributes:
        descriptor: or a description, which is one descriptor or a list of several.
        several: the sentences of the corpus where it shows more than one; `sentence` is then their
            numbered list.
    """

    task: Task
    template: Template
    sentence: str
    descriptor: str = ""
    several: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The rendered prompt."""
        head, middle, tail = self.template
        return f"{head}{self.sentence}{middle}{self.descriptor}{tail}"

    @property
    def shown(self) -> tuple[str, ...]:
        """The sentences of the corpus that it shows."""
        return self.several or (self.sentence,)

    def showing(self, sentences: Sequence[str]) -> "Prompt":
        """The same prompt with other sentences, as many."""
        if not self.several:
            return self._replace(sentence=sentences[0])
        return self._replace(sentence=numbered(sentences), several=tuple(sentences))


class Prompts(Sequence[Prompt]):
    """Every sentence with every descriptor, sentence by sentence; each made when it is taken.

    A paper-size study has 2.26 million prompts: as texts they would not fit into memory.
    """

    def __init__(
        self, task: Task, template: Template, sentences: Sequence[str], descriptors: list[str]
    ) -> None:
        self.task, self.template = task, template
        self.sentences, self.descriptors = sentences, descriptors

    def __len__(self) -> int:
        return len(self.sentences) * len(self.descriptors)

    def __getitem__(self, index: Any) -> Any:
        row, column = divmod(index, len(self.descriptors))
        return Prompt(self.task, self.template, self.sentences[row], self.descriptors[column])


def p1_template(max_descriptors: int, example: str | None, concepts: list[str] | None) -> Template:
    """Prompt p1 asks for the topics of a sentence; without an example it is zero-shot."""
    lines = [f"Identify at most {max_descriptors} salient topics being discussed in a sentence."]
    if example is not None:
        lines.append(f"For example, {example}")
        lines.append(f"Expected Concepts: [{', '.join(concepts or [])}].")
    lines += ["Sentence:", ""]
    return "\n".join(lines), "", ""


def p1(sentences: Sequence[str], template: Template) -> Prompts:
    """Prompt p1 about every sentence."""
    return Prompts("p1", template, sentences, [""])


P2: Template = ('Q: Does the Review: "', '" talk about "', '"? Answer in Yes/No A:')


def p2(sentences: Sequence[str], descriptors: list[str]) -> Prompts:
    """Prompt p2: whether each sentence talks about each descriptor, to be answered Yes or No."""
    return Prompts("p2", P2, sentences, descriptors)


INTRUDER: Template = (
    "Q: All but one of these reviews have something in common. Which one is the intruder?\n",
    "\nAnswer with its number alone A:",
    "",
)
SIMULATION: Template = (
    'Q: A neuron responds to some reviews. How strongly does it respond to the Review: "',
    '" if it looks for "',
    '"? Answer with a number from 0 (not at all) to 10 (most strongly) A:',
)


def intruder(sentences: Sequence[str]) -> Prompt:
    """Which of the numbered sentences does not belong to the others."""
    return Prompt("intruder", INTRUDER, numbered(sentences), several=tuple(sentences))


def numbered(sentences: Sequence[str]) -> str:
    """Sentences as a list, a line each: a line break within one would feign another."""
    lines = (f'{i}. "{" ".join(text.split())}"' for i, text in enumerate(sentences, 1))
    return "\n".join(lines)


def simulation(sentence: str, description: str) -> Prompt:
    """How strongly a neuron with this description responds to a sentence, from 0 to 10."""
    return Prompt("simulation", SIMULATION, sentence, description)


def detection(sentence: str, description: str) -> Prompt:
    """Prompt p2 with a description in the descriptor's place: where it is one, p2 itself."""
    return Prompt("p2", P2, sentence, description)


_AND = ", "


def described(descriptors: Sequence[str]) -> str:
    """Descriptors as one description."""
    return _AND.join(descriptors)


def descriptors_of(description: str, known: Collection[str]) -> list[str]:
    """The descriptors that make up a description; none where it is not made of known ones.

    A descriptor may itself have a comma in it: the longest at the beginning goes first.
    """
    if description in known:
        return [description]
    parts = description.split(_AND)
    for size in range(len(parts) - 1, 0, -1):
        if (first := _AND.join(parts[:size])) in known:
            rest = descriptors_of(_AND.join(parts[size:]), known)
            if rest:
                return [first, *rest]
    return []


class UnparsableError(ValueError):
    """An answer that is not of the form its prompt asks for; the text says why."""


_LIST_ITEM = re.compile(r"[,;\n]|\s[-*•]\s")
# No part of a text: results and the cache cannot hold all of them.
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REFUSAL = re.compile(r"\b(i['’]?m sorry|i cannot|i can['’]t|as an ai)\b", re.IGNORECASE)


def parse_topics(response: JSON, max_descriptors: int, max_words: int) -> list[str]:
    """The raw descriptors in a response to p1: short lower-case phrases, each once, in order.

    Phrases of more than `max_words` words, or with control characters, are left out; the first
    `max_descriptors` are kept.

    Raises:
        UnparsableError: a refusal, cut off, or nothing usable in it.
    """
    if reason := _unfinished(response):
        raise UnparsableError(reason)
    answer = response["text"]
    if _REFUSAL.search(answer):
        raise UnparsableError("refusal")
    body = re.sub(r"^\s*(expected\s+)?(concepts|topics)\s*:", "", answer, flags=re.IGNORECASE)
    phrases: dict[str, None] = {}
    for item in _LIST_ITEM.split(body):
        phrase = " ".join(
            re.sub(r"^\s*\d+[.)]", "", item).strip(" \t\r'\"“”‘’[]().*•-").lower().split()
        )
        words = len(phrase.split())
        usable = re.search(r"[^\W\d_]", phrase) and not _NO_TEXT.search(phrase)
        if usable and words <= max_words and phrase != "none":
            phrases[phrase] = None
    if not phrases:
        raise UnparsableError("empty list")
    return list(phrases)[:max_descriptors]


class Verdict(NamedTuple):
    """An answer to p2.

    Attributes:
        yes: what it says.
        odds: log-odds of Yes; NaN where the labeller gave words only.
        greedy: whether it is also the word that the labeller would have written.
    """

    yes: bool
    odds: float
    greedy: bool


_YES_NO = re.compile(r"\W*(yes|no)\b(?!\s*(/|or\b)\s*(yes|no)\b)", re.IGNORECASE)


def parse_verdict(response: JSON, min_mass: float) -> Verdict:
    """The verdict in a response to p2: {"text", "finish"}, or {"yes", "no"} as log-probabilities.

    Args:
        min_mass: the probability that Yes and No must have together; below it the labeller did not
            answer the question, however the two compare.

    Raises:
        UnparsableError: neither Yes nor No, cut off, or not finite.
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


def _says_yes(response: JSON) -> bool:
    """Whether the words say Yes. More words may follow, and be cut off, but not within the word."""
    text, unfinished = response["text"], _unfinished(response)
    match = _YES_NO.match(text) if isinstance(text, str) else None
    if not match:
        raise UnparsableError(unfinished or "neither Yes nor No")
    if unfinished and match.end() == len(text):
        raise UnparsableError(unfinished)
    return match[1].lower() == "yes"


_WHAT = r"[^\w-]*(?:(?:sentence|review|number|rating)[^\w-]*)?(?<![.,])"  # .5 is not 5
_CHOICE = re.compile(_WHAT + r"([0-9]{1,4})[^\w\n]*", re.IGNORECASE)
_RATING = re.compile(
    _WHAT + r"([0-9]{1,4}(?:\.[0-9]{1,6})?)(?:\s*(?:/|out of)\s*10)?[^\w\n]*", re.IGNORECASE
)
HIGHEST_RATING = 10


def parse_intruder(response: JSON, sentences: int) -> int:
    """Which of so many sentences a response to `intruder` names: 0 for the first.

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
    rating = float(_number(response, _RATING))
    if rating > HIGHEST_RATING:
        raise UnparsableError(f"not from 0 to {HIGHEST_RATING}")
    return rating


def _number(response: JSON, form: re.Pattern[str]) -> str:
    """The number that an answer consists of; lines without another one may follow.

    Strict, since a list that is told again, or a second thought, begins with a number too.
    """
    unfinished = _unfinished(response)
    if unfinished and unfinished != CUT_OFF:
        raise UnparsableError(unfinished)
    text = response["text"].strip()
    if _REFUSAL.search(text):
        raise UnparsableError("refusal")
    match = form.match(text)
    rest = text[match.end() :] if match else text
    if match is None or (rest and not rest.startswith("\n")):
        raise UnparsableError(unfinished or "not one number alone")
    if re.search(r"\d", rest):
        raise UnparsableError("not one number alone")
    if unfinished and not rest:
        raise UnparsableError(unfinished)  # the number may go on
    return match[1]


CUT_OFF = "cut off"


def _unfinished(response: JSON) -> str | None:
    """Why a generated response is not whole; None if it is."""
    match response:
        case {"text": str(), "finish": str(finish)}:
            pass
        case _:
            return "no text"
    reasons = {"stop": None, "length": CUT_OFF, "content_filter": "refusal"}
    return reasons.get(finish, f"finish reason {finish}")
