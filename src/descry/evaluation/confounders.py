"""What neurons follow beside topics: covariates of sentences, such as their length.

A neuron's activations are compared with each covariate over all sentences. Its exemplars are
compared with random sentences of the same strata and with the corpus: what the strata do not match
is seen.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from descry.activations.nan_stats import ratio
from descry.activations.store import neuron_blocks, read_block
from descry.corpus.covariates import SHARES, TIME
from descry.io.csv_rows import Row
from descry.io.prefetch import cores, map_ahead
from descry.labels.strata import Strata
from descry.models.neurons import Neurons

if TYPE_CHECKING:
    import h5py

    from descry.activations.positions import SampleMatrix

CONFOUNDERS = pa.schema(
    {
        "layer": pa.int16(),
        "neuron": pa.int32(),
        "covariate": pa.string(),
        "value": pa.string(),
        "rho": pa.float64(),
        "rho_chance": pa.float64(),
        "exemplars": pa.float64(),
        "matched": pa.float64(),
        "corpus": pa.float64(),
    }
)
_LEVEL = 0.95  # of unrelated neurons stay below `rho_chance`
_LAST = 2**32  # seconds since 1970 that are shown as a date: up to 2106
_CELLS = 2**22  # numbers held at a time: 32 MB


def confounders(
    data: "h5py.Dataset | SampleMatrix | None",
    neurons: Neurons,
    sets: np.ndarray,
    strata: Strata,
    covariates: Mapping[str, np.ndarray],
    memory: int,
    standing: np.ndarray | None = None,
) -> pa.Table:
    """A row a neuron and covariate, of the columns `CONFOUNDERS`.

    `rho` is Spearman's rank correlation of activation and covariate; of a covariate of texts the
    square root of the share of the ranks' variance that lies between its values, which has no sign.
    `rho_chance` is what 95% of neurons stay below (without regard to sign) that have nothing to do
    with it. `exemplars`, `matched` and `corpus` are medians of the covariate: among the exemplars,
    among random sentences of the same strata, and in the corpus; for texts the share of the value
    that is most frequent among the exemplars, which `value` names.

    Args:
        data: activations [sentences, layers, neurons], of those that represent all; None where
            they are not stored: then there is no rho.
        sets: of the whole corpus, int [neurons, size], -1 behind the end of a smaller set.
        strata: of the whole corpus.
        memory: bytes of activations held at a time.
        standing: bool [sentences], those that represent all; None: every one.
    """
    whole = np.ones(len(strata.of), dtype=bool) if standing is None else standing
    pool = Strata(np.where(whole, strata.of, -1).astype(np.int32), strata.names)
    of_all = {name: values[whole] for name, values in covariates.items()}
    rho = {name: np.full(len(neurons), np.nan) for name in covariates}
    if data is not None:
        for span, found in _correlations(data, of_all, memory):
            for name, values in found.items():
                rho[name][span] = values
    places = np.arange(len(neurons))
    layers = np.array(neurons.layers, dtype=np.int16)[places // neurons.width]
    parts = []
    for name, values in covariates.items():
        columns: dict[str, Any] = {
            "layer": layers,
            "neuron": places % neurons.width,
            "covariate": pa.array([name] * len(places)),
            "value": pa.nulls(len(places), pa.string()),
            "rho": rho[name],
            "rho_chance": np.full(len(places), chance_level(of_all[name])),
        }
        columns |= (_medians if _is_number(values) else _shares)(values, sets, strata, pool, whole)
        arrays = {
            key: pa.array(column, CONFOUNDERS.field(key).type, from_pandas=True)
            for key, column in columns.items()
        }
        parts.append(pa.table(arrays, CONFOUNDERS))
    return pa.concat_tables(parts) if parts else CONFOUNDERS.empty_table()


def _is_number(values: np.ndarray) -> bool:
    return values.dtype.kind == "f"


def _correlations(
    data: "h5py.Dataset | SampleMatrix", covariates: Mapping[str, np.ndarray], memory: int
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Some neurons, counted over all layers, and their correlation with each covariate."""
    threads = cores()

    def read() -> Iterator[tuple[slice, np.ndarray]]:
        for layer, columns in neuron_blocks(data, memory // (8 * (threads + 2))):
            first = layer * data.shape[2]
            span = slice(first + columns.start, first + columns.stop)
            yield span, read_block(data, layer, columns).astype(np.float32, copy=False)

    def correlate(block: tuple[slice, np.ndarray]) -> tuple[slice, dict[str, np.ndarray]]:
        return block[0], rank_correlations(block[1], covariates)

    return map_ahead(correlate, read(), threads)


def rank_correlations(
    activations: np.ndarray, covariates: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Correlation of the ranks of each neuron with each covariate: float64 [neurons] by name.

    NaN where either is the same for all sentences that have a value.

    Args:
        activations: float [sentences, neurons].
    """
    from scipy.stats import rankdata

    whole = rankdata(activations, axis=0)
    found = {}
    for name, values in covariates.items():
        ranks, known = whole, ~np.isnan(values) if _is_number(values) else values != ""
        if not known.all():
            ranks, values = rankdata(activations[known], axis=0), values[known]
        if not len(values):
            found[name] = np.full(activations.shape[1], np.nan)
            continue
        away = ranks - ranks.mean(axis=0)
        spread = (away**2).sum(axis=0)
        if _is_number(values):
            other = rankdata(values) - (len(values) + 1) / 2
            found[name] = ratio(other @ away, np.sqrt(spread * (other @ other)))
        else:
            _, code = np.unique(values, return_inverse=True)
            order = np.argsort(code, kind="stable")
            starts = np.flatnonzero(np.diff(code[order], prepend=-1))
            sums = np.add.reduceat(away[order], starts, axis=0)
            between = (sums**2 / np.bincount(code)[:, None]).sum(axis=0)
            found[name] = np.sqrt(ratio(between, spread))
    return found


def chance_level(values: np.ndarray) -> float:
    """The |rho| that 95% of unrelated neurons stay below; NaN if too few values differ."""
    from scipy.stats import f, t

    known = values[~np.isnan(values)] if _is_number(values) else values[values != ""]
    number, groups = len(known), len(np.unique(known))
    if groups < 2 or number < 3 or (groups == number and not _is_number(values)):
        return float("nan")
    if _is_number(values):
        reach = t.ppf((1 + _LEVEL) / 2, number - 2)
        return float(reach / np.sqrt(number - 2 + reach**2))
    reach = f.ppf(_LEVEL, groups - 1, number - groups) * (groups - 1)
    return float(np.sqrt(reach / (reach + number - groups)))


def _medians(
    values: np.ndarray, sets: np.ndarray, strata: Strata, pool: Strata, standing: np.ndarray
) -> dict[str, Any]:
    """Medians of a number: float64 [neurons] each.

    Args:
        pool: the strata of those that represent all, -1 for others.
        standing: bool [sentences], which these are.
    """
    members = np.where(sets >= 0, values[sets], np.nan)
    known = ~np.isnan(members)
    ranked = np.sort(members, axis=1)  # what is unknown comes last
    number = known.sum(axis=1)
    middle = [np.maximum(number - 1, 0) // 2, number // 2]
    pair = [
        np.take_along_axis(ranked, np.minimum(at, sets.shape[1] - 1)[:, None], axis=1)[:, 0]
        for at in middle
    ]
    return {
        "exemplars": np.where(number > 0, (pair[0] + pair[1]) / 2, np.nan),
        "matched": _matched_medians(values, sets, strata, pool),
        "corpus": np.full(len(sets), _median(values[standing])),
    }


def _matched_medians(
    values: np.ndarray, sets: np.ndarray, strata: Strata, pool: Strata
) -> np.ndarray:
    """The median among sentences of which each stratum counts as among a neuron's exemplars."""
    weights = _weights(sets, strata, pool)
    order = np.argsort(values, kind="stable")
    order = order[~np.isnan(values[order]) & (pool.of[order] >= 0)]
    found = np.full(len(sets), np.nan)
    step = max(1, _CELLS // max(1, len(order)))
    for start in range(0, len(sets) if len(order) else 0, step):
        block = slice(start, start + step)
        summed = np.cumsum(weights[block][:, pool.of[order]], axis=1)
        at = (summed >= summed[:, -1:] / 2).argmax(axis=1)
        found[block] = np.where(summed[:, -1] > 0, values[order[at]], np.nan)
    return found


def _weights(sets: np.ndarray, strata: Strata, pool: Strata) -> np.ndarray:
    """Exemplars for each sentence of a stratum: float64 [neurons, strata]."""
    return ratio(strata.count(sets), pool.sizes)


def _shares(
    values: np.ndarray, sets: np.ndarray, strata: Strata, pool: Strata, standing: np.ndarray
) -> dict[str, Any]:
    """For each neuron: the most frequent value among its exemplars, and its shares."""
    names, code = np.unique(values, return_inverse=True)
    cells = np.arange(len(sets))[:, None] * len(names) + code[sets]
    counts = np.bincount(cells[sets >= 0], minlength=len(sets) * len(names))
    counts = counts.reshape(len(sets), len(names))
    most, size = counts.argmax(axis=1), counts.sum(axis=1)
    inside = pool.of >= 0
    cells = pool.of[inside] * len(names) + code[inside]
    of_strata = np.bincount(cells, minlength=len(strata.names) * len(names))
    of_strata = of_strata.reshape(len(strata.names), len(names))
    matched = np.nan_to_num(_weights(sets, strata, pool)) @ of_strata
    rows = np.arange(len(sets))
    return {
        "value": np.where(size > 0, names[most].astype(object), None),
        "exemplars": ratio(counts[rows, most], size),
        "matched": ratio(matched[rows, most], size),
        "corpus": np.bincount(code[standing], minlength=len(names))[most] / standing.sum(),
    }


def told(row: Row) -> tuple[str, str, str]:
    """A row's `exemplars`, `matched` and `corpus` as people read them, with their units."""
    name, value = row["covariate"], row["value"]
    exemplars, matched, corpus = (
        _amount(name, row[key], value is not None) for key in ("exemplars", "matched", "corpus")
    )
    return (exemplars if value is None else f"{exemplars} {value}"), matched, corpus


def _amount(covariate: str, value: float | None, share: bool) -> str:
    if value is None or not math.isfinite(value):
        return "undefined"
    if share or covariate in SHARES:
        return f"{100 * value:.1f}%"
    if covariate == TIME and 0 <= value < _LAST:
        return datetime.fromtimestamp(value, UTC).date().isoformat()
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def by_layer(table: pa.Table) -> dict[str, Row]:
    """For each covariate, by name: the median |rho| of each layer, and the value by chance."""
    found: dict[str, Row] = {}
    for name in dict.fromkeys(table["covariate"].to_pylist()):
        rows = table.filter(pa.compute.equal(table["covariate"], name))
        layer, rho = rows["layer"].to_numpy(), np.abs(rows["rho"].to_numpy())
        level = rows["rho_chance"][0].as_py()
        medians = {str(one): _median(rho[layer == one]) for one in np.unique(layer).tolist()}
        known = rho[~np.isnan(rho)]
        above = float((known > level).mean()) if level and len(known) else float("nan")
        found[name] = {
            "median": _median(rho),
            "chance_95": level,
            "share_above_chance_95": above,
            "exemplars": _median(rows["exemplars"].to_numpy()),
            "matched": _median(rows["matched"].to_numpy()),
            "corpus": _median(rows["corpus"].to_numpy()),
            "layers": medians,
        }
    return found


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")
