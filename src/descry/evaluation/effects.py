"""What an edit of a neuron changes at a model's output, compared with edits of other neurons.

Two numbers of an edited row against the unedited one beside it (models/intervention.py), both in
thousandths, since one neuron changes little:

- *distance*, how far the output moves: with a head the Kullback-Leibler divergence of the edited
  distribution over tokens from the unedited one, in nats; without one 1 less the cosine of the two
  sentence embeddings.
- *towards*, whether it moves towards a descriptor: with a head the change of the log-probability
  that the next token begins one of the descriptor's words, in nats; without one the change of the
  sentence embedding along the mean embedding of the descriptor's name and phrases less that of some
  sentences.

A decoder is read at every token that an edit reaches, and the mean is taken; a masked language
model at one token of the text, drawn and masked. A sentence embedding is the mean over all tokens,
of length 1.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from descry.activations.nan_stats import ratio
from descry.corpus.splits import draw
from descry.corpus.words import WORD
from descry.errors import InputError
from descry.evaluation.reads_and_writes import as_word
from descry.models.batching import in_parallel, plan_batches
from descry.models.hooked_model import HookedModel
from descry.models.intervention import Edit, edited

if TYPE_CHECKING:
    import torch

NAN = float("nan")
RESAMPLED = 2000  # times that neurons are drawn again for an interval
_NOISE = 1e-2  # of the largest effect: less is another order of additions
_BATCH = 512  # tokens of a batch whose activations of all neurons are held


class Trial(NamedTuple):
    """A text that goes through the model with edits.

    Attributes:
        tokens: its ids.
        edits: each of a row.
        aim: of the descriptor, of `Outcome.aim`.
    """

    tokens: Sequence[int]
    edits: Sequence[Edit]
    aim: Any


class Outcome(Protocol):
    """What is read at a model's output."""

    distance: str
    towards: str
    once: bool  # whether a text goes in once, and becomes as many rows as edits at the first edit

    def aim(self, phrases: Sequence[str]) -> Any:
        """What stands for a descriptor, by its name and phrases."""

    def effects(self, trial: Trial) -> np.ndarray:
        """Distance and towards of each edit: float64 [edits, 2]."""


class Distribution:
    """The distribution over tokens of a model with a head.

    Args:
        model: with its head.
        masked: whether the head tells a masked token.

    Raises:
        InputError: it does, and the tokenizer has no token for a masked one.
    """

    def __init__(self, hooked: HookedModel, model: Any, masked: bool) -> None:
        self.hooked, self.model, self.masked, self.once = hooked, model, masked, False
        if masked and hooked.tokenizer.mask_token_id is None:
            raise InputError(f"{hooked.name}: its tokenizer has no token for a masked one")
        which = "masked" if masked else "next"
        self.distance = f"KL divergence of the {which}-token distribution, thousandths of a nat"
        word = f"{which} token begins a word of the descriptor"
        self.towards = f"change of log P({word}), thousandths of a nat"

    def aim(self, phrases: Sequence[str]) -> "torch.Tensor":
        """The first tokens of the words."""
        import torch

        words = {word for text in phrases for word in WORD.findall(text) if as_word(word)}
        spelt = [f" {word}" for word in sorted(words | {word.lower() for word in words})]
        ids = self.hooked.tokenizer(spelt, add_special_tokens=False)["input_ids"] if spelt else []
        first = sorted({own[0] for own in ids if own})
        return torch.tensor(first, dtype=torch.long, device=self.hooked.device)

    def effects(self, trial: Trial) -> np.ndarray:
        """As `Outcome`: NaN towards a descriptor without words."""
        import torch

        ids = list(trial.tokens)
        first = self.hooked.sinks if self.hooked.sinks < len(ids) else 0
        places = slice(first, None)
        if self.masked:
            around = len(self.hooked.before), len(self.hooked.behind)
            number = max(1, len(ids) - sum(around))
            lot = int.from_bytes(draw(0, str(ids))[:8], "big") % number
            place = min(around[0] + lot, len(ids) - 1)
            ids[place], places = self.hooked.tokenizer.mask_token_id, slice(place, place + 1)
        logits = _forward(self.model, self.hooked, ids, trial.edits, self.once).logits[:, places]
        told = logits.float().log_softmax(dim=-1)
        plain, changed = told[:1], told[1:]
        distance = (plain.exp() * (plain - changed)).sum(dim=-1).mean(dim=1)
        if len(trial.aim):
            words = told[:, :, trial.aim].logsumexp(dim=-1).mean(dim=1)
            towards = words[1:] - words[:1]
        else:
            towards = torch.full_like(distance, float("nan"))
        return _pairs(distance, towards)


class Embedding:
    """The sentence embedding of a model without a head.

    Args:
        texts: sentences whose mean embedding is taken off a descriptor's.
    """

    distance = "1 - cosine of the sentence embeddings, thousandths"
    towards = "change of the sentence embedding along the descriptor's direction, thousandths"

    def __init__(self, hooked: HookedModel, texts: Sequence[str]) -> None:
        self.hooked, self.once = hooked, False
        self.centre = self._mean(texts)

    def aim(self, phrases: Sequence[str]) -> "torch.Tensor":
        """The direction of the phrases, of length 1."""
        from torch.nn.functional import normalize

        return normalize(self._mean(phrases) - self.centre, dim=0)

    def effects(self, trial: Trial) -> np.ndarray:
        """As `Outcome`."""
        vectors = self._embed(trial.tokens, trial.edits)
        plain, changed = vectors[0], vectors[1:]
        return _pairs(1 - changed @ plain, (changed - plain) @ trial.aim)

    def _mean(self, texts: Sequence[str]) -> "torch.Tensor":
        import torch

        vectors = in_parallel(
            lambda ids: self._embed(ids, ())[0], self.hooked.tokenize(texts), self.hooked.device
        )
        return torch.stack(list(vectors)).mean(dim=0)

    def _embed(self, tokens: Sequence[int], edits: Sequence[Edit]) -> "torch.Tensor":
        from torch.nn.functional import normalize

        states = _forward(self.hooked.model, self.hooked, tokens, edits, self.once)[0]
        return normalize(states.double().mean(dim=1), dim=1)


