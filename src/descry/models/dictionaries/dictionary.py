"""A dictionary: encoders of one layer or of several, pinned by the hash of their files.

It is a folder of SAELens' or sparsify's, a safetensors file with a matrix of directions, or a
folder with one of these for each layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.io.hashing import sha256_file, sha256_text
from descry.models.dictionaries.coder import Coder
from descry.models.dictionaries.encoder import Encoder
from descry.models.dictionaries.formats import CONFIG, SUFFIX, is_coder, read_coder, read_config
from descry.models.dictionaries.hooks import check_site, layer_number, same_model
from descry.models.hookpoints import Site

_RUN = "config.json"  # of sparsify: what a training run was told, in the folder of its layers
_DEEP = 2  # folders between a dictionary's and its layers'


def dictionary_sha256(place: Path) -> str:
    """sha256 of a dictionary: of its file, or of its configs and weights.

    Raises:
        InputError: there is no such file or folder, or nothing of a dictionary in it.
    """
    if place.is_file():
        return sha256_file(place)
    files = sorted(file for file in _files(place) if file.name in (CONFIG, _RUN) or _weights(file))
    if not any(map(_weights, files)):
        what = f"no {SUFFIX} file in it" if place.is_dir() else "no such file or folder"
        raise InputError(f"{place}: {what}")
    named = (f"{file.relative_to(place).as_posix()} {sha256_file(file)}\n" for file in files)
    return sha256_text("".join(named))


@dataclass(frozen=True)
class Dictionary:
    """A dictionary by its place and revision.

    Attributes:
        path: of a file or folder.
        revision: its sha256.
    """

    path: str
    revision: str

    @property
    def name(self) -> str:
        """The name in records, without its place on this machine."""
        return Path(self.path).name

    @cached_property
    def coders(self) -> list[Coder]:
        """The encoders in it, as their files describe them.

        Raises:
            InputError: it is unpinned, is not what its revision says, or cannot be read.
        """
        place = Path(self.path)
        if self.revision == "unpinned":
            raise InputError(f"{place}: not pinned: run `descry pin`")
        found = dictionary_sha256(place)
        if found != self.revision:
            raise InputError(
                f"{place}: its contents have sha256 {found}, not {self.revision}: set the revision,"
                " or run `descry pin` after writing `unpinned`"
            )
        run = place / _RUN
        model = read_config(run).get("model") if run.is_file() else None
        coders = [read_coder(one, str(model) if model else None) for one in _layers(place)]
        if not coders:
            raise InputError(f"{place}: no {CONFIG} and no {SUFFIX} file is in it")
        return coders

    @property
    def sparse(self) -> bool:
        """Whether the values of its latents are 0 for most tokens, and never below."""
        return all(coder.sparse for coder in self.coders)

    def fitted(
        self,
        layers: Sequence[int] | None,
        *,
        site: str,
        found: Site,
        paths: Sequence[str],
        widths: Sequence[int],
        names: Sequence[str],
    ) -> dict[int, Coder]:
        """The encoder of each layer that is asked for, ascending.

        Args:
            layers: None for those that the dictionary says it is of.
            site, found: as params.yaml names it, and its modules.
            paths: of all modules of the model.
            widths: of each layer at the site.
            names: that the model goes by.

        Raises:
            InputError: it is of another layer, site, width or model, or there is no telling.
        """
        numbers = _numbers(found, len(widths))
        by_number = self._by_number(numbers, layers)
        wanted = sorted(numbers.index(number) for number in by_number)
        if layers is not None:
            wanted = sorted(set(layers))
        chosen: dict[int, Coder] = {}
        for layer in wanted:
            if not 0 <= layer < len(widths):
                continue  # the caller, who knows all layers, reports it
            some = by_number.get(numbers[layer], [])
            chosen[layer] = self._of_site(some, layer, numbers[layer], site, found, paths)
            self._check(chosen[layer], layer, widths[layer], names)
        if len({(one.latents, one.sparse) for one in chosen.values()}) > 1:
            shown = ", ".join(f"{layer}: {one.latents}" for layer, one in chosen.items())
            raise InputError(f"{self.path}: not as many latents in every layer ({shown})")
        return chosen

    def _by_number(
        self, numbers: Sequence[int], layers: Sequence[int] | None
    ) -> dict[int, list[Coder]]:
        """The encoders of each layer, by the number in its path; of one alone as params say."""
        (only, *others) = self.coders
        number = self._number(only)
        if not others and number is None:
            if layers is None or len(set(layers)) != 1:
                raise InputError(
                    f"activations.layers: {self.path} is of one layer and does not say of which:"
                    " name it, such as [0]"
                )
            return {numbers[layers[0]]: [only]} if 0 <= layers[0] < len(numbers) else {}
        found: dict[int, list[Coder]] = {}
        for coder in self.coders:
            number = self._number(coder)
            if number is None:
                raise InputError(f"{coder.file}: of several, and does not say of which layer")
            if number not in numbers:
                if others:
                    continue
                said = coder.hook.name or "it"
                raise InputError(
                    f"{self.path}: {said} is of layer {number}, which the model does not have"
                )
            found.setdefault(number, []).append(coder)
        return found

    def _number(self, coder: Coder) -> int | None:
        if coder.hook.number is not None:
            return coder.hook.number
        place = coder.file if coder.format == "directions" else coder.file.parent
        inside = place.relative_to(self.path) if place != Path(self.path) else Path()
        return layer_number(inside.as_posix().removesuffix(SUFFIX))

    def _of_site(
        self,
        some: Sequence[Coder],
        layer: int,
        number: int,
        site: str,
        found: Site,
        paths: Sequence[str],
    ) -> Coder:
        """The one of a layer's encoders that reads the site."""
        if not some:
            of = sorted({str(self._number(coder)) for coder in self.coders}, key=int)
            raise InputError(
                f"activations.layers: {self.path} is of layer {', '.join(of)}, not {number}"
            )
        fitting, reasons = [], []
        for coder in some:
            try:
                check_site(coder.hook, site, found, layer, paths)
                fitting.append(coder)
            except InputError as error:
                reasons.append(str(error))
        if not fitting:
            raise InputError(f"{self.path}: not of activations.site {site}: {reasons[0]}")
        if len(fitting) > 1:
            shown = ", ".join(coder.file.parent.name for coder in fitting[:3])
            raise InputError(f"{self.path}: several of layer {number}: name one ({shown})")
        return fitting[0]

    def _check(self, coder: Coder, layer: int, width: int, names: Sequence[str]) -> None:
        said = coder.hook.model
        if said is not None and not same_model(said, names):
            raise InputError(
                f"{self.path}: trained on {said}, and activations.target is {names[0]}: if they are"
                f" one, say so in its {CONFIG}"
            )
        if coder.width != width:
            raise InputError(
                f"{self.path}: reads {coder.width} values of a token, and activations.site has"
                f" {width} in layer {layer}"
            )

    def record(self, chosen: dict[int, Coder]) -> dict[str, Any]:
        """The dictionary as results record it: the encoders of its layers."""
        first = next(iter(chosen.values()))
        return {
            "name": self.name,
            "sha256": self.revision,
            "kind": first.kind,
            "latents": first.latents,
            "width": first.width,
            "layers": {str(layer): coder.record() for layer, coder in chosen.items()},
        }


def load_encoders(chosen: dict[int, Coder], device: str) -> dict[int, Encoder]:
    """The encoders of each layer, with their weights on a device."""
    return {layer: Encoder(coder, device) for layer, coder in chosen.items()}


def _numbers(found: Site, calls: int) -> list[int]:
    """The number of each layer in its path; where calls share modules, its place."""
    if len(found.paths) != calls:
        return list(range(calls))
    said = [layer_number(path) for path in found.paths]
    return [place if number is None else number for place, number in enumerate(said)]


def _weights(file: Path) -> bool:
    return file.suffix == SUFFIX


def _files(place: Path) -> Iterator[Path]:
    for file in place.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(place).parts)
        if file.is_file() and not hidden:
            yield file


def _layers(place: Path, deep: int = 0) -> Iterator[Path]:
    """The places of a dictionary's encoders, in the order of their names."""
    if is_coder(place):
        yield place
    elif place.is_dir() and deep <= _DEEP:
        for inner in sorted(place.iterdir()):
            if not inner.name.startswith("."):
                yield from _layers(inner, deep + 1)
