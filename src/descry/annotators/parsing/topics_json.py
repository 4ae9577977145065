"""The topics in an answer to p1 that is JSON, under whichever keys they stand."""

import re
from collections.abc import Iterator

from descry.annotators.parsing.unwrap import UnparsableError
from descry.io.hashing import JSON

# Under which keys topics stand, the likeliest first.
_KEYS = (
    *("topic", "concept", "descriptor", "keyword", "key word", "phrase", "theme", "aspect"),
    *("tag", "label", "subject", "categor", "entit", "feature", "name", "title"),
    *("answer", "item", "list", "result", "output", "response", "value", "text"),
)
_NUMBERED = re.compile(r"\D{0,20}\d{1,3}")
OTHER_JSON = "JSON of another form"
_DEPTH = 5  # of JSON within JSON
# Words that label a part of an answer, and are no topics under a label.
PART = (
    r"(?:(?:my |the )?(?:reasoning|analysis|answer|explanation|rationale|justification|sentiment"
    r"|confidence)(?: score)?|primary|secondary|topics?|concepts?|themes?|keywords?|descriptors?)"
)
_PARTS = re.compile(PART)


def json_items(value: JSON, depth: int = 0, *, labelled: bool = False) -> Iterator[str]:
    """The strings that are topics, as they stand.

    Args:
        labelled: whether the value stands under a key that says topics.
    """
    if depth > _DEPTH:
        raise UnparsableError(OTHER_JSON)
    match value:
        case None:
            return
        case str():
            yield value
        case list():
            for inner in value:
                if isinstance(inner, dict) and _called_with(inner) is None:
                    key = _label_in(inner)
                    if key is None or not isinstance(inner[key], str):
                        raise UnparsableError(OTHER_JSON)
                    yield inner[key]
                else:
                    yield from json_items(inner, depth + 1, labelled=labelled)
        case dict() if (called := _called_with(value)) is not None:
            yield from json_items(called, depth + 1)
        case dict() if value:
            inner = list(value.values())
            lists = [item for item in inner if isinstance(item, list)]
            key = _label_in(value)
            if key is not None and not (isinstance(value[key], str) and lists):
                yield from json_items(value[key], depth + 1, labelled=True)
            elif len(lists) == 1 or (len(value) == 1 and isinstance(inner[0], dict)):
                yield from json_items((lists or inner)[0], depth + 1, labelled=True)
            elif not all(isinstance(item, str) for item in inner):
                raise UnparsableError(OTHER_JSON)
            elif all(_NUMBERED.fullmatch(name) for name in value):
                yield from inner
            elif labelled and not any(_PARTS.fullmatch(name.lower()) for name in value):
                yield from value
            else:
                raise UnparsableError(OTHER_JSON)
        case dict():
            return
        case _:
            raise UnparsableError(OTHER_JSON)


def _called_with(value: dict[str, JSON]) -> JSON:
    """What a tool is called with; None where an object is no such call."""
    given = (value[key] for key in ("arguments", "parameters", "input") if key in value)
    found = next(given, None) if "name" in value or "function" in value else None
    return found if isinstance(found, dict | list) else None


def _label_in(value: dict[str, JSON]) -> str | None:
    """The likeliest key; numbered ones (topic_1) are several."""
    names = {name: name.lower().replace("_", " ") for name in value}
    for stem in _KEYS:
        found = [
            name
            for name, words in names.items()
            if stem in words and not (len(value) > 1 and _NUMBERED.fullmatch(name))
            if not isinstance(value[name], int | float)  # how many there are
        ]
        exact = [name for name in found if names[name] in (stem, f"{stem}s")]
        if len(found) > 1 and len(exact) != 1:
            raise UnparsableError(OTHER_JSON)
        if found:
            return (exact or found)[0]
    return None
