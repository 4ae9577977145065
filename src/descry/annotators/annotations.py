"""annotations.h5 and judgements.h5: B, and the log-odds behind it.

`yes` and `answered` are packed columns, uint8 [descriptor, ceil(sentences / 8)]; `score` is float32
[descriptor, sentence]. `cut` int32 [sentence] is the number of tokens that the annotator did not
read; it is empty where it read every sentence whole. `offset_sentence` and `offset_descriptor`,
float64, are what was taken off the annotator's log-odds (threshold.py); they are empty where
nothing was. Of a cascade, `by_proxy`, packed too, has the cells that its proxy answered, and
`proxy_cut`, float64 [descriptor], the log-odds above which the proxy's answer is Yes; the attribute
`annotator` is then the oracle, and `proxy` the proxy. In plain h5py and numpy, bool [descriptor,
sentence]:

    file = h5py.File("annotations.h5")
    yes = np.unpackbits(file["yes"], axis=1, count=len(file["id"])).astype(bool)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from descry.annotators.bitset import Answers, BitMatrix
from descry.annotators.offsets import NO_OFFSETS, Offsets
from descry.annotators.templates import P2, Template
from descry.io.hashing import JSON, canonical
from descry.io.hdf5 import attribute, dataset, hdf5_provenance, reading_hdf5, texts, writing_hdf5
from descry.io.provenance import PROVENANCE
from descry.io.readable import MalformedError

if TYPE_CHECKING:
    import h5py

MISSING = -1  # in B as a matrix: not asked, or no usable answer
_BLOCK = 8192  # sentences that are written at a time: a multiple of 8


@dataclass(frozen=True)
class Proxy:
    """The proxy of a cascade, and the cells that it answered.

    Attributes:
        annotator: as the fields of an annotator's identity.
        frame: what its chat template put around a prompt.
        cells: that it answered, packed.
        cut: log-odds above which its answer is Yes (1 and -1 where it has words): float64
            [descriptors].
    """

    annotator: dict[str, str]
    frame: tuple[str, str]
    cells: BitMatrix
    cut: np.ndarray

    def keep(self, columns: Sequence[int]) -> "Proxy":
        """Return the proxy's answers about some descriptors."""
        chosen = list(columns)
        return replace(self, cells=self.cells.keep(chosen), cut=self.cut[chosen])


