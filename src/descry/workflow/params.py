"""params.yaml as strict, typed, frozen models: one section per stage, and no defaults.

The file itself is the only place where a value is written, with its unit and the paper's section
(Mondal et al. 2024) in a comment; the models say which values make sense.
"""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from descry.annotators.parsing.topics import clean_concept
from descry.errors import InputError
from descry.io.sanitize import printable
from descry.io.yaml_files import read_yaml, yaml_value

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class InputFile:
    """Marks a parameter that names a file or folder of the user's: an input of its stage."""


Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
InputPath = Annotated[str, Field(min_length=1), InputFile()]
OptionalPath = Annotated[Annotated[str, Field(min_length=1)] | None, InputFile()]
Revision = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64}|unpinned)$")]


class Section(BaseModel):
    """A section of params.yaml: unknown, missing and ill-typed keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Model(Section):
    """A checkpoint: a hub model by commit, or a local folder by the sha256 of its contents."""

    model: str
    revision: Revision
    # A permission, and so left out where it is not given: weights that are a pickle can run code.
    pickled: Annotated[Literal[True] | None, Field(exclude_if=lambda given: given is None)] = None


# Tokens that a model may spend on thoughts before an answer, which is then read from its words.
# A permission, too: left out, thoughts are turned off where that can be done.
Thinking = Annotated[
    Annotated[int, Field(ge=1)] | None, Field(exclude_if=lambda given: given is None)
]


class Embedded(Model):
    """The annotator without a generative model."""

    kind: Literal["embedded"]


class Transformers(Model):
    """A model of the transformers library, encoder-decoder or causal, on this machine."""

    kind: Literal["transformers"]
    # Not float16: T5 overflows in it.
    dtype: Literal["float32", "bfloat16"]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?|map)$")]
    max_tokens: Annotated[int, Field(ge=32)]
    max_new_tokens: Count
    batch_tokens: Count
    thinking: Thinking = None


class OpenAI(Section):
    """A model behind an OpenAI-compatible server."""

    kind: Literal["openai"]
    model: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)]
    dtype: Annotated[str, Field(min_length=1)]
    # Without a user's name, password or query: keys stand in those, and it is recorded.
    base_url: Annotated[str, Field(pattern=r"^https?://[^@?#\s]+$")]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None
    max_new_tokens: Count
    concurrency: Count
    timeout: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0)]
    price: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] | None
    thinking: Thinking = None


class Human(Section):
    """A person, whose answers `descry annotate-sheet` brings into the cache."""

    kind: Literal["human"]
    model: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)]


# People answer p2 alone: the sheet is about descriptors.
Describer = Annotated[Embedded | Transformers | OpenAI, Field(discriminator="kind")]
Annotator = Annotated[Embedded | Transformers | OpenAI | Human, Field(discriminator="kind")]
_KINDS = ("embedded", "transformers", "openai", "human", "Model")
_TAGS = ", ".join(map(repr, _KINDS[:-1]))


class Corpus(Section):
    """Reviews to filtered, deduplicated, split sentences (section 4.2)."""

    reviews: InputPath
    text_fields: Annotated[list[str], Field(min_length=1)]
    per_category: Count
    min_words: Count
    max_words: Count
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    near_duplicate: Annotated[float, Field(gt=0, le=0.99)]
    max_invalid: Share
    seed: Seed


def _concept(text: str) -> str:
    if not clean_concept(text):
        raise PydanticCustomError("topic", "not a topic: words alone, without marks or commas")
    return text


class Example(Section):
    """The 1-shot example of p1, written by hand."""

    sentence: Annotated[str, Field(pattern=r"\S")]
    concepts: Annotated[list[Annotated[str, AfterValidator(_concept)]], Field(min_length=1)]


class Describe(Section):
    """Prompt p1 to every annotator (section 3.1)."""

    annotators: Annotated[list[Describer], Field(min_length=1)]
    max_descriptors: Count
    max_words: Count
    example: Example | None
    seed: Seed
    max_failures: Share


class Cluster(Section):
    """Raw descriptors to descriptors (section 3.1)."""

    embedder: Model
    method: Literal["community", "agglomerative"]
    threshold: Threshold
    min_size: Count
    min_mentions: Count
    max_descriptors: Count
    edits: OptionalPath


class Scoped(Section):
    """Which sentences an annotator is asked about with p2, and when an answer counts."""

    scope: Literal["corpus", "exemplars"]
    neurons: (
        Annotated[list[Annotated[str, Field(pattern=r"^L\d+:\d+$")]], Field(min_length=1)]
        | Count
        | None
    )
    sample: Seed
    seed: Seed
    min_mass: Share
    max_failures: Share


class Annotate(Scoped):
    """Prompt p2 for every sentence and descriptor (section 3.2)."""

    annotator: Annotator


class Untrained(Section):
    """A copy of the target with random weights, as a null."""

    enabled: bool
    seed: Seed


class Graphs(Section):
    """Graphs of what neurons respond to: N2G (Foote et al. 2023)."""

    neurons: (
        Annotated[list[Annotated[str, Field(pattern=r"^L\d+:\d+$")]], Field(min_length=1)]
        | Seed
        | None
    )
    seed: Seed
    position: Literal["tokens", "cls", "last", "mean", "max"]
    bos: bool
    texts: Count
    train: Count
    keys: Annotated[float, Field(gt=0, le=1)]
    drop: Annotated[float, Field(ge=0, lt=1)]
    step: Count
    until: Count | None
    following: Annotated[int, Field(ge=0)]
    augment: Literal["embeddings"] | Model | None
    substituted: Share
    substitutes: Count
    probability: Share
    importance: Share
    activation: Annotated[float, Field(ge=0, lt=1)]
    confirmed: bool
    firing: Annotated[float, Field(gt=0, le=1)]
    max_gap: Annotated[int, Field(ge=0)]
    together: Count


class Judge(Scoped):
    """Prompt p2 to a second annotator, whose answers are held against the first's (section 5.1)."""

    annotator: Annotator | None


