"""The sentence embedder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descry.models.batching import in_parallel, plan_batches, quiet, within_memory
from descry.models.checkpoints import Checkpoint, loadable
from descry.models.devices import pick_device
from descry.models.special_tokens import special_as_text

EMBEDDED_CHARACTERS = 8_192  # of a batch: what bounds the memory
Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Embedder:
    """A function from texts to unit vectors: float32 [texts, dimension].

    Attributes:
        embed: the function.
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
