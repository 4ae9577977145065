"""Models and neurons as params.yaml names them."""

from typing import Annotated, Literal

from pydantic import Field

from descry.io.section import Place, Section

Revision = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64}|unpinned)$")]
NeuronNames = Annotated[
    list[Annotated[str, Field(pattern=r"^L\d+:\d+$")]], Field(min_length=1)
]  # such as L5:24
# The named sites, or a dotted module path with `*` for the layer's number (hookpoints.py).
Site = Annotated[
    str,
    Field(pattern=r"^(ffn_output|ffn_hidden|attention_output|residual|\w+(\.(\w+|\*))+(:input)?)$"),
]


class Pinned(Section):
    """A file or folder of the user's, by the sha256 of its contents."""

    path: Place
    revision: Revision


class Model(Section):
    """A checkpoint: a hub model by commit, or a local folder by the sha256 of its contents."""

    model: str
    revision: Revision
    # A permission, and so left out where it is not given: weights that are a pickle can run code.
    pickled: Annotated[Literal[True] | None, Field(exclude_if=lambda given: given is None)] = None
