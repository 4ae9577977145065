"""What the Snakefile needs to know of the code and the params, and dvc.yaml written from it.

The Snakefile is the one description of the DAG. A rule with outputs is a DVC stage of the same
name; the names of its params are the sections of params.yaml that it depends on.
"""

import ast
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from descry.corpus.files import review_files
from descry.errors import InputError
from descry.io.hashing import canonical
from descry.io.yaml_files import read_yaml
from descry.workflow.params import Params, input_paths, load, optional_paths

if TYPE_CHECKING:
    from snakemake.io import Wildcards
    from snakemake.rules import Rule

HEADER = "# Written by `descry dvc` from the Snakefile. Do not edit.\n"
DVC_YAML = Path("dvc.yaml")
SOURCE = Path("src/descry")
WIRING_ONLY = "DESCRY_WIRING_ONLY"  # in the environment of a Snakemake that runs no job
_OURS = ("Snakefile", "src/", "results/")  # inputs of stages that params.yaml does not name
SHARDS = "results/shards"  # what shards write, until the stage itself has taken it in
STARTED_WITH = "DESCRY_PARAMS"  # in the environment of a run's jobs: the params it started with
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
            whose params are the ones that go on record: it takes those, not the file's.

    Raises:
        InputError: params.yaml is not in order, or names a file that is not there.
    """

    def __init__(self, *, job: bool) -> None:
        started_with = os.environ.get(STARTED_WITH) if job else None
        if started_with:
            self.params = Params.model_validate_json(started_with)
        else:
            self.params = load(Path("params.yaml"))
            os.environ[STARTED_WITH] = self.params.model_dump_json()
        self._inputs = {stage: self._files(stage) for stage in Params.model_fields}

    def section(self, stage: str) -> str:
        """A section of params.yaml as canonical JSON: what a rule depends on."""
        return canonical(getattr(self.params, stage).model_dump())

    def inputs(self, stage: str) -> dict[str, list[str]]:
        """The files that the paths in a section name: those of a folder, or the file itself."""
        return self._inputs[stage]

    def _files(self, stage: str) -> dict[str, list[str]]:
        section = getattr(self.params, stage)
        files: dict[str, list[str]] = {key: [] for key in optional_paths(section)}
        for key, path in input_paths(section).items():
            if key != "reviews" and not Path(path).is_file():
                raise InputError(f"{path}: no such file: set {stage}.{key} in params.yaml")
            found = review_files(Path(path)) if key == "reviews" else [Path(path)]
            files[key] = [file.as_posix() for file in found]
        return files

    def check_dvc_yaml(self) -> None:
        """Hold dvc.yaml's inputs that may be null against params.yaml.

        Raises:
            InputError: DVC would follow another file, or none.
        """
        if os.environ.get(WIRING_ONLY) or not DVC_YAML.exists():
            return
        stages = read_yaml(DVC_YAML)["stages"]
        for name in Params.model_fields:
            keys = optional_paths(getattr(self.params, name))
            files = {file for key in keys for file in self._inputs[name][key]}
            deps = set(stages.get(name, {}).get("deps", ())) if keys else set()
            stale = {dep for dep in deps if not dep.startswith((*_OURS, "$"))} - files
            if stale or not files <= deps:
                named = " and ".join(f"{name}.{key}" for key in keys)
                raise InputError(f"{named} in params.yaml is another file now: run `descry dvc`")

    def shards(self, stage: str, suffix: str) -> list[str]:
        """What the shards of a stage write, in their order: nothing where it has one alone."""
        number = getattr(self.params.shards, stage)
        whole = [f"{SHARDS}/{stage}/{i}-of-{number}{suffix}" for i in range(1, number + 1)]
        return whole if number > 1 else []

    def before(self, stage: str, suffix: str) -> "Callable[[Wildcards], list[str]]":
        """What the shard before the first writes, which the other shards of a stage need."""

        def found(wildcards: "Wildcards") -> list[str]:
            first = f"{SHARDS}/{stage}/0-of-{wildcards.of}{suffix}"
            return [] if wildcards.shard == "0" else [first]

        return found

    def gpu(self, stage: str) -> int:
        """How many GPUs a stage's job wants: none where its shards have done the work."""
        return int(getattr(self.params.shards, stage) == 1)

    def code(self, stage: str) -> list[str]:
        """The source files that a stage's module imports, itself included."""
        return sorted(path.as_posix() for path in imported(SOURCE / "stages" / f"{stage}.py"))


