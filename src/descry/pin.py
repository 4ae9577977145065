"""Resolving model names to commits, so that a run is pinned before it starts."""

import re
from pathlib import Path

from descry.errors import InputError
from descry.params import load
from descry.storage import write_text

_UNPINNED = re.compile(
    r"(?P<model>model:[ ]*(?P<name>\S+)[^\n]*\n[ ]*revision:[ ]*)unpinned\b", re.MULTILINE
)


def pin_models(path: Path) -> dict[str, str]:
    """Write the present commit of every unpinned model into a params file; keep its comments.

    Returns:
        {model: commit} of those written.

    Raises:
        InputError: a model is not on the hub, or the hub is out of reach.
    """
    load(path)
    text = path.read_text(encoding="utf-8")
    names = sorted({match["name"].strip("'\"") for match in _UNPINNED.finditer(text)})
    commits = {name: _commit(name) for name in names}
    pinned = _UNPINNED.sub(lambda m: m["model"] + commits[m["name"].strip("'\"")], text)
    if commits:
        write_text(path, pinned)
        load(path)
    return commits


def _commit(model: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        commit = HfApi().model_info(model, timeout=30).sha
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(f"{model}: no such model on the hub: mend its name") from None
    except (
        Exception
    ) as error:  # the hub client's HTTP library, and so its errors, has changed twice
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{model}: the hub cannot be reached ({reason[:120]})") from error
    return str(commit)
