"""The paper's tables 1 to 5, as rows.

1: raw descriptors of example sentences. 2: clusters and their members. 3: the descriptors. 4: those
that were dropped. 5: what the clustering made.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from statistics import median

from descry.corpus.splits import draw
from descry.io.csv_rows import Row
from descry.io.hashing import JSON

_SIZES = ["raw_descriptors", "mentions", "smallest", "median", "largest"]
COLUMNS: dict[str, list[str]] = {
    "table1": ["id", "sentence", "annotator", "raw_descriptor"],
    "table2": ["descriptor", "raw_descriptor", "mentions", "representative"],
    "table3": ["end", "descriptor", "base_rate", "neurons", "raw_descriptors", "mentions"],
    "table4": ["descriptor", "stage", "end", "raw_descriptors", "mentions", "reason"],
    "table5": ["method", "threshold", "outcome", "clusters", *_SIZES],
}


def examples(sentences: Iterable[tuple[str, str]], number: int, seed: int) -> dict[str, str]:
    """Draw sentences by `seed`: texts by id, in the order in which they are drawn.

    Args:
        sentences: ids and texts, gone through once.
    """
    return dict(nsmallest(number, sentences, key=lambda one: draw(seed, f"table 1:{one[0]}")))


def raw_descriptors(sentences: Mapping[str, str], candidates: Iterable[Row]) -> list[Row]:
    """Table 1: a row per raw descriptor of some sentences, and one of a sentence without.

    Args:
        sentences: texts by id.
        candidates: rows of candidates.parquet, those of a sentence and annotator in their order.
    """
    found: dict[str, list[Row]] = {name: [] for name in sentences}
    for row in candidates:
        if row["id"] in found:
            found[row["id"]].append(
                {"annotator": row["annotator"], "raw_descriptor": row["phrase"]}
            )
    return [
        {"id": name, "sentence": text, **row}
        for name, text in sentences.items()
        for row in found[name] or [{"annotator": None, "raw_descriptor": None}]
    ]


def clusters(made: JSON) -> list[Row]:
    """Table 2: a row per raw descriptor of a cluster, the most frequent first.

    A cluster's representative is the raw descriptor that named it; several, where clusters were
    merged by hand.

    Args:
        made: descriptors.json.
    """
    return [
        {
            "descriptor": entry["name"],
            "raw_descriptor": phrase,
            "mentions": mentions,
            "representative": phrase in {entry["name"], *entry["edited_from"]},
        }
        for entry in made["descriptors"]
        for phrase, mentions in entry["phrases"].items()
    ]


def descriptors(made: JSON, end: str, neurons: Mapping[str, tuple[float, int]]) -> list[Row]:
    """Table 3: a row per descriptor that labels may have.

    Args:
        made: descriptors.json.
        end: of the activations, whose labels are counted.
        neurons: base rate and number of neurons labelled with each, in the whole corpus.
    """
    return [
        {
            "end": end,
            "descriptor": entry["name"],
            "base_rate": neurons[entry["name"]][0],
            "neurons": neurons[entry["name"]][1],
            **_size(entry),
        }
        for entry in made["descriptors"]
        if entry["name"] in neurons
    ]


def dropped(made: JSON, labels: JSON) -> list[Row]:
    """Table 4: a row per descriptor that was dropped, with the stage that did it and why.

    Args:
        made: descriptors.json.
        labels: provenance of labels.parquet.
    """
    sizes = {entry["name"]: _size(entry) for entry in made["descriptors"]}
    unknown = dict.fromkeys(("raw_descriptors", "mentions"))
    too_broad = [
        {"descriptor": row["descriptor"], "stage": "label", "end": row["end"]}
        | sizes.get(row["descriptor"], unknown)
        | {"reason": row["reason"]}
        for row in labels["dropped"]
    ]
    cut = [
        {"descriptor": entry["name"], "stage": "cluster", "end": None, **_size(entry)}
        | {"reason": entry["reason"]}
        for entry in made["dropped"]
    ]
    return too_broad + cut


def clustering(made: JSON, mentions: Mapping[str, int]) -> list[Row]:
    """Table 5: what became of the clusters, and how many raw descriptors they have.

    Edits by hand are made: merged clusters count as one. Of those that were too small only the
    number is known, and all their raw descriptors together.

    Args:
        made: descriptors.json.
        mentions: how often each raw descriptor was given.
    """
    params = made["made"]["params"]
    how = {"method": params.get("method"), "threshold": params["threshold"]}
    outcomes: dict[str, list[JSON]] = {"kept": made["descriptors"]}
    for entry in made["dropped"]:
        outcomes.setdefault(entry["reason"], []).append(entry)
    rows = [{**how, "outcome": name, **_sizes(entries)} for name, entries in outcomes.items()]
    listed = {p for entries in outcomes.values() for entry in entries for p in entry["phrases"]}
    rest = [number for phrase, number in mentions.items() if phrase not in listed]
    small = "fewer than cluster.min_size raw descriptors or min_mentions mentions"
    sizes = {"clusters": made["too_small"], "raw_descriptors": len(rest), "mentions": sum(rest)}
    nothing = dict.fromkeys(("smallest", "median", "largest"))
    return [*rows, {**how, "outcome": small, **sizes, **nothing}]


def _size(entry: JSON) -> Row:
    return {"raw_descriptors": len(entry["phrases"]), "mentions": entry["mentions"]}


def _sizes(entries: Sequence[JSON]) -> Row:
    """Of some clusters together, and the raw descriptors of the smallest and so on."""
    sizes = [len(entry["phrases"]) for entry in entries]
    return {
        "clusters": len(entries),
        "raw_descriptors": sum(sizes),
        "mentions": sum(entry["mentions"] for entry in entries),
        "smallest": min(sizes),
        "median": float(median(sizes)),
        "largest": max(sizes),
    }