class Activations(Section):
    """What the target model does with every sentence (section 4.1)."""

    target: Model
    # The named sites, or a dotted module path with `*` for the layer's number (sites.py).
    site: Annotated[
        str,
        Field(
            pattern=r"^(ffn_output|ffn_hidden|attention_output|residual|\w+(\.(\w+|\*))+(:input)?)$"
        ),
    ]
    position: Literal["cls", "last", "mean", "max", "tokens"]
    layers: Annotated[list[Seed], Field(min_length=1)] | None
    dtype: Literal["float32", "bfloat16"]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    max_tokens: Annotated[int, Field(ge=8)]
    batch_tokens: Annotated[int, Field(ge=8)]
    block: Annotated[int, Field(ge=1024, multiple_of=1024)]
    store: Literal["matrix", "exemplars"]
    store_dtype: Literal["float32", "float16"]
    keep: Count


class Exemplars(Section):
    """The sentences that excite a neuron most, and least (section 3.3)."""

    top_percent: Annotated[float, Field(gt=0, le=50)]
    min_size: Count
    lowest: bool


class Label(Section):
    """Exemplar sets and B to neuron labels (section 3.3)."""

    rule: Literal["composition", "enrichment"]
    frequency: Literal["occurrences", "sentences"]
    threshold: Threshold
    fdr: Threshold
    top_k: Count | None
    broad: Share
    compose: Annotated[int, Field(ge=0, le=8)]
    beam: Count
    penalty: Annotated[float, Field(gt=0, le=1)]


class Evaluate(Section):
    """Scores of the labels (section 5), each beside its nulls."""

    gold: OptionalPath
    thresholds: Annotated[list[Threshold], Field(min_length=1)]
    rates: Annotated[list[Threshold], Field(min_length=1)]
    max_k: Count
    truth_top: Count
    permutations: Count
    bootstraps: Annotated[int, Field(ge=2)]
    seed: Seed


class Score(Section):
    """How well an annotator can use the neurons' descriptions (scorers.py)."""

    annotator: Annotator | None
    scorers: Annotated[list[Literal["detection", "intruder", "simulation"]], Field(min_length=1)]
    neurons: (
        Annotated[list[Annotated[str, Field(pattern=r"^L\d+:\d+$")]], Field(min_length=1)]
        | Count
        | None
    )
    sentences: Annotated[int, Field(ge=2)]
    distractors: Annotated[int, Field(ge=2)]
    seed: Seed
    min_mass: Share
    max_failures: Share


class Figures(Section):
    """The paper's figures and tables."""

    dpi: Annotated[int, Field(ge=50, le=600)]
    sentences: Count
    seed: Seed


class Report(Section):
    """The explorer."""

    title: str | None
    exemplars_shown: Count


NumberOfShards = Annotated[int, Field(ge=1, le=1000)]


class Shards(Section):
    """Into how many jobs the work of a stage is parted; no stage depends on it."""

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
    graphs: Graphs
    judge: Judge
    label: Label
    evaluate: Evaluate
    score: Score
    figures: Figures
    report: Report
    shards: Shards


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
# Keys of annotators other than the default one, which presets/sample.yaml does not show.
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


