"""Small dictionaries in the formats that there are, and their latents in float64 by hand."""

import json

import numpy as np
import torch
from safetensors.torch import save_file

WIDTH, LATENTS = 12, 20
SAELENS = (
    "standard",
    "gated",
    "topk",
    "jumprelu",
    "batchtopk",
    "matryoshka_batchtopk",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
)
NORMALIZATIONS = ("none", "expected_average_only_in", "constant_norm_rescale", "layer_norm")


def weights(seed=0, width=WIDTH, latents=LATENTS):
    """All tensors that any architecture of SAELens has, by name."""
    lots = np.random.default_rng(seed)
    sizes = {
        "W_enc": (width, latents),
        "W_dec": (latents, width),
        "b_enc": (latents,),
        "b_dec": (width,),
        "b_gate": (latents,),
        "b_mag": (latents,),
        "r_mag": (latents,),
        "threshold": (latents,),
    }
    found = {name: lots.normal(size=size) / 2 for name, size in sizes.items()}
    found["threshold"] = np.abs(found["threshold"])
    return {name: torch.tensor(values, dtype=torch.float32) for name, values in found.items()}


def tensors_of(architecture, every):
    """Those that an architecture's file has."""
    names = ["W_enc", "W_dec", "b_dec"]
    names += ["b_gate", "b_mag", "r_mag"] if architecture == "gated" else ["b_enc"]
    found = {name: every[name] for name in names}
    if "jumprelu" in architecture:
        found["threshold"] = every["threshold"]
    if "batchtopk" in architecture:
        found["topk_threshold"] = torch.tensor(0.7, dtype=torch.float64)
    if "skip" in architecture:
        found["W_skip"] = torch.ones(every["W_dec"].shape[1], every["W_enc"].shape[0])
    return found


def config_of(architecture, **changes):
    """What SAELens 6 writes beside it."""
    transcoder = "transcoder" in architecture
    found = {
        "d_in": WIDTH,
        "d_sae": LATENTS,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": not transcoder,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12"},
        "architecture": architecture,
    }
    if architecture == "topk":
        found["k"] = 5
    if transcoder:
        found["d_out"] = WIDTH
    return found | changes


def write_saelens(folder, architecture="standard", every=None, **changes):
    """A folder as SAELens saves one."""
    folder.mkdir(parents=True)
    (folder / "cfg.json").write_text(json.dumps(config_of(architecture, **changes)))
    tensors = tensors_of(architecture, every or weights())
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder


def write_sparsify(folder, every=None, **changes):
    """A folder as sparsify saves one; its name is that of the hook point."""
    folder.mkdir(parents=True)
    every = every or weights()
    config = {"activation": "topk", "k": 5, "transcode": False, "skip_connection": False}
    config |= {"d_in": every["W_enc"].shape[0], "num_latents": 0, "expansion_factor": 32} | changes
    (folder / "cfg.json").write_text(json.dumps(config))
    tensors = {
        "encoder.weight": every["W_enc"].T.contiguous(),
        "encoder.bias": every["b_enc"],
        "W_dec": every["W_dec"],
        "b_dec": every["b_dec"],
    }
    if config["skip_connection"]:
        tensors["W_skip"] = torch.ones(config["d_in"], config["d_in"])
    save_file(tensors, folder / "sae.safetensors")
    return folder


def by_hand(values, architecture, every, *, k=5, normalize="none", centred=None, rescaled=False):
    """The latents of values [rows, width] in float64, written out for each architecture."""
    w = {name: one.double().numpy() for name, one in every.items()}
    x = np.asarray(values, dtype=np.float64)
    if normalize == "constant_norm_rescale":
        x = x * np.sqrt(x.shape[1]) / np.linalg.norm(x, axis=1, keepdims=True)
    if normalize == "layer_norm":
        x = x - x.mean(axis=1, keepdims=True)
        x = x / (x.std(axis=1, ddof=1, keepdims=True) + 1e-5)
    if centred if centred is not None else "transcoder" not in architecture:
        x = x - w["b_dec"]
    if architecture == "gated":
        open_ = x @ w["W_enc"] + w["b_gate"] > 0
        return open_ * np.maximum(x @ (w["W_enc"] * np.exp(w["r_mag"])) + w["b_mag"], 0)
    products = x @ w["W_enc"] + w["b_enc"]
    if rescaled:
        products = products * np.linalg.norm(w["W_dec"], axis=1)
    if architecture == "groupmax":
        groups = products.reshape(len(x), k, -1)
        return np.maximum(groups * (groups == groups.max(axis=2, keepdims=True)), 0).reshape(
            products.shape
        )
    if architecture == "topk":
        least = np.sort(products, axis=1)[:, -k, None]
        return np.maximum(products * (products >= least), 0)
    if "batchtopk" in architecture:
        return np.where(products > 0.7, products, 0)
    if "jumprelu" in architecture:
        return np.maximum(np.where(products > w["threshold"], products, 0), 0)
    return np.maximum(products, 0)
