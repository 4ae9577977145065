"""Is everything in order: packages, machine, prompt cache, models and the study?

Nothing is computed or fetched, and no result is touched. A finding is wrong if it keeps a run from
working, or results from being those of params.yaml. A note is worth knowing, and nothing is wrong.
"""

import json
import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from descry.annotators.prompt_cache.store import PromptCache
from descry.corpus.files import review_files
from descry.errors import InputError
from descry.io.prefetch import cores
from descry.io.read_provenance import provenance_of
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, is_local, pickles
from descry.run import FILES
from descry.workflow.dag import USER_FILES
from descry.workflow.outdated import stage_states
from descry.workflow.preflight import check_model, models_in

State = Literal["ok", "note", "wrong"]
LOCK = Path("requirements.lock")
_NAMED = ("torch", "transformers", "sentence-transformers", "dvc", "snakemake")
_SERVED = ("openai",)  # kinds of annotators whose model is elsewhere
_NO_MODEL = ("human", "words")
_SAME = ("model", "path", "revision", "base_url", "api_key_env")  # of a model that is told once
_READ = 2**28  # bytes of a cache that are checked for damage: about a second
_FEW = 5  # packages that are listed


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        group: software, machine, cache, models or study.
        said: what was found.
        remedy: what to type, or to do, where something is wrong or could be better.
    """

    group: str
    name: str
    state: State
    said: str
    remedy: str | None = None


def examine(results: Path, cache: Path) -> Iterator[Finding]:
    """All that can be told of the study in the current folder, and of what it runs on.

    Args:
        results: of the study.
        cache: folder of its prompts.
    """
    yield from _software()
    yield from _machine(results)
    yield from _cache(cache)
    if not Path("params.yaml").is_file():
        remedy = "cd to the folder of a study, or make one: `descry init my-study`"
        yield Finding("study", "params.yaml", "note", f"none in {Path.cwd()}", remedy)
        return
    try:
        from descry.workflow.params import load

        sections = json.loads(load(Path("params.yaml")).model_dump_json())
    except InputError as error:
        yield Finding("study", "params.yaml", "wrong", str(error), "mend it in params.yaml")
        return
    yield from _models(sections)
    yield Finding("study", "params.yaml", "ok", "valid")
    yield from _user_files(sections)
    yield from _study(sections, results)


# Software


def _software() -> Iterator[Finding]:
    locked = _locked()
    yield Finding("software", "descry", "ok", version("descry"))
    yield Finding("software", "Python", "ok", platform.python_version())
    for name in _NAMED:
        here = _version(name)
        if here is None:
            yield Finding("software", name, "wrong", "not installed", f"pip install {name}")
        elif name in locked and not _alike(here, locked[name]):
            said = f"{here}, not {locked[name]} as {LOCK} has it"
            yield Finding("software", name, "note", said, f"pip install {name}=={locked[name]}")
        else:
            as_locked = f", as {LOCK} has it" if name in locked else ""
            yield Finding("software", name, "ok", f"{here}{as_locked}")
    yield from _requirements()
    if not locked:
        return
    other = [n for n, there in locked.items() if not _alike(_version(n) or "", there)]
    if other:
        some = ", ".join(f"{n} {_version(n) or 'absent'} ({locked[n]})" for n in other[:_FEW])
        more = f" and {len(other) - _FEW} more" if len(other) > _FEW else ""
        said = f"{len(other)} of {len(locked)} packages are other versions: {some}{more}"
        remedy = f"pip install -r {LOCK}, where last digits must be those of others"
        yield Finding("software", str(LOCK), "note", said, remedy)
    else:
        yield Finding("software", str(LOCK), "ok", f"all {len(locked)} packages are as it has them")


def _locked() -> dict[str, str]:
    """The versions of requirements.lock by package; none where the folder has no such file."""
    if not LOCK.is_file():
        return {}
    lines = (line.partition("#")[0].strip() for line in LOCK.read_text("utf-8").splitlines())
    pairs = (line.split(";")[0].split("==") for line in lines if "==" in line)
    return {name.strip(): at.strip() for name, at in pairs}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _alike(here: str, there: str) -> bool:
    """Whether two versions are the same; torch's own name of a build (+cpu) does not count."""
    return here.partition("+")[0] == there.partition("+")[0]


def _requirements() -> Iterator[Finding]:
    """The packages that descry needs and that are missing or too old."""
    from packaging.requirements import Requirement

    for text in requires("descry") or ():
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        here = _version(needed.name)
        if here is None or not needed.specifier.contains(here, prereleases=True):
            said = f"{here or 'not installed'}, and descry needs {needed}"
            yield Finding("software", needed.name, "wrong", said, f"pip install '{needed}'")


# The machine


def _machine(results: Path) -> Iterator[Finding]:
    import psutil

    yield Finding("machine", "cores", "ok", f"{cores()} of {os.cpu_count()} are this process's")
    memory = psutil.virtual_memory()
    said = f"{_size(memory.available)} of {_size(memory.total)} are free"
    yield Finding("machine", "memory", "ok", said)
    yield Finding("machine", "GPU", "ok", _gpu())
    place = results if results.is_dir() else Path()
    free = shutil.disk_usage(place).free
    largest = max(
        (path.stat().st_size for path in map(results.joinpath, FILES) if path.is_file()), default=0
    )
    said = f"{_size(free)} free where {place.absolute()} is"
    if free < largest:
        needs = f"{said}; a stage writes a result beside the old one, and one has {_size(largest)}"
        yield Finding("machine", "disk", "wrong", needs, "free some space, or move the study")
    else:
        yield Finding("machine", "disk", "ok", said)


