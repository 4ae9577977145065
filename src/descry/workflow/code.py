"""The code of each stage: the modules that its own one imports.

In a checkout these files are inputs of the stage's rule. A study of the installed package has a
list of them for each stage instead, with their hashes, in its folder code/: so that its records
name no place of this machine, and an upgrade of the package makes exactly the stages outdated
whose code is another.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

from descry.annotators.spec import KINDS
from descry.io.atomic import write_text
from descry.io.dvc_lock import CODE
from descry.io.hashing import sha256_file
from descry.workflow.package import PACKAGE, RULES, has_code
from descry.workflow.source_imports import SourceImports
from descry.workflow.stage import STAGES

_CHOOSING = ("factory.py", "spec.py")  # of annotators: they lead to every kind
_OF_RULES = "workflow"  # the list of what is no stage's own: the rules


class Code:
    """The code of the stages.

    Args:
        source: the folder of the package.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._choosing = {source / "annotators" / name for name in _CHOOSING}
        self._names = SourceImports()
        self._imports = cache(self._read)
        self._sha256 = cache(sha256_file)

    def of(self, stage: str, section: Any) -> list[Path]:
        """The source files that a stage's module imports, itself included.

        Of the annotators only the kinds that its section names: others would change no result.
        """
        named = {*_kinds(section)}
        others = [folder for kind, folder in self.folders().items() if kind not in named]
        found = sorted(self.imported(self.source / "stages" / f"{stage}.py", others))
        self._names.keep()
        return found

    def folders(self) -> dict[str, Path]:
        """Where the code of each kind of annotator is: beside its spec."""
        return {
            get_args(kind.model_fields["kind"].annotation)[0]: self.source.joinpath(
                *kind.__module__.split(".")[1:-1]
            )
            for kind in KINDS
        }

    def rules(self) -> list[Path]:
        """The files of the rules."""
        return sorted((self.source / RULES).glob("*.smk"))

    def imported(self, path: Path, others: Sequence[Path] = ()) -> set[Path]:
        """A source file of the package and all that it imports from the package, however deep.

        Data files in the folder of a package that is imported by name belong to it.

        Args:
            others: folders of annotators that are not used: the modules that choose among all kinds
                do not lead there.
        """
        found: set[Path] = set()
        waiting = [path]
        while waiting:
            file = waiting.pop()
            if file in found:
                continue
            found.add(file)
            if file.suffix == ".py":
                chosen = others if file in self._choosing else ()
                waiting += [other for other in self._imports(file) if other.parent not in chosen]
            if file.name == "__init__.py":
                found.update(_data(file.parent))
        return found

    def _read(self, file: Path) -> list[Path]:
        """What a file imports."""
        return [path for name in self._names.of(file) for path in self._files(name)]

    def _files(self, module: str) -> Iterator[Path]:
        if module.split(".")[0] != "descry":
            return
        place = self.source.joinpath(*module.split(".")[1:])
        if place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
        elif (place / "__init__.py").is_file() and place != self.source:
            yield place / "__init__.py"

    def lists(self, sections: Mapping[str, Any]) -> dict[str, str]:
        """The lists of a study: the text of each by the stage's name, in the form of sha256sum.

        Args:
            sections: those of params.yaml.
        """
        of_tokens = sections["activations"]["unit"] == "token"
        stages = [stage for stage in STAGES if stage != "tokens" or of_tokens]
        files = {stage: self.of(stage, sections[stage]) for stage in stages}
        return {name: self._list(of) for name, of in (files | {_OF_RULES: self.rules()}).items()}

    def _list(self, files: Iterable[Path]) -> str:
        outside = self.source.parent
        named = ((self._sha256(file), file.relative_to(outside).as_posix()) for file in files)
        return "".join(f"{sha256}  {name}\n" for sha256, name in named)


def list_of(stage: str) -> str:
    """The file in a study's folder that lists the code of a stage."""
    return f"{CODE}{stage}.sha256"


LIST_OF_RULES = list_of(_OF_RULES)


def outdated(root: Path, lists: Mapping[str, str]) -> list[str]:
    """The stages whose list in a study's folder is there and is not the given one."""
    there = {name: root / list_of(name) for name in lists if name != _OF_RULES}
    return [
        name
        for name, path in there.items()
        if path.is_file() and path.read_text(encoding="utf-8") != lists[name]
    ]


def other_code(root: Path, sections: Mapping[str, Any]) -> list[str]:
    """The stages of a study whose code in the installed package is not the one on its lists.

    Args:
        sections: those of its params.yaml.
    """
    if has_code(root) or not (root / CODE).is_dir():
        return []
    return outdated(root, Code(PACKAGE).lists(sections))


def write_lists(root: Path, lists: Mapping[str, str]) -> None:
    """Write the lists of a study that are not there, or are others."""
    for name, text in lists.items():
        path = root / list_of(name)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            write_text(path, text)


def _kinds(section: Any) -> Iterator[str]:
    """The kinds of the annotators that a section names."""
    if isinstance(section, dict):
        yield from (value for key, value in section.items() if key == "kind")
        section = section.values()
    if not isinstance(section, str | int | float | None):
        for part in section:
            yield from _kinds(part)


def _data(package: Path) -> Iterator[Path]:
    """The files of a package that are no code: in its folder, and within that but for packages."""
    packages = [init.parent for init in package.rglob("*/__init__.py")]
    for path in package.rglob("*"):
        if any(path.is_relative_to(inner) for inner in packages):
            continue
        hidden = any(part.startswith((".", "__")) for part in path.relative_to(package).parts)
        if path.is_file() and path.suffix != ".py" and not hidden:
            yield path
