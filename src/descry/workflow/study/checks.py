"""All that can be wrong with a study before it is made: looked at together, told a line each."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from descry.activations.top_k import exemplar_size
from descry.corpus.files import review_files
from descry.corpus.records import records, short
from descry.corpus.units import read_split_rows
from descry.errors import InputError
from descry.io.yaml_files import read_yaml, yaml_value
from descry.models.checkpoints import Checkpoint, is_local, load_tokenizer
from descry.models.outline import Outline, outline
from descry.stages.corpus import Corpus, build_corpus
from descry.stages.exemplars import Exemplars
from descry.workflow.package import PRESETS
from descry.workflow.params import parse
from descry.workflow.pinning import pinned
from descry.workflow.study.choices import EMBEDDED, SERVER, TRANSFORMERS, Choices

PRESET = PRESETS / "sample.yaml"
MODELS = "models"  # where a study has its own, or links to them
_SITES = {True: "ffn_hidden", False: "ffn_output"}  # of a decoder, of another model
_MOST = 50  # percent of the sentences that an exemplar set may sensibly hold
_LOOKED_AT = 100  # records of a file, for the names of its columns
T = TypeVar("T")


class Refused(Exception):
    """A study that cannot be made; `problems` says why, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Checked:
    """A study with which nothing is wrong.

    Attributes:
        changes: what its params.yaml has other than the preset, by section and key.
        links: what is linked to, by its place in the study's folder: models.
        counts: what became of the reviews.
        outline: the target.
    """

    choices: Choices
    changes: dict[str, dict[str, Any]]
    links: dict[str, Path]
    counts: dict[str, object]
    outline: Outline


