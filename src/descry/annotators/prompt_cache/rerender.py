"""A stored answer's request, rendered again: from its origin, the corpus and the descriptor.

An answer's row holds ids; what many answers share stands in its origin. Together they give the
exact prompt, and with it the key: so that whoever doubts an answer can compute its key anew.
"""

from collections.abc import Mapping

from descry.annotators.prompt_cache.store import Request
from descry.annotators.prompts import numbered
from descry.io.hashing import JSON


def shown(ids: JSON, texts: Mapping[str, str]) -> str | None:
    """What stands in the sentence's place of a prompt; None where the corpus lacks any of it.

    Args:
        ids: of a sentence, or a list of several.
        texts: of sentences, by id.
    """
    if isinstance(ids, str):
        return texts.get(ids)
    found = [texts.get(name) for name in list(ids)]
    return None if None in found else numbered([text for text in found if text is not None])


def request_of(origin: JSON, sentence: str, descriptor: str) -> Request:
    """The request that an origin's annotator was sent."""
    (before, behind), (head, middle, tail) = origin["frame"], origin["template"]
    prompt = f"{before}{head}{sentence}{middle}{descriptor}{tail}{behind}"
    fields = {name: origin[name] for name in ("task", "model", "revision", "dtype", "decoding")}
    return Request(prompt=prompt, **fields)
