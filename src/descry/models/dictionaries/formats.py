"""Files of dictionaries: their configs, and the names and shapes of their tensors.

SAELens' have cfg.json and sae_weights.safetensors; sparsify's have cfg.json and sae.safetensors;
any other safetensors file with one matrix holds directions, one a row.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.models.dictionaries.coder import Activation, Coder, Normalization
from descry.models.dictionaries.hooks import Hook

CONFIG = "cfg.json"
SUFFIX = ".safetensors"
_SAELENS, _SPARSIFY = "sae_weights.safetensors", "sae.safetensors"
_ARCHITECTURES: dict[str, Activation] = {  # of SAELens
    "standard": "relu",
    "gated": "gated",
    "topk": "topk",
    "jumprelu": "jumprelu",
    # At inference a threshold takes the place of the highest of a batch.
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
_UNFOLDED = (
    "trained on values scaled to a mean norm (expected_average_only_in), and its file does not say"
    " by which factor: it is taken as if that were in its weights, as SAELens takes it"
)
_NORMALIZATIONS: dict[Any, tuple[Normalization, str | None]] = {  # and what is in doubt
    None: ("none", None),
    False: ("none", None),
    "none": ("none", None),
    "expected_average_only_in": ("none", _UNFOLDED),
    True: ("none", _UNFOLDED),  # how releases before 3 said the same
    "constant_norm_rescale": ("constant_norm_rescale", None),
    "layer_norm": ("layer_norm", None),
}
THRESHOLD_OF_ALL = "topk_threshold"  # tensor of SAELens: one number


def is_coder(place: Path) -> bool:
    """Whether a path is one layer's dictionary: a folder with a config, or a matrix."""
    return place.suffix == SUFFIX if place.is_file() else (place / CONFIG).is_file()


def read_coder(place: Path, model: str | None) -> Coder:
    """Read what one layer's dictionary says of itself.

    Args:
        place: its folder, or a file with directions.
        model: that a file beside it says it was trained on.

    Raises:
        InputError: it is no such file, or one of an architecture that is not known here.
    """
    if place.is_file():
        return _directions(place)
    config = read_config(place / CONFIG)
    for name, read in {_SAELENS: _saelens, _SPARSIFY: _sparsify}.items():
        if (place / name).is_file():
            return read(config, place / name, model)
    raise InputError(f"{place}: neither {_SAELENS} nor {_SPARSIFY} is beside its {CONFIG}")


def read_config(file: Path) -> dict[str, JSON]:
    """A config of JSON.

    Raises:
        InputError: it cannot be read, or is no mapping.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise InputError(f"{file}: not a mapping")
    return config


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a safetensors file's tensors, by name; no value is read.

    Raises:
        InputError: it is no whole safetensors file.
    """
    with opened(file) as tensors:
        names = tensors.keys()
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in names}


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open a safetensors file; a broken file gives one clear line.

    Raises:
        InputError: it is no whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: no whole safetensors file ({error})") from error


