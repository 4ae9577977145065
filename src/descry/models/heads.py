"""Models with their language-model head, which gives every token of the vocabulary a logit."""

from typing import Any, NamedTuple

from descry.errors import InputError
from descry.models.batching import quiet
from descry.models.checkpoints import Checkpoint, load_tokenizer, loadable


class NoHeadError(InputError):
    """A model has no language-model head that was trained."""


class Headed(NamedTuple):
    """A model with its head.

    Attributes:
        model: of the transformers library, in eval mode; `model.base_model` is it without the head.
        masked: whether the head tells a token that was masked, not the next one.
    """

    tokenizer: Any
    model: Any
    masked: bool


def load_headed(checkpoint: Checkpoint, dtype: str, device: str) -> Headed:
    """Load a model with its head: of a decoder the one of next tokens, else the one of masked ones.

    Args:
        dtype, device: by torch's names.

    Raises:
        NoHeadError: the checkpoint has none, or not all of its weights.
        InputError: it cannot be loaded.
    """
    quiet()
    import torch
    from transformers import AutoConfig

    folder = str(checkpoint.folder)
    with loadable(checkpoint):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    auto, masked = _kind(config, checkpoint.name)
    tokenizer = load_tokenizer(checkpoint)
    with loadable(checkpoint):
        model, loaded = auto.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=checkpoint.safetensors,
            output_loading_info=True,
        )
    # The library would draw them at random.
    if absent := sorted(loaded["missing_keys"]):
        raise NoHeadError(
            f"{checkpoint.name} has no language-model head: it has no weights for"
            f" {len(absent)} of its parts, such as {absent[0]}"
        )
    model.config.use_cache = False
    with loadable(checkpoint):
        model.to(device)
    return Headed(tokenizer, model.eval(), masked)


def headed_of(model: Any, tokenizer: Any) -> Headed:
    """A model in memory that came with its head.

    Raises:
        NoHeadError: it came without one.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    kind = type(model).__name__
    if head is None or model.config.is_encoder_decoder:
        raise NoHeadError(f"{kind} has no language-model head: load it by AutoModelForCausalLM")
    return Headed(tokenizer, model, "MaskedLM" in kind or "PreTraining" in kind)


def _kind(config: Any, name: str) -> tuple[Any, bool]:
    """The class that loads a model with its head, and whether the head tells masked tokens."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
    )

    if config.is_encoder_decoder:
        raise NoHeadError(
            f"{name} has no language-model head: its neurons are the encoder's, which has none"
        )
    saved = " ".join(config.architectures or ())
    decoder = "CausalLM" in saved or "LMHead" in saved
    if not decoder and type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        return AutoModelForMaskedLM, True
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM, False
    raise NoHeadError(f"{name} has no language-model head: its architecture has none")