def check(choices: Choices, corpus: Path) -> Checked:
    """Look at all of a study: folder, reviews, target, annotator, other parameters.

    First at all that needs no model, no sentences and a second at most; at the rest if nothing of
    that is wrong.

    Args:
        corpus: where its sentences are written.

    Raises:
        Refused: something is not in order; all that is not is told.
    """
    problems: dict[str, None] = {}

    def tried(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except InputError as error:
            problems[str(error)] = None
            return None

    preset = read_yaml(PRESET)
    tried(lambda: _folder(choices.folder))
    tried(_git)
    settings: dict[str, dict[str, Any]] = {}
    for change in choices.settings:
        tried(partial(_set, change, preset, settings))
    for name, values in settings.items():
        tried(partial(parse, name, preset[name] | values, "--set"))
    with_settings = {name: values | settings.get(name, {}) for name, values in preset.items()}
    own = tried(lambda: _columns(choices, with_settings["corpus"]))
    spec = tried(lambda: _target(choices))
    annotator = tried(lambda: _annotator(choices))
    links = tried(lambda: _links(choices))
    if problems or own is None or spec is None or annotator is None or links is None:
        raise Refused([*problems])
    # What takes seconds: sentences are made, and libraries of models are loaded.
    counts = tried(lambda: _sentences(own, with_settings, corpus))
    found = tried(lambda: _outline(spec))
    tried(lambda: _loads(annotator))
    if problems or counts is None or found is None:
        raise Refused([*problems])
    changes: dict[str, dict[str, Any]] = {name: {} for name in preset}
    changes["corpus"] |= {"reviews": f"data/{_name(choices)}"}
    changes["corpus"] |= {"text_fields": [*choices.text]} if choices.text else {}
    changes["describe"] |= {"annotators": [_here(annotator)]}
    changes["annotate"] |= {"annotator": _here(annotator)}
    changes["activations"] |= {
        "target": _here(spec),
        "site": _SITES[found.decoder],
        "position": "cls" if found.cls and not found.decoder else "mean",
    }
    changes["evaluate"] |= {"gold": None}  # those of the sample
    for name, values in changes.items():
        values |= settings.get(name, {})
        tried(partial(parse, name, preset[name] | values, "--set"))
    if problems:
        raise Refused([*problems])
    return Checked(choices, changes, links, counts, found)


def _folder(folder: Path) -> None:
    if folder.resolve() == Path.cwd():
        raise InputError(f"{folder}: the present folder: name a new one, such as my-study")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already, and not empty: name a new folder")
    above = next(place for place in folder.absolute().parents if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{folder}: {above} is no folder that can be written to")


def _git() -> None:
    if shutil.which("git") is None:
        raise InputError("git: not installed: DVC and the records of a study want it")


def _set(change: str, params: dict[str, Any], settings: dict[str, dict[str, Any]]) -> None:
    """Add the value of an option --set to the values by section and key."""
    name, sign, text = change.partition("=")
    section, _, key = name.strip().partition(".")
    if not sign or key not in params.get(section, {}):
        keys = [f"{one}.{key}" for one, values in params.items() for key in values]
        near = get_close_matches(name.strip(), keys, n=1)
        raise InputError(
            f"--set {change}: not of the form section.key=value, such as"
            " exemplars.top_percent=10, with a key that params.yaml has"
            + (f": did you mean {near[0]}?" if near else "")
        )
    settings.setdefault(section, {})[key] = yaml_value(text, f"--set {change}")


def usual_columns() -> list[str]:
    """The names that the column of a review's text has in the preset."""
    return list(read_yaml(PRESET)["corpus"]["text_fields"])


def columns_of(reviews: Path) -> list[str]:
    """The names of the columns of reviews, by the first records of each file.

    Raises:
        InputError: there are no reviews, or a file cannot be read.
    """
    names: dict[str, None] = {}
    for file in review_files(reviews):
        for entry in islice(records(file, ()), _LOOKED_AT):
            names |= dict.fromkeys(entry.record or ())
    return list(names)


def _name(choices: Choices) -> str:
    """What the reviews are called in the study's data/."""
    assert choices.reviews is not None
    return choices.reviews.resolve().name


def _links(choices: Choices) -> dict[str, Path]:
    """The models of this machine, by their places in the study's folder."""
    named = {name for name in (choices.model, choices.annotator) if name and is_local(Path(name))}
    found = {f"{MODELS}/{Path(name).resolve().name}": Path(name).resolve() for name in named}
    if len(found) < len({Path(name).resolve() for name in named}):
        raise InputError(f"{', '.join(sorted(named))}: two models of one name: rename one")
    return found


def _here(spec: dict[str, Any]) -> dict[str, Any]:
    """A model as the study's params.yaml names it: one of this machine by its link."""
    model = Path(spec["model"])
    if spec.get("kind") == SERVER or not is_local(model):
        return spec
    return spec | {"model": f"{MODELS}/{model.resolve().name}"}


def _columns(choices: Choices, section: dict[str, Any]) -> dict[str, Any]:
    """The parameters of stage corpus, with columns that the reviews have."""
    reviews = choices.reviews
    if reviews is None:
        raise InputError("--reviews: name a file or a folder of reviews")
    if not reviews.exists():
        raise InputError(f"--reviews {reviews}: no such file or folder")
    wanted = [*choices.text] or section["text_fields"]
    columns = columns_of(reviews)
    if not columns:
        raise InputError(f"--reviews {reviews}: no review in it")
    if not {*wanted} & {*columns}:
        raise InputError(
            f"--text: {reviews} has no column {short(' or '.join(wanted))}: it has"
            f" {short(', '.join(columns))}"
        )
    return section | {"reviews": str(reviews), "text_fields": wanted}


def _sentences(own: dict[str, Any], params: dict[str, Any], corpus: Path) -> dict[str, object]:
    """Make the sentences, and see that they suffice for exemplar sets."""
    parsed = parse("corpus", own, "--set")
    assert isinstance(parsed, Corpus)
    counts = build_corpus(parsed, reviews=[Path(own["reviews"])], corpus=corpus)
    sets = parse("exemplars", params["exemplars"], "--set")
    assert isinstance(sets, Exemplars)
    halves = read_split_rows(corpus)
    smaller = min(len(rows) for rows in halves.values())
    try:
        exemplar_size(smaller, sets.top_percent, sets.min_size)
    except InputError as error:
        enough = 100 * (sets.min_size - 1) // max(smaller, 1) + 1
        hint = f", such as --set exemplars.top_percent={enough}" if enough <= _MOST else ""
        raise InputError(f"{error}{hint} (the smaller half of the sentences counts)") from error
    return counts


def _target(choices: Choices) -> dict[str, Any]:
    """The target, pinned."""
    return _pinned("--model", choices.target_spec())


def _outline(spec: dict[str, Any]) -> Outline:
    return outline(Checkpoint(spec["model"], spec["revision"]), _SITES[False])


def _annotator(choices: Choices) -> dict[str, Any]:
    """The annotator, pinned: a server has answered."""
    spec = choices.annotator_spec()
    parse("annotate", {**read_yaml(PRESET)["annotate"], "annotator": spec}, "--annotator")
    if spec["kind"] == SERVER:  # somebody waits for the answer
        patient = {name: spec[name] for name in ("timeout", "retries")}
        return _pinned("--annotator", spec | {"timeout": 30.0, "retries": 1}) | patient
    return _pinned("--annotator-model", spec)


def _loads(spec: dict[str, Any]) -> None:
    """See that a model's files are in order."""
    if spec["kind"] == SERVER:
        return
    checkpoint = Checkpoint(spec["model"], spec["revision"])
    if spec["kind"] == EMBEDDED:
        from descry.models.embedder import sentence_embedder

        sentence_embedder(checkpoint)
    elif spec["kind"] == TRANSFORMERS:
        load_tokenizer(checkpoint)


def _pinned(option: str, spec: dict[str, Any]) -> dict[str, Any]:
    try:
        return pinned(dict(spec))
    except InputError as error:
        raise InputError(f"{option}: {error}") from error
