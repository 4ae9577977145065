"""What the Snakefile needs to know about code and params; writes dvc.yaml from it.

The Snakefile is the one description of the DAG. A rule with outputs is a DVC stage of the same
name; the names of its params are the sections of params.yaml that it depends on.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from descry.corpus.files import review_files
from descry.errors import InputError
from descry.io.dvc_lock import CODE
from descry.io.hashing import canonical
from descry.io.yaml_files import read_yaml
from descry.workflow.code import LIST_OF_RULES, Code, list_of, outdated, write_lists
from descry.workflow.package import CHECKOUT, RULES, has_code, source
from descry.workflow.stage import STARTED_WITH

if TYPE_CHECKING:
    from snakemake.io import InputFiles, OutputFiles, Wildcards
    from snakemake.rules import Rule

DVC_YAML = Path("dvc.yaml")
_COMMON = ("study.smk", "common.smk")  # rules' files of every stage, besides its rule's own
WIRING_ONLY = "DESCRY_WIRING_ONLY"  # in the environment of a Snakemake that runs no job
# Parameters that name files of the user's, and whether they may be null.
USER_FILES = {
    ("corpus", "reviews"): False,
    ("describe", "template"): True,
    ("cluster", "edits"): True,
    ("annotate", "template"): True,
    ("judge", "template"): True,
    ("evaluate", "gold"): True,
}
# Inputs of stages that params.yaml does not name.
_OURS = ("Snakefile", "src/", CODE, "results/")
_UNREAD = ("code", "before")  # names of inputs that a stage does not read
SHARDS = "results/shards"  # what shards write, until the stage itself has taken it in
_CUT = "threshold t, or false discovery rate"
_SCORES = ["precision", "precision_null", "recall", "recall_null"]
_SIMILAR = ["by_neuron", "by_neuron_null", "by_descriptor", "by_descriptor_null"]
PLOTS = {  # title: file, its columns, and the labels of the axes
    "Precision and recall": ("results/plots/precision_recall.csv", _SCORES, _CUT, "score"),
    "Precision and recall at K": ("results/plots/at_k.csv", _SCORES, "K", "score"),
    "Similarity of the halves": ("results/plots/jaccard.csv", _SIMILAR, _CUT, "Jaccard"),
}


class Wiring:
    """The project in the current folder: what each rule of its Snakefile depends on.

    Args:
        job: whether this is the process of a single job. A cluster may start it long after the run,
            whose params are recorded: the job takes these, not the file's.

    Attributes:
        sections: those of params.yaml, as plain values.

    Raises:
        InputError: params.yaml is not in order, or names a file that is not there.
    """

    def __init__(self, *, job: bool) -> None:
        started_with = os.environ.get(STARTED_WITH) if job else None
        if not started_with:
            from descry.workflow.params import load  # imports every stage: not in a job's process

            started_with = os.environ[STARTED_WITH] = load(Path("params.yaml")).model_dump_json()
        self.sections: dict[str, Any] = json.loads(started_with)
        self._files = {name: self._files_of(*name) for name in USER_FILES}
        self._code = Code(source())
        self._own_code = has_code()

    def section(self, stage: str) -> str:
        """A section of params.yaml as canonical JSON: what a rule depends on."""
        return canonical(self.sections[stage])

    def of_positions(self, path: str) -> list[str]:
        """A file that there is with unit `token` alone."""
        return [path] if self.sections["activations"]["unit"] == "token" else []

    @property
    def units(self) -> str:
        """What is labelled: the sentences of the corpus, or positions in them."""
        return (self.of_positions("results/positions.parquet") or ["results/corpus.parquet"])[0]

    def user_files(self, section: str, key: str) -> list[str]:
        """The files that a parameter names: those of a folder, or the file itself."""
        return self._files[section, key]

    def _files_of(self, section: str, key: str) -> list[str]:
        path = self.sections[section][key]
        if path is None:
            return []
        if key != "reviews" and not Path(path).is_file():
            raise InputError(f"{path}: no such file: set {section}.{key} in params.yaml")
        found = review_files(Path(path)) if key == "reviews" else [Path(path)]
        return [file.as_posix() for file in found]

    def check_dvc_yaml(self) -> None:
        """Compare dvc.yaml with params.yaml: optional files, kinds of annotators.

        Raises:
            InputError: DVC would follow another file, or none.
        """
        if os.environ.get(WIRING_ONLY) or not DVC_YAML.exists():
            return
        if not self._own_code and _first_line(DVC_YAML) != header():
            raise InputError(
                f"dvc.yaml is not of the installed version of descry, {version('descry')}: run"
                " `descry dvc`"
            )
        stages = read_yaml(DVC_YAML)["stages"]
        deps = {name: {*stages.get(name, {}).get("deps", ())} for name in self.sections}
        for (section, key), optional in USER_FILES.items():
            files = {*self.user_files(section, key)}
            stale = {dep for dep in deps[section] if not dep.startswith((*_OURS, "$"))} - files
            if optional and (stale or not files <= deps[section]):
                raise InputError(
                    f"{section}.{key} in params.yaml is another file now: run `descry dvc`"
                )
        if self.units not in deps["label"]:
            raise InputError("activations.unit in params.yaml is another now: run `descry dvc`")
        kinds = {*self._code.folders().values()}
        for stage in stages.keys() & self.sections.keys():
            followed, named = (
                {folder for path in paths for folder in Path(path).parents if folder in kinds}
                for paths in (deps[stage], self.code(stage))
            )
            if followed != named:
                raise InputError(
                    f"section {stage} of params.yaml names other kinds of annotators now: run"
                    " `descry dvc`"
                )

    def shards(self, stage: str, suffix: str) -> list[str]:
        """Return the files of a stage's shards, in their order; none for a single shard."""
        number = self.sections["shards"][stage]
        whole = [f"{SHARDS}/{stage}/{i}-of-{number}{suffix}" for i in range(1, number + 1)]
        return whole if number > 1 else []

    def before(self, stage: str, suffix: str) -> "Callable[[Wildcards], list[str]]":
        """Return the file of the preparing shard, which the other shards of a stage need."""

        def found(wildcards: "Wildcards") -> list[str]:
            first = f"{SHARDS}/{stage}/0-of-{wildcards.of}{suffix}"
            return [] if wildcards.shard == "0" else [first]

        return found

    def gpu(self, stage: str) -> int:
        """Return how many GPUs a stage's job needs: none if its shards have done the work."""
        return int(self.sections["shards"][stage] == 1)

    def code(self, stage: str) -> list[str]:
        """The source files that a stage's module imports; in a study without them, their list."""
        if not self._own_code:
            return [list_of(stage)]
        return [path.as_posix() for path in self._code.of(stage, self.sections[stage])]

    @property
    def rules(self) -> list[str]:
        """The files of the rules that are of every stage."""
        if not self._own_code:
            return ["Snakefile", LIST_OF_RULES]
        return ["Snakefile", *((CHECKOUT / RULES / name).as_posix() for name in _COMMON)]

    def list_code(self) -> None:
        """In a study without source files: list them, and say which stages have others now."""
        if self._own_code or os.environ.get(WIRING_ONLY):
            return
        lists = self._code.lists(self.sections)
        if stages := outdated(Path(), lists):
            print(
                f"descry {version('descry')} has other code for these stages than made their"
                f" results, which are made again: {', '.join(stages)}",
                file=sys.stderr,
            )
        write_lists(Path(), lists)