def imported(path: Path) -> set[Path]:
    """A source file of the package and all that it imports from the package, however deep.

    Data files in the folder of a package that is imported by name belong to it.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        if file.suffix == ".py":
            waiting += _imports(file)
        if file.name == "__init__.py":
            found.update(_data(file.parent))
    return found


def _data(package: Path) -> Iterator[Path]:
    """The files of a package that are no code: in its folder, and within that but for packages."""
    packages = [init.parent for init in package.rglob("*/__init__.py")]
    for path in package.rglob("*"):
        if any(path.is_relative_to(inner) for inner in packages):
            continue
        hidden = any(part.startswith((".", "__")) for part in path.relative_to(package).parts)
        if path.is_file() and path.suffix != ".py" and not hidden:
            yield path


def _imports(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from _files(node.module)
            for name in node.names:
                yield from _files(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield from _files(name.name)


def _files(module: str) -> Iterator[Path]:
    if module.split(".")[0] != "descry":
        return
    place = SOURCE.joinpath(*module.split(".")[1:])
    if place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")
    elif (place / "__init__.py").is_file() and place != SOURCE:
        yield place / "__init__.py"


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


def dvc_yaml() -> str:
    """The text of dvc.yaml for the Snakefile in the current folder."""
    wiring = Wiring(job=False)
    rules = [rule for rule in _rules() if rule.output and not _of_shards(rule.output[0])]
    stages = {rule.name: _stage(rule, wiring) for rule in rules}
    plots = _plots({str(path) for rule in rules for path in rule.output})
    whole = {"stages": stages} | ({"plots": plots} if plots else {})
    return HEADER + str(yaml.safe_dump(whole, sort_keys=False, width=100))


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
        os.environ[WIRING_ONLY] = "1"
        try:
            return list(workflow._workflow.rules)
        finally:
            del os.environ[WIRING_ONLY]


def _stage(rule: "Rule", wiring: Wiring) -> dict[str, Any]:
    sections = [name for name, _ in rule.params._allitems() if name]
    stage: dict[str, Any] = {
        "desc": (rule.docstring or "").strip(),
        "cmd": f"snakemake --cores all {rule.name}",
        "deps": sorted({"Snakefile", *_deps(rule, sections, wiring)}),
        "params": sections,
    }
    names = {str(path): name for name, path in rule.output._allitems()}
    for path in map(str, rule.output):
        # persist: DVC must not delete what Snakemake may find up to date.
        options = {"persist": True}
        kind = "outs"
        if names[path] in ("metrics", "brief") or path.endswith(".csv"):
            kind = "metrics" if names[path] == "brief" else "outs"
            options["cache"] = False  # small text: kept in git, so that they can be compared
        stage.setdefault(kind, []).append({path: options})
    return stage


def _deps(rule: "Rule", sections: list[str], wiring: Wiring) -> Iterator[str]:
    """Inputs; a path out of params.yaml stands as `${section.key}`, so that DVC follows it.

    One that may be null stands as it is now: DVC cannot read a null there.
    """
    others = [section for section in Params.model_fields if section not in sections]
    named = {
        file: f"${{{section}.{key}}}"
        for section in [*others, *sections]
        for key, files in wiring.inputs(section).items()
        for file in files
        if key not in optional_paths(getattr(wiring.params, section))
    }
    for path in map(str, rule.input):
        if not _of_shards(path):
            yield named.get(path, path)


def _of_shards(path: object) -> bool:
    """Whether a file is a shard's: it comes and goes, and DVC does not follow it."""
    return str(path).startswith(f"{SHARDS}/")
