"""Gold labels: what people say about sentences, by sentence id."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from descry.errors import InputError
from descry.io.json_files import strict_json
from descry.io.sanitize import printable

_NAMED = 10  # names shown in a run's summary


class _Gold(NamedTuple):
    """A file of gold labels.

    Attributes:
        labels: the names of each sentence as they are compared, by its id.
        spelled: each name as the file writes it first.
        lines: how many lines each sentence has.
    """

    labels: dict[str, set[str]]
    spelled: dict[str, str]
    lines: Counter[str]


def read_gold(path: Path | None, ids: list[str], descriptors: list[str]) -> np.ndarray:
    """Gold labels of the sentences: int8 [sentences, descriptors], 1 Yes, 0 No, -1 not judged.

    A line of the file is {"id": sentence id, "labels": [names]}; a sentence may have several, whose
    labels are united. A sentence that is there was judged for every name that the file uses. Names
    are compared without regard to case and outer blanks.

    Where there is no file, nothing was judged.

    Raises:
        InputError: the file is missing or a line is not of that form.
    """
    labels = _read(path).labels
    judged: set[str] = set().union(*labels.values())
    gold = np.full((len(ids), len(descriptors)), -1, dtype=np.int8)
    for row, sentence in enumerate(ids):
        if sentence in labels:
            for column, name in enumerate(descriptors):
                if _compared(name) in judged:
                    gold[row, column] = _compared(name) in labels[sentence]
    return gold


def judged(path: Path | None) -> frozenset[str]:
    """The ids of the sentences that a file of gold labels names.

    Raises:
        InputError: as `read_gold`.
    """
    return frozenset(_read(path).labels)


class Unused(NamedTuple):
    """What of a file of gold labels does not count as it stands there.

    Attributes:
        lines: of the file.
        sentences: that it names.
        united: sentences with several lines, whose labels are united.
        unknown: sentences that are not in the corpus.
        no_descriptor: how many sentences have a name that is no descriptor, by name.
    """

    lines: int
    sentences: int
    united: int
    unknown: int
    no_descriptor: dict[str, int]

    def notes(self) -> dict[str, str]:
        """What of the file is to be said in a run's summary."""
        names = [f"{name} ({number})" for name, number in self.no_descriptor.items()]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        found = {
            "gold sentences with several lines, united": str(self.united or ""),
            "gold sentences not in the corpus": str(self.unknown or ""),
            "gold names that are no descriptor": ", ".join(names[:_NAMED]) + more,
        }
        return {note: value for note, value in found.items() if value}


def unused_gold(path: Path | None, ids: Iterable[str], descriptors: list[str]) -> Unused:
    """What of the file does not count as it stands there.

    Raises:
        InputError: as `read_gold`.
    """
    gold = _read(path)
    used = Counter(name for names in gold.labels.values() for name in names)
    strange = used.keys() - {_compared(name) for name in descriptors}
    return Unused(
        lines=gold.lines.total(),
        sentences=len(gold.labels),
        united=sum(number > 1 for number in gold.lines.values()),
        unknown=len(gold.labels.keys() - set(filter(gold.labels.__contains__, ids))),
        no_descriptor={gold.spelled[name]: used[name] for name in sorted(strange)},
    )


def _read(path: Path | None) -> _Gold:
    gold = _Gold({}, {}, Counter())
    if path is None:
        return gold
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}: set evaluate.gold in params.yaml") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            sentence, names = _gold_line(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f'{path}: line {number}: not {{"id": "...", "labels": ["...", ...]}}:'
                f" {printable(' '.join(line.split())[:80])}"
            ) from error
        gold.lines[sentence] += 1
        gold.labels.setdefault(sentence, set()).update(map(_compared, names))
        for name in names:
            gold.spelled.setdefault(_compared(name), printable(name.strip()[:80]))
    return gold


def _gold_line(line: str) -> tuple[str, list[str]]:
    match strict_json(line):
        case {"id": str(sentence), "labels": [*names]} if all(isinstance(n, str) for n in names):
            return sentence, names
    raise ValueError


def _compared(name: str) -> str:
    return name.strip().casefold()
