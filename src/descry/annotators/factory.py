"""From params to an annotator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from descry.annotators.base import Annotator
from descry.annotators.prompts import Task
from descry.errors import InputError
from descry.io.hashing import JSON


def create(
    spec: JSON,
    task: Task,
    *,
    max_descriptors: int | None = None,
    descriptors: dict[str, dict[str, int]] | None = None,
    corpus: Sequence[str] | None = None,
    free_text: bool = False,
    kept: Path | None = None,
) -> Annotator:
    """Make the annotator that a spec of params.yaml names, for one of the tasks.

    Args:
        max_descriptors: for p1, how many descriptors a sentence may get.
        descriptors: for all but p1, the raw descriptors (and their mentions) of every descriptor.
        corpus: for all but p1, the sentences that annotators without a generative model are fitted
            to.
        free_text: whether p2 is about descriptions in anybody's words, too, such as explanations.
        kept: the folder that an embedder's vectors of the corpus stay in.

    Raises:
        InputError: a person or words are to answer another question than p2.
    """
    match spec["kind"]:
        case "embedded":
            from descry.annotators.embedding.annotator import EmbeddedAnnotator
            from descry.models.checkpoints import Checkpoint

            checkpoint = Checkpoint(spec["model"], spec["revision"], spec.get("pickled", False))
            return EmbeddedAnnotator(
                checkpoint, max_descriptors, descriptors, corpus, free_text, kept
            )
        case "transformers":
            from descry.annotators.huggingface.annotator import GenerativeAnnotator

            return GenerativeAnnotator(task, **_options(spec))
        case "openai":
            from descry.annotators.openai_server.annotator import EndpointAnnotator

            return EndpointAnnotator(task, **_options(spec), max_descriptors=max_descriptors)
        case "llama_cpp":
            from descry.annotators.llama_cpp.annotator import LlamaCppAnnotator

            return LlamaCppAnnotator(task, **_options(spec))
        case "vllm":
            from descry.annotators.vllm.annotator import VllmAnnotator

            return VllmAnnotator(task, **_options(spec))
        case "ctranslate2":
            from descry.annotators.ctranslate2.annotator import CTranslate2Annotator

            return CTranslate2Annotator(task, **_options(spec))
        case "human":
            from descry.annotators.human.annotator import HumanAnnotator

            if task in ("intruder", "simulation"):
                raise InputError(
                    f"{spec['model']} (human): people answer only p2, through the sheet: name"
                    f" another annotator for {task}, or leave it out (score.scorers)"
                )
            return HumanAnnotator(**_options(spec))
        case "words":
            from descry.annotators.words.annotator import WordsAnnotator

            if free_text:
                raise InputError("words: they know only the descriptors: name another annotator")
            if task in ("intruder", "simulation"):
                raise InputError(
                    f"words: they answer only p2: name another annotator for {task}, or leave it"
                    " out (score.scorers)"
                )
            return WordsAnnotator(descriptors or {}, corpus or ())
    raise AssertionError(spec["kind"])


def _options(spec: JSON) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "kind"}
