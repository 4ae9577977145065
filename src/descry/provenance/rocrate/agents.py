"""Who did the work: the stages' programs with their packages, the annotators, the target model."""

from collections.abc import Mapping
from urllib.parse import quote

from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from descry.annotators.human.annotator import HUMAN
from descry.io.hashing import JSON, canonical, sha256_text
from descry.provenance.rocrate.entities import add, add_value, local
from descry.provenance.rocrate.run import WORKFLOW, Run, is_code

_OF_ANNOTATOR = ("model", "revision", "dtype", "decoding")
_OF_TARGET = ("weights", "tokenizer", "site", "position")


def add_package(crate: ROCrate, name: str, version: str) -> Entity:
    """Add a Python package by its package URL."""
    url = f"pkg:pypi/{name}@{quote(version)}"
    return crate.get(url) or add(
        crate, url, "SoftwareApplication", name=name, softwareVersion=version
    )


def add_tools(crate: ROCrate, run: Run, files: Mapping[str, Entity]) -> dict[str, Entity]:
    """Add the program of each stage: its source, and the packages that its results name."""
    tools = {}
    for stage in run.stages:
        versions = run.made[stage.name].get("versions", {})
        tools[stage.name] = add(
            crate,
            local("tool", stage.name),
            "SoftwareApplication",
            name=f"descry {stage.name}",
            description=run.about[stage.name],
            hasPart=[files[path] for path in stage.deps if is_code(path) and path != WORKFLOW],
            softwareRequirements=[add_package(crate, *item) for item in sorted(versions.items())],
            **({"softwareVersion": versions["descry"]} if "descry" in versions else {}),
        )
    return tools


def add_annotators(crate: ROCrate, run: Run) -> dict[str, list[Entity]]:
    """Add who answered the prompts: by stage."""
    return {
        stage: [_annotator(crate, who) for who in annotators]
        for stage, annotators in run.annotators.items()
    }


def _annotator(crate: ROCrate, who: Mapping[str, str]) -> Entity:
    known = {name: who[name] for name in _OF_ANNOTATOR}
    name = local("annotator", sha256_text(canonical(known))[:16])
    if name in crate:
        return crate.get(name)
    is_person = who["model"].startswith(HUMAN)
    described = _described(crate, name, known)
    if is_person:
        return add(crate, name, "Person", name=who["name"], additionalProperty=described)
    return add(
        crate,
        name,
        "SoftwareApplication",
        name=who["name"],
        softwareVersion=who["revision"],
        additionalProperty=described,
    )


def add_targets(crate: ROCrate, run: Run) -> dict[str, list[Entity]]:
    """Add the models whose neurons are explained: by the stage that ran them."""
    return {
        stage: [_target(crate, made)] if "weights" in made else []
        for stage, made in run.made.items()
    }


def _target(crate: ROCrate, made: JSON) -> Entity:
    params = made["params"]  # of a stage's section, or of several by their names
    target = params.get("target") or params["activations"]["target"]
    name = local("model", target["model"])
    return crate.get(name) or add(
        crate,
        name,
        "CreativeWork",
        name=target["model"],
        version=target["revision"],
        description="The model whose neurons are explained; the hash of its weights is a sha256.",
        additionalProperty=_described(
            crate, name, {key: made[key] for key in _OF_TARGET if key in made}
        ),
    )


def _described(crate: ROCrate, name: str, values: Mapping[str, JSON]) -> list[Entity]:
    return [add_value(crate, f"{name}/{key}", key, value) for key, value in values.items()]
