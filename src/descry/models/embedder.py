"""The sentence embedder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from descry.io.kept import Kept
from descry.models.batching import in_parallel, plan_batches, quiet, within_memory
from descry.models.checkpoints import Checkpoint, loadable
from descry.models.devices import pick_device
from descry.models.kept_vectors import KeptVectors
from descry.models.special_tokens import special_as_text

_PACKAGES = ["sentence-transformers", "tokenizers", "torch", "transformers"]
EMBEDDED_CHARACTERS = 8_192  # of a batch: what bounds the memory
Embed = Callable[[Sequence[str]], np.ndarray]
T = TypeVar("T")


class TokenBatch(NamedTuple):
    """The result of one forward pass.

    Attributes:
        rows: which of the texts, int [texts of the batch].
        vectors: their unit vectors, float32 [texts of the batch, dimension].
        tokens: of each text the vectors of its tokens in their context, float32 [tokens,
            dimension]; without the special tokens that the tokenizer puts around a text.
    """

    rows: np.ndarray
    vectors: np.ndarray
    tokens: list[np.ndarray]


@dataclass(frozen=True)
class Embedder:
    """A function from texts to unit vectors: float32 [texts, dimension].

    Attributes:
        embed: the function.
        cut: how many tokens of each text it does not see.
        read: texts to vectors and token vectors, a batch at a time; None for a model whose texts
            are no means of their tokens, so that the two do not compare. With `keep=False` the
            vectors of a long list are not kept.
    """

    embed: Embed
    cut: Callable[[Sequence[str]], list[int]]
    read: Callable[..., Iterator[TokenBatch]] | None = None

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of some texts."""
        return self.embed(texts)


def kept_vectors(checkpoint: Checkpoint, folder: Path) -> KeptVectors:
    """The vectors that this machine and these packages make of a checkpoint, kept in a folder."""
    import torch

    parts = {"model": checkpoint.name, "revision": checkpoint.revision}
    parts |= {"characters": str(EMBEDDED_CHARACTERS)}
    parts |= {"device": torch.device(pick_device("auto")).type}
    return KeptVectors(Kept(folder, _PACKAGES, parts))


def embedded(checkpoint: Checkpoint, texts: Sequence[str], folder: Path | None) -> np.ndarray:
    """The vectors of some texts, float32 [texts, dimension]: those that a folder has, or new."""
    if folder is None:
        return sentence_embedder(checkpoint)(texts)
    kept = kept_vectors(checkpoint, folder)
    found = kept.get(texts)
    return sentence_embedder(checkpoint, kept)(texts) if found is None else found


def sentence_embedder(checkpoint: Checkpoint, kept: KeptVectors | None = None) -> Embedder:
    """A model of the library sentence-transformers; special tokens in texts are text.

    Args:
        kept: where the vectors of long lists of texts stay.
    """
    quiet()
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import batch_to_device
    from torch import inference_mode
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

    def forward(features: dict[str, Any]) -> dict[str, Any]:
        return dict(model(batch_to_device(features, device)))

    def unit(features: dict[str, Any]) -> np.ndarray:
        vectors = forward(features)["sentence_embedding"]
        return np.asarray(normalize(vectors.float()).cpu().numpy())

    def parts(features: dict[str, Any]) -> tuple[np.ndarray, list[np.ndarray]]:
        found = forward(features)
        seen, ids = (found[name].cpu().numpy() for name in ("attention_mask", "input_ids"))
        of_text = (seen > 0) & ~np.isin(ids, tokenizer.all_special_ids)
        of_text[~of_text.any(axis=1)] = seen[~of_text.any(axis=1)] > 0  # of nothing but blanks
        tokens = found["token_embeddings"].float().cpu().numpy()
        vectors = normalize(found["sentence_embedding"].float()).cpu().numpy()
        return vectors, [own[kept] for own, kept in zip(tokens, of_text, strict=True)]

    def batches(
        run: Callable[[dict[str, Any]], T], texts: Sequence[str]
    ) -> Iterator[tuple[np.ndarray, T]]:
        # Batches by length, not by number: words alone go through thousands at a time.
        plan = plan_batches([len(text) for text in texts], EMBEDDED_CHARACTERS)
        ready = (model.preprocess([texts[row] for row in rows]) for rows in plan)
        with within_memory(checkpoint.model, "free some and run again"):
            yield from zip(plan, in_parallel(run, ready, device), strict=True)

    def embed(texts: Sequence[str]) -> np.ndarray:
        vectors = np.empty((len(texts), model.get_embedding_dimension()), dtype=np.float32)
        for rows, found in batches(unit, texts):
            vectors[rows] = found
        if kept is not None:
            kept.put(texts, vectors)
        return vectors

    def read(texts: Sequence[str], keep: bool = True) -> Iterator[TokenBatch]:
        every = np.empty((len(texts), model.get_embedding_dimension()), dtype=np.float32)
        for rows, (vectors, tokens) in batches(parts, texts):
            every[rows] = vectors
            yield TokenBatch(rows, vectors, tokens)
        if kept is not None and keep:
            kept.put(texts, every)

    def comparable() -> bool:
        """Whether a text's vector is the mean of its tokens', by a look at one."""
        with inference_mode():
            found = forward(model.preprocess(["It works well."]))
        if not {"token_embeddings", "attention_mask", "input_ids"} <= found.keys():
            return False
        mean = normalize(found["token_embeddings"].float().mean(dim=1))
        text = normalize(found["sentence_embedding"].float())
        return mean.shape == text.shape and bool((mean - text).abs().max() < 1e-3)

    return Embedder(embed, cut, read if comparable() else None)
