"""A model run by CTranslate2 in this process, as params.yaml names it."""

from typing import Annotated, Literal

from pydantic import Field

from descry.io.section import Count, Place
from descry.models.spec import Model


class CTranslate2(Model):
    """An encoder-decoder of the transformers library, run by CTranslate2 in this process."""

    kind: Literal["ctranslate2"]
    version: Place  # of ctranslate2: another one's answers are others
    compute: Literal["int8", "float32"]  # of weights and products
    max_tokens: Annotated[int, Field(ge=32)]
    max_new_tokens: Count
    batch_tokens: Annotated[int, Field(ge=32)]
