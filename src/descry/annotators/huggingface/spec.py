"""A model of the transformers library as an annotator, as params.yaml names it."""

from typing import Annotated, Literal

from pydantic import Field

from descry.annotators.thoughts import Thinking
from descry.io.section import Count
from descry.models.spec import Model


class Transformers(Model):
    """A model of the transformers library, encoder-decoder or causal, on this machine."""

    kind: Literal["transformers"]
    # Not float16: T5 overflows in it.
    dtype: Literal["float32", "bfloat16"]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?|map)$")]
    max_tokens: Annotated[int, Field(ge=32)]
    max_new_tokens: Count
    batch_tokens: Count
    thinking: Thinking = None