def _explain(error: ValidationError, where: str, *outer: str) -> InputError:
    """One line for the first error; a key that is unknown comes before what is missing for it."""
    errors = error.errors()
    absent = [one["loc"] for one in errors if one["type"] == "missing"]
    first = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    # pydantic names the branch of a union, too, which is no key of the file.
    keys = [str(part) for part in first["loc"] if part not in _KINDS and "[" not in str(part)]
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
    """Whether somebody wrote percent in the place of a share."""
    limits = error.get("ctx", {})
    most = limits.get("lt", limits.get("le"))
    return isinstance(most, int | float) and most <= 1 < error["input"] <= 100


# Keys that had another name in an earlier version, by that name.
_RENAMED = {"labeller": "annotator", "labellers": "annotators", "company": "distractors"}


def _unknown(loc: list[int | str], absent: list[list[int | str]]) -> str:
    """What to do with a key that is unknown: one that is absent may be meant, or another."""
    *place, key = loc
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
        if part in _KINDS:
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
    if not {"annotator", "annotators"} & {*keys}:
        return "missing key: add it (presets/sample.yaml has every key)"
    example = f", such as `{key}: {_EXAMPLES[key]}`" if key in _EXAMPLES else ""
    return f"missing key: add it{example} (README.md, Your own LLM, has every key of an annotator)"


def parse(section: str, value: object, where: str) -> Section:
    """Validate one section of params.yaml.

    Raises:
        InputError: naming the first key that is unknown, missing or ill-typed.
    """
    model = Params.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, Section)
    try:
        return _checked(model.model_validate(value, strict=True), where)
    except ValidationError as error:
        raise _explain(error, where, section) from error


def changed(stage: str, section: Section, changes: list[str]) -> Section:
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
        if key == "model" and not any(c.startswith(f"{'.'.join(outer)}.revision") for c in changes):
            inner["revision"] = "unpinned"
    return parse(stage, values, "--set")


def _check_judge(params: Params, where: str) -> None:
    if params.judge.annotator == params.annotate.annotator:
        raise InputError(
            f"{where}: judge.annotator is annotate.annotator, which would agree with itself: name"
            " another, or null"
        )


def _checked(section: Section, where: str) -> Section:
    if isinstance(section, Activations) and (section.store, section.position) == (
        "exemplars",
        "tokens",
    ):
        raise InputError(
            f"{where}: activations.store exemplars wants one activation a sentence: a position"
            " other than tokens"
        )
    if isinstance(section, Graphs) and section.train > section.texts:
        raise InputError(
            f"{where}: graphs.train {section.train} is more than graphs.texts {section.texts}"
        )
    if isinstance(section, Corpus) and section.min_words > section.max_words:
        raise InputError(
            f"{where}: corpus.min_words {section.min_words} is more than corpus.max_words"
            f" {section.max_words}"
        )
    return section


def load(path: Path) -> Params:
    """Read and validate a params file.

    Raises:
        InputError: the file is missing, no YAML, or not of the models' form.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file: this is no descry folder: go to a checkout of descry"
        )
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a mapping of sections: see presets/sample.yaml")
    try:
        params = Params.model_validate(raw, strict=True)
    except ValidationError as error:
        raise _explain(error, str(path)) from error
    for name in Params.model_fields:
        _checked(getattr(params, name), str(path))
    _check_judge(params, str(path))
    return params


def parse_human(person: str, round: str) -> dict[str, str]:
    """The spec of a human annotator, from the command line.

    Raises:
        InputError: a name is empty.
    """
    try:
        return Human(kind="human", model=person, revision=round).model_dump()
    except ValidationError as error:
        raise _explain(error, "--import and --round") from error


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


def arguments(section: Section) -> dict[str, Any]:
    """What a stage's `run` takes of its section: `section` whole, and each key but the paths."""
    values, paths = section.model_dump(), set(_path_keys(type(section)))
    return {"section": values} | {key: v for key, v in values.items() if key not in paths}


def input_paths(model: Section) -> dict[str, str]:
    """The parameters of a section that name input files: key -> path; null names none."""
    paths = {key: getattr(model, key) for key in _path_keys(type(model))}
    return {key: path for key, path in paths.items() if path is not None}


def optional_paths(model: Section) -> list[str]:
    """The parameters of a section that name an input file or, with null, none."""
    fields = type(model).model_fields
    return [key for key in _path_keys(type(model)) if NoneType in get_args(fields[key].annotation)]


def _path_keys(model: type[Section]) -> Iterator[str]:
    for key, field in model.model_fields.items():
        if any(isinstance(mark, InputFile) for mark in field.metadata):
            yield key
