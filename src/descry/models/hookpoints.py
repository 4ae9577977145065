"""The modules of a site, by the names that model families use.

Four sites have names. ffn_output is the output of the second feed-forward matrix, before anything
is added (the paper's, section 4.1); ffn_hidden is what goes into that matrix: the values after the
non-linearity, of a gated network after the gate; attention_output is the output of attention's last
matrix; residual is the output of the whole layer. Any other site is a dotted module path.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from descry.errors import InputError

FFN_OUTPUT, FFN_HIDDEN = "ffn_output", "ffn_hidden"
ATTENTION_OUTPUT, RESIDUAL = "attention_output", "residual"
SITES = (FFN_OUTPUT, FFN_HIDDEN, ATTENTION_OUTPUT, RESIDUAL)
INPUT = ":input"  # behind a dotted path: what goes into the module, not what comes out

# Below a layer; a model has one of each.
_FEED_FORWARD = (
    "output.dense",  # BERT, RoBERTa, ELECTRA, DeBERTa, MPNet, BigBird
    "ffn_output",  # ALBERT
    "ffn.lin2",  # DistilBERT
    "mlp.c_proj",  # GPT-2, GPT-Neo
    "mlp.dense_4h_to_h",  # GPT-NeoX (Pythia), BLOOM, Falcon
    "mlp.down_proj",  # Llama, Qwen, Mistral, Gemma, OLMo
    "mlp.fc_out",  # GPT-J, CodeGen
    "mlp.fc2",  # Phi
    "mlp.Wo",  # ModernBERT
    "fc2",  # OPT, BART
    "DenseReluDense.wo",  # T5
    "ff.layer_2",  # XLNet
)
_ATTENTION = (
    "attention.output.dense",  # BERT, RoBERTa, ELECTRA, DeBERTa
    "attention.attn.o",  # MPNet
    "attention.out_lin",  # DistilBERT
    "attention.dense",  # ALBERT, GPT-NeoX
    "attn.c_proj",  # GPT-2
    "attn.attention.out_proj",  # GPT-Neo
    "self_attn.o_proj",  # Llama, Qwen, Mistral, Gemma, OLMo
    "self_attn.out_proj",  # OPT, BART
    "self_attn.dense",  # Phi
    "self_attention.dense",  # BLOOM, Falcon
    "attn.out_proj",  # GPT-J
    "attn.Wo",  # ModernBERT
    "SelfAttention.o",  # T5
)


@dataclass(frozen=True)
class Site:
    """The modules of a site, and which side of them is read.

    Attributes:
        paths: dotted paths of the modules.
        input: their input is read, not their output.
    """

    paths: tuple[str, ...]
    input: bool = False


def find_site(paths: Sequence[str], site: str) -> Site:
    """The modules of a site among a model's.

    Args:
        paths: dotted paths of all modules.
        site: one of SITES, or a dotted path in which `*` stands for a number, such as
            `encoder.layer.*.output.dense`; with `:input` behind it, what goes into the module.

    Raises:
        InputError: the model has none of that name.
    """
    if site not in SITES:
        wanted = re.compile(re.escape(site.removesuffix(INPUT)).replace(r"\*", r"\d+"))
        found = tuple(path for path in paths if wanted.fullmatch(path))
        return Site(_required(found, site, paths), site.endswith(INPUT))
    names = _ATTENTION if site == ATTENTION_OUTPUT else _FEED_FORWARD
    found = _required(_below_layers(paths, names), site, paths)
    if site == RESIDUAL:
        name = next(name for name in names if found[0].endswith(f".{name}"))
        found = tuple(path.removesuffix(f".{name}") for path in found)
    return Site(found, site == FFN_HIDDEN)


def _below_layers(paths: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    """The modules that stand below a numbered layer under the first of the names that is there."""
    for name in names:
        wanted = re.compile(rf"(.+\.)?\d+\.{re.escape(name)}")
        if found := [path for path in paths if wanted.fullmatch(path)]:
            # MobileBERT has more of them in its layers' own stacks: the outermost are meant.
            least = min(path.count(".") for path in found)
            return tuple(path for path in found if path.count(".") == least)
    return ()


def _required(found: tuple[str, ...], site: str, paths: Sequence[str]) -> tuple[str, ...]:
    if not found:
        raise InputError(
            f"activations.site {site}: no such module in this model: name one by its path; it has"
            f" {', '.join(patterns(paths))}"
        )
    return found


def patterns(paths: Iterable[str]) -> list[str]:
    """The paths with `*` for every number, each once."""
    starred = (re.sub(r"(?<![^.])\d+(?![^.])", "*", path) for path in paths)
    return [path for path in dict.fromkeys(starred) if "*" in path and not path.endswith("*")]
