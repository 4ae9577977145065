"""How far two runs' exemplar sets differ."""

from pathlib import Path

from descry.activations.exemplar_files import read_ends, read_exemplars, read_neurons
from descry.activations.top_k import ENDS, HIGHEST, in_common
from descry.corpus.splits import SPLITS
from descry.errors import InputError
from descry.io.csv_rows import Row


def compared(first: Path, second: Path) -> list[Row]:
    """How far the exemplar sets of two files differ: end, split, size, differ, common, fewest.

    Raises:
        InputError: they are of other neurons.
    """
    neurons = read_neurons(first)
    if neurons != read_neurons(second):
        raise InputError(f"{second}: not of the neurons that {first} is of")
    both = set(read_ends(first)) & set(read_ends(second))
    found = []
    for end in filter(both.__contains__, ENDS):
        for split in SPLITS:
            one, two = (
                read_exemplars(path, split, end).reshape(len(neurons), -1)
                for path in (first, second)
            )
            same = in_common(one, two)
            found.append(
                {
                    "sets": split if end == HIGHEST else f"{end}, {split}",
                    "size": one.shape[1],
                    "differ": float((same < 1).mean()),
                    "common": float(same.mean()),
                    "fewest": float(same.min()),
                }
            )
    return found
