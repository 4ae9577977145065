"""GGUF files, in which llama.cpp keeps models: converted once into a folder of safetensors.

The numbers of a quantised file are computed back to float32 by the transformers library, and its
tokenizer and chat template are taken along. The folder is named by the file's sha256 and by what
converted it, and holds a note of its own contents: a conversion that was damaged is made again.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from descry.errors import InputError
from descry.io.atomic import atomic_folder, guarded
from descry.io.hashing import JSON, canonical, sha256_file, sha256_text
from descry.io.provenance import versions
from descry.models.batching import quiet

SUFFIX = ".gguf"
CONVERTED = "DESCRY_CONVERTED"  # in the environment: the folder of the conversions
_FOLDER = Path("cache/models")
_NOTE = "converted.json"
_VERSION = 1  # of what this module does: a change makes every conversion anew
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
    found = _note(folder).get("quantization")
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
    told = f"{digest} {_VERSION} {sorted(made_by.items())}"
    folder = Path(os.environ.get(CONVERTED) or _FOLDER).absolute() / sha256_text(told)[:24]
    with _alone(folder):
        if not _whole(folder):
            header = _Header.of(file)
            print(f"{file}: is converted for the transformers library, once", file=sys.stderr)
            with atomic_folder(folder) as part, redirect_stderr(StringIO()):  # a progress bar
                _convert(file, header, part)
                note = {"gguf": digest, "by": made_by, "quantization": header.quantization}
                whole = canonical(note | {"files": _hashes(part)})
                (part / _NOTE).write_text(whole, encoding="utf-8")
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: the others wait for the conversion, and take it."""
    import fcntl

    with guarded(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _whole(folder: Path) -> bool:
    """Whether a conversion is there, as it was made."""
    return folder.is_dir() and _note(folder).get("files") == _hashes(folder)


def _note(folder: Path) -> JSON:
    """What a conversion says of itself; nothing of another folder, or where it is damaged."""
    try:
        found = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.name != _NOTE)
    return {file.name: sha256_file(file) for file in files}


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
    if absent := sorted(loaded["missing_keys"]):  # the library would draw them by lot
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
