"""Whether an annotator and the target are one model, or one was made from the other.

An annotator that sees sentences as the target does errs where the neurons do: their labels then
agree with its answers beyond what is true. Told from what the results record, so that it does not
depend on which models this machine has.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from descry.models.checkpoints import MINILM, MINILM_COMMIT, MINILM_SHA256

_CONFIGS = {"config.json": "_name_or_path", "adapter_config.json": "base_model_name_or_path"}


def made_from(folder: Path) -> list[str]:
    """The models that a checkpoint's files say it was made from, by name."""
    found = {
        str(json.loads((folder / file).read_text(encoding="utf-8")).get(key) or "")
        for file, key in _CONFIGS.items()
        if (folder / file).is_file()
    }
    return sorted(name for name in found if name)


def kinship(target: Mapping[str, Any], annotator: Mapping[str, Any]) -> str | None:
    """Say what the target and an annotator share; None if nothing is known.

    Args:
        target: `model` and `revision` as params name it, sha256 of its `weights`, and `made_from`.
        annotator: `model` and, where it has one, `revision`.
    """
    name, revision = annotator.get("model"), annotator.get("revision")
    if not name:
        return None
    if revision and revision == target["revision"]:
        return f"both are {name} @ {revision[:12]}"
    if (name, revision) == (MINILM, MINILM_COMMIT) and target.get("weights") == MINILM_SHA256:
        return f"both have the weights of {name}"
    if _named(name) == _named(target["model"]):
        return f"both are {name}, at different revisions"
    if _named(name) in map(_named, target.get("made_from", ())):
        return f"the target was made from {name}"
    return None


def _named(model: str) -> str:
    return model.rstrip("/").casefold()
