"""A loaded model and its tokenizer, and the interface of what scores Yes and No."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from descry.annotators.prompts import Prompt
from descry.io.hashing import JSON
from descry.models.batching import plan_batches

if TYPE_CHECKING:
    import torch

_LEAST = -999.0  # a log-probability that has underflowed


@dataclass(frozen=True)
class Loaded:
    """A model and its tokenizer, ready to answer."""

    tokenizer: Any
    model: Any
    batch_tokens: int

    def pad(self, batch: Sequence[list[int]], side: str) -> Any:
        """Token ids as tensors with their mask, on the model's device."""
        self.tokenizer.padding_side = side
        padded = self.tokenizer.pad({"input_ids": list(batch)}, return_tensors="pt")
        return padded.to(self.model.device)

    @property
    def device(self) -> str:
        """Where the model's first weights are: cpu, cuda, mps."""
        return str(self.model.device.type)

    def plan(self, lengths: list[int], wanted: Collection[int]) -> Iterator[list[int]]:
        """The batches, of all prompts, that hold wanted ones; of each the wanted ones alone."""
        for batch in plan_batches(lengths, self.batch_tokens):
            if rows := [int(row) for row in batch if int(row) in wanted]:
                yield rows


class Scorer(Protocol):
    """Scores Yes and No.

    Attributes:
        remark: what is worth a line about the way in which it does; None for nothing.
    """

    remark: str | None

    def score(
        self, prompts: Sequence[Prompt], ids: list[list[int]], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, JSON]]]:
        """Responses to the wanted ones of the prompts p2, given as token ids, batch by batch."""


def verdicts(logits: "torch.Tensor", words: tuple[int, int], tokenizer: Any) -> list[JSON]:
    """Responses to p2 from the logits of the next token, float [prompts, vocabulary].

    Log-probabilities of Yes, No and all the rest; `instead`, the likeliest token where it is
    neither.
    """
    import torch

    logp = logits.float().log_softmax(dim=-1)
    both = logp[:, list(words)]
    rest = logp.index_fill(1, torch.tensor(words, device=logp.device), float("-inf"))
    rest = rest.logsumexp(dim=-1).clamp(min=_LEAST)
    likeliest = logp.argmax(dim=-1).tolist()
    rows = zip(both.tolist(), rest.tolist(), likeliest, strict=True)
    return [
        {"yes": round(yes, 6), "no": round(no, 6), "rest": round(other, 6)}
        | ({} if top in words else {"instead": tokenizer.decode([top])})
        for (yes, no), other, top in rows
    ]
