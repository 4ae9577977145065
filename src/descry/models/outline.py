"""What a model is, told from its files without loading its weights."""

from dataclasses import dataclass

from descry.models.batching import quiet
from descry.models.checkpoints import Checkpoint, load_tokenizer, loadable
from descry.models.hooked_model import around
from descry.models.hookpoints import find_site


@dataclass(frozen=True)
class Outline:
    """A model.

    Attributes:
        layers: modules of the site that was asked for.
        decoder: whether it was saved with the head of a model that writes.
        cls: whether its texts begin with a [CLS] token.
    """

    layers: int
    decoder: bool
    cls: bool


def outline(checkpoint: Checkpoint, site: str) -> Outline:
    """Read a model's configuration and tokenizer, and look for its neurons.

    Args:
        site: where its neurons are to be.

    Raises:
        InputError: it cannot be had or loaded, or has no such site.
    """
    quiet()
    import torch
    from transformers import AutoConfig, AutoModel

    tokenizer = load_tokenizer(checkpoint)
    with loadable(checkpoint):
        config = AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModel.from_config(config, trust_remote_code=False)
    if hasattr(model, "encoder") and hasattr(model, "decoder"):
        model = model.get_encoder()
    found = find_site([path for path, _ in model.named_modules() if path], site)
    saved = " ".join(config.architectures or ())
    first = around(tokenizer)[0][:1]
    return Outline(
        layers=len(found.paths),
        decoder=not config.is_encoder_decoder and ("CausalLM" in saved or "LMHead" in saved),
        cls=tokenizer.cls_token_id is not None and first == (tokenizer.cls_token_id,),
    )
