"""What the cache keeps of a prompt and its answer."""

from descry.annotators.base import Annotator, Answer, Frame
from descry.annotators.prompts import Prompt
from descry.corpus.splits import sentence_id
from descry.io.hashing import JSON
from descry.io.provenance import versions


def row_of(prompt: Prompt) -> JSON:
    """What an audit needs to render a prompt again."""
    ids = [sentence_id(sentence) for sentence in prompt.shown]
    row: JSON = {"sentence": ids if prompt.several else ids[0]}
    if prompt.task in ("p2", "simulation"):
        row["descriptor"] = prompt.descriptor
    return row


def record_of(row: JSON, answer: Answer) -> JSON:
    """A prompt's row beside its answer."""
    record = {"response": answer.response} | row
    if any(answer.tokens):
        record["tokens"] = list(answer.tokens)
    return record | ({"cut": answer.cut} if answer.cut else {})


def failure_of(row: JSON, answer: Answer, reason: str, model: str, task: str) -> JSON:
    """A prompt's row beside what came instead of an answer.

    The response is kept as repr: what failed need not be JSON (a NaN is not).
    """
    said = {"reason": reason, "response": repr(answer.response)}
    return {"sentence": row["sentence"], "model": model, "task": task} | said


def origin_of(annotator: Annotator, frame: Frame, prompt: Prompt) -> JSON:
    """What all answers to one template by one annotator have in common."""
    common = {"task": prompt.task, "template": list(prompt.template), "frame": list(frame)}
    made: JSON = {"versions": versions(annotator.packages)}
    if annotator.quantization is not None:
        made |= {"quantization": annotator.quantization}
    where = {} if annotator.server is None else {"server": annotator.server}
    return annotator.identity.as_json() | common | where | made
