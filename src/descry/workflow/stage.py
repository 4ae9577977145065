"""One stage as a command: its function, its sections of params.yaml, and its files by name.

A stage's function takes sections by position and files by keyword. The names of the files are those
that its rule of the Snakefile gives them, so that neither is written anywhere else.
"""

import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.errors import InputError

if TYPE_CHECKING:
    from descry.io.section import Section

STAGES = {  # the function of each stage's module
    "corpus": "build_corpus",
    "describe": "describe_sentences",
    "cluster": "cluster_topics",
    "activations": "extract_activations",
    "exemplars": "select_exemplars",
    "untrained": "select_untrained_exemplars",
    "tokens": "find_tokens",
    "graphs": "graph_neurons",
    "annotate": "annotate_sentences",
    "judge": "judge_sentences",
    "label": "label_neurons",
    "writes": "find_writes",
    "facets": "find_facets",
    "evaluate": "evaluate_labels",
    "score": "score_descriptions",
    "interventions": "intervene",
    "figures": "draw_figures",
    "report": "write_report",
}
STARTED_WITH = "DESCRY_PARAMS"  # in the environment of a run's jobs: the params it started with
HOW = {"cache_folder", "journals", "replay", "shard", "progress"}  # no files of a stage
_FILE, _OPTIONAL, _SEVERAL = Path, Path | None, Sequence[Path]
Files = dict[str, Any]  # Path, or list[Path] where a stage takes several of a name


class Stage:
    """A stage by its name.

    Attributes:
        function: writes the stage's files, and returns what there is to tell of them.
        options: the parameters of `HOW` that it takes.

    Raises:
        InputError: there is no such stage.
    """

    def __init__(self, name: str) -> None:
        if name not in STAGES:
            raise InputError(f"{name}: no stage: there are {', '.join(STAGES)}")
        module = import_module(f"descry.stages.{name}")
        self.name = name
        self.function: Callable[..., Mapping[str, object]] = getattr(module, STAGES[name])
        self._parameters = inspect.signature(self.function).parameters.values()
        self.options = {one.name for one in self._parameters} & HOW

    def sections(self, own: str | None) -> "list[Section]":
        """The sections that the function takes, the stage's own first.

        In a job of Snakemake they are those that the run started with, else those of params.yaml.

        Args:
            own: the stage's own section as JSON, in place of that.

        Raises:
            InputError: a section is not valid.
        """
        taken = [one for one in self._parameters if one.kind == one.POSITIONAL_OR_KEYWORD]
        return [self._section(one.annotation, None if one != taken[0] else own) for one in taken]

    def _section(self, model: Any, given: str | None) -> "Section":
        from pydantic import ValidationError

        name = getattr(model, "__name__", model)  # written in quotes where it is not imported
        section, where = name.lower(), "--params"
        if given is None and STARTED_WITH not in os.environ:
            from descry.workflow.params import load

            return getattr(load(Path("params.yaml")), section)  # type: ignore[no-any-return]
        try:
            whole = json.loads(os.environ[STARTED_WITH] if given is None else given)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not valid JSON ({error})") from error
        found: type[Section] = getattr(import_module(f"descry.stages.{section}"), name)
        try:
            return found.model_validate(whole[section] if given is None else whole, strict=True)
        except ValidationError as error:
            from descry.workflow.params import explain

            raise explain(error, where, section) from error

    def files(self, words: Iterable[str], rule: Callable[[], Iterable[str]] | None) -> Files:
        """The function's files, as keyword arguments.

        Args:
            words: NAME=PATH, a name several times where it takes several files.
            rule: returns the files of the stage's rule, which stand in for required files that are
            not
                named; None: all must be named.

        Raises:
            InputError: a name or path is missing, or unknown.
        """
        named = self._named(words)
        takes = {one.name: one for one in self._parameters if self._is_file(one)}
        lacking = [n for n, one in takes.items() if one.default is one.empty and n not in named]
        if lacking and rule:
            named = self._named(rule()) | named
            lacking = [name for name in lacking if name not in named]
        if unknown := named.keys() - takes.keys():
            raise InputError(
                f"{min(unknown)}: no file of stage {self.name}, which has {', '.join(takes)}"
            )
        if lacking:
            raise InputError(f"stage {self.name}: name its {lacking[0]}, as {lacking[0]}=PATH")
        found: Files = {}
        for name, paths in named.items():
            if takes[name].annotation == _SEVERAL:
                found[name] = paths
            elif len(paths) == 1:
                found[name] = paths[0]
            else:
                raise InputError(f"{name}: named {len(paths)} times, and stage {self.name} has one")
        return found

    @staticmethod
    def _is_file(parameter: inspect.Parameter) -> bool:
        kinds = (_FILE, _OPTIONAL, _SEVERAL)
        return parameter.annotation in kinds and parameter.name not in HOW

    @staticmethod
    def _named(words: Iterable[str]) -> dict[str, list[Path]]:
        named: dict[str, list[Path]] = {}
        for word in words:
            name, _, path = word.partition("=")
            if not path:
                raise InputError(
                    f"{word}: not of the form name=path, such as corpus=results/corpus.parquet"
                )
            named.setdefault(name, []).append(Path(path))
        return named
