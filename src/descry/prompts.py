"""The paper's two prompts: rendered for any labeller, and their answers parsed strictly.

p1 (Figure 3) asks for the topics of a sentence, with one example. p2 (Figure 4) asks whether a
sentence talks about a descriptor.
"""

import re
from dataclasses import dataclass
from typing import Literal

YES, NO = "Yes", "No"


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt, and what it was rendered from (for labellers that cannot read)."""

    task: Literal["p1", "p2"]
    text: str
    sentence: str
    descriptor: str | None = None


def p1(
    sentence: str, max_descriptors: int, example: str | None, concepts: list[str] | None
) -> Prompt:
    """Prompt p1: the topics of a sentence; without an example it is asked zero-shot."""
    lines = [f"Identify at most {max_descriptors} salient topics being discussed in a sentence."]
    if example is not None:
        lines.append(f"For example, {example}")
        lines.append(f"Expected Concepts: [{', '.join(concepts or [])}].")
    lines += ["Sentence:", sentence]
    return Prompt("p1", "\n".join(lines), sentence)


def p2(sentence: str, descriptor: str) -> Prompt:
    """Prompt p2: whether a sentence talks about a descriptor, to be answered Yes or No."""
    question = f'talk about "{descriptor}"? Answer in Yes/No A:'
    return Prompt("p2", f'Q: Does the Review: "{sentence}" {question}', sentence, descriptor)


class UnparsableError(ValueError):
    """An answer that is not of the form its prompt asks for; the text says why."""


_LIST_ITEM = re.compile(r"[,;\n]|\s[-*•]\s")
_REFUSAL = re.compile(r"\b(i['’]?m sorry|i cannot|i can['’]t|as an ai)\b", re.IGNORECASE)


def parse_topics(answer: str, max_descriptors: int, max_words: int) -> list[str]:
    """The raw descriptors in an answer to p1: short lower-case phrases, each once, in order.

    Phrases of more than `max_words` words are left out; the first `max_descriptors` are kept.

    Raises:
        UnparsableError: nothing usable is in the answer.
    """
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


def parse_yes_no(answer: str) -> bool:
    """Whether an answer to p2 says Yes.

    Raises:
        UnparsableError: it is neither Yes nor No.
    """
    match = re.match(r"\W*(yes|no)\b(?!\s*(/|or\b)\s*(yes|no)\b)", answer, re.IGNORECASE)
    if not match:
        raise UnparsableError("neither Yes nor No")
    return match[1].lower() == "yes"
