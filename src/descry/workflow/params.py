"""params.yaml as a whole: the sections of all stages, read and validated.

The file itself is the only place where a value is written, with its unit and the paper's section
(Mondal et al. 2024) in a comment; each stage's model says which values make sense.
"""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from descry.annotators.human.spec import Human
from descry.annotators.spec import KINDS
from descry.errors import InputError
from descry.io.hashing import canonical
from descry.io.sanitize import printable
from descry.io.section import CROSSED, Section, crossed
from descry.io.yaml_files import read_yaml, yaml_value
from descry.stages.activations import Activations
from descry.stages.annotate import Annotate
from descry.stages.cluster import Cluster
from descry.stages.corpus import Corpus
from descry.stages.describe import Describe
from descry.stages.evaluate import Evaluate
from descry.stages.exemplars import Exemplars
from descry.stages.facets import Facets
from descry.stages.figures import Figures
from descry.stages.graphs import Graphs
from descry.stages.interventions import Interventions
from descry.stages.judge import Judge
from descry.stages.label import Label
from descry.stages.report import Report
from descry.stages.score import Score
from descry.stages.tokens import Tokens
from descry.stages.untrained import Untrained
from descry.stages.writes import Writes
from descry.workflow.package import PRESETS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_S = TypeVar("_S", bound=Section)
# What pydantic calls the branches of a union, which are no keys of the file.
_BRANCHES = (*(get_args(kind.model_fields["kind"].annotation)[0] for kind in KINDS), "Model")
_SHOWN = 80  # characters of a value that is proposed
_TAGS = ", ".join(map(repr, _BRANCHES[:-1]))

NumberOfShards = Annotated[int, Field(ge=1, le=1000)]


class Shards(Section):
    """The number of jobs that share a stage's work; no result depends on it."""

    describe: NumberOfShards
    activations: NumberOfShards
    graphs: NumberOfShards
    annotate: NumberOfShards


class Params(Section):
    """The whole of params.yaml."""

    corpus: Corpus
    describe: Describe
    cluster: Cluster
    annotate: Annotate
    activations: Activations
    exemplars: Exemplars
    untrained: Untrained
    tokens: Tokens
    graphs: Graphs
    judge: Judge
    label: Label
    writes: Writes
    facets: Facets
    evaluate: Evaluate
    score: Score
    interventions: Interventions
    figures: Figures
    report: Report
    shards: Shards

    @model_validator(mode="after")
    def _judge_is_another(self) -> Self:
        if self.judge.annotator == self.annotate.annotator:
            raise crossed(
                "judge.annotator is annotate.annotator, which would agree with itself: name"
                " another, or null"
            )
        return self


# What a value must look like, by key, where pydantic would show a regular expression.
_WORDS = {
    "site": "must be ffn_output, ffn_hidden, attention_output or residual, or the path of a module"
    " such as encoder.layer.*.output.dense",
    "device": "must be auto, cpu, mps, cuda, or one of several such as cuda:1",
    "language": "must be two letters such as en",
    "revision": "must be a commit of 40 hex digits or the sha256 of a folder, or `unpinned`, which"
    " `descry pin` replaces",
    "neurons": "must be names such as L5:24",
    "base_url": "must be http:// or https://, with no user name, password or query",
    "api_key_env": "must be the name of an environment variable such as OPENAI_API_KEY, or null",
}
# Keys of annotators other than the default one, which preset sample does not show.
_EXAMPLES = {
    "api_key_env": "null",
    "base_url": "http://localhost:8000/v1",
    "batch_tokens": "4096",
    "concurrency": "8",
    "device": "auto",
    "dtype": "float32",
    "max_new_tokens": "64",
    "max_tokens": "512",
    "price": "null",
    "retries": "5",
    "revision": "unpinned",
    "timeout": "120.0",
}


def explain(error: ValidationError, where: str, *outer: str) -> InputError:
    """Return one line for the first error; an unknown key comes before a missing one.

    Args:
        where: the file or option.
        outer: the section, where the error is of a section alone.
    """
    errors = error.errors()
    absent = [one["loc"] for one in errors if one["type"] == "missing"]
    first = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    if first["type"] == CROSSED:
        return InputError(f"{where}: {first['msg']}")
    # pydantic names the branch of a union, too, which is no key of the file.
    keys = [str(part) for part in first["loc"] if part not in _BRANCHES and "[" not in str(part)]
    key = ".".join([*outer, *keys]) or "the whole"
    if first["type"] == "extra_forbidden":
        advice = _unknown([*outer, *first["loc"]], [[*outer, *loc] for loc in absent])
    elif first["type"] == "missing":
        advice = _missing([*outer, *keys])
    elif first["type"].startswith("union_tag"):
        advice = f"its kind must be one of {first['ctx'].get('expected_tags', _TAGS)}"
        advice += f", got {first['ctx'].get('tag', 'none')!r}"
    else:
        name = next((part for part in reversed(keys) if not part.isdigit()), "")
        advice = _WORDS.get(name, "") if first["type"] == "string_pattern_mismatch" else ""
        advice = advice or first["msg"].replace("Input should be", "must be")
        # Where people paste a key or a password, it is not printed.
        if name not in ("base_url", "api_key_env"):
            advice += f", got {json.dumps(first['input'], default=str)[:80]}"
        if _is_percentage(first):
            advice += (
                f": it is a share, not percent: {first['input']:g}% is {first['input'] / 100:g}"
            )
    return InputError(printable(f"{where}: {key}: {advice}"))


