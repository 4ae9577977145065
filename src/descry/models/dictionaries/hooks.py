"""Where a dictionary was trained, and whether that is a site of a model.

Two languages name places: TransformerLens' (blocks.8.hook_resid_post) and paths of modules
(layers.8.mlp). The former are known where they are one of the named sites of hookpoints.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from descry.errors import InputError
from descry.models.hookpoints import (
    ATTENTION_OUTPUT,
    FFN_HIDDEN,
    FFN_OUTPUT,
    INPUT,
    RESIDUAL,
    SITES,
    Site,
    find_site,
)

_LENS = re.compile(r"blocks\.(\d+)\.([\w.]+)")
# Named site and how many layers further up: what comes into a block came out of the one before.
_NAMED = {
    "hook_resid_post": (RESIDUAL, 0),
    "hook_resid_pre": (RESIDUAL, -1),
    "hook_mlp_out": (FFN_OUTPUT, 0),
    "mlp.hook_post": (FFN_HIDDEN, 0),
    "hook_attn_out": (ATTENTION_OUTPUT, 0),
}
_QUANTIZED = re.compile(r"(\.gguf)$|[.-](i?q\d\w*|b?f\d+)$")
_ALSO = {"gpt2-small": "gpt2"}  # TransformerLens' name, and the hub's


@dataclass(frozen=True)
class Hook:
    """Where in which model a dictionary was trained, as far as it says.

    Attributes:
        name: of the hook, as its file says it.
        model: by name.
        layer: of the model, where no name says it.
        input: what goes into the module of that name was read, not what comes out.
    """

    name: str | None = None
    model: str | None = None
    layer: int | None = None
    input: bool = False

    @property
    def number(self) -> int | None:
        """The layer whose output, or part, it reads; None where that is not said."""
        lens = _LENS.fullmatch(self.name or "")
        if lens:
            return int(lens[1]) + _NAMED.get(lens[2], ("", 0))[1]
        said = layer_number(self.name or "")
        return self.layer if said is None else said


UNKNOWN = Hook()  # said by nothing


def layer_number(path: str) -> int | None:
    """The layer in a path such as layers.3.mlp or layer_3; None where there is none, or several."""
    found = re.findall(r"(?<![^._/-])\d+(?![^._/-])", path)
    return int(found[0]) if len(found) == 1 else None


def check_site(hook: Hook, site: str, found: Site, layer: int, paths: Sequence[str]) -> None:
    """Refuse a dictionary of another place than the one that is read.

    A site that is a path is taken at its word where the hook is one that has no named site.

    Args:
        site: as params.yaml names it.
        found: its modules.
        layer: the place in `found.paths` that is read; beyond them where calls share a module.
        paths: of all modules of the model.

    Raises:
        InputError: naming both.
    """
    if hook.name is None or layer >= len(found.paths):
        return
    read = found.paths[layer]
    lens = _LENS.fullmatch(hook.name)
    if lens:
        meant, _ = _NAMED.get(lens[2], (None, 0))
        if meant is None and site in SITES:
            raise InputError(f"name the module whose values {hook.name} are by its path")
        if meant is None or _same(meant, found, paths):
            return
        raise InputError(f"{hook.name} is activations.site {meant}")
    if not (_ends(hook.name, read) and found.input == hook.input):
        path = re.sub(r"(?<![^.])\d+(?![^.])", "*", hook.name) + (INPUT if hook.input else "")
        raise InputError(f"its values are of {path}")


def _same(meant: str, found: Site, paths: Sequence[str]) -> bool:
    try:
        return find_site(paths, meant) == found
    except InputError:  # a family whose named sites are not known here
        return True


def _ends(name: str, path: str) -> bool:
    """Whether a hook's name is a path, or that behind the name of the model with its head."""
    return name == path or name.endswith(f".{path}")


def same_model(said: str, names: Sequence[str]) -> bool:
    """Whether a model that a dictionary names is one that goes by these names.

    Compared are the last parts, in lower case, without the format of quantised weights.
    """
    return _plain(said) in map(_plain, names)


def _plain(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].casefold()
    while _QUANTIZED.search(last):
        last = _QUANTIZED.sub("", last)
    return _ALSO.get(last, last)
