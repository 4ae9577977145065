"""What constrained answers save: shapes of answers from the field, as the plain parser reads them.

For each file of shapes: how many the parser reads right, how many it counts as failures, and how
many of those a server that obeys the constraint could not have written. That is no accuracy: where
a model refuses, cannot decide or has nothing to say, a constraint makes it write something all the
same. So failures of form alone are counted apart.

    python benchmarks/constrained.py p1=tests/answers_p1.jsonl p2=REPORTS/p2-answers.jsonl
"""

import argparse
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
from rich.console import Console
from rich.table import Table

from descry.annotators.openai_server.constraints import constraints
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError

MOST, WORDS = 5, 4  # topics of an answer, and words of a topic
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
    parsers = {
        "p1": partial(parse_topics, max_descriptors=MOST, max_words=WORDS),
        "p2": partial(parse_verdict, min_mass=0.1),
    }
    counts, reasons, form = Counter[str](), Counter[str](), 0
    for line in path.read_text("utf-8").splitlines():
        shape = json.loads(line)
        text, counts["shapes"] = shape["answer"], counts["shapes"] + 1
        impossible = not can_be(task, text)
        counts["impossible under the constraint"] += impossible
        try:
            said = parsers[task]({"text": text, "finish": shape.get("finish", "stop")})
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="+", metavar="TASK=FILE", help="p1=FILE or p2=FILE")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    for given in arguments.shapes:
        task, _, name = given.partition("=")
        figures[f"{task} {Path(name).name}"] = measured(task, Path(name))
    figures["cut off"] = cut_off()
    table = Table("shapes", "what", "figure")
    for name, found in figures.items():
        for what, value in found.items():
            table.add_row(name, what, str(value))
    Console(width=140).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
