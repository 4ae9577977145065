"""What the cache keeps of a prompt and its answer."""

from descry.annotators.base import Annotator, Answer, Frame
from descry.annotators.prompts import Prompt
from descry.corpus.splits import sentence_id
from descry.io.hashing import JSON
from descry.io.provenance import versions


def record_of(prompt: Prompt, answer: Answer) -> JSON:
    """What an audit needs to render the prompt again, beside the response."""
    ids = [sentence_id(sentence) for sentence in prompt.shown]
    record = {"response": answer.response, "sentence": ids if prompt.several else ids[0]}
    if prompt.task in ("p2", "simulation"):
        record["descriptor"] = prompt.descriptor
    if any(answer.tokens):
        record["tokens"] = list(answer.tokens)
    return record | ({"cut": answer.cut} if answer.cut else {})


def origin_of(annotator: Annotator, frame: Frame, prompt: Prompt) -> JSON:
    """What all answers to one template by one annotator have in common."""
    common = {"task": prompt.task, "template": list(prompt.template), "frame": list(frame)}
    made: JSON = {"versions": versions(annotator.packages)}
    if annotator.quantization is not None:
        made |= {"quantization": annotator.quantization}
    where = {} if annotator.server is None else {"server": annotator.server}
    return annotator.identity.as_json() | common | where | made
