"""Scores of many neurons' graphs, averaged as the paper's table is (Foote et al. 2023)."""

from collections.abc import Sequence

from descry.io.csv_rows import Row
from descry.n2g.scoring import average
from descry.n2g.tables import PREDICTORS, Record

EVERY = "all"  # the row of all layers
MEANS = ("precision", "recall", "f1", "pearson", "r2")  # of a `Score`, in the tables
COLUMNS = ["layer", "predictor", "neurons", "firing", *MEANS]


def layer_rows(records: Sequence[Record]) -> list[Row]:
    """Means over the neurons of each layer, and of all, that fire at least once.

    Returns:
        A row a layer and predictor, with `COLUMNS`: neurons counts all, firing those averaged.
    """
    if not records:
        return []
    layers = sorted({record.layer for record in records})
    parts: dict[int | str, list[Record]] = {
        layer: [record for record in records if record.layer == layer] for layer in layers
    }
    parts[EVERY] = list(records)
    return [_means(layer, name, some) for layer, some in parts.items() for name in PREDICTORS]


def _means(layer: int | str, predictor: str, records: Sequence[Record]) -> Row:
    scores = [record.scores[predictor] for record in records]
    firing = sum(score.fires > 0 for score in scores)
    found = average(scores)
    row = {"layer": layer, "predictor": predictor, "neurons": len(records), "firing": firing}
    return row | {name: getattr(found, name) for name in MEANS}
