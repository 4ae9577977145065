"""Resolving model names to revisions, so that a run is pinned before it starts."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from descry.annotators.openai_server.annotator import reported_model
from descry.errors import InputError
from descry.io.atomic import write_text
from descry.io.hashing import canonical
from descry.models.checkpoints import contents_sha256, is_local
from descry.models.dictionaries.dictionary import dictionary_sha256
from descry.workflow.params import load

_UNPINNED = re.compile(
    r"(?P<model>(model|path):[ ]*(?P<name>\S+)[^\n]*\n[ ]*revision:[ ]*)unpinned\b", re.MULTILINE
)


def pin_models(path: Path) -> dict[str, str]:
    """Write the present revision of every unpinned model into a params file; keep its comments.

    That is the commit of a hub model, the hash of a local folder's contents, of a GGUF file or of a
    dictionary, or the model name that a server reports.

    Returns:
        {model: revision} of those written.

    Raises:
        InputError: a model is not on the hub, or the hub or the server is out of reach.
    """
    found: dict[str, list[str]] = {}  # by model name, in the order of the file
    for spec in _unpinned(load(path).model_dump()):
        found.setdefault(spec.get("model") or spec["path"], []).append(_revision(spec))
    text = path.read_text(encoding="utf-8")
    places = Counter(_name(place) for place in _UNPINNED.finditer(text))
    for name, revisions in found.items():
        # A place with a YAML anchor stands for several models; then all must be one.
        if not places[name] or (places[name] != len(revisions) and len(set(revisions)) > 1):
            raise InputError(
                f"{path}: {name}: write `revision: unpinned` in the line below that of its name"
            )
    left = {name: iter(revisions) for name, revisions in found.items()}

    def write(place: re.Match[str]) -> str:
        revisions = left.get(_name(place))
        return place[0] if revisions is None else place["model"] + canonical(next(revisions))

    if found:
        write_text(path, _UNPINNED.sub(write, text))
        load(path)
    return {name: revisions[0] for name, revisions in found.items()}


def pinned(section: dict[str, Any]) -> dict[str, Any]:
    """A section whose unpinned models have their present revision.

    Raises:
        InputError: as `pin_models`.
    """
    for spec in _unpinned(section):
        spec["revision"] = _revision(spec)
    return section


def _name(place: re.Match[str]) -> str:
    return str(yaml.safe_load(place["name"]))


def _unpinned(value: Any) -> Iterator[dict[str, Any]]:
    """The models in a params tree that have no revision yet."""
    if isinstance(value, dict):
        if value.get("revision") == "unpinned":
            yield value
        for part in value.values():
            yield from _unpinned(part)
    elif isinstance(value, list):
        for part in value:
            yield from _unpinned(part)


def _revision(spec: dict[str, Any]) -> str:
    if spec.get("kind") == "openai":
        return reported_model(spec)
    if "path" in spec:
        return dictionary_sha256(Path(spec["path"]))
    place = Path(spec["model"])
    return contents_sha256(place) if is_local(place) else _commit(spec["model"])


def _commit(model: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        commit = HfApi().model_info(model, timeout=30).sha
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"{model}: no such folder here, and no such model on the hub: mend its name"
        ) from error
    # The hub client's HTTP library, and so its errors, has changed twice.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{model}: no such folder here, and the hub cannot be reached ({reason[:120]})"
        ) from error
    return str(commit)
