"""The one option of annotators that generative models of every kind share."""

from typing import Annotated

from pydantic import Field

# Tokens that a model may spend on thoughts before an answer, which is then read from its words.
# A permission: left out, thoughts are turned off where that can be done.
Thinking = Annotated[
    Annotated[int, Field(ge=1)] | None, Field(exclude_if=lambda given: given is None)
]
