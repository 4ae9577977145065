"""The CSV sheet in which a person answers p2: drawn from annotations, read into the prompt cache.

As many sentences are drawn that the annotator tagged as that it did not (section 5.1), and nothing
in the sheet tells which are which. A row is known by its id and descriptor; the sentence is there
for people to read.

A spreadsheet runs a cell that begins like a formula, and rewrites one that looks like a number or
a date (an id of digits becomes 1.2E+15). Such cells stand behind an apostrophe, which is taken off
again, and not missed where the spreadsheet has dropped it. The file begins with a byte order mark:
without it Excel takes UTF-8 for the local code page.
"""

import csv
import heapq
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from descry.annotators.annotations import Annotations, read_annotations
from descry.annotators.base import HUMAN_DTYPE, Annotator, Answer
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import NO, YES, Prompt, p2
from descry.annotators.records import origin_of, record_of, row_of
from descry.corpus.splits import draw
from descry.errors import InputError
from descry.io.atomic import atomic
from descry.io.hashing import JSON
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.io.spreadsheets import guarded, in_one_cell, unguarded

COLUMNS = ("id", "descriptor", "sentence", "answer")
_WORDS = {"yes": YES, "y": YES, "no": NO, "n": NO}
_READ = ("id", "descriptor", "answer")
_SEPARATORS = ",;\t"  # the one that a spreadsheet writes depends on its language
_Place = tuple[int, int]  # row and column of B


# Writing


def write_sheet(
    corpus: Path, annotations: Path, output: Path, *, per_descriptor: int, seed: int
) -> dict[str, int]:
    """Write a sheet to be filled with Yes or No.

    Args:
        per_descriptor: sentences tagged with each descriptor, and as many not tagged (all of them,
            if there are fewer); those that the annotator gave no answer to are neither.
        seed: of the draws that decide the sample and the order of the rows.

    Raises:
        InputError: the annotations are of another corpus, or another sheet is at `output`: it may
            have been filled.
    """
    table = read_table(corpus, "corpus")
    ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
    b = read_annotations(annotations)
    if b.ids != ids:
        raise InputError(f"{annotations}: not of this corpus: run `descry stage annotate` again")
    tagged, untagged = (_drawn(b, answer, per_descriptor, seed) for answer in (1, 0))
    # By another draw than the sample's: in that one the rarer kind would tend to come last.
    order = sorted(tagged + untagged, key=lambda place: _lot(b, place, seed, "order"))
    rows = [(ids[row], b.descriptors[column], in_one_cell(texts[row]), "") for row, column in order]
    _write(output, rows)
    counts = {"rows": len(rows), "descriptors": len({column for _, column in order})}
    return counts | {"tagged": len(tagged), "untagged": len(untagged)}


def write_cells(
    corpus: Path, output: Path, cells: Sequence[tuple[int, str]], seed: int
) -> dict[str, int]:
    """Write a sheet of some questions.

    Args:
        cells: rows of the corpus, and descriptors.
        seed: of the draws that decide the order of the rows.

    Raises:
        InputError: another sheet is at `output`.
    """
    table = read_table(corpus, "corpus")
    ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
    order = sorted(cells, key=lambda cell: draw(seed, f"order:{ids[cell[0]]}:{cell[1]}"))
    _write(output, [(ids[row], name, in_one_cell(texts[row]), "") for row, name in order])
    return {"rows": len(order), "descriptors": len({name for _, name in order})}


def _drawn(b: Annotations, answer: int, number: int, seed: int) -> list[_Place]:
    """Draw `number` sentences of each descriptor that have the answer."""
    places: list[_Place] = []
    for column in range(len(b.descriptors)):
        rows = np.flatnonzero(b.answer[:, column] == answer).tolist()
        every = ((row, column) for row in rows)
        places += heapq.nsmallest(number, every, key=lambda place: _lot(b, place, seed, "sheet"))
    return places


def _lot(b: Annotations, place: _Place, seed: int, purpose: str) -> bytes:
    row, column = place
    return draw(seed, f"{purpose}:{b.ids[row]}:{b.descriptors[column]}")


