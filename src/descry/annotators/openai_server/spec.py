"""A server's model as an annotator, as params.yaml names it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from descry.annotators.thoughts import Thinking
from descry.io.section import Count, Section, crossed

_Price = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] | None


def _live(mode: object) -> bool:
    return mode == "live"


def _left_out(value: object) -> bool:
    return value is None


class OpenAI(Section):
    """A model behind an OpenAI-compatible server."""

    kind: Literal["openai"]
    model: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)]
    dtype: Annotated[str, Field(min_length=1)]
    # Without a user's name, password or query: keys stand in those, and it is recorded.
    base_url: Annotated[str, Field(pattern=r"^https?://[^@?#\s]+$")]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None
    max_new_tokens: Count
    concurrency: Count
    timeout: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0)]
    price: _Price
    thinking: Thinking = None
    # How prompts travel, which changes no answer; and what they cost in a batch: half, if left out.
    mode: Annotated[Literal["live", "batch"], Field(exclude_if=_live)] = "live"
    batch_price: Annotated[_Price, Field(exclude_if=_left_out)] = None
    # Whether p1 and p2 are answered in a form of which the server keeps all others out, if it can.
    constrain: Annotated[Literal[True] | None, Field(exclude_if=_left_out)] = None

    @model_validator(mode="after")
    def _thoughts_have_no_form(self) -> Self:
        if self.constrain and self.thinking:
            raise crossed(
                f"{self.model}: `constrain` forbids the thoughts that `thinking` allows: leave"
                " one of them out"
            )
        return self
