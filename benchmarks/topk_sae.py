"""A small trainer of TopK sparse autoencoders (Gao et al. 2024), for benchmarks/dictionary.py.

Decoder rows of norm 1, the encoder begun as their transpose, and the auxiliary loss by which
latents that have not fired for long learn what the others leave over.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

AUXILIARY = 1 / 32  # weight of the auxiliary loss, as in the paper
RATE = 1e-3  # of Adam


@dataclass
class TopKSAE:
    """Weights, in the units of the values that it was trained on.

    Attributes:
        encoder: [width, latents]; bias: [latents]; decoder: [latents, width]; centre: [width].
        k: latents of a token.
    """

    encoder: torch.Tensor
    bias: torch.Tensor
    decoder: torch.Tensor
    centre: torch.Tensor
    k: int

    def save(self, folder: Path, *, model: str, hook: str) -> Path:
        """Write it as SAELens does."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        width, latents = self.encoder.shape
        config = {
            "architecture": "topk",
            "d_in": width,
            "d_sae": latents,
            "k": self.k,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "rescale_acts_by_decoder_norm": False,
            "metadata": {"model_name": model, "hook_name": hook, "sae_lens_version": "6.0.0"},
        }
        (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
        named = {"W_enc": self.encoder, "b_enc": self.bias, "W_dec": self.decoder}
        named["b_dec"] = self.centre
        tensors = {name: one.detach().float().contiguous() for name, one in named.items()}
        save_file(tensors, folder / "sae_weights.safetensors")
        return folder

    @classmethod
    def load(cls, folder: Path) -> "TopKSAE":
        """One that `save` wrote."""
        from safetensors.torch import load_file

        found = load_file(folder / "sae_weights.safetensors")
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
        names = "W_enc", "b_enc", "W_dec", "b_dec"
        return cls(*(found[name] for name in names), config["k"])

    def explained(self, values: np.ndarray) -> tuple[float, float]:
        """Share of the variance of values [tokens, width] that it gives back, and of its latents
        the share that fires on any.
        """
        x = torch.tensor(values)
        left, fired = 0.0, torch.zeros(self.encoder.shape[1], dtype=torch.bool)
        for part in x.split(2048):
            found, places = _top(((part - self.centre) @ self.encoder + self.bias).relu(), self.k)
            given = _decoded(found, places, self.decoder) + self.centre
            left += float((part - given).double().pow(2).sum())
            fired[places[found > 0]] = True
        whole = float((x - x.mean(0)).double().pow(2).sum())
        return 1 - left / whole, float(fired.float().mean())

    def shuffled(self, seed: int) -> "TopKSAE":
        """The same with directions by lot, of the same lengths: a null."""
        lots = torch.Generator().manual_seed(seed)
        drawn = torch.randn(self.encoder.shape, generator=lots)
        drawn *= self.encoder.norm(dim=0) / drawn.norm(dim=0)
        return TopKSAE(drawn, self.bias.clone(), drawn.T.clone(), self.centre, self.k)


def train(
    values: np.ndarray, *, latents: int, k: int, epochs: int, batch: int, seed: int
) -> TopKSAE:
    """Train on values float32 [tokens, width], in the order of a seed.

    One thread computes: so the weights do not depend on the number of cores.

    Args:
        batch: tokens of a step.
    """
    torch.set_num_threads(1)
    lots = torch.Generator().manual_seed(seed)
    raw = torch.tensor(values)
    scale = float(raw.shape[1] ** 0.5 / raw.norm(dim=1).mean())  # to a mean norm of sqrt(width)
    x = raw * scale
    decoder = torch.nn.functional.normalize(torch.randn(latents, x.shape[1], generator=lots), dim=1)
    weights = [decoder.T.clone(), torch.zeros(latents), decoder, x.mean(0)]
    encoder, bias, decoder, centre = (one.requires_grad_() for one in weights)
    steps = epochs * (len(x) // batch)
    adam = torch.optim.Adam([encoder, bias, decoder, centre], lr=RATE, betas=(0.9, 0.999))
    falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda n: min(1, (steps - n) / (steps / 5)))
    silent = torch.zeros(latents)  # tokens since each fired
    patience = len(x)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=lots)
        for rows in order[: len(x) // batch * batch].split(batch):
            part = x[rows]
            products = ((part - centre) @ encoder + bias).relu()
            found, places = _top(products, k)
            left = part - centre - _decoded(found, places, decoder)
            spread = (part - part.mean(0)).pow(2).mean()
            loss = left.pow(2).mean() / spread
            dead = silent > patience
            if (number := min(int(dead.sum()), x.shape[1] // 2)) > 0:
                rest, at = _top(torch.where(dead, products, products.new_zeros(())), number)
                missed = left.detach() - _decoded(rest, at, decoder)
                loss = loss + AUXILIARY * missed.pow(2).mean() / spread
            adam.zero_grad()
            loss.backward()
            with torch.no_grad():  # along a row of the decoder nothing is learnt
                assert decoder.grad is not None
                decoder.grad -= (decoder.grad * decoder).sum(1, keepdim=True) * decoder
            adam.step()
            falling.step()
            with torch.no_grad():
                decoder /= decoder.norm(dim=1, keepdim=True)
                silent += batch
                silent[places[found > 0]] = 0
    parts = encoder * scale, bias, decoder / scale, centre / scale
    return TopKSAE(*(one.detach() for one in parts), k)


def _top(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    found = values.topk(k, dim=1, sorted=False)
    return found.values, found.indices


def _decoded(values: torch.Tensor, places: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
    """What latents [tokens, any] at their places give: [tokens, width]."""
    latents = values.new_zeros(len(values), len(decoder)).scatter(1, places, values)
    return latents @ decoder
