"""The annotator without a generative model, as params.yaml names it."""

from typing import Literal

from descry.models.spec import Model


class Embedded(Model):
    """The annotator without a generative model."""

    kind: Literal["embedded"]
