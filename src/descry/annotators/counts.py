"""Counts of answers and failures, with reasons."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from descry.annotators.prompts import Prompt
from descry.corpus.splits import sentence_id

_SHOWN = 160  # characters shown of an answer that is none


@dataclass
class Counts:
    """The running counts of an annotator's run."""

    total: int = 0
    whole: int = 0  # prompts of all shards
    done: int = 0
    cached: int = 0
    asked: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cut: int = 0  # sentences shortened to the model's limit
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  # of a failure, by its reason
    silent: int = 0  # failures in which no word came
    remarks: Counter[str] = field(default_factory=Counter)  # on how answers were got
    # By the id of each sentence that the annotator has not read whole, in an answer now or before:
    # the most tokens that were cut.
    shortened: dict[str, int] = field(default_factory=dict)
    forecast: str = ""  # what is about to be spent; empty while nothing was missing
    asking: float = 0.0  # seconds spent on asking

    @property
    def failed(self) -> int:
        """Number of prompts without a usable answer."""
        return self.failures.total()

    def fail(self, reason: str, times: int, prompt: Prompt, said: str) -> None:
        """Count a failure.

        Args:
            times: that the prompt is asked in this run.
            said: what was answered instead; empty where nothing was.
        """
        self.failures[reason] += times
        self.silent += 0 if said else times
        sentences = ", ".join(sentence_id(sentence) for sentence in prompt.shown)
        shown = repr(said[:_SHOWN]) + ("..." if len(said) > _SHOWN else "")
        answered = f"{shown} to " if said else ""
        self.examples.setdefault(reason, f"{answered}sentence {sentences[:_SHOWN]}")

    @property
    def why(self) -> str:
        """The failures' reasons, each with its number and an example."""
        reasons = []
        for reason, number in self.failures.most_common():
            shown = self.examples.get(reason)
            reasons.append(f"{number} {reason}" + (f", such as {shown}" if shown else ""))
        return "; ".join(reasons)

    @property
    def rate(self) -> float | None:
        """Answers per second while asking; None if nothing was asked."""
        return round(self.asked / self.asking, 3) if self.asked and self.asking else None

    @property
    def brief(self) -> dict[str, int]:
        """The counts for the line at the end of a run."""
        counts = {name: getattr(self, name) for name in ("cached", "asked", "failed")}
        return counts | {"cut": len(self.shortened)}

    def shorten(self, sentence: str | list[str], cut: int) -> None:
        """Count how many tokens of a prompt's sentence were cut, if any."""
        if cut and isinstance(sentence, str):
            self.shortened[sentence] = max(cut, self.shortened.get(sentence, 0))

    def counts(self) -> dict[str, Any]:
        """The counts that are recorded after the run."""
        names = ("total", "cached", "asked", "tokens_in", "tokens_out", "cut")
        kept = {name: getattr(self, name) for name in names}
        seconds = round(self.asking, 3)
        kept |= {"seconds": seconds, "failures": dict(sorted(self.failures.items()))}
        return kept | ({"remarks": dict(sorted(self.remarks.items()))} if self.remarks else {})