def _is_percentage(error: "ErrorDetails") -> bool:
    """Whether a value is a percentage where a share is expected."""
    limits = error.get("ctx", {})
    most = limits.get("lt", limits.get("le"))
    return isinstance(most, int | float) and most <= 1 < error["input"] <= 100


# Keys that had another name in an earlier version, by that name.
_RENAMED = {"labeller": "annotator", "labellers": "annotators", "company": "distractors"}


def _unknown(loc: list[int | str], absent: list[list[int | str]]) -> str:
    """What to do with a key that is unknown: one that is absent may be meant, or another."""
    *place, key = loc
    if (*place, key) == ("describe", "example"):
        return "is examples now: write `examples: 1` where it was null, else a list of what it was"
    if key in _RENAMED:
        return f"is called {_RENAMED[str(key)]} now: rename it"
    missing = [str(last) for *beside, last in absent if beside == place]
    for name in get_close_matches(str(key), missing or _keys(place), n=1):
        return f"unknown key: did you mean {name}?"
    return "unknown key: remove it or mend its spelling"


def _keys(place: list[int | str]) -> list[str]:
    """The keys that params may have at a place, as pydantic names it."""
    models: list[type[Section]] = [Params]
    for part in place:
        if part in _BRANCHES:
            models = [one for one in models if part in (one.__name__, one.__name__.lower())]
        elif isinstance(part, str) and "[" not in part:
            fields = [one.model_fields[part] for one in models if part in one.model_fields]
            models = [inner for field in fields for inner in _sections(field.annotation)]
    return [name for one in models for name in one.model_fields]


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The sections in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _missing(keys: list[str]) -> str:
    """What to write for a key that is missing."""
    key = keys[-1]
    if not {"annotator", "annotators", "proxy"} & {*keys}:
        found: Any = read_yaml(PRESETS / "sample.yaml")
        for part in keys:
            found = found.get(part) if isinstance(found, dict) else None
        shown = canonical(found)
        if found is None or len(shown) > _SHOWN:
            return "missing key: add it as preset sample has it (`descry preset sample` writes one)"
        return f"missing key: add it, such as `{key}: {shown}`"
    example = f", such as `{key}: {_EXAMPLES[key]}`" if key in _EXAMPLES else ""
    return f"missing key: add it{example} (docs/annotators.md has every key of an annotator)"


def parse(section: str, value: object, where: str) -> Section:
    """Validate one section of params.yaml.

    Raises:
        InputError: naming the first key that is unknown, missing or ill-typed.
    """
    model = Params.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, Section)
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        raise explain(error, where, section) from error


def changed(stage: str, section: _S, changes: list[str]) -> _S:
    """A section with some values replaced, each given as `key=value` (the value as YAML).

    A model that is replaced without its revision is unpinned.

    Raises:
        InputError: a change is not of that form, or the section is not valid any more.
    """
    values = section.model_dump()
    for change in changes:
        path, sign, text = change.partition("=")
        *outer, key = path.strip().split(".")
        inner: Any = values
        for name in outer:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if not sign or not isinstance(inner, dict):
            raise InputError(f"--set {change}: not of the form key=value, such as site=ffn_hidden")
        inner[key] = yaml_value(text, f"--set {change}")
        if key in ("model", "path") and not any(
            c.startswith(f"{'.'.join(outer)}.revision") for c in changes
        ):
            inner["revision"] = "unpinned"
    found = parse(stage, values, "--set")
    assert isinstance(found, type(section))
    return found


def load(path: Path) -> Params:
    """Read and validate a params file.

    Raises:
        InputError: the file is missing, no YAML, or not of the models' form.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file: this is no study's folder: go to one, or make one with"
            " `descry init`"
        )
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(
            f"{path}: not a mapping of sections: see the one that `descry preset sample` writes"
        )
    try:
        return Params.model_validate(raw, strict=True)
    except ValidationError as error:
        raise explain(error, str(path)) from error


def parse_human(person: str, round: str) -> dict[str, str]:
    """The spec of a human annotator, from the command line.

    Raises:
        InputError: a name is empty.
    """
    try:
        return Human(kind="human", model=person, revision=round).model_dump()
    except ValidationError as error:
        raise explain(error, "--import and --round") from error


def parse_price(text: str | None) -> tuple[float, float] | None:
    """0.15,0.60 -> dollars per million tokens, in and out.

    Raises:
        InputError: it is not of that form.
    """
    if text is None:
        return None
    try:
        tokens_in, tokens_out = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--price {text}: not two numbers such as 0.15,0.60") from error
    return tokens_in, tokens_out


def parse_numbers(text: str, option: str) -> list[float]:
    """0.5,1,2 -> numbers above 0, each once, in order.

    Raises:
        InputError: it is not of that form.
    """
    try:
        numbers = {float(part) for part in text.split(",") if part.strip()}
    except ValueError:
        numbers = {-1.0}
    if any(not 0 < number < float("inf") for number in numbers):
        raise InputError(f"{option} {text}: not numbers above 0 such as 0.5,1,2")
    return sorted(numbers)
