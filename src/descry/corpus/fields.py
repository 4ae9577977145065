"""The values of a review in a record, whatever its columns are called.

The Amazon files of 2014 and 2018 (reviewText, overall, summary, reviewerID, unixReviewTime), 2015
(review_body, star_rating, review_headline, customer_id, product_id, review_date, product_category)
and 2023 (text, rating, title, user_id, asin, timestamp) name the same things differently.
"""

import html
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

from descry.corpus.json_lines import Record

_NAMES = {  # in lower case and without _ and blanks; the first that a record has a value in
    "category": ("category", "productcategory"),
    "summary": ("summary", "title", "reviewheadline", "reviewtitle", "headline"),
    "overall": ("overall", "rating", "starrating", "stars", "score"),
    "asin": ("asin", "parentasin", "productid"),
    "reviewer": ("reviewerid", "userid", "customerid"),
    "time": ("unixreviewtime", "timestamp", "reviewdate", "reviewtime", "time", "date"),
}
_Value = TypeVar("_Value")


@lru_cache(maxsize=1024)
def _columns(names: tuple[str, ...]) -> dict[str, list[str]]:
    """The columns of each value of a review, the best first."""
    plain = {name: re.sub(r"[_\s]", "", name.casefold()) for name in names}
    return {
        value: [name for known in every for name in names if plain[name] == known]
        for value, every in _NAMES.items()
    }


def text_of(record: Record, name: str) -> str | None:
    """Return the value called `name` (a key of the list above) as text; None if there is none."""
    for column in _columns(tuple(record))[name]:
        if not _missing(value := record[column]):
            return encodable(str(value))
    return None


def value_of(record: Record, column: str) -> str | None:
    """Return the value of any column as text; None if there is none."""
    value = record.get(column)
    return None if _missing(value) else encodable(str(value))


def stars_of(record: Record, unread: Counter[str]) -> float | None:
    """Read a star rating: a number, "4.0 out of 5 stars", "4/5" or stars; None if there is none.

    Args:
        unread: counts columns with other values.
    """
    return _read(record, "overall", stars, "a star rating", unread)


def time_of(record: Record, unread: Counter[str]) -> int | None:
    """Read the time in seconds since 1970, UTC; None if there is none.

    Args:
        unread: counts columns whose value is no time.
    """
    return _read(record, "time", seconds, "a time", unread)


def _read(
    record: Record,
    name: str,
    read: Callable[[object], _Value | None],
    what: str,
    unread: Counter[str],
) -> _Value | None:
    failed = None
    for column in _columns(tuple(record))[name]:
        if _missing(value := record[column]):
            continue
        if (found := read(value)) is not None:
            return found
        failed = failed or column
    if failed:
        unread[f"{failed} not {what}"] += 1
    return None


def _missing(value: object) -> bool:
    return value is None or value == "" or value != value


_RATING = re.compile(r"(\d+(?:[.,]\d+)?)(?: ?(?:out of|of|/) ?\d+(?:[.,]\d+)?)?(?: ?stars?)?", re.I)
_STARS = re.compile(r"[★⭐]+☆*|☆+")


def stars(value: object) -> float | None:
    """Parse a star rating; None if the text is none."""
    if isinstance(value, str):
        text = " ".join(value.split())
        if found := _RATING.fullmatch(text):
            return _finite(found[1].replace(",", "."))
        drawn = text.replace("\ufe0f", "").replace(" ", "")
        return float(sum(map(drawn.count, "★⭐"))) if _STARS.fullmatch(drawn) else None
    return _finite(value)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        number = float(value)
    except (ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


_EARLIEST = 10**8  # seconds, in 1973: below it a number is a year or a date, not a time
_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))  # s, ms, µs, ns
_AMERICAN = re.compile(r"(\d{1,2}) (\d{1,2}), (\d{4})")  # reviewTime of 2014: month day, year
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def seconds(value: object) -> int | None:
    """Parse a time as seconds since 1970, UTC; None if the value is none.

    Args:
        value: seconds, milli-, micro- or nanoseconds, told apart by their size; a date or time in
            ISO 8601; or month day, year.
    """
    try:
        if isinstance(value, datetime):
            return _since_1970(value)
        if isinstance(value, date):
            return _since_1970(datetime(value.year, value.month, value.day))
        if isinstance(value, str):
            return _written(value.strip())
        number = _finite(value)
        if number is None:
            return None
        return _whole(number) if number >= _EARLIEST else _written(f"{number:.0f}")
    except (ValueError, OverflowError):  # a 31st of February, a year 0
        return None


def _written(text: str) -> int | None:
    if found := _AMERICAN.fullmatch(text):
        month, day, year = map(int, found.groups())
        return _since_1970(datetime(year, month, day))
    if _DIGITS.fullmatch(text) and float(text) >= _EARLIEST:
        return _whole(float(text))
    if len(text) < len("20150831"):
        return None
    return _since_1970(datetime.fromisoformat(text))


def _whole(number: float) -> int | None:
    return next((int(number) // unit for limit, unit in _UNITS if number < limit), None)


def _since_1970(moment: datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


# Tags of HTML by name, so that "<3" and a model's special tokens stay: hence no <s>.
_INLINE = "a abbr acronym b bdi bdo big cite code del em font i ins kbd mark q samp small span"
_INLINE += " strike strong sub sup tt u var"
_BLOCK = "address article aside audio blockquote body br button canvas caption center col dd div dl"
_BLOCK += " dt embed figure footer form h1 h2 h3 h4 h5 h6 head header hr html iframe img input li"
_BLOCK += (
    " link main meta nav object ol option p pre script section select source style table tbody"
)
_BLOCK += " td textarea tfoot th thead title tr ul video wbr"
# Words behind a tag's name make it prose ("<a lot of money>"), unless they are attributes.
_ATTRIBUTE = (
    r"[\w:.-]++\s*+=\s*+(?:\"[^\"]{0,4000}+\"|'[^']{0,4000}+'|[^\s<>\"'=]++)"
    r"|(?:allowfullscreen|async|autoplay|checked|controls|defer|disabled|hidden|loop|muted|noshade"
    r"|nowrap|open|playsinline|readonly|required|selected)(?=[\s/>])"
)
_TAG = re.compile(
    rf"</?({'|'.join((_INLINE + ' ' + _BLOCK).split())})(?:\s++(?:{_ATTRIBUTE}))*+\s*+/?>"
    r"|<!--[^<>]*-->",
    re.I,
)
_INLINE_NAMES = frozenset(_INLINE.split())
_EMBEDDED = re.compile(r"\[\[\s*(?:VIDEOID|ASIN)\b[^\[\]]*\]\]", re.I)


def cleaned(text: str) -> str:
    """Remove markup from a review's text: entities, tags and embedded videos; one line remains.

    Amazon's files have "<br />" for line ends, "&#34;" (also "&amp;#34;") for quotes, and
    "[[VIDEOID:...]]" and "[[ASIN:... a product's name]]" for what the page shows in their place.
    """
    if "&" in text:
        text = html.unescape(text)
        text = html.unescape(text) if "&" in text else text
    if "<" in text:
        text = _TAG.sub(_blank, text)
    if "[[" in text:
        text = _EMBEDDED.sub(" ", text)
    return " ".join(encodable(text).split())


def _blank(tag: re.Match[str]) -> str:
    """What a tag leaves: nothing within a line of text."""
    return "" if (tag[1] or "").lower() in _INLINE_NAMES else " "


def encodable(text: str) -> str:
    """Replace half surrogate pairs (a cut emoji in JSON) by question marks."""
    return text.encode(errors="replace").decode()
