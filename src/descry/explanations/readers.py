"""Files with explanations of neurons, in the forms of the tools that write them.

- Neuronpedia's data sets: folders with `explanations/*.jsonl.gz`, a line each with `layer` (the
  source, such as "5-res-jb"), `index` and `description`.
- delphi's results: a folder with `MODULE_latentINDEX.txt`, each a JSON string; the layer is the
  first number in the module's name (EleutherAI/delphi, `__main__.py: explainer_postprocess`).
- CSV with the columns neuron (L5:24) and explanation; JSON lines of objects with these two keys,
  or with those of Neuronpedia.

What is no explanation of a neuron of the run is passed over, and counted with an example.
"""

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.sanitize import printable
from descry.io.spreadsheets import unguarded
from descry.models.neurons import Neurons

_DELPHI = re.compile(r"(?P<module>.+)_latent(?P<index>\d+)\.txt")
# What delphi writes where a model gave no explanation.
_NONE = {"Explanation could not be parsed.", "No explanation found"}
_LONGEST = 2000  # characters of an explanation; more is no explanation
_SHOWN = 80


@dataclass
class Foreign:
    """Explanations by the neurons' names, and what was passed over.

    Attributes:
        texts: the first explanation of each neuron, in the order of the neurons.
        problems: how often, by reason.
        examples: of a problem, by its reason: the file, and where in it.
    """

    texts: dict[str, str] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """A line for each kind of problem, the most frequent first."""
        return [
            f"{number} passed over: {reason}, such as {self.examples[reason]}"
            for reason, number in self.problems.most_common()
        ]


class _Entry(NamedTuple):
    """An explanation as it was found; `fault` says why there is none."""

    where: str
    neuron: str = ""
    text: str = ""
    fault: str | None = None


def read_explanations(path: Path, neurons: Neurons) -> Foreign:
    """Read a file or folder of explanations.

    Raises:
        InputError: there is no such file, its form is none of those known, or it has no explanation
            of any neuron of the run.
    """
    found = Foreign()
    texts: dict[tuple[int, int], str] = {}
    for entry in _entries(path):
        fault, place = entry.fault, None
        if fault is None:
            try:
                place = neurons.find(entry.neuron)
            except InputError:
                fault = "no neuron of the run"
        text = " ".join(entry.text.split())
        if fault is None:
            fault = _fault(text, again=place in texts)
        if fault is None and place is not None:
            texts[place] = text
        elif fault is not None:
            found.problems[fault] += 1
            shown = f" ({entry.neuron[:_SHOWN]})" if entry.neuron else ""
            found.examples.setdefault(fault, printable(f"{entry.where}{shown}"))
    found.texts = {neurons.name(*place): texts[place] for place in sorted(texts)}
    if not texts:
        told = f" ({'; '.join(found.lines())})" if found.problems else ""
        raise InputError(f"{path}: no explanation of a neuron of the run{told}")
    return found


def _fault(text: str, *, again: bool) -> str | None:
    if not text:
        return "empty"
    if text in _NONE:
        return "no explanation was given"
    if len(text) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    return "another explanation of the same neuron" if again else None


def _entries(path: Path) -> Iterator[_Entry]:
    if path.is_dir():
        yield from _of_folder(path)
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    elif path.suffix == ".csv":
        yield from _of_csv(path)
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _of_lines(path)
    else:
        raise InputError(f"{path}: explanations are a folder, a .csv or a .jsonl")


def _of_folder(path: Path) -> Iterator[_Entry]:
    """Neuronpedia's folders, or else delphi's files, wherever they are in it."""
    batches = sorted(path.rglob("explanations/*.jsonl.gz")) or sorted(path.glob("*.jsonl.gz"))
    for batch in batches:
        yield from _of_lines(batch)
    files = [] if batches else sorted(path.rglob("*_latent*.txt"))
    named = [(file, found) for file in files if (found := _DELPHI.fullmatch(file.name))]
    # Scores of explanations have the same names.
    named = [(file, found) for file, found in named if "scores" not in file.parts]
    for file, found in named:
        yield _of_delphi(file, found["module"], int(found["index"]))
    if not batches and not named:
        raise InputError(
            f"{path}: neither Neuronpedia's explanations/*.jsonl.gz nor delphi's *_latent*.txt"
        )


def _of_delphi(file: Path, module: str, index: int) -> _Entry:
    layer = re.search(r"\d+", module)
    if layer is None:
        return _Entry(file.name, fault="its module has no layer's number")
    try:
        text = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return _Entry(file.name, fault="no JSON")
    if not isinstance(text, str):
        return _Entry(file.name, fault="no text")
    return _Entry(file.name, f"L{int(layer[0])}:{index}", text)


def _of_lines(path: Path) -> Iterator[_Entry]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield _of_object(line, f"{path.name} line {number}")


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig").split("\n")
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: damaged, or not UTF-8 text") from error


def _of_object(line: str, where: str) -> _Entry:
    try:
        found: JSON = json.loads(line)
    except ValueError:
        return _Entry(where, fault="no JSON")
    if not isinstance(found, dict):
        return _Entry(where, fault="no object")
    neuron, text = found.get("neuron"), found.get("explanation", found.get("description"))
    if neuron is None:
        layer, index = str(found.get("layer", "")).partition("-")[0], found.get("index", "")
        neuron = f"L{layer}:{index}"
    if not isinstance(neuron, str) or not isinstance(text, str):
        return _Entry(where, fault="no text under the keys neuron and explanation")
    return _Entry(where, neuron, text)


def _of_csv(path: Path) -> Iterator[_Entry]:
    reader = csv.DictReader(_lines(path), strict=True)
    try:
        if not {"neuron", "explanation"} <= set(reader.fieldnames or ()):
            raise InputError(f"{path}: no columns neuron and explanation")
        for row in reader:
            where = f"{path.name} line {reader.line_num}"
            cells = row["neuron"], row["explanation"]
            if None in cells:
                yield _Entry(where, fault="too few columns")
            else:
                yield _Entry(where, unguarded(cells[0].strip()), unguarded(cells[1]))
    except csv.Error as error:
        raise InputError(f"{path}: no CSV ({error})") from error