def _forward(
    model: Any, hooked: HookedModel, tokens: Sequence[int], edits: Sequence[Edit], once: bool
) -> Any:
    """What a model gives for one text: as it is in the first row, then with each edit."""
    import torch

    rows = [None, *edits]
    ids = torch.tensor([list(tokens)] * (1 if once else len(rows)), device=hooked.device)
    with torch.inference_mode(), edited(rows, len(tokens), once=once):
        return model(input_ids=ids, attention_mask=torch.ones_like(ids))


def _pairs(distance: "torch.Tensor", towards: "torch.Tensor") -> np.ndarray:
    both = [one.double().cpu().numpy() for one in (distance, towards)]
    return 1000 * np.stack(both, axis=1)


def _once_does(outcome: Outcome, trial: Trial) -> bool:
    """Whether a model has the same effects if a text goes in once: seen by a trial."""
    wanted = outcome.effects(trial)
    outcome.once = True
    try:
        found = outcome.effects(trial)
    except (IndexError, RuntimeError, ValueError):  # a layer that holds on to the number of rows
        return False
    finally:
        outcome.once = False
    largest = np.nanmax(np.abs(wanted), initial=0.0)
    same = np.allclose(found, wanted, rtol=0, atol=_NOISE * largest, equal_nan=True)
    return found.shape == wanted.shape and bool(same)


def measured(
    outcome: Outcome, trials: Sequence[Trial], device: str, done: Callable[[int], None]
) -> list[np.ndarray]:
    """The effects of each trial's edits, within `editable`: float64 [edits, 2] each.

    A trial is one thread's, and computed alone: no result depends on the others.
    """
    found = []
    outcome.once = bool(trials) and _once_does(outcome, trials[0])
    for effects in in_parallel(outcome.effects, trials, device):
        found.append(effects)
        done(len(found))
    return found


def token_spread(hooked: HookedModel, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each neuron over the tokens of texts: float64 [layers, neurons].

    Tokens that an edit does not reach are left out.

    Args:
        hooked: at position `tokens`.
    """
    tokens = hooked.tokenize(texts)
    batches = plan_batches([len(ids) for ids in tokens], _BATCH)

    def sums(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        batch = [tokens[row] for row in rows]
        reached = [
            place >= (hooked.sinks if hooked.sinks < len(ids) else 0)
            for ids in batch
            for place in range(len(ids))
        ]
        values = hooked.activations(batch)[np.array(reached)]
        # By einsum, which holds no array of the squares.
        squares = np.einsum("tln,tln->ln", values, values, dtype=np.float64)
        return values.sum(axis=0, dtype=np.float64), np.asarray(squares), len(values)

    total = squares = np.zeros((len(hooked.layers), hooked.neurons))
    number = 0
    for one, two, some in in_parallel(sums, batches, hooked.device):
        total, squares, number = total + one, squares + two, number + some
    mean = total / number
    return mean, np.sqrt(np.maximum(squares / number - mean**2, 0))


class Beside(NamedTuple):
    """The mean effect of some neurons beside that of others, with the 95% interval of the
    difference over neurons drawn again.
    """

    value: float
    others: float
    difference: float
    low: float
    high: float
    neurons: int

    @property
    def verdict(self) -> str:
        """How it compares with the others, in words."""
        if not self.neurons or np.isnan(self.low):
            return "is undefined"
        if self.low > 0:
            return "is more than other neurons'"
        return "is less than other neurons'" if self.high < 0 else "is not told from other neurons'"


def beside(own: np.ndarray, others: np.ndarray, seed: int) -> Beside:
    """Compare neurons with others.

    Args:
        own: float64 [neurons], NaN where undefined.
        others: as above, the mean of each neuron's others.
        seed: draws neurons for the interval; there is none of a single neuron.
    """
    known = ~(np.isnan(own) | np.isnan(others))
    own, others = own[known], others[known]
    number, gap = len(own), own - others
    if not number:
        return Beside(NAN, NAN, NAN, NAN, NAN, 0)
    low = high = NAN
    if number > 1:
        lots = np.random.default_rng(seed).integers(0, number, size=(RESAMPLED, number))
        low, high = np.quantile(gap[lots].mean(axis=1), [0.025, 0.975]).tolist()
    value, other, difference = (float(one.mean()) for one in (own, others, gap))
    return Beside(value, other, difference, low, high, number)


def others_like(
    own: int, size: np.ndarray, allowed: np.ndarray, number: int, lots: Sequence[bytes]
) -> list[int]:
    """Other neurons of a layer that write about as much: at random of the closest 4 * number.

    A neuron whose activation hardly varies, or that writes little, changes little: compared with
    any other, a strong neuron would be special for its strength alone.

    Args:
        size: float64 [neurons], the length of what a neuron writes per deviation of its activation.
        allowed: bool [neurons], those that may be taken.
        lots: of each neuron: the smallest are drawn.
    """
    may = np.flatnonzero(allowed & (size > 0))
    may = may[may != own]
    apart = np.abs(np.log(ratio(size[may], np.full(len(may), size[own]))))
    near = may[np.argsort(apart, kind="stable")][: 4 * number]
    return sorted(sorted(near.tolist(), key=lambda one: lots[one])[:number])
