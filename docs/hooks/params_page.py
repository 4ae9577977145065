"""The page of all parameters, made from the program itself whenever the site is built.

Keys and allowed values come from the models that check params.yaml, values from the shipped
presets, and meanings from comments: in presets/sample.yaml, or in the examples of docs/.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from descry.annotators.spec import KINDS
from descry.workflow.params import Params

JSON = dict[str, Any]
ROOT = Path(__file__).parents[2]
# Pages with examples of annotators, models and cascades, whose comments say what their keys do.
EXAMPLES = ["annotators", "server", "engines", "batch", "constrained", "cascade", "models"]
_LINE = re.compile(r"^( *)(?:- )?(?:# )?(\w+):(?: ([^#]*?))?(?: # (.*))?$")
_BRACKETS = re.compile(r" ?\[([^\]]*)\]$")
_PRESETS = {"sample": "presets/sample.yaml", "paper": "presets/paper.yaml"}

HEAD = """\
# Parameters

Every value of a study stands in `params.yaml`, in one section for each stage. There are no
defaults in the code. A changed value makes its stage run again, and the stages that read the
results of that stage. This page is made from the models that check the file and from the comments
in `presets/sample.yaml`.

| column | meaning |
|---|---|
| sample | value in `presets/sample.yaml`, which is the shipped `params.yaml` |
| paper | value in `presets/paper.yaml`, the setting of Mondal et al. 2024, where it differs |
| meaning | unit and effect; in brackets the section of that paper (`graphs`: Foote et al. 2023) |

`{model, revision}` names a model on the hub by its commit, or a folder by the sha256 of its
contents; `descry pin` writes the revision. An *annotator* is one of [these](#annotators).
"""


def comments(text: str) -> dict[str, str]:
    """What stands beside each key of a YAML text, by its dotted path; commented-out keys, too."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        if match := _LINE.match(line):
            indent, key, _, comment = match.groups()
            path = [(depth, name) for depth, name in path if depth < len(indent)]
            path.append((len(indent), key))
            if comment:
                found[".".join(name for _, name in path)] = comment
    return found


def example_comments() -> dict[str, dict[str, str]]:
    """What the examples of docs/ say of each key, by kind of annotator, "cascade" or ""."""
    found: dict[str, dict[str, str]] = {"": {}, "cascade": {}}
    for page in EXAMPLES:
        text = (ROOT / f"docs/{page}.md").read_text("utf-8")
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
            kind = re.search(r"^ *kind: (\w+)", block, re.MULTILINE)
            for path, said in comments(block).items():
                of = "cascade" if ".cascade." in path else kind[1] if kind else ""
                found.setdefault(of, {}).setdefault(path.split(".")[-1], said)
    return found


def meaning(found: dict[str, dict[str, str]], of: str, key: str) -> str:
    """What an example of that kind says of a key, or else an example of another one."""
    every = [found.get(of, {}), found[""], *found.values()]
    return next((said[key] for said in every if key in said), "")


def rows(schema: JSON, definitions: JSON, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The keys of a section, dotted, and which values each may have."""
    for key, value in schema["properties"].items():
        inner = [one["$ref"].split("/")[-1] for one in _branches(value) if "$ref" in one]
        yield prefix + key, " or ".join(_words(one, definitions) for one in _branches(value))
        for name in inner:
            if name == "Cascade":
                yield from rows(definitions[name], definitions, f"{prefix}{key}.")


def _branches(value: JSON) -> list[JSON]:
    """The alternatives of a value; an annotator of whatever kind is one."""
    return value.get("anyOf") or ([] if "discriminator" in value else value.get("oneOf")) or [value]


def _words(value: JSON, definitions: JSON) -> str:
    """The values that a schema allows, in words."""
    if "discriminator" in value:
        return "an annotator"
    if "$ref" in value:
        of = definitions[value["$ref"].split("/")[-1]]
        names = [name for name in of["properties"] if name != "pickled"]
        return "a cascade" if "proxy" in names else f"{{{', '.join(names)}}}"
    if "const" in value:
        return f"`{yaml_text(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kind = value.get("type")
    if kind == "array":
        of = " or ".join(_words(one, definitions) for one in _branches(value["items"]))
        return f"list of {of.replace('number', 'numbers', 1)}"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _limits(value)
    return {"boolean": "`true`, `false`", "null": "`null`"}.get(str(kind), "text")


def _limits(value: JSON) -> str:
    """The limits of a number, in words."""
    names = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "multipleOf": "a multiple of",
    }
    words = [f"{name} {value[key]:g}" for key, name in names.items() if key in value]
    return " " + ", ".join(words) if words else ""


def yaml_text(value: object) -> str:
    """A value as params.yaml has it, on one line; of a mapping its kind or its model."""
    if isinstance(value, dict):
        return str(value.get("kind") or value.get("model") or value.get("path"))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(yaml_text(one) for one in value) if "kind" in value[0] else "a list"
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()
    )


def _value(values: JSON, key: str) -> str:
    return f"`{yaml_text(values[key])}`" if key in values else ""


def _table(head: list[str], lines: list[list[str]]) -> str:
    cells = [
        head,
        ["---"] * len(head),
        *([one.replace("|", "\\|") for one in line] for line in lines),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def page() -> str:
    """The whole page, in Markdown."""
    schema = Params.model_json_schema()
    definitions = schema["$defs"]
    sample, paper = (yaml.safe_load((ROOT / path).read_text("utf-8")) for path in _PRESETS.values())
    said = comments((ROOT / _PRESETS["sample"]).read_text("utf-8"))
    others = example_comments()
    parts = [HEAD]
    for section, values in sample.items():
        model = Params.model_fields[section].annotation
        told = said.get(section)
        parts.append(f"\n## {section}\n\n{_sentence(told) if told else _first(model)}\n\n")
        lines = []
        for key, allowed in rows(definitions[model.__name__], definitions):
            other = _value(paper[section], key)
            other = "" if other == _value(values, key) else other
            beside = said.get(f"{section}.{key}", "")
            if key.startswith("cascade."):
                beside = meaning(others, "cascade", key.removeprefix("cascade."))
            lines.append([f"`{key}`", _value(values, key), other, allowed, _paper(beside)])
        order = [*values]
        lines.sort(key=lambda line: order.index(line[0].strip("`").split(".")[0]))
        parts.append(_table(["parameter", "sample", "paper", "allowed", "meaning"], lines))
    parts.append(
        "\n## Annotators\n\nAn annotator is named by its kind and the keys of that kind.\n"
    )
    for kind in KINDS:
        name = kind.model_json_schema()["properties"]["kind"]["const"]
        lines = [
            [f"`{key}`", allowed, _paper(meaning(others, name, key))]
            for key, allowed in rows(definitions[kind.__name__], definitions)
            if key != "kind"
        ]
        parts.append(f"\n### kind: {name}\n\n{_first(kind)}\n")
        if lines:
            parts.append("\n" + _table(["key", "allowed", "meaning"], lines))
    return "".join(parts)


def _first(model: Any) -> str:
    """The first paragraph of a model's docstring."""
    return " ".join(str(model.__doc__).split("\n\n")[0].split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _paper(comment: str) -> str:
    """A comment with the section of the paper, which stands at its end, in round brackets."""
    return _BRACKETS.sub(r" (\1)", comment).replace("<", "&lt;")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "params.md", content=page()))
    return files