def _write(output: Path, rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    data = text.getvalue().encode("utf-8-sig")
    if output.is_file() and output.read_bytes() != data:
        raise InputError(f"{output}: exists and may hold answers: move it or name another file")
    with atomic(output) as part:
        part.write_bytes(data)


# Reading


class _Row(NamedTuple):
    """A row that is not blank, and the line of the file in which it begins."""

    line: int
    id: str
    descriptor: str
    answer: str


class _Given(NamedTuple):
    """A person's answer."""

    line: int
    prompt: Prompt
    word: str

    @property
    def response(self) -> JSON:
        """As a model would have written it."""
        return {"text": self.word, "finish": "stop"}


def read_sheet(
    sheet: Path, corpus: Path, annotations: Path, cache: PromptCache, annotator: Annotator
) -> dict[str, int]:
    """Store a filled sheet's answers, as `ask` stores those of a model: all of them or none.

    Args:
        annotator: the person, and the round.

    Raises:
        InputError: the sheet is not of this corpus, an answer is neither Yes nor No, or this person
            gave another in this round.
    """
    identity = annotator.identity
    if identity.dtype != HUMAN_DTYPE:
        raise InputError(f"{sheet}: it has the answers of a person, but {identity.name} is none")
    rows = list(_rows(sheet))
    given = _given(sheet, rows, corpus, annotations, annotator)
    stored = cache.answers(list(given))
    _no_conflict(sheet, identity.name, stored, given)
    if given:
        origin = origin_of(annotator, annotator.frame, next(iter(given.values())).prompt)
        records = {key: record_of(row_of(g.prompt), Answer(g.response)) for key, g in given.items()}
        cache.store(origin, records)
    empty = sum(not row.answer for row in rows)
    counts = {"rows": len(rows), "answered": len(rows) - empty}
    return counts | {"new": len(given.keys() - stored.keys()), "empty": empty}


def read_words(sheet: Path) -> dict[tuple[str, str], int]:
    """The answers of a sheet by sentence id and descriptor: 1 Yes, 0 No, -1 not answered.

    Raises:
        InputError: an answer is neither Yes nor No, or a question stands twice.
    """
    found: dict[tuple[str, str], int] = {}
    for row in _rows(sheet):
        if (row.id, row.descriptor) in found:
            raise _fault(sheet, row.line, f"{row.id} and {row.descriptor[:40]!r} again")
        word = _word(sheet, row)
        found[row.id, row.descriptor] = {YES: 1, NO: 0}.get(word or "", -1)
    return found


def _given(
    sheet: Path, rows: list[_Row], corpus: Path, annotations: Path, annotator: Annotator
) -> dict[str, _Given]:
    """The answers by the key under which `ask` looks for them."""
    names = _descriptors(annotations)
    table = read_table(corpus, "corpus")
    texts = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    given: dict[str, _Given] = {}
    for row in rows:
        if row.id not in texts:
            raise _fault(sheet, row.line, f"no sentence {row.id[:40]!r} in {corpus}")
        if row.descriptor not in names:
            raise _fault(sheet, row.line, f"no descriptor {row.descriptor[:40]!r} in {annotations}")
        if word := _word(sheet, row):
            prompt = p2([texts[row.id]], [row.descriptor])[0]
            key = annotator.identity.request(prompt, annotator.frame).key
            earlier = given.setdefault(key, _Given(row.line, prompt, word))
            if earlier.word != word:
                raise _fault(sheet, row.line, f"{word}, but line {earlier.line}: {earlier.word}")
    return given


def _descriptors(annotations: Path) -> set[str]:
    """Their names; from what stage cluster wrote where there are no annotations yet."""
    if annotations.is_file():
        return set(read_annotations(annotations).descriptors)
    entries = read_json(annotations.with_name("descriptors.json"), "cluster")["descriptors"]
    return {entry["name"] for entry in entries}


def _no_conflict(sheet: Path, name: str, stored: dict[str, JSON], given: dict[str, _Given]) -> None:
    """A round has one answer to a question: refuse a sheet that has others than are stored."""
    others = [given[key] for key in stored if stored[key] != given[key].response]
    if others:
        first = min(others, key=lambda answer: answer.line)
        raise InputError(
            f"{sheet}: answers that differ from those {name} gave before: {len(others)}, the first"
            f" in line {first.line} ({first.word} to {first.prompt.descriptor!r}): nothing is"
            " stored; a changed mind is another round: use another revision"
        )


def _word(sheet: Path, row: _Row) -> str | None:
    """Yes, No, or None where nothing was filled in."""
    word = _WORDS.get(row.answer.casefold())
    if row.answer and not word:
        raise _fault(
            sheet, row.line, f"the answer {row.answer[:40]!r}: write Yes or No, or nothing"
        )
    return word


def _rows(sheet: Path) -> Iterator[_Row]:
    """The rows that are not blank, whatever a spreadsheet made of separators and line ends."""
    csv.field_size_limit(2**24)
    text = _text(sheet)
    first = "".join(text.splitlines()[:1])
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        if any(header.count(name) != 1 for name in _READ):
            raise _fault(sheet, 1, f"its columns must be {', '.join(COLUMNS)}, each once")
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells[len(header) :]):
                raise _fault(sheet, line, f"{len(cells)} cells, but {len(header)} columns")
            if any(cell.strip() for cell in cells):
                # Excel leaves out empty cells at the end of a row.
                row = dict(zip(header, cells + [""] * len(header), strict=False))
                yield _Row(
                    line,
                    unguarded(row["id"].strip()),
                    unguarded(row["descriptor"]),
                    row["answer"].strip(),
                )
            line = reader.line_num + 1
    except csv.Error as error:
        reason = str(error).replace("\t", "\\t")  # it quotes the separator
        raise _fault(sheet, reader.line_num, f"not valid CSV ({reason})") from error


def _text(sheet: Path) -> str:
    try:
        return sheet.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{sheet}: no such file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{sheet}: not UTF-8 text (byte {error.start}): save it as CSV UTF-8"
        ) from error


def _fault(sheet: Path, line: int, reason: str) -> InputError:
    return InputError(f"{sheet}: line {line}: {reason}")
