"""What a run would ask and spend, before it does."""

from dataclasses import dataclass
from pathlib import Path

from descry.annotators.base import Price
from descry.annotators.cost import cost, survey
from descry.annotators.prompt_cache.store import PromptCache
from descry.workflow.params import Params
from descry.workflow.requests import Questions, questions

Counts = dict[str, tuple[int, int, int]]  # by origin: answers, tokens in and out


@dataclass(frozen=True)
class Forecast:
    """What one annotator would be asked in one stage.

    Attributes:
        tokens_in, tokens_out: of what is to be asked, by the average of its answers so far, else
            estimated from the characters (in) and unknown (out: None).
        seconds: at the rate of its last run; None where none was measured.
        dollars: None where no price is known.
        known: whether the prompts are known already; else their number is the most there may be.
    """

    stage: str
    annotator: str
    cached: int
    to_ask: int
    tokens_in: int
    tokens_out: int | None
    seconds: float | None
    dollars: float | None
    known: bool


def forecast(
    params: Params, results: Path, cache: PromptCache, price: Price | None
) -> list[Forecast]:
    """What every annotator would be asked by the present params.

    Args:
        price: in place of the annotators' own.
    """
    counts = cache.by_origin()  # goes through all answers: once
    return [_forecast(asked, cache, counts, price) for asked in questions(params, results, cache)]


def _forecast(
    asked: Questions, cache: PromptCache, counts: Counts, price: Price | None
) -> Forecast:
    identity = asked.annotator.identity
    found = survey(cache, identity, asked.frame, asked.prompts)
    rate = cache.runs().get(f"{asked.stage}:{identity.name}", {}).get("rate")
    tokens_in, tokens_out = found.tokens, None
    if mean := _mean_tokens(cache, counts, asked):
        tokens_in, tokens_out = round(found.missing * mean[0]), round(found.missing * mean[1])
    price = price or asked.annotator.price
    return Forecast(
        stage=asked.stage,
        annotator=identity.name,
        cached=len(asked.prompts) - found.missing,
        to_ask=found.missing,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=found.missing / rate if rate else None,
        dollars=cost(tokens_in, tokens_out or 0, price) if price else None,
        known=asked.known,
    )


def _mean_tokens(
    cache: PromptCache, counts: Counts, asked: Questions
) -> tuple[float, float] | None:
    """Tokens in and out of the annotator's answers to this task so far, on average."""
    model, task = asked.annotator.identity.model, asked.prompts[0].task
    mine = [
        counts[name]
        for name, origin in cache.origins().items()
        if name in counts and origin["task"] == task and origin["model"] == model
    ]
    answers, tokens_in, tokens_out = map(sum, zip((0, 0, 0), *mine, strict=True))
    return (tokens_in / answers, tokens_out / answers) if tokens_in else None
