"""What constrained answers save: shapes of answers from the field, as the plain parser reads them.

For each file of shapes: how many the parser reads right, how many it counts as failures, and how
many of those a server that obeys the constraint could not have written. That is no accuracy: where
a model refuses, cannot decide or has nothing to say, a constraint makes it write something all the
same. So failures of form alone are counted apart.

    python benchmarks/constrained.py p1=tests/answers_p1.jsonl p2=REPORTS/p2-answers.jsonl

With a server, such as llama.cpp's, its model is asked about some reviews in words, with the key
`constrain` and without:

    python benchmarks/constrained.py --server http://127.0.0.1:8080/v1 --number 16
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
from annotation import ROOT, reviews
from rich.console import Console
from rich.table import Table

from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.openai_server.annotator import reported_model
from descry.annotators.openai_server.constraints import constraints
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p1, p2
from descry.annotators.templates import p1_template

MOST, WORDS = 5, 4  # topics of an answer, and words of a topic
PARSERS: dict[str, Callable[[Any], Any]] = {
    "p1": partial(parse_topics, max_descriptors=MOST, max_words=WORDS),
    "p2": partial(parse_verdict, min_mass=0.1),
}
# The example that p1 shows.
SENTENCE = "Great sound for the price; the battery lasts two days."
TOPICS = ["Sound", "Price", "Battery life"]
# Failures of what is said, not of its form.
CONTENT = (
    "refusal",
    "both Yes and No",
    "neither Yes nor No",
    "empty answer",
    "no topic in it",
    "retells the prompt",
    f"no phrase of at most {WORDS} words",
)


def can_be(task: str, text: str) -> bool:
    """Whether a server that obeys the first constraint of a task can write this text."""
    sent = json.loads(constraints(task, MOST)[0].sent)  # type: ignore[arg-type]
    if task == "p2":
        return text in sent["structured_outputs"]["choice"]
    try:
        schema = sent["response_format"]["json_schema"]["schema"]
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def is_right(said: Any, right: Any) -> bool:
    """Whether what was read is what a person reads; a verdict may have several right readings."""
    if isinstance(right, str):
        if right.startswith("no topic"):
            return said == []
        return said is not None and right.startswith("Yes" if said.yes else "No")
    return [] if right is None else [t.lower() for t in right] == [t.lower() for t in said]


def measured(task: str, path: Path) -> dict[str, Any]:
    """The counts of a file of shapes, and the reasons of its failures."""
    counts, reasons, form = Counter[str](), Counter[str](), 0
    for line in path.read_text("utf-8").splitlines():
        shape = json.loads(line)
        text, counts["shapes"] = shape["answer"], counts["shapes"] + 1
        impossible = not can_be(task, text)
        counts["impossible under the constraint"] += impossible
        try:
            said = PARSERS[task]({"text": text, "finish": shape.get("finish", "stop")})
        except UnparsableError as reason:
            counts["failures"] += 1
            counts["failures, impossible"] += impossible
            reasons[str(reason)] += 1
            form += impossible and str(reason) not in CONTENT
        else:
            counts["read right" if is_right(said, shape["right"]) else "read otherwise"] += 1
    return dict(counts) | {"failures, impossible, of form alone": form, "reasons": dict(reasons)}


def cut_off() -> dict[str, str]:
    """What the parser makes of answers that ran out of tokens, as lists and as JSON."""
    found = {}
    for text in ("battery life, price, sou", '{"topics": ["battery life", "price", "sou'):
        try:
            said = parse_topics({"text": text, "finish": "length"}, MOST, WORDS)
            found[text] = ", ".join(said)
        except UnparsableError as reason:
            found[text] = f"failure: {reason}"
    return found


def asked(url: str, task: str, texts: list[str], constrain: dict[str, bool]) -> dict[str, Any]:
    """The failures of a server's model, and three of its answers."""
    spec = {
        "kind": "openai", "model": "default", "revision": "unpinned", "dtype": "unknown",
        "base_url": url, "api_key_env": None, "max_new_tokens": 40, "concurrency": 1,
        "timeout": 300.0, "retries": 0, "price": None,
    }  # fmt: skip
    spec |= {"revision": reported_model(spec)} | constrain
    who, tally, said = create(spec, task, max_descriptors=MOST), Counts(), list[Any]()  # type: ignore[arg-type]
    who._chat.top = 0  # type: ignore[attr-defined]  # words, also where there are log-probabilities
    shape = p1_template(MOST, [{"sentence": SENTENCE, "concepts": TOPICS}])
    prompts = p1(texts, shape) if task == "p1" else p2(texts, ["Price"])
    with TemporaryDirectory() as folder, PromptCache(Path(folder)) as cache:
        how = AskOptions("benchmark", cache, 1.0, False, lambda *_: None)
        for chunk in answer_prompts(how, who, prompts, PARSERS[task], tally):
            said += chunk.responses
    found = json.loads(who.identity.decoding).get("constrained", {})
    shown = [one["text"] for one in said if one][:3]
    failed = {"failures": tally.failed, "reasons": dict(tally.failures)}
    return {"prompts": len(said), "constraint": ", ".join(found), **failed, "answers": shown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", metavar="TASK=FILE", help="p1=FILE or p2=FILE")
    parser.add_argument("--server", help="address of a server whose model is asked")
    parser.add_argument("--number", type=int, default=16, help="of reviews")
    parser.add_argument("--reviews", type=Path, default=ROOT / "data/sample")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    for given in arguments.shapes:
        task, _, name = given.partition("=")
        figures[f"{task} {Path(name).name}"] = measured(task, Path(name))
    figures["cut off"] = cut_off()
    if arguments.server:
        texts = reviews(arguments.reviews, arguments.number)
        for task in PARSERS:
            for name, key in (("plain", {}), ("constrained", {"constrain": True})):
                figures[f"{task}, {name}"] = asked(arguments.server, task, texts, key)
    table = Table("shapes", "what", "figure")
    for name, found in figures.items():
        for what, value in found.items():
            table.add_row(name, what, str(value))
    Console(width=140).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
