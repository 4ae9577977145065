"""The pack `run`: what the first view shows, and what all others are numbered by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.annotators.annotations import Annotations
from descry.corpus.covariates import in_words
from descry.corpus.splits import HALVES, SPLITS
from descry.evaluation.confounders import told
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.parquet import ROW_GROUP, read_blocks
from descry.labels.results import Labels
from descry.models.neurons import Neurons, whose
from descry.reporting.explorer.packs import plain
from descry.reporting.ordering import alike

_MADE = ("params", "inputs", "versions")
_SHARES = [f"share_{split}" for split in SPLITS]


def target(made: JSON, width: int) -> JSON:
    """The model whose neurons they are, by what made activations.h5."""
    params = made["params"]
    value = {name: params["target"][name] for name in ("model", "revision")}
    value |= {name: made[name] for name in ("weights", "site", "position", "layers", "tokenizer")}
    value |= {"quantization": made.get("quantization"), "sinks": made["sinks"]}
    if dictionary := made.get("dictionary"):
        value |= {"kind": dictionary["kind"], "dictionary": whose(dictionary)}
    return value | {"width": width, "dtype": params["dtype"]}


def rule(of_label: JSON, of_exemplars: JSON, sizes: Mapping[str, int]) -> JSON:
    """By which rule there are labels, and of how many sentences.

    Args:
        of_label, of_exemplars: what made labels.parquet and exemplars.h5.
        sizes: of the exemplar sets of each split.
    """
    params = of_label["params"]
    value = {"name": params["rule"]}
    value |= {name: params[name] for name in ("threshold", "fdr", "frequency")}
    strata = params["strata"] or []
    value |= {"strata": strata, "alike": in_words(strata)}
    return value | {"top_percent": of_exemplars["params"]["top_percent"], "sizes": dict(sizes)}


def sentences(corpus: Path, made: JSON) -> JSON:
    """What the corpus is made of, of which a block is held at a time.

    Args:
        corpus: the table of what is labelled.
        made: what made the sentences.
    """
    halves, categories = Counter[str](), Counter[str | None]()
    for block in read_blocks(corpus, "corpus", ["split", "category"], ROW_GROUP):
        for name, counts in (("split", halves), ("category", categories)):
            for value, number in map(dict.values, pc.value_counts(block[name]).to_pylist()):
                counts[value] += number
    return {
        "reviews": made["params"]["reviews"],
        "sentences": halves.total(),
        "halves": {half: halves[half] for half in HALVES},
        "categories": sorted(
            ([name, number] for name, number in categories.items()),
            key=lambda pair: (-pair[1], pair[0] or ""),
        ),
        "dropped": made["dropped"],
    }


def descriptors(
    names: Sequence[str],
    tables: Mapping[str, Labels],
    clusters: JSON,
    rated: Sequence[Row],
) -> list[JSON]:
    """Each descriptor: where it comes from, how frequent it is, how well it was checked.

    Args:
        tables: by end, with a column for each descriptor.
        clusters: descriptors.json.
        rated: rows of descriptors.csv, numbers as floats.
    """
    entries = {entry["name"]: entry for entry in clusters["descriptors"]}
    checks: dict[str, dict[str, Row]] = {name: {} for name in names}
    for row in rated:
        checks[row["descriptor"]][row["against"]] = row
    return [
        {
            "name": name,
            "base": _base(tables, column),
            "neurons": {end: _labelled(table, column) for end, table in tables.items()},
            "mentions": entries[name]["mentions"],
            "phrases": len(entries[name]["phrases"]),
            "edited_from": entries[name]["edited_from"],
        }
        | _checked(checks[name])
        for column, name in enumerate(names)
    ]


def _base(tables: Mapping[str, Labels], column: int) -> JSON:
    """Base rates by split, of the first end that has the descriptor."""
    found = {}
    for split in SPLITS:
        rates = [table.splits[split].base_rate[0, 0, column] for table in tables.values()]
        found[split] = next((float(rate) for rate in rates if np.isfinite(rate)), None)
    return plain(found)


def _labelled(table: Labels, column: int) -> dict[str, int]:
    return {split: int(table.splits[split].assigned[:, :, column].sum()) for split in SPLITS}


def _checked(rows: Mapping[str, Row]) -> JSON:
    """Shares of the sentences, and agreement with gold labels and the judge."""
    first = next(iter(rows.values()))
    shares = {split: first[f"share_{split}"] for split in SPLITS}
    left_out = ("against", "descriptor", *_SHARES)
    checked = {
        against: {name: value for name, value in row.items() if name not in left_out}
        for against, row in rows.items()
        if row["sentences"]
    }
    return plain({"shares": shares, "checked": checked})


def correlation(rows: Sequence[Row], names: Sequence[str]) -> JSON:
    """Pearson correlations of the descriptors, and the order that brings those alike together.

    Args:
        rows: of correlation.csv.
    """
    place = {name: column for column, name in enumerate(names)}
    matrix = np.full((len(names), len(names)), np.nan)
    for row in rows:
        matrix[place[row["first"]], place[row["second"]]] = row["pearson"]
    return {"order": alike(matrix), "matrix": plain(matrix.tolist())}


def followed(table: pa.Table, neurons: Neurons) -> tuple[list[JSON], list[JSON]]:
    """The covariates that neurons may follow beside topics, and what each neuron follows.

    Args:
        table: confounders.parquet.

    Returns:
        Names, with what 95% of unrelated neurons stay below; of each neuron and covariate rho, and
        the exemplars, matched sentences and corpus in words.
    """
    rows = table.to_pylist()
    known = {row["covariate"]: row["rho_chance"] for row in rows}
    place, layers = {name: k for k, name in enumerate(known)}, neurons.layers
    found: list[JSON] = [[None] * len(known) for _ in range(len(neurons))]
    for row in rows:
        number = layers.index(row["layer"]) * neurons.width + row["neuron"]
        found[number][place[row["covariate"]]] = plain([row["rho"], *told(row)])
    return plain([{"name": name, "chance": chance} for name, chance in known.items()]), found


def annotators(candidates: JSON, b: Annotations, judge: Annotations | None) -> JSON:
    """Who answered: p1, p2, and p2 again.

    Args:
        candidates: what made candidates.parquet.
    """
    describers = [
        {name: value for name, value in who.items() if name != "frame"}
        for who in candidates["annotators"]
    ]
    return {
        "describers": describers,
        "annotator": b.annotator,
        "judge": judge.annotator if judge else None,
        "proxy": b.proxy.annotator if b.proxy else None,
        "cascade": b.made.get("cascade"),
    }


def made(stages: Mapping[str, Any]) -> JSON:
    """Of what made each result: parameters, inputs and versions."""
    return {
        stage: {name: value[name] for name in _MADE if name in value}
        for stage, value in stages.items()
    }


def descry_version() -> str:
    """The version of this program."""
    return version("descry")
