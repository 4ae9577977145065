"""Checks of a run before any work: when Snakemake starts, and of the new corpus."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from descry.activations.top_k import exemplar_size
from descry.annotators.templates import p1_template, p2_template
from descry.corpus.units import read_split_rows
from descry.errors import InputError
from descry.models.kinship import kinship

BEFORE_SETS = ("describe", "activations", "graphs")  # stages whose work would be in vain
SETS = "DESCRY_EXEMPLARS"  # in the environment of a run's jobs, if the run makes exemplar sets
_SETS_OF = {"exemplars", "untrained"}
_PROMPTS = {"describe", "annotate", "judge"}


def check_start(sections: dict[str, Any], stages: Iterable[str], *, replay: bool) -> None:
    """Refuse a run that would come to an error of its params later; nothing was done yet.

    Args:
        sections: those of params.yaml, as plain values.
        stages: those that will run, and the sections that they read.
        replay: whether answers come from the cache alone, so that annotators need nothing.

    Raises:
        InputError: a model is unpinned or its folder is missing, an API key is not set, or a
            template is not in order.
    """
    stages = set(stages)
    for name in sorted(stages & set(sections)):
        for key, spec in models_in(sections[name], name):
            if not (replay and ("annotator" in key or "cascade" in key)):
                check_model(key, spec)
    for name in sorted(stages & _PROMPTS):
        _check_template(name, sections[name])
    if stages & _SETS_OF:
        os.environ[SETS] = json.dumps(sections["exemplars"])


def shared_model(sections: dict[str, Any], stages: Iterable[str]) -> str | None:
    """A warning where labels will be made by an annotator that shares a model with the target.

    Args:
        sections, stages: as `check_start` takes them.
    """
    if "annotate" not in stages:
        return None
    section, target = sections["annotate"], sections["activations"]["target"]
    shared, key = kinship(target, section["annotator"]), "annotator"
    if shared is None and section["cascade"]:
        shared, key = kinship(target, section["cascade"]["proxy"]), "cascade.proxy"
    return shared and (
        f"annotate.{key} and activations.target share a model: {shared}: labels then owe"
        " something to errors that both make; results/metrics.json says how much, where there are"
        " gold labels or a judge"
    )


def check_corpus(corpus: Path) -> None:
    """Refuse a corpus that is too small for the exemplar sets of the run that a job is part of.

    Raises:
        InputError: exemplars.top_percent of a half is less than exemplars.min_size.
    """
    if wanted := os.environ.get(SETS):
        sets = json.loads(wanted)
        halves = read_split_rows(corpus)
        for rows in halves.values():
            exemplar_size(len(rows), sets["top_percent"], sets["min_size"])


def check_made(results: Path, name: str) -> None:
    """Refuse to look at a result before it was made, and say what makes it.

    Raises:
        InputError: it is not there.
    """
    if (results / name).is_file():
        return
    if not (results.parent / "params.yaml").is_file():
        raise InputError(
            f"{results.parent.absolute()}: not a descry folder: there is neither params.yaml"
            f" nor {results / name}: go to a study's folder, or name results with --results"
        )
    raise InputError(f"{results / name}: not made yet: run `snakemake --cores all`")


def models_in(value: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The models, annotators and dictionaries in a section, by dotted key."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        if "model" in value or {"path", "revision"} <= value.keys():
            yield key, value
        for name, part in value.items():
            yield from models_in(part, f"{key}.{name}")


def _check_template(name: str, section: dict[str, Any]) -> None:
    """Refuse a template whose places are not in order, or that lacks one for examples."""
    shown, file = section["examples"], section["template"]
    if name == "describe":
        drawn = [{"sentence": "", "concepts": []}] * shown if isinstance(shown, int) else shown
        p1_template(section["max_descriptors"], drawn, file)
    else:
        p2_template(shown or (), file)


def check_model(key: str, spec: dict[str, Any]) -> None:
    """Refuse a model that a run could not have: unpinned, not here, or without its API key.

    Args:
        key: of params.yaml, dotted.
        spec: as params.yaml has it.

    Raises:
        InputError: what is wrong, and what to type.
    """
    named = "model" if "model" in spec else "path"
    model, revision = spec[named], spec["revision"]
    if revision == "unpinned":
        raise InputError(f"params.yaml: {key}: {model} is unpinned: run `descry pin`")
    if len(revision) == 64 and spec.get("kind") != "openai" and not Path(model).exists():
        raise InputError(f"params.yaml: {key}.{named}: {model}: no such folder or file")
    variable = spec.get("api_key_env")
    if variable and not os.environ.get(variable, "").strip():
        raise InputError(
            f"params.yaml: {key}.api_key_env: {variable} is not in the environment: export it with"
            f" the API key for {spec['base_url']}, or write `api_key_env: null` if it needs none"
        )
