"""dvc.lock: which inputs, params and code made which result, by the hashes that DVC keeps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.yaml_files import read_yaml, yaml_value

LOCK = Path("dvc.lock")
CODE = "code/"  # where a study has lists of the installed package's code, one a stage


@dataclass(frozen=True)
class Locked:
    """A stage as dvc.lock records it.

    Attributes:
        deps: md5 of each input and source file by path; `outs`: of each output.
        params: sections of params.yaml by name.
    """

    name: str
    deps: Mapping[str, str]
    outs: Mapping[str, str]
    params: Mapping[str, Any]

    @property
    def code(self) -> list[str]:
        """The source files among its inputs, or the list of them."""
        return [
            path
            for path in self.deps
            if path.endswith((".py", ".smk")) or path.startswith(CODE) or path == "Snakefile"
        ]

    def unlike(self, params: Mapping[str, JSON]) -> Iterator[str]:
        """Return the names of the stage's sections that differ from other params."""
        return (name for name, value in self.params.items() if params.get(name) != value)


def read_lock(path: Path) -> dict[str, Locked]:
    """Read the stages that a dvc.lock records; none if there is no such file.

    Raises:
        InputError: it is damaged.
    """
    return _stages(read_yaml(path), str(path)) if path.exists() else {}


def parse_lock(text: str, where: str) -> dict[str, Locked]:
    """Parse the text of a dvc.lock; errors name `where` it comes from.

    Raises:
        InputError: it is damaged.
    """
    return _stages(yaml_value(text, where), where)


def _stages(lock: Any, where: str) -> dict[str, Locked]:
    try:
        return {name: _stage(name, entry) for name, entry in (lock or {})["stages"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        if not lock:
            return {}
        raise InputError(f"{where}: not a dvc.lock: restore it from git") from error


def _stage(name: str, entry: Any) -> Locked:
    params = entry.get("params", {}).get("params.yaml", {})
    deps, outs = (
        {file["path"]: file["md5"] for file in entry.get(kind, [])} for kind in ("deps", "outs")
    )
    texts = name, *deps, *deps.values(), *outs, *outs.values()
    if not isinstance(params, dict) or not all(isinstance(text, str) for text in texts):
        raise TypeError(name)
    return Locked(name, deps, outs, params)


def upstream(stages: Mapping[str, Locked], name: str) -> list[str]:
    """Return a stage and all stages that its inputs come from, in the order of the work."""
    makers = {out: stage.name for stage in stages.values() for out in stage.outs}
    found: dict[str, None] = {}

    def visit(stage: str) -> None:
        for dep in stages[stage].deps:
            if dep in makers and makers[dep] not in found:
                visit(makers[dep])
        found[stage] = None

    visit(name)
    return list(found)


def in_order(stages: Mapping[str, Locked]) -> list[Locked]:
    """Return all stages, each after the stages that make its inputs."""
    found = {name: None for stage in stages for name in upstream(stages, stage)}
    return [stages[name] for name in found]