def _gpu() -> str:
    import torch

    if torch.cuda.is_available():
        every = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        return ", ".join(f"{one.name} ({_size(one.total_memory)})" for one in every)
    return "Apple's (mps)" if torch.backends.mps.is_available() else "none: the processor computes"


def _size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


# The prompt cache


def _cache(folder: Path) -> Iterator[Finding]:
    database = folder / "cache.db"
    if not database.is_file():
        yield Finding("cache", str(folder), "ok", "no answers yet: the first run makes it")
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    try:
        with PromptCache(folder) as cache:
            stats = cache.stats()
        broken = _damage(database) if size <= _READ else None
    except InputError as error:
        yield Finding("cache", str(folder), "wrong", str(error), _MEND)
        return
    if broken:
        yield Finding("cache", str(folder), "wrong", f"damaged: {broken}", _MEND)
        return
    said = f"{stats['answers']:,} answers, {stats['failures']:,} failures, {_size(size)}"
    looked = "" if size <= _READ else "; too large for a look at every page"
    yield Finding("cache", str(folder), "ok", said + looked)


_MEND = "`descry cache verify --remove`; or move it away, then `descry cache import data/answers`"


def _damage(database: Path) -> str | None:
    """What SQLite finds wrong with the pages of a database."""
    try:
        address = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if said == "ok" else str(said).splitlines()[-1]


# The models


def _models(sections: dict[str, Any]) -> Iterator[Finding]:
    """Each model once, by the first key of params.yaml that names it."""
    told: set[str] = set()
    for name, section in sections.items():
        for key, spec in models_in(section, name):
            what = json.dumps([spec.get(part) for part in _SAME])
            if what not in told and spec.get("kind") not in _NO_MODEL:
                told.add(what)
                yield _model(key, spec)


def _model(key: str, spec: dict[str, Any]) -> Finding:
    model = str(spec.get("model", spec.get("path")))
    try:
        check_model(key, spec)
    except InputError as error:
        return Finding("models", key, "wrong", str(error))
    if spec.get("kind") in _SERVED:
        return Finding("models", key, "ok", f"{model} at {spec.get('base_url')}, not asked now")
    if "path" in spec or is_local(Path(model)):
        return Finding("models", key, "ok", f"{model}: here; its hash is checked when it is read")
    said = f"{model} @ {spec['revision'][:12]}"
    if (model, spec["revision"]) == (MINILM, MINILM_COMMIT):
        try:
            Checkpoint(model, spec["revision"]).folder  # noqa: B018 - it looks
        except InputError as error:
            return Finding("models", key, "wrong", str(error))
        return Finding("models", key, "ok", f"{said}: comes with descry")
    return _of_hub(key, spec, said)


def _of_hub(key: str, spec: dict[str, Any], said: str) -> Finding:
    """A model of the hub: whether its files are in the hub's cache on this machine."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(spec["model"], revision=spec["revision"], local_files_only=True)
    except HFValidationError:
        return Finding("models", key, "wrong", f"{spec['model']}: no such folder here", _NAME)
    except (LocalEntryNotFoundError, OSError):
        folder = ""
    if folder and (any(Path(folder).glob("*.safetensors")) or pickles(Path(folder))):
        return Finding("models", key, "ok", f"{said}: in the hub's cache")
    if constants.HF_HUB_OFFLINE:
        remedy = "unset HF_HUB_OFFLINE where the hub can be reached, or name a folder"
        return Finding("models", key, "wrong", f"{said}: not on this machine (offline)", remedy)
    return Finding("models", key, "note", f"{said}: not on this machine: fetched when first used")


_NAME = "name a folder that is here, or a model of the hub, in params.yaml"


# The study


def _user_files(sections: dict[str, Any]) -> Iterator[Finding]:
    """The files that params.yaml names and that are not here."""
    for section, key in USER_FILES:
        path = sections[section][key]
        try:
            if path is not None and key == "reviews":
                review_files(Path(path))
            elif path is not None and not Path(path).is_file():
                raise InputError(f"{path}: no such file: set {section}.{key} in params.yaml")
        except InputError as error:
            yield Finding("study", f"{section}.{key}", "wrong", str(error), "or `dvc pull` it")


def _study(sections: dict[str, Any], results: Path) -> Iterator[Finding]:
    for name, stage in FILES.items():
        if (results / name).is_file() and name.endswith((".parquet", ".h5", ".json")):
            try:
                provenance_of(results / name, stage)
            except InputError as error:
                again = f"`snakemake --cores all {stage}`, or `dvc checkout`"
                yield Finding("study", name, "wrong", str(error), again)
    if any(Path(".snakemake/locks").glob("*")):
        said = "a run is under way in this folder, or was killed"
        yield Finding("study", "run", "note", said, "if none is: `snakemake --unlock`")
    try:
        states = stage_states(sections)
    except InputError as error:
        yield Finding("study", "stages", "wrong", str(error), "git checkout dvc.yaml dvc.lock")
        return
    if not states:
        yield Finding("study", "stages", "wrong", "no dvc.yaml here", "descry dvc")
    for one in states:
        if one.kind == "outdated":
            own = not (one.why or "").startswith("follows")
            remedy = "`snakemake --cores all`, or put back what changed" if own else None
            yield Finding("study", one.stage, "wrong", f"outdated: {one.why}", remedy)
    done = [one.stage for one in states if one.kind == "up to date"]
    unmade = [one.stage for one in states if one.kind == "not made"]
    if unmade:
        said = f"not made: {', '.join(unmade)}"
        yield Finding("study", "stages", "note", said, "`snakemake --cores all` makes them")
    if done:
        yield Finding("study", "stages", "ok", f"up to date: {', '.join(done)}")
