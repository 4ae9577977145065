"""A layer's encoder as its file describes it, without weights.

The formats are those of SAELens (Bloom et al. 2024), of EleutherAI's sparsify, and a plain matrix
of directions; the activation functions are the ReLU of Bricken et al. 2023, TopK (Gao et al. 2024),
JumpReLU (Rajamanoharan et al. 2024b), gated ones (Rajamanoharan et al. 2024a), and groups of which
the highest latent alone fires.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from descry.models.dictionaries.hooks import UNKNOWN, Hook

Activation = Literal["relu", "topk", "groupmax", "jumprelu", "gated", "linear"]
Normalization = Literal["none", "constant_norm_rescale", "layer_norm"]


@dataclass(frozen=True)
class Coder:
    """One layer's encoder.

    Attributes:
        file: of its weights, safetensors.
        format: SAELens, sparsify, or directions.
        architecture: by the format's own name, such as jumprelu.
        weight: name of the matrix.
        latents_first: the matrix is [latents, width]; else [width, latents].
        width: of the site that it reads.
        latents: how many there are.
        activation: what makes latents of the products; linear leaves them as they are.
        k: latents of a token, at most (topk, groupmax).
        normalization: of a token's values before all else.
        centred: the decoder's bias is taken off the values.
        rescaled: the products are multiplied by the norms of the decoder's rows.
        hook: where in which model it was trained, as far as it says.
        doubt: what its file leaves open, as a warning.
    """

    file: Path
    format: Literal["SAELens", "sparsify", "directions"]
    architecture: str
    weight: str
    latents_first: bool
    width: int
    latents: int
    activation: Activation
    k: int | None = None
    normalization: Normalization = "none"
    centred: bool = False
    rescaled: bool = False
    hook: Hook = UNKNOWN
    doubt: str | None = None

    @property
    def sparse(self) -> bool:
        """Whether its values are 0 for most, and never below."""
        return self.activation != "linear"

    @property
    def kind(self) -> str:
        """The name of its values: latent, or direction."""
        return "latent" if self.sparse else "direction"

    def record(self) -> dict[str, Any]:
        """The encoder as results record it."""
        said = {
            "format": self.format,
            "architecture": self.architecture,
            "activation": self.activation,
            "k": self.k,
            "normalization": self.normalization,
            "hook": self.hook.name,
            "model": self.hook.model,
        }
        return {key: value for key, value in said.items() if value is not None}