def arguments(stage: str) -> "Callable[[Wildcards, InputFiles, OutputFiles], list[str]]":
    """Return the arguments of `descry stage` for a rule: the stage, its shard, and its files."""

    def found(wildcards: "Wildcards", input: "InputFiles", output: "OutputFiles") -> list[str]:
        of_shard = wildcards.get("shard") is not None
        shard = ["--shard", f"{wildcards.shard}-of-{wildcards.of}"] if of_shard else []
        return [stage, *shard, *_named(input, output)]

    return found


def _named(input: "InputFiles", output: "OutputFiles") -> list[str]:
    """A job's files as NAME=PATH, without what it only waits for; several outputs as a folder."""
    read = [(name, _several(paths)) for name, paths in input.items() if name not in _UNREAD]
    made = [(name, _several(paths)) for name, paths in output.items() if paths]
    made = [(name, paths if len(paths) == 1 else [_folder(paths)]) for name, paths in made]
    return [f"{name}={path}" for name, paths in [*read, *made] for path in paths]


def _several(paths: Any) -> list[str]:
    return [str(paths)] if isinstance(paths, str) else [*map(str, paths)]


def _folder(paths: list[str]) -> str:
    (folder,) = {Path(path).parent.as_posix() for path in paths}
    return folder


def rule_files(stage: str) -> list[str]:
    """Files of a stage's rule in the current folder's Snakefile, as NAME=PATH; none without one.

    Raises:
        InputError: params.yaml is not in order, or has no such stage.
    """
    if not Path("Snakefile").is_file():
        return []
    for rule in _rules():
        if rule.name == stage:
            return _named(rule.input, rule.output)
    raise InputError(f"stage {stage}: only with activations.unit token in params.yaml")


