"""An export for the datasets library: Parquet files, and the card by which it finds them."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from descry.exports.contents import Explained
from descry.exports.tables import exemplars_table, labels_table, neurons_table
from descry.io.atomic import atomic, write_text

_TOLD = {
    "labels": "a row a label: descriptor, numbers in the whole corpus, whether both halves confirm"
    " it, and mean scores in the halves that did not choose it",
    "neurons": "a row a neuron: its labels, its distribution and histogram over all sentences, the"
    " tokens that it promotes and suppresses",
    "exemplars": "a row an exemplar: its activation, what the annotator said of it, and with"
    " sentences its text, its tokens and the activation at each",
}


def write(
    neurons: Sequence[Explained], folder: Path, *, sentences: bool, title: str, licence: str
) -> None:
    """Write data/labels.parquet, data/neurons.parquet, data/exemplars.parquet and README.md.

    `datasets.load_dataset(folder, "labels")` opens the first; it is not needed here.
    """
    tables = {
        "labels": labels_table(neurons),
        "neurons": neurons_table(neurons),
        "exemplars": exemplars_table(neurons, sentences=sentences),
    }
    (folder / "data").mkdir()
    for name, table in tables.items():
        _write(folder / f"data/{name}.parquet", table)
    write_text(folder / "README.md", card(title, licence))


def _write(path: Path, table: pa.Table) -> None:
    with atomic(path) as part:
        pq.write_table(table, part, compression="zstd")


def card(title: str, licence: str) -> str:
    """The data set's card: YAML that says which files make which part, and a few words."""
    parts = [
        {"config_name": name, "data_files": f"data/{name}.parquet"}
        | ({"default": True} if name == "labels" else {})
        for name in _TOLD
    ]
    head: dict[str, object] = {
        "pretty_name": title,
        "license": "other",
        "tags": ["interpretability", "descry"],
    }
    head |= {"configs": parts}
    told = "\n".join(f"- `{name}`: {words}." for name, words in _TOLD.items())
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n# {title}\n\n{told}\n\n"
        "`manifest.json` says what made these files.\n\n"
        f"{licence}\n"
    )
