"""YAML files: strict, each key once."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from descry.errors import InputError
from descry.io.hashing import JSON

# libyaml reads dvc.lock ten times as fast as Python does; PyYAML can be without it.
if TYPE_CHECKING:
    from yaml import SafeLoader
else:
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 100  # collections in one another: libyaml's nodes overflow the stack at some 10,000


class _StrictLoader(SafeLoader):
    """YAML in which a key that stands twice is an error: the second would hide the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key is a list or a mapping", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# 1e-05 is a number, as in YAML 1.2, which DVC reads and writes; PyYAML takes it for a text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> JSON:
    """Parse a YAML file.

    Raises:
        InputError: the file is missing, not UTF-8, no YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
    return yaml_value(text, str(path))


def yaml_value(text: str, where: str) -> JSON:
    """Parse a YAML text; errors name `where` it comes from.

    Raises:
        InputError: it is no YAML, or has a key twice.
    """
    try:
        _check_depth(text)
        return yaml.load(text, Loader=_StrictLoader)  # nosec B506 # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        reason = f"line {mark.line + 1}: " if mark else ""
        reason += f"not valid YAML ({problem})"
        raise InputError(f"{where}: {' '.join(reason.split())}") from error


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"more than {DEEPEST} lists or mappings in one another",
                    problem_mark=mark,
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