def name_failures() -> None:
    """Have Snakemake name each job that failed, and its log, in one line.

    Its own report lists every input; `quiet: rules` hides that, and with it that a job failed.
    """
    from snakemake.logging import logger

    logger.addFilter(_brief)


def _brief(record: logging.LogRecord) -> bool:
    """Make a job's error, or that of a group of jobs, a plain line; everything is logged."""
    from snakemake_interface_logger_plugins.common import LogEvent

    if getattr(record, "event", None) in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
        jobs = vars(record).get("job_error_info") or [vars(record)]
        failed = [f"stage {job['rule_name']} failed: see {', '.join(job['log'])}" for job in jobs]
        vars(record).update(msg="\n".join(failed), event=None)
    return True


def header() -> str:
    """The first line of dvc.yaml: it names the version where the stages' code is the package's."""
    of = "" if has_code() else f" of descry {version('descry')}"
    return f"# Written by `descry dvc`{of} from the Snakefile. Do not edit.\n"


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline()


def dvc_yaml() -> str:
    """The text of dvc.yaml for the Snakefile in the current folder."""
    wiring = Wiring(job=False)
    rules = [rule for rule in _rules() if rule.output and not _of_shards(rule.output[0])]
    stages = {rule.name: _stage(rule, wiring) for rule in rules}
    plots = _plots({str(path) for rule in rules for path in rule.output})
    whole = {"stages": stages} | ({"plots": plots} if plots else {})
    return header() + str(yaml.safe_dump(whole, sort_keys=False, width=100))


def _plots(outputs: set[str]) -> list[Any]:
    """What `dvc plots` draws: curves against their cut, and the figures as they are."""
    curves = [
        {
            title: {
                "x": "at",
                "y": {path: [*columns]},
                "x_label": x_label,
                "y_label": y_label,
                "title": title,
            }
        }
        for title, (path, columns, x_label, y_label) in PLOTS.items()
        if path in outputs
    ]
    return [*curves, *sorted(path for path in outputs if path.endswith(".png"))]


def _rules() -> "list[Rule]":
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1), snakefile=Path("Snakefile")
        )
        before = dict(os.environ)
        os.environ[WIRING_ONLY] = "1"
        try:
            return list(workflow._workflow.rules)
        finally:
            os.environ.clear()
            os.environ.update(before)  # without the params, too, which `Wiring` puts there


def _stage(rule: "Rule", wiring: Wiring) -> dict[str, Any]:
    sections = [name for name, _ in rule.params._allitems() if name in wiring.sections]
    stage: dict[str, Any] = {
        "desc": (rule.docstring or "").strip(),
        # What Snakemake has just left up to date is not asked again, which takes seconds.
        "cmd": f"descry settled {rule.name} || snakemake --cores all {rule.name}",
        "deps": sorted({*wiring.rules, *_own(rule), *_deps(rule, wiring)}),
        "params": sections,
    }
    names = {path: name for name, paths in rule.output.items() for path in _several(paths)}
    for path in map(str, rule.output):
        # persist: DVC must not delete what Snakemake may find up to date.
        options = {"persist": True}
        kind = "outs"
        if names[path] in ("metrics", "brief") or path.endswith(".csv"):
            # `dvc metrics diff` shows every number of its files: metrics.json has hashes, too.
            kind = "metrics" if names[path] == "brief" else "outs"
            options["cache"] = False  # small text: kept in git, so that they can be compared
        stage.setdefault(kind, []).append({path: options})
    return stage


def _own(rule: "Rule") -> Iterator[str]:
    """The file of a rule, if it is in the study's folder."""
    path, here = Path(rule.snakefile).resolve(), Path.cwd()
    if path.is_relative_to(here):
        yield path.relative_to(here).as_posix()


def _deps(rule: "Rule", wiring: Wiring) -> Iterator[str]:
    """Inputs; a path out of params.yaml stands as `${section.key}`, so that DVC follows it.

    One that may be null stands as it is now: DVC cannot read a null there.
    """
    named = {
        file: f"${{{section}.{key}}}"
        for (section, key), optional in USER_FILES.items()
        for file in wiring.user_files(section, key)
        if not optional
    }
    for path in map(str, rule.input):
        if not _of_shards(path):
            yield named.get(path, path)


def _of_shards(path: object) -> bool:
    """Whether a file is a shard's: it comes and goes, and DVC does not follow it."""
    return str(path).startswith(f"{SHARDS}/")
