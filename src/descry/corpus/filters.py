"""Which reviews are kept, and in which half: the filters and the split of section 4.2."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from descry.corpus.readers import Review
from descry.corpus.splits import HALVES, draw, sentence_id
from descry.corpus.words import WORD, length_of, words_of
from descry.errors import InputError
from descry.io.atomic import guarded

_KEY = 16  # bytes of a sha256 that are stored: two do not agree by chance
_PERMUTATIONS = 128  # of the MinHash
_WEIGHTS = (0.1, 0.9)  # of false finds, which are checked, and of misses: at a threshold of 0.8
# the LSH misses 0.1% of the pairs at Jaccard 0.9, 3% at 0.85 (datasketch's own weights: 7%, 31%)


@dataclass(frozen=True)
class Sentence:
    """A kept review with its half. `id` is a hash of the text, the same in every corpus."""

    id: str
    split: str
    review: Review


def select(
    reviews: Iterable[Review],
    database: sqlite3.Connection,
    *,
    per_category: int,
    min_words: int,
    max_words: int,
    language: str,
    near_duplicate: float,
    seed: int,
    dropped: Counter[str],
) -> Iterator[Review]:
    """Select reviews, at most `per_category` of each category, in the order drawn by `seed`.

    All reviews are checked for length and exact duplicates; for language and near-duplicates only
    until a category is full. In languages without blanks characters count in place of words, in
    `min_words`, `max_words` and near-duplicates.

    Args:
        database: an empty database, which holds the reviews meanwhile.
        dropped: counts the other reviews by reason; complete after the last review.

    Raises:
        InputError: the language cannot be detected.
    """
    speaks, words = _Language(language), words_of(language)
    near = _NearDuplicates(near_duplicate, database, words)
    fitting = _fitting(reviews, min_words, max_words, language, dropped)
    _store_distinct(fitting, seed, database, dropped)
    taken: Counter[str] = Counter()
    drawn = "SELECT number, category FROM reviews ORDER BY draw, number"
    for number, category in database.execute(drawn):
        if taken[category] >= per_category:
            dropped["over the limit of its category"] += 1
            continue
        review = _stored(number, database)
        if not speaks(review.text):
            dropped["another language"] += 1
        elif near.seen(number, review.text):
            dropped["near duplicate"] += 1
        else:
            taken[category] += 1
            yield review


def _fitting(
    reviews: Iterable[Review], low: int, high: int, language: str, dropped: Counter[str]
) -> Iterator[Review]:
    length = length_of(language)
    for review in reviews:
        words = length(review.text)
        if words < low:
            dropped["too short"] += 1
        elif words > high:
            dropped["too long"] += 1
        else:
            yield review


def _store_distinct(
    reviews: Iterable[Review], seed: int, database: sqlite3.Connection, dropped: Counter[str]
) -> None:
    """Store the first of the reviews that have the same words in the same order."""
    database.execute(
        "CREATE TABLE reviews (number INTEGER PRIMARY KEY, words BLOB UNIQUE, draw BLOB,"
        " category TEXT, review TEXT)"
    )
    for review in reviews:
        words = " ".join(WORD.findall(review.text.lower())) or review.text
        key = hashlib.sha256(words.encode()).digest()[:_KEY]
        row = key, draw(seed, review.text)[:_KEY], review.category, _written(review)
        done = database.execute("INSERT OR IGNORE INTO reviews VALUES (NULL, ?, ?, ?, ?)", row)
        if not done.rowcount:
            dropped["exact duplicate"] += 1


def _written(review: Review) -> str:
    # As JSON, which has a NaN: SQLite's own would come back as NULL.
    return json.dumps([*vars(review).values()])


def _stored(number: int, database: sqlite3.Connection) -> Review:
    found = database.execute("SELECT review FROM reviews WHERE number = ?", (number,))
    return Review(*json.loads(found.fetchone()[0]))


class _Language:
    """Whether a text is of a language, by py3langid's packaged model."""

    def __init__(self, language: str) -> None:
        self.language = language
        with guarded(Path(gettempdir())):  # where it unpacks its model
            self.identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        known = sorted({name for name in self.identifier.nb_classes if len(name) == 2})
        if language not in known:
            raise InputError(
                f"corpus.language: {language} is not one that py3langid tells: {', '.join(known)}"
            )

    def __call__(self, text: str) -> bool:
        # Short informal English is easily taken for a neighbour: only a sure answer drops it.
        found, probability = self.identifier.classify(text.lower())
        return bool(found == self.language or probability < 0.9)


