"""A person as an annotator, as params.yaml names one."""

from typing import Annotated, Literal

from pydantic import Field

from descry.io.section import Section


class Human(Section):
    """A person, whose answers `descry annotate-sheet` brings into the cache."""

    kind: Literal["human"]
    model: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)]
