"""The base of all sections of params.yaml: strict, frozen models, and the types of their values.

The model of a stage's section stands in the stage's own module. It has no defaults: params.yaml is
the only place where a value is written.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

CROSSED = "crossed"  # the type of an error that is about several keys together


Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Place = Annotated[str, Field(min_length=1)]  # of a file or folder of the user's


class Section(BaseModel):
    """A section of params.yaml: unknown, missing and ill-typed keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def crossed(words: str) -> PydanticCustomError:
    """Return the error of a section whose values do not go together.

    Args:
        words: the whole message, which names the keys with their section.
    """
    return PydanticCustomError(CROSSED, words)
