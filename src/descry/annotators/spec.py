"""Annotators as params.yaml names them: one model a kind, in the kind's own folder.

workflow/dag.py knows a kind's folder by its model: a stage's code has only the kinds that its
section names.
"""

from typing import Annotated

from pydantic import Field

from descry.annotators.embedding.spec import Embedded
from descry.annotators.huggingface.spec import Transformers
from descry.annotators.human.spec import Human
from descry.annotators.openai_server.spec import OpenAI

KINDS = (Embedded, Transformers, OpenAI, Human)
# People answer p2 alone: the sheet is about descriptors.
DescriberSpec = Annotated[Embedded | Transformers | OpenAI, Field(discriminator="kind")]
AnnotatorSpec = Annotated[Embedded | Transformers | OpenAI | Human, Field(discriminator="kind")]
