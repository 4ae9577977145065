"""GGUF files, in which llama.cpp keeps models: converted once into a folder of safetensors.

The numbers of a quantised file are computed back to float32 by the transformers library, and its
tokenizer and chat template are taken along.
"""

import sys
from collections import Counter
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.provenance import versions
from descry.models.batching import quiet
from descry.models.conversion import kept, note

SUFFIX = ".gguf"
_VERSION = 1  # of what this module does: a change makes every conversion again
_PLAIN = {"F32", "F16", "BF16", "F64"}

# How a byte-level vocabulary splits texts before it merges bytes, by llama.cpp's names: as GPT-2,
# or so behind a first cut around every digit. What transformers does not know it splits as GPT-2.
_AS_GPT2 = {"gpt-2", "phi-2", "mpt", "olmo", "jais"}
_DIGITS_APART = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}


def gguf_in(place: Path) -> Path | None:
    """The GGUF file that a path is, or that a folder without other weights has; None where none.

    Raises:
        InputError: there is no such file, or the folder has several.
    """
    if place.suffix.lower() == SUFFIX and not place.is_dir():
        if not place.is_file():
            raise InputError(f"{place}: no such file")
        return place
    if not place.is_dir() or any(place.glob("*.safetensors")) or any(place.glob("*.bin")):
        return None
    files = sorted(file for file in place.iterdir() if file.suffix.lower() == SUFFIX)
    if len(files) > 1:
        raise InputError(
            f"{place}: has {len(files)} GGUF files, such as {files[0].name}: name the one meant"
        )
    return files[0] if files else None


def quantization(folder: Path) -> str | None:
    """The format of most weights before a conversion, such as Q4_1; None of any other folder.

    Also None where the file's weights were not quantised.
    """
    found = note(folder).get("quantization")
    return None if found is None else str(found)


def converted(file: Path, digest: str) -> Path:
    """The folder with the same model for the transformers library.

    Args:
        digest: the file's sha256.

    Raises:
        InputError: the package gguf is missing, or the file cannot be read.
    """
    if find_spec("gguf") is None:
        raise InputError(f"{file}: to read it, install the package gguf")
    made_by = versions(["gguf", "tokenizers", "transformers"])

    def write(folder: Path) -> JSON:
        header = _Header.of(file)
        print(f"{file}: is converted for the transformers library, once", file=sys.stderr)
        with redirect_stderr(StringIO()):  # a progress bar
            _convert(file, header, folder)
        return {"gguf": digest, "by": made_by, "quantization": header.quantization}

    return kept(f"{digest} {_VERSION} {sorted(made_by.items())}", write)


def _convert(file: Path, header: "_Header", folder: Path) -> None:
    """Write a GGUF file's model, tokenizer and chat template as the transformers library does.

    Raises:
        InputError: there is no saying how its tokenizer splits texts, or weights are missing.
    """
    tokenizer = _tokenizer(file, header)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    place: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    where = str(file.parent)
    config = AutoConfig.from_pretrained(where, **place)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, loaded = kind.from_pretrained(
        where, dtype=torch.float32, output_loading_info=True, **place
    )
    if absent := sorted(loaded["missing_keys"]):  # the library would draw them at random
        raise InputError(f"{file}: has no weights for {len(absent)}, such as {absent[0]}")
    # It would refuse to save a model that it takes for a quantised one.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def gguf_tokenizer(file: Path) -> Any:
    """The tokenizer in a GGUF file, with its chat template; the weights are not read.

    Raises:
        InputError: the file cannot be read, or there is no saying how it splits texts.
    """
    return _tokenizer(file, _Header.of(file))


def gguf_quantization(file: Path) -> str | None:
    """The format of most of a GGUF file's weights, such as Q4_1; None where not quantised.

    Raises:
        InputError: the file cannot be read.
    """
    return _Header.of(file).quantization


def _tokenizer(file: Path, header: "_Header") -> Any:
    if header.split is not None and header.split not in _known_splits():
        raise InputError(
            f"{file}: its tokenizer splits texts by {header.split!r}, which is not known here:"
            " take the model as safetensors"
        )
    quiet()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(file.parent), gguf_file=file.name, local_files_only=True
    )
    if header.split in _DIGITS_APART:
        _part_digits(tokenizer)
    return tokenizer


def _known_splits() -> set[str]:
    known = _AS_GPT2 | _DIGITS_APART
    try:
        from transformers.integrations.gguf import gguf_tokenizer_mapping
    except ImportError:  # an older release
        return known
    return known | set(gguf_tokenizer_mapping.GGUF_PRE_TOKENIZER_SPLITS)


def _part_digits(tokenizer: Any) -> None:
    from tokenizers import Regex, pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )


class _Header(NamedTuple):
    """What a GGUF file says of itself.

    Attributes:
        quantization: the format of most of its weights; None where they are not quantised.
        split: how its byte-level vocabulary splits texts, by llama.cpp's name; None for other
            kinds of tokenizers.
    """

    quantization: str | None
    split: str | None

    @classmethod
    def of(cls, file: Path) -> "_Header":
        """Read it.

        Raises:
            InputError: it is no such file, or not all of one.
        """
        from gguf import GGUFReader

        try:
            reader = GGUFReader(file)
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror})") from error
        except Exception as error:  # whatever numpy says to bytes that are something else
            raise InputError(f"{file}: no whole GGUF file ({error})") from error
        sizes = Counter[str]()
        for tensor in reader.tensors:
            sizes[tensor.tensor_type.name] += int(tensor.n_elements)
        if not sizes:
            raise InputError(f"{file}: a GGUF file without weights")
        most = max(sizes, key=lambda name: (sizes[name], name))
        kind, split = (reader.fields.get(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
        byte_level = kind is not None and kind.contents() == "gpt2"
        named = str(split.contents()) if split else "default"
        return cls(None if most in _PLAIN else most, named if byte_level else None)