def _saelens(config: Mapping[str, JSON], file: Path, model: str | None) -> Coder:
    """SAELens of release 6, where what it was trained on is below `metadata`, and of earlier."""
    about = {**config, **(config.get("metadata") or {})}
    architecture = config.get("architecture", "standard")
    # Before release 6 a TopK was said by its activation function, and before 3 by another key.
    function = config.get("activation_fn_str", config.get("activation_fn"))
    arguments = config.get("activation_fn_kwargs") or {}
    if function == "topk" and architecture == "standard":
        architecture = "topk"
    activation = _known(_ARCHITECTURES, architecture, file, "architecture")
    if function not in (None, "relu", "topk"):
        raise InputError(f"{file.parent}: activation function {function} is not known here")
    normalization, doubt = _known(
        _NORMALIZATIONS, config.get("normalize_activations"), file, "normalize_activations"
    )
    if about.get("hook_head_index", about.get("hook_point_head_index")) is not None:
        raise InputError(f"{file.parent}: it reads one attention head, which descry cannot read")
    found = shapes(file)
    threshold = THRESHOLD_OF_ALL in found or "threshold" in found
    if activation == "jumprelu" and not threshold:
        raise InputError(f"{file}: no tensor threshold in it: save it for inference")
    width, latents = _matrix(found, "W_enc", file)
    k = config.get("k", arguments.get("k")) if activation == "topk" else None
    return Coder(
        file,
        "SAELens",
        architecture,
        "W_enc",
        latents_first=False,
        width=width,
        latents=latents,
        activation=activation,
        k=_checked(k, latents, file) if activation == "topk" else None,
        normalization=normalization,
        # A transcoder's bias is of what comes out.
        centred=config.get("apply_b_dec_to_input", True) and "transcoder" not in architecture,
        # What is saved for inference has the norms in its weights, but for a TopK that says so.
        rescaled=bool(config.get("rescale_acts_by_decoder_norm", False))
        and (activation == "topk" or THRESHOLD_OF_ALL in found),
        hook=Hook(
            about.get("hook_name") or about.get("hook_point") or None,
            about.get("model_name") or model,
            about.get("hook_layer", about.get("hook_point_layer")),
        ),
        doubt=doubt,
    )


def _sparsify(config: Mapping[str, JSON], file: Path, model: str | None) -> Coder:
    """EleutherAI's; its folder is named by the hook point."""
    functions: dict[str, Activation] = {"topk": "topk", "groupmax": "groupmax"}
    # Before the choice was there, all were TopK.
    function = config.get("activation", "topk")
    activation = _known(functions, function, file, "activation")
    found = shapes(file)
    latents, width = _matrix(found, "encoder.weight", file)
    k = _checked(config.get("k"), latents, file)
    if activation == "groupmax" and latents % k:
        raise InputError(f"{file.parent}: {latents} latents are no {k} groups of one size")
    transcode = bool(config.get("transcode", False))
    folder = next(
        part for part in (file.parent.name, file.parent.parent.name) if not _is_seed(part)
    )
    return Coder(
        file,
        "sparsify",
        f"{'transcoder' if transcode else 'sae'} {function}",
        "encoder.weight",
        latents_first=True,
        width=width,
        latents=latents,
        activation=activation,
        k=k,
        centred=not transcode,
        hook=Hook(folder if "." in folder else None, model, input=transcode),
    )


def _is_seed(name: str) -> bool:
    """Whether a folder is one of several that were trained at one hook point."""
    return name.startswith("seed") and name[4:].isdigit()


def _directions(file: Path) -> Coder:
    found = shapes(file)
    if len(found) != 1:
        raise InputError(
            f"{file}: {len(found)} tensors in it ({', '.join(sorted(found)[:4])}): directions are"
            " one matrix [directions, width]"
        )
    (name,) = found
    latents, width = _matrix(found, name, file)
    return Coder(
        file,
        "directions",
        "directions",
        name,
        latents_first=True,
        width=width,
        latents=latents,
        activation="linear",
    )


def _matrix(found: Mapping[str, tuple[int, ...]], name: str, file: Path) -> tuple[int, int]:
    shape = found.get(name)
    if shape is None or len(shape) != 2 or not all(shape):
        what = "no such tensor" if shape is None else f"of shape {list(shape)}, no matrix"
        raise InputError(f"{file}: {name}: {what}")
    return shape[0], shape[1]


def _known(known: Mapping[Any, Any], value: Any, file: Path, what: str) -> Any:
    if not isinstance(value, str | bool | None) or value not in known:
        names = ", ".join(name for name in known if isinstance(name, str))
        raise InputError(
            f"{file.parent}: {what} {str(value)[:40]!r} is not known here: known are {names}"
        )
    return known[value]


def _checked(k: Any, latents: int, file: Path) -> int:
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= latents:
        raise InputError(f"{file.parent}: k {k!r} is no number from 1 to its {latents} latents")
    return k
