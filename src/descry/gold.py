"""Gold labels: what people say about sentences, by sentence id."""

import json
from pathlib import Path

import numpy as np

from descry.errors import InputError


def read_gold(path: Path | None, ids: list[str], descriptors: list[str]) -> np.ndarray:
    """Gold labels of the sentences: int8 [sentences, descriptors], 1 Yes, 0 No, -1 not judged.

    A line of the file is {"id": sentence id, "labels": [names]}; a sentence that is there was
    judged for every name that the file uses. Names are compared without regard to case.

    Where there is no file, nothing was judged.

    Raises:
        InputError: the file is missing or a line is not of that form.
    """
    if path is None:
        return np.full((len(ids), len(descriptors)), -1, dtype=np.int8)
    labels: dict[str, set[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: set evaluate.gold in params.yaml") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    for number, line in enumerate(lines, 1):
        try:
            sentence, names = _gold_line(line)
        except ValueError:
            raise InputError(
                f'{path}: line {number}: not {{"id": "...", "labels": ["...", ...]}}'
            ) from None
        labels[sentence] = names
    judged = set().union(*labels.values())
    gold = np.full((len(ids), len(descriptors)), -1, dtype=np.int8)
    for row, sentence in enumerate(ids):
        if sentence in labels:
            for column, name in enumerate(descriptors):
                if name.casefold() in judged:
                    gold[row, column] = name.casefold() in labels[sentence]
    return gold


def _gold_line(line: str) -> tuple[str, set[str]]:
    match json.loads(line):
        case {"id": str(sentence), "labels": [*names]} if all(isinstance(n, str) for n in names):
            return sentence, {name.casefold() for name in names}
    raise ValueError
