"""A cascade as params.yaml names it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from descry.annotators.spec import AnnotatorSpec
from descry.io.section import Count, Section, Seed, Threshold, crossed


class Cascade(Section):
    """A proxy that answers every cell of B, and how far the annotator, its oracle, checks it.

    Attributes:
        recall, precision, accuracy: of B, by the oracle's answers, that are guaranteed; None: not.
        delta: the probability with which the guarantees of one descriptor (or of all, as `over`
            says) may fail.
        over: what a guarantee is of.
        budget: the share of cells that the oracle is asked about at most; None: as many as it
            takes.
        pilot: cells of a descriptor that are asked first, to plan the others.
    """

    proxy: AnnotatorSpec
    recall: Threshold | None
    precision: Threshold | None
    accuracy: Threshold | None
    delta: Threshold
    over: Literal["descriptor", "all"]
    budget: Annotated[float, Field(gt=0, le=1)] | None
    pilot: Count
    seed: Seed

    @model_validator(mode="after")
    def _goals_go_together(self) -> Self:
        others = self.recall is not None or self.precision is not None
        if self.accuracy is not None and others:
            raise crossed(
                "annotate.cascade: accuracy goes with neither recall nor precision: set it or"
                " them to null"
            )
        if self.accuracy is None and not others and self.budget is None:
            raise crossed(
                "annotate.cascade: no goal: set recall, precision or accuracy, or a budget"
            )
        if self.proxy.kind == "human":
            raise crossed(
                "annotate.cascade.proxy: people cannot answer every cell: they are the oracle"
                " (annotate.annotator)"
            )
        return self
