"""A GGUF file run by llama.cpp in this process, as params.yaml names it."""

from typing import Annotated, Literal

from pydantic import Field

from descry.annotators.thoughts import Thinking
from descry.io.section import Count, Place
from descry.models.spec import Model


class LlamaCpp(Model):
    """A GGUF file, run by llama.cpp (the package xllamacpp) in this process."""

    kind: Literal["llama_cpp"]
    version: Place  # of xllamacpp: another one's answers are others
    max_tokens: Annotated[int, Field(ge=32)]
    max_new_tokens: Count
    thinking: Thinking = None
