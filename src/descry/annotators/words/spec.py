"""The annotator without any model, as params.yaml names it."""

from typing import Literal

from descry.io.section import Section


class Words(Section):
    """The annotator without any model."""

    kind: Literal["words"]
