"""Stage activations: corpus -> activations.h5."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from descry.errors import InputError
from descry.models import Checkpoint, Target, plan_batches
from descry.storage import provenance, read_table, writing_hdf5

PACKAGES = ["h5py", "numpy", "torch", "transformers"]
BLOCK = 4096  # sentences computed and written at a time: what bounds the memory


def run(
    corpus: Path,
    output: Path,
    *,
    section: dict[str, Any],
    target: dict[str, str],
    dtype: str,
    device: str,
    max_tokens: int,
    batch_tokens: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, int]:
    """Write the activation matrix: dataset `activations`, float32 [sentence, layer, neuron].

    Rows are in the order of the corpus; dataset `id` holds the sentence ids.
    """
    sentences = read_table(corpus, "corpus")
    texts, ids = sentences["text"].to_pylist(), sentences["id"].to_pylist()
    checkpoint = Checkpoint(target["model"], target["revision"])
    model = Target(checkpoint, dtype, device, max_tokens)
    made = provenance("activations", section, [corpus], PACKAGES)
    made |= {"weights": checkpoint.weights, "site": "ffn_output", "position": "cls"}
    with writing_hdf5(output, made) as file:
        file.create_dataset("id", data=np.array(ids, dtype="S16"))
        data = file.create_dataset(
            "activations",
            shape=(len(texts), model.layers, model.neurons),
            dtype=np.float32,
            chunks=(min(len(texts), 256), 1, model.neurons),
        )
        for start, block in _blocks(model, texts, batch_tokens):
            if not np.isfinite(block).all():
                raise InputError(f"{checkpoint.model}: activations are not finite in {dtype}")
            data[start : start + len(block)] = block
            progress("sentences", start + len(block), len(texts))
    return {"sentences": len(texts), "layers": model.layers, "neurons": model.neurons}


def _blocks(model: Target, texts: list[str], budget: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(texts), BLOCK):
        tokens = model.tokenize(texts[start : start + BLOCK])
        block = np.empty((len(tokens), model.layers, model.neurons), dtype=np.float32)
        for rows in plan_batches([len(t) for t in tokens], budget):
            block[rows] = model.activations([tokens[row] for row in rows])
        yield start, block
