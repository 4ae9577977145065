"""Many small questions to one model, batched.

What prune, saliency and augment have to know of a text is written as a plan: a generator that
yields prompts, is sent their activations and returns its result. Plans of many texts and neurons
run side by side; what they ask in one round goes through the model at once, each prompt once.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np

Prompt = tuple[int, ...]  # token ids, special ones left out
T = TypeVar("T")
Plan = Generator[list[Prompt], list[np.ndarray], T]


class Activate(Protocol):
    """The neurons of one layer, as prompts excite them.

    It puts the model's special tokens around a prompt, and leaves them out of what it says.
    """

    @property
    def mask(self) -> int:
        """The token that a masked one is replaced by."""

    @property
    def limit(self) -> int:
        """How many tokens a prompt can have."""

    @property
    def both_sides(self) -> bool:
        """Whether what follows a token can change its activation, as in an encoder."""

    @property
    def whole(self) -> bool:
        """Whether a prompt has one activation, such as that at [CLS], not one a token."""

    def __call__(
        self, prompts: Sequence[Prompt], neurons: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """The activations of each prompt.

        Args:
            prompts: distinct, of one token up to `limit`.
            neurons: for each prompt, those asked for.

        Returns:
            Of each prompt float [tokens, its neurons]; where it has one activation [1, neurons].
        """


def together(plans: Iterable[tuple[int, Plan[T]]], activate: Activate) -> list[T]:
    """Run plans to their ends, and return their results in the order given.

    Args:
        plans: each with the neuron that it asks about; it is sent that one's activations, float
            [tokens] for every prompt that it yielded.
    """
    running = list(plans)
    results: dict[int, T] = {}
    asked: dict[int, list[Prompt]] = {}
    for row, (_, plan) in enumerate(running):
        _advance(plan, None, row, asked, results)
    while asked:
        pending, asked = asked, {}
        questions = {row: (running[row][0], prompts) for row, prompts in pending.items()}
        for row, found in _answers(questions, activate).items():
            _advance(running[row][1], found, row, asked, results)
    return [results[row] for row in range(len(running))]


def _advance(
    plan: Plan[T],
    found: list[np.ndarray] | None,
    row: int,
    asked: dict[int, list[Prompt]],
    results: dict[int, T],
) -> None:
    """Resume a plan with its answers, up to its next question or its end."""
    try:
        asked[row] = next(plan) if found is None else plan.send(found)
    except StopIteration as done:
        results[row] = done.value


def _answers(
    questions: dict[int, tuple[int, list[Prompt]]], activate: Activate
) -> dict[int, list[np.ndarray]]:
    """One round: each distinct prompt goes through once, for all neurons that ask for it."""
    wanted: dict[Prompt, set[int]] = {}
    for neuron, prompts in questions.values():
        for prompt in prompts:
            wanted.setdefault(prompt, set()).add(neuron)
    neurons = [sorted(some) for some in wanted.values()]
    values = activate(list(wanted), neurons) if wanted else []
    found = {
        (prompt, neuron): columns[:, place]
        for prompt, some, columns in zip(wanted, neurons, values, strict=True)
        for place, neuron in enumerate(some)
    }
    return {
        row: [found[prompt, neuron] for prompt in prompts]
        for row, (neuron, prompts) in questions.items()
    }
