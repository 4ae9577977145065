"""Annotators as params.yaml names them: one model a kind, in the kind's own folder.

workflow/dag.py knows a kind's folder by its model: a stage's code has only the kinds that its
section names.
"""

from typing import Annotated

from pydantic import Field

from descry.annotators.ctranslate2.spec import CTranslate2
from descry.annotators.embedding.spec import Embedded
from descry.annotators.huggingface.spec import Transformers
from descry.annotators.human.spec import Human
from descry.annotators.llama_cpp.spec import LlamaCpp
from descry.annotators.openai_server.spec import OpenAI
from descry.annotators.vllm.spec import Vllm
from descry.annotators.words.spec import Words

KINDS = (Embedded, Transformers, OpenAI, LlamaCpp, Vllm, CTranslate2, Human, Words)
# People and words answer p2 alone.
DescriberSpec = Annotated[
    Embedded | Transformers | OpenAI | LlamaCpp | Vllm | CTranslate2,
    Field(discriminator="kind"),
]
AnnotatorSpec = Annotated[
    Embedded | Transformers | OpenAI | LlamaCpp | Vllm | CTranslate2 | Human | Words,
    Field(discriminator="kind"),
]