class _NearDuplicates:
    """Texts whose sets of 3-word shingles have a Jaccard similarity above a threshold."""

    def __init__(
        self, threshold: float, database: sqlite3.Connection, words: Callable[[str], list[str]]
    ) -> None:
        import datasketch  # here, as it imports half of scipy

        self.threshold = threshold
        self.words = words
        self.database = database
        self.empty = datasketch.MinHash(num_perm=_PERMUTATIONS)
        plan = datasketch.MinHashLSH(threshold, num_perm=_PERMUTATIONS, weights=_WEIGHTS)
        self.bands, self.rows = plan.b, plan.r
        # Its own index would hold some kilobytes of a text in memory.
        database.execute(
            "CREATE TABLE bands (hash INTEGER, number INTEGER, PRIMARY KEY (hash, number))"
            " WITHOUT ROWID"
        )
        hashes = ", ".join("?" * self.bands)
        numbers = f"SELECT number FROM bands WHERE hash IN ({hashes})"
        self.alike = f"SELECT review FROM reviews WHERE number IN ({numbers})"

    def seen(self, number: int, text: str) -> bool:
        """Whether a text seen before is near; if not, this one counts as seen from now on."""
        shingles = self._shingles(text)
        hashes = self._hashes(shingles)
        for (other,) in self.database.execute(self.alike, hashes):
            others = self._shingles(json.loads(other)[0])
            if len(shingles & others) > self.threshold * len(shingles | others):
                return True
        rows = ((band, number) for band in hashes)
        self.database.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", rows)
        return False

    def _shingles(self, text: str) -> frozenset[str]:
        words = self.words(text.lower())
        return frozenset(" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2)))

    def _hashes(self, shingles: frozenset[str]) -> list[int]:
        """Hash each band of the MinHash to int64, where equal hashes by chance do not matter."""
        sketch = self.empty.copy()  # to draw the permutations takes longer than all the rest
        sketch.update_batch([shingle.encode() for shingle in shingles])
        bands = sketch.hashvalues[: self.bands * self.rows].reshape(self.bands, self.rows)
        parts = (bytes([i]) + band.tobytes() for i, band in enumerate(bands))
        hashes = (hashlib.blake2b(part, digest_size=8).digest() for part in parts)
        return [int.from_bytes(one, "big", signed=True) for one in hashes]


def split(
    reviews: Iterable[Review], database: sqlite3.Connection, seed: int, dropped: Counter[str]
) -> Iterator[Sentence]:
    """Split reviews into equal halves with each category's share; sentences in order of ids.

    Within a category the halves differ by at most one review. With an odd number one review is left
    out. All reviews have been read when this returns.

    Args:
        database: a database that holds the reviews meanwhile.
    """
    database.execute("CREATE TABLE kept (id TEXT, category TEXT, lot BLOB, review TEXT)")
    for review in reviews:
        lot = draw(seed, "split:" + review.text)[:_KEY]
        row = sentence_id(review.text), review.category, lot, _written(review)
        database.execute("INSERT INTO kept VALUES (?, ?, ?, ?)", row)
    (kept,) = database.execute("SELECT count(*) FROM kept").fetchone()
    dropped["odd one out (equal halves)"] += kept % 2
    return _halved(kept - kept % 2, database)


def _halved(kept: int, database: sqlite3.Connection) -> Iterator[Sentence]:
    places = "SELECT *, row_number() OVER (ORDER BY category, lot) - 1 AS place FROM kept"
    query = f"SELECT id, place % 2, review FROM ({places}) WHERE place < ? ORDER BY id, place"
    for name, half, review in database.execute(query, (kept,)):
        yield Sentence(name, HALVES[half], Review(*json.loads(review)))
