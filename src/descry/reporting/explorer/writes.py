"""What neurons write, as the page has it."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.models.neurons import Neurons
from descry.n2g.token_words import readable
from descry.reporting.explorer.packs import plain

_NUMBERS = ("score", "score_null", "kurtosis", "kurtosis_null", "p", "q", "p_mixed", "q_mixed")
_SHARES = ("own", "other", "p")


def whole(table: pa.Table, made: JSON) -> JSON:
    """What is said of all neurons: how many write, or why nobody can say.

    Args:
        table, made: writes.parquet, and what made it.
    """
    if "undefined" in made:
        return {"undefined": made["undefined"]}
    params = made["params"]["writes"]
    value = {name: params[name] for name in ("fdr", "top", "draws")}
    return value | {"how": made["how"], "write": pc.sum(table["writes"]).as_py() or 0}


def by_neuron(table: pa.Table, neurons: Neurons) -> Sequence[JSON]:
    """Of each neuron, layer by layer: null where there is no row; tokens only of those that write.

    Tokens are harmless words (n2g/render.py), each with its deviations.
    """
    rows = {layer: row for row, layer in enumerate(neurons.layers)}
    found: list[JSON] = [None] * len(neurons)
    for one in table.to_pylist():
        found[rows[one["layer"]] * neurons.width + one["neuron"]] = plain(_neuron(one))
    return found


def _neuron(one: Row) -> JSON:
    value: dict[str, JSON] = {"writes": one["writes"]} | {name: one[name] for name in _NUMBERS}
    for way in ("promoted", "suppressed"):
        tokens = zip(one[f"{way}_token"], one[f"{way}_z"], strict=True)
        value[way] = [[readable(token), z] for token, z in tokens if one["writes"]]
    for what in ("exemplars", "labels"):
        value[what] = [one[f"{what}_{name}"] for name in _SHARES]
    return value
