"""An export for circuit-tracer's feature viewer: a JSON file a neuron, and a binary file a layer.

The form of a neuron is that of its `circuit_tracer.frontend.feature_models.Model`; the name of a
JSON file is the number by which its graphs and its page call a feature (`number`).

The page reads features of a repository on the hub from binary files: index.json.gz has the name of
each layer's file, and where in it each neuron begins, and the first behind the last one ends. What
stands there is the number of bytes that follow, an unsigned integer of 32 bits with the lowest byte
first, and the JSON of the neuron, deflated (zlib). A neuron that is not exported has no bytes.
"""

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from descry.exports.contents import Explained
from descry.exports.target_tokens import harmless
from descry.io.atomic import atomic, write_text
from descry.io.hashing import JSON, canonical

FEATURES, NAMES, INDEX = "features", "clerps.json", "index.json.gz"
_QUANTILES = np.arange(1, 100) / 100


def number(layer: int, index: int) -> int:
    """One number for a layer and an index: Cantor's pairing, as circuit-tracer's graphs have it."""
    return (layer + index) * (layer + index + 1) // 2 + index


def write(neurons: Sequence[Explained], folder: Path, run: str) -> None:
    """Write features/NUMBER.json for each neuron, the same as binary files, and clerps.json.

    clerps.json are the labels as a graph's `qParams.clerps` wants them: pairs of number and text.

    Args:
        run: what the neurons are of, in words.
    """
    (folder / FEATURES).mkdir()
    layers: dict[int, dict[int, bytes]] = {}
    for one in neurons:
        text = canonical(feature(one, run))
        write_text(folder / FEATURES / f"{number(one.layer, one.index)}.json", text + "\n")
        layers.setdefault(one.layer, {})[one.index] = zlib.compress(text.encode())
    index = {str(layer): _write_layer(folder / FEATURES, layer, layers[layer]) for layer in layers}
    with atomic(folder / FEATURES / INDEX) as part:
        part.write_bytes(gzip.compress(canonical(index).encode(), mtime=0))
    names = [
        [str(number(one.layer, one.index)), ", ".join(row["descriptor"] for row in one.labels)]
        for one in neurons
        if one.labels
    ]
    write_text(folder / NAMES, canonical(names) + "\n")


def _write_layer(folder: Path, layer: int, features: dict[int, bytes]) -> JSON:
    """Write a layer's binary file; its part of the index: name, and offsets of the neurons."""
    name = f"layer_{layer}.bin"
    parts = [
        struct.pack("<I", len(features[index])) + features[index] if index in features else b""
        for index in range(max(features) + 1)
    ]
    with atomic(folder / name) as part:
        part.write_bytes(b"".join(parts))
    return {"filename": name, "offsets": np.cumsum([0, *map(len, parts)]).tolist()}


def feature(one: Explained, run: str) -> JSON:
    """A neuron in the form of `feature_models.Model`.

    The histogram has the bins from that of 0, or of the lowest activation where that is above, up
    to the highest: `act_min` and `act_max` are its ends, between which the page draws both the bars
    and the colours of tokens. Quantiles come from the histogram, to a bin.
    """
    filled = np.flatnonzero(one.counts)
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
    if one.edges[last + 1] > 0:
        first = max(first, int(np.searchsorted(one.edges, 0.0, side="right")) - 1)
    return {
        "transcoder_id": run,
        "index": one.index,
        "examples_quantiles": _examples(one),
        "top_logits": [harmless(token) for token, _ in one.promoted],
        "bottom_logits": [harmless(token) for token, _ in one.suppressed],
        "act_min": float(one.edges[first]),
        "act_max": float(one.edges[last + 1]),
        "quantile_values": _quantiles(one),
        "histogram": one.counts[first : last + 1].tolist(),
        "activation_frequency": one.nonzero,
    }


def _examples(one: Explained) -> JSON:
    examples = [
        {
            "tokens": of.tokens.tokens,
            "tokens_acts_list": of.tokens.values,
            "train_token_ind": of.place,
            "is_repeated_datapoint": False,
        }
        for of in one.exemplars
        if of.tokens is not None
    ]
    return [{"quantile_name": "Top activations", "examples": examples}] if examples else []


def _quantiles(one: Explained) -> list[float]:
    """The activations below which 1% to 99% of the sentences are: upper edges of bins."""
    share = np.cumsum(one.counts) / max(1, one.counts.sum())
    places = np.minimum(np.searchsorted(share, _QUANTILES), len(one.counts) - 1)
    return [float(edge) for edge in one.edges[places + 1]]