@dataclass(frozen=True)
class Annotations:
    """B and the log-odds behind it. Data about every sentence are read when they are needed.

    Attributes:
        path: of the file.
        descriptors: their names, in the order of the columns.
        places: of the columns in the file.
        bits: B, packed.
        asked: bool [sentences], those that the annotator was asked about.
        sampled: bool [sentences], those that represent the corpus.
        annotator: who answered, as the fields of an annotator's identity.
        frame: what its chat template put around a prompt.
        made: what made the file.
        proxy: of a cascade, who answered instead of the annotator, and where.
    """

    path: Path
    descriptors: list[str]
    places: list[int]
    bits: Answers
    asked: np.ndarray
    sampled: np.ndarray
    annotator: dict[str, str]
    frame: tuple[str, str]
    made: JSON
    proxy: Proxy | None = None

    @property
    def template(self) -> Template:
        """The text of the prompts around sentence and descriptor."""
        head, middle, tail = self.made.get("template", P2)
        return head, middle, tail

    @cached_property
    def answer(self) -> np.ndarray:
        """B as a matrix, int8 [sentences, descriptors]: 1 Yes, 0 No, -1 no answer."""
        return self.bits.matrix

    @cached_property
    def score(self) -> np.ndarray:
        """Log-odds of Yes, float32 of the same shape; NaN for answers in words or no answer.

        Without `offsets`: where something is taken off, Yes is what is left above 0.
        """
        return _read_score(self.path, self.places)

    @cached_property
    def offsets(self) -> Offsets:
        """What was subtracted from the annotator's log-odds; empty if nothing was."""
        with reading_hdf5(self.path, "annotate") as file:
            names = ("offset_sentence", "offset_descriptor")
            sentence, own = (dataset(file, name, (None,), "f")[:] for name in names)
        return Offsets(sentence, own[self.places] if own.size else own)

    @cached_property
    def cut(self) -> np.ndarray:
        """How many tokens of each sentence the annotator did not read, int32 [sentences]."""
        return _read_cut(self.path, len(self.asked))

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the sentences, row by row."""
        return read_ids(self.path, 0, len(self.asked))

    def yes(self, descriptor: str) -> np.ndarray:
        """Return to which sentences the annotator said Yes: bool [sentences].

        Raises:
            ValueError: there is no such descriptor.
        """
        return self.bits.yes.column(self.descriptors.index(descriptor))

    def answered(self, descriptor: str) -> np.ndarray:
        """Return about which sentences it gave a usable answer: bool [sentences]."""
        return self.bits.answered.column(self.descriptors.index(descriptor))

    def odds(self, descriptor: str) -> np.ndarray:
        """Read a descriptor's column of `score`: float32 [sentences]."""
        return _read_score(self.path, [self.places[self.descriptors.index(descriptor)]])[:, 0]

    def odds_at(self, rows: np.ndarray) -> np.ndarray:
        """Read some rows of `score`: float32 [rows, descriptors].

        Args:
            rows: int, ascending; what lies between the first and the last is read, too.
        """
        found = np.empty((len(rows), len(self.places)), dtype=np.float32)
        if not len(rows):
            return found
        span, within = slice(rows[0], rows[-1] + 1), rows - rows[0]
        with reading_hdf5(self.path, "annotate") as file:
            score = dataset(file, "score", (None, len(self.asked)), "f")
            for column, place in enumerate(self.places):
                found[:, column] = score[place, span][within]
        return found

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return some rows of `answer`: int8 [rows, descriptors]."""
        yes, answered = (
            bits.at(rows).T.view(np.int8) for bits in (self.bits.yes, self.bits.answered)
        )
        return yes + answered - 1

    def keep(self, columns: Sequence[int]) -> "Annotations":
        """Return the annotations of some descriptors."""
        names, places = [self.descriptors[i] for i in columns], [self.places[i] for i in columns]
        proxy = self.proxy and self.proxy.keep(columns)
        bits = self.bits.keep(columns)
        return replace(self, descriptors=names, places=places, bits=bits, proxy=proxy)

    def without(self, columns: Sequence[int]) -> "Annotations":
        """Return these annotations without some descriptors."""
        return self.keep([i for i in range(len(self.descriptors)) if i not in columns])

    def only(self, descriptors: Sequence[str]) -> "Annotations":
        """Return these annotations with only the named descriptors, in that order."""
        return self.keep([i for i, name in enumerate(self.descriptors) if name in descriptors])


def read_annotations(path: Path) -> Annotations:
    """Read annotations.h5: a bit or two of each answer; the rest when it is needed."""
    with reading_hdf5(path, "annotate") as file:
        names = texts(file, "descriptor")
        made = hdf5_provenance(file)
        annotator, frame = (attribute(file, name) for name in ("annotator", "frame"))
        if not isinstance(annotator, dict) or not isinstance(frame, list):
            raise MalformedError("it does not say who answered")
        bits = _read_bits(file, len(names))
        number = bits.yes.sentences
        dataset(file, "score", (len(names), number), "f")
        asked, sampled = (dataset(file, n, (number,), "b")[:] for n in ("asked", "sampled"))
        proxy = _read_proxy(file, bits) if "by_proxy" in file else None
    places = list(range(len(names)))
    who = annotator, (*frame,)
    return Annotations(path, names, places, bits, asked, sampled, *who, made, proxy)


def _read_proxy(file: "h5py.File", bits: Answers) -> Proxy:
    annotator, frame = (attribute(file, name) for name in ("proxy", "proxy_frame"))
    if not isinstance(annotator, dict) or not isinstance(frame, list):
        raise MalformedError("it does not say who answered")
    cells = dataset(file, "by_proxy", bits.answered.packed.shape, "u")[:]
    if cells.dtype != np.uint8 or (cells & ~bits.answered.packed).any():
        raise MalformedError("its proxy's cells are none of its answers")
    cut = dataset(file, "proxy_cut", (len(cells),), "f")[:]
    return Proxy(annotator, (*frame,), BitMatrix(cells, bits.answered.sentences), cut)


def _read_bits(file: "h5py.File", descriptors: int) -> Answers:
    (number,) = dataset(file, "id", (None,), "OS").shape
    shape = descriptors, -(-number // 8)
    yes, answered = (dataset(file, name, shape, "u")[:] for name in ("yes", "answered"))
    if {yes.dtype, answered.dtype} != {np.dtype(np.uint8)}:
        raise MalformedError("its answers are not packed columns")
    if (answered & ~_every(number)).any():
        raise MalformedError("its answers are not of its sentences")
    if (yes & ~answered).any():
        raise MalformedError("it has a Yes that is no answer")
    return Answers(BitMatrix(yes, number), BitMatrix(answered, number))


def _every(sentences: int) -> np.ndarray:
    return np.packbits(np.ones(sentences, dtype=bool))


def _read_score(path: Path, places: Sequence[int]) -> np.ndarray:
    with reading_hdf5(path, "annotate") as file:
        score = dataset(file, "score", (None, None), "f")
        found = np.empty((score.shape[1], len(places)), dtype=np.float32)
        for column, place in enumerate(places):
            found[:, column] = score[place]
    return found


def _read_cut(path: Path, sentences: int) -> np.ndarray:
    with reading_hdf5(path, "annotate") as file:
        found = dataset(file, "cut", (None,), "iu")[:]
        if len(found) not in (0, sentences):
            raise MalformedError("its `cut` is not of its sentences")
        return np.asarray(found if len(found) else np.zeros(sentences, dtype=np.int32))


def read_ids(path: Path, start: int, stop: int) -> list[str]:
    """Read the ids of some sentences of annotations.h5."""
    with reading_hdf5(path, "annotate") as file:
        return texts(file, "id", start, stop)


def thinned_annotations(path: Path, part: Path, rows: np.ndarray) -> None:
    """Write the answers about some of the sentences; of a file without answers a copy.

    Args:
        rows: of the sentences, int64, ascending.
    """
    import h5py

    with reading_hdf5(path, "annotate") as file, writing_hdf5(part, hdf5_provenance(file)) as copy:
        for name, value in file.attrs.items():
            copy.attrs[name] = value
        if "annotator" not in file.attrs:
            return
        (number,) = file["id"].shape
        for name in file:
            values = file[name]
            if name == "descriptor":
                names = [text.encode() for text in texts(file, name, 0, len(values))]
                text = h5py.string_dtype("utf-8")
                copy.create_dataset(name, data=np.array(names, dtype=object), dtype=text)
            elif name in ("yes", "answered", "by_proxy"):
                packed = BitMatrix(values[:], number).at(rows)
                copy[name] = np.packbits(packed, axis=1)
            elif name == "score":
                copy[name] = np.stack([values[place][rows] for place in range(len(values))])
            else:  # of every sentence, or of none; or of descriptors
                whole = values[:]
                copy[name] = whole[rows] if len(whole) == number else whole


def read_judgements(path: Path) -> Annotations | None:
    """Read judgements.h5; None if there was no judge."""
    with reading_hdf5(path, "judge") as file:
        judged = "annotator" in file.attrs
    return read_annotations(path) if judged else None


class AnnotationsWriter:
    """B as the answers come, sentence by sentence; a block of sentences is held at a time."""

    def __init__(self, file: "h5py.File", sentences: int, descriptors: int) -> None:
        self._file, self._sentences, self._block = file, sentences, 0
        packed = descriptors, -(-sentences // 8)
        chunks = (1, min(_BLOCK, sentences)) if sentences and descriptors else None
        for name in ("yes", "answered"):
            file.create_dataset(name, packed, np.uint8)
        file.create_dataset(
            "score", (descriptors, sentences), np.float32, chunks=chunks, fillvalue=np.nan
        )
        shape = descriptors, _BLOCK
        self._yes, self._answered = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self._score = np.full(shape, np.nan, dtype=np.float32)
        self._offsets = NO_OFFSETS

    def put(self, rows: np.ndarray, columns: np.ndarray, yes: np.ndarray, odds: np.ndarray) -> None:
        """Add answers, sentence by sentence in the order of the corpus.

        Args:
            rows: of the sentences, int [answers], ascending.
            columns: columns of the descriptors.
            yes: whether the answer is Yes, bool [answers].
            odds: log-odds of Yes, float [answers]; NaN where only words came.
        """
        blocks = rows // _BLOCK
        if (np.diff(blocks) < 0).any():
            raise ValueError("answers out of the order of their sentences")
        for block in np.unique(blocks).tolist():
            self._turn_to(block)
            here = slice(*np.searchsorted(blocks, [block, block + 1]))
            at = columns[here], rows[here] % _BLOCK
            self._yes[at], self._answered[at], self._score[at] = yes[here], True, odds[here]

    def odds(self, column: int) -> np.ndarray:
        """Return a descriptor's log-odds, after all answers were added: float32 [sentences]."""
        self._flush()
        return np.asarray(self._file["score"][column])

    def settle(self, offsets: Offsets) -> None:
        """Subtract offsets from the log-odds, after all answers were added: Yes is above 0."""
        score, yes = self._file["score"], self._file["yes"]
        for i in range(len(score)):
            score[i] = offsets.left(self.odds(i), i)
            yes[i] = np.packbits(score[i] > 0)
        self._offsets = offsets

    def totals(self, near: float) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the number of Yes and of answers, int64 [descriptors], and of all near ties.

        Args:
            near: log-odds within which an answer is one.
        """
        self._flush()
        yes, answered = (BitMatrix(self._file[n][:], self._sentences) for n in ("yes", "answered"))
        ties = sum(int((np.abs(column) < near).sum()) for column in self._file["score"])
        return yes.totals, answered.totals, ties

    def sign(
        self, made: JSON, annotator: JSON, frame: Sequence[str], cut: Sequence[int] = ()
    ) -> None:
        """Write the rest, and what made the file, who answered, and in which frame.

        Args:
            cut: tokens of each sentence that the annotator did not read; nothing where it read all.
        """
        self._flush()
        self._file.create_dataset("cut", data=np.array(cut, dtype=np.int32))
        self._file.create_dataset("offset_sentence", data=self._offsets.sentence)
        self._file.create_dataset("offset_descriptor", data=self._offsets.descriptor)
        self._file.attrs[PROVENANCE] = canonical(made)
        self._file.attrs["annotator"] = canonical(annotator)
        self._file.attrs["frame"] = canonical(list(frame))

    def add_proxy(
        self, cells: np.ndarray, cut: np.ndarray, annotator: JSON, frame: Sequence[str]
    ) -> None:
        """Record the proxy of a cascade.

        Args:
            cells: bool [sentences, descriptors].
            cut: as `Proxy` has it.
        """
        self._file.create_dataset("by_proxy", data=BitMatrix.of(cells).packed)
        self._file.create_dataset("proxy_cut", data=cut.astype(np.float64))
        self._file.attrs["proxy"] = canonical(annotator)
        self._file.attrs["proxy_frame"] = canonical(list(frame))

    def _turn_to(self, block: int) -> None:
        if block < self._block:
            raise ValueError("an answer about a sentence that is written already")
        if block > self._block:
            self._flush()
            self._block = block

    def _flush(self) -> None:
        """Write a block out; where it has no answer the file has none to begin with."""
        start = self._block * _BLOCK
        here = slice(0, min(_BLOCK, self._sentences - start))
        if self._answered.any():
            within = slice(start // 8, -(-(start + here.stop) // 8))
            self._file["yes"][:, within] = np.packbits(self._yes[:, here], axis=1)
            self._file["answered"][:, within] = np.packbits(self._answered[:, here], axis=1)
            self._file["score"][:, start : start + here.stop] = self._score[:, here]
        self._yes[:], self._answered[:], self._score[:] = False, False, np.nan


@contextmanager
def writing_annotations(
    path: Path,
    ids: Sequence[str],
    descriptors: Sequence[str],
    asked: np.ndarray,
    sampled: np.ndarray,
) -> Iterator[AnnotationsWriter]:
    """Open a new annotations.h5, to be filled by `put` and finished by `sign`.

    Args:
        ids: of the sentences, row by row.
        descriptors: their names.
        asked: bool [sentences], those that the annotator is asked about.
        sampled: bool [sentences], those that represent the corpus.
    """
    import h5py

    with writing_hdf5(path, {}) as file:
        width = max(map(len, ids), default=1)
        file.create_dataset("id", data=np.fromiter(ids, dtype=f"S{width}", count=len(ids)))
        names = np.array([name.encode() for name in descriptors], dtype=object)
        file.create_dataset("descriptor", data=names, dtype=h5py.string_dtype("utf-8"))
        file.create_dataset("asked", data=asked)
        file.create_dataset("sampled", data=sampled)
        yield AnnotationsWriter(file, len(ids), len(descriptors))
