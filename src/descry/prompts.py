"""The paper's two prompts: rendered for any labeller, and their answers parsed strictly.

p1 (Figure 3) asks for the topics of a sentence, with one example. p2 (Figure 4) asks whether a
sentence talks about a descriptor.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

JSON = Any
YES, NO = "Yes", "No"
Task = Literal["p1", "p2"]
# What stands before the sentence, between it and the descriptor, and behind that.
Template = tuple[str, str, str]


class Prompt(NamedTuple):
    """A prompt as its parts: a labeller may cut the sentence, share it, or not read at all."""

    task: Task
    template: Template
    sentence: str
    descriptor: str = ""

    @property
    def text(self) -> str:
        """The rendered prompt."""
        head, middle, tail = self.template
        return f"{head}{self.sentence}{middle}{self.descriptor}{tail}"


class Prompts(Sequence[Prompt]):
    """Every sentence with every descriptor, sentence by sentence; each made when it is taken.

    A paper-size study has 2.26 million prompts: as texts they would not fit into memory.
    """

    def __init__(
        self, task: Task, template: Template, sentences: list[str], descriptors: list[str]
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


def p1(sentences: list[str], template: Template) -> Prompts:
    """Prompt p1 about every sentence."""
    return Prompts("p1", template, sentences, [""])


P2: Template = ('Q: Does the Review: "', '" talk about "', '"? Answer in Yes/No A:')


def p2(sentences: list[str], descriptors: list[str]) -> Prompts:
    """Prompt p2: whether each sentence talks about each descriptor, to be answered Yes or No."""
    return Prompts("p2", P2, sentences, descriptors)


class UnparsableError(ValueError):
    """An answer that is not of the form its prompt asks for; the text says why."""


_LIST_ITEM = re.compile(r"[,;\n]|\s[-*•]\s")
_REFUSAL = re.compile(r"\b(i['’]?m sorry|i cannot|i can['’]t|as an ai)\b", re.IGNORECASE)


def parse_topics(response: JSON, max_descriptors: int, max_words: int) -> list[str]:
    """The raw descriptors in a response to p1: short lower-case phrases, each once, in order.

    Phrases of more than `max_words` words are left out; the first `max_descriptors` are kept.

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
        if re.search(r"[^\W\d_]", phrase) and words <= max_words and phrase != "none":
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


def _unfinished(response: JSON) -> str | None:
    """Why a generated response is not whole; None if it is."""
    match response:
        case {"text": str(), "finish": str(finish)}:
            pass
        case _:
            return "no text"
    reasons = {"stop": None, "length": "cut off", "content_filter": "refusal"}
    return reasons.get(finish, f"finish reason {finish}")
