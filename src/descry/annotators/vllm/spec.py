"""A model run by vLLM in this process, as params.yaml names it."""

from typing import Annotated, Literal

from pydantic import Field

from descry.annotators.thoughts import Thinking
from descry.io.section import Count, Place
from descry.models.spec import Model


class Vllm(Model):
    """A model of the transformers library, run by vLLM in this process, on a GPU."""

    kind: Literal["vllm"]
    version: Place  # of vllm: another one's answers are others
    dtype: Literal["float32", "bfloat16"]
    max_tokens: Annotated[int, Field(ge=32)]
    max_new_tokens: Count
    memory: Annotated[float, Field(gt=0, le=1)]  # share of the GPU's that it may take
    thinking: Thinking = None
