"""What annotators share whose model runs in this process, whatever the library."""

from typing import Any

from descry.annotators.prompts import NO, WORDS, YES, Task


class OwnModel:
    """How a model in this process answers, for the identity of its annotator.

    Attributes:
        task: prompt p1, p2 and so on.
        max_tokens: tokens of a prompt, at most.
        max_new_tokens: tokens of an answer to p1, at most.
        thinking: tokens of thoughts before an answer, at most; None: no thoughts.
    """

    def __init__(
        self, task: Task, max_tokens: int, max_new_tokens: int, thinking: int | None
    ) -> None:
        self.task: Task = task
        self.max_tokens, self.max_new_tokens = max_tokens, max_new_tokens
        self.thinking = thinking
        self._scores = task == "p2" and not thinking

    @property
    def _budget(self) -> int:
        """New tokens of an answer, at most: p2's is not written, but behind thoughts."""
        if self._scores:
            return 0
        return (self.max_new_tokens if self.task == "p1" else WORDS) + (self.thinking or 0)

    @property
    def _how(self) -> dict[str, Any]:
        """What of the parameters decides an answer: greedy text, or one of two words."""
        how: dict[str, Any] = {"max_tokens": self.max_tokens}
        if self.task == "p2":
            how |= {"answers": [YES, NO]}
        if not self._scores:
            how |= {"do_sample": False, "max_new_tokens": self._budget}
        if self.thinking:
            how |= {"thinking": self.thinking}
        return how
