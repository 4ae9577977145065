"""A synthetic run that benchmarks read: files as the stages write them, where a model would.

Paths in the files are relative to the run's folder, which is the current one.
"""

import json
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from activations import BLOCK, write_noise

from descry.annotators.annotations import writing_annotations
from descry.annotators.base import Identity
from descry.annotators.templates import p1_template
from descry.corpus.splits import HALVES, sentence_id
from descry.io.json_files import write_json
from descry.io.parquet import write_table
from descry.io.provenance import provenance
from descry.models.checkpoints import MINILM_SHA256
from descry.workflow.dag import rule_files
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent
DESCRIPTORS, PHRASES = 26, 100  # and raw descriptors of each
EXAMPLE = {"sentence": "The price was fair.", "concepts": ["price"]}
FRAME = ["", ""]
WHO = Identity("scripted", "scripted", "v1", "none", "none")
Params = dict[str, Any]


def say(what: str) -> None:
    print(f"making {what}", file=sys.stderr, flush=True)


def descry(stage: str) -> None:
    """Run a stage with the params and files of the folder."""
    command = [sys.executable, "-m", "descry", "stage", stage, *files_of(stage)]
    subprocess.run(command, check=True)


def files_of(stage: str) -> list[str]:
    """The files of a stage by its rule; those of the user's by the folder's params."""
    params = load(Path("params.yaml"))
    own = {"reviews": params.corpus.reviews, "edits": params.cluster.edits}
    own["gold"] = params.evaluate.gold
    with chdir(ROOT):
        named = [word.partition("=") for word in rule_files(stage)]
    return [*dict.fromkeys(f"{name}={own.get(name, path)}" for name, _, path in named)]


def sections(**changed: dict[str, Any]) -> Params:
    """The shipped params, with what the paper has otherwise; as params.yaml of the folder."""
    params = load(ROOT / "params.yaml").model_dump()
    params["corpus"] |= {"reviews": "reviews.jsonl", "text_fields": ["text"]}
    params["cluster"] |= {"edits": "edits.yaml"}
    params["evaluate"] |= {"gold": "gold.jsonl"}
    params["exemplars"] |= {"top_percent": 1.0}
    params["label"] |= {"threshold": 0.07, "broad": 1.0}
    params["describe"] |= {"examples": [EXAMPLE]}
    for section, values in changed.items():
        params[section] |= values
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    Path("edits.yaml").write_text("drop: []\n", encoding="utf-8")
    return params


def write_corpus(texts: list[str], params: Params) -> None:
    texts = [" ".join(text.split()) for text in texts]
    lines = (json.dumps({"text": text}) + "\n" for text in texts)
    Path("reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = sorted((sentence_id(text), text, line) for line, text in enumerate(texts, 1))
    ids, ordered, places = (list(column) for column in zip(*rows, strict=True))
    none = pa.nulls(len(ids), pa.string())
    table = pa.table(
        {
            "id": ids,
            "split": [HALVES[row % 2] for row in range(len(ids))],
            "category": ["reviews"] * len(ids),
            "text": ordered,
            "summary": none,
            "overall": pa.nulls(len(ids), pa.float64()),
            "asin": none,
            "reviewer": none,
            "time": pa.nulls(len(ids), pa.int64()),
            "source": ["reviews.jsonl"] * len(ids),
            "line": places,
        }
    )
    made = provenance("corpus", params["corpus"], [Path("reviews.jsonl")], []) | {"dropped": {}}
    write_table(Path("results/corpus.parquet"), table, made)


def write_candidates(rows: dict[str, list[str]], params: Params) -> None:
    """Raw descriptors (columns id, annotator, phrase and key), and their clusters."""
    made = provenance("describe", params["describe"], [Path("results/corpus.parquet")], [])
    made |= {"annotators": [WHO.as_json() | {"frame": FRAME}], "examples": [EXAMPLE]}
    made |= {"template": [*p1_template(5, [EXAMPLE])]}
    write_table(Path("results/candidates.parquet"), pa.table(rows), made)
    write_clusters(rows["phrase"], params)


def write_clusters(given: list[str], params: Params) -> None:
    """Descriptor d is made of 100 phrases; it is named by hand nowhere."""
    phrases, counts = np.unique(given, return_counts=True)
    mentions = dict(zip(phrases.tolist(), counts.tolist(), strict=True))
    entries = []
    for d in range(DESCRIPTORS):
        own = [f"phrase {i}" for i in range(d * PHRASES, (d + 1) * PHRASES)]
        of = {phrase: mentions[phrase] for phrase in own if phrase in mentions}
        total = sum(of.values())
        entry = {"name": f"descriptor {d}", "mentions": total, "phrases": of}
        entries.append(entry | {"edited_from": ["a name"]})
    Path("edits.yaml").write_text(
        yaml.safe_dump({"rename": {f"phrase {d}": f"descriptor {d}" for d in range(DESCRIPTORS)}}),
        encoding="utf-8",
    )
    inputs = [Path("results/candidates.parquet"), Path("edits.yaml")]
    made = provenance("cluster", params["cluster"], inputs, [])
    whole = {"made": made, "descriptors": entries, "dropped": [], "too_small": 0}
    write_json(Path("results/descriptors.json"), whole)


def lots(sentences: int) -> np.ndarray:
    """Answers by lot, int8 [sentences, descriptors]; the commoner the descriptor the more Yes."""
    rates = np.linspace(0.01, 0.2, DESCRIPTORS)
    return (np.random.default_rng(0).random((sentences, DESCRIPTORS)) < rates).astype(np.int8)


def write_annotations(
    ids: list[str], answer: np.ndarray, score: np.ndarray, params: Params
) -> None:
    inputs = [Path("results/corpus.parquet"), Path("results/descriptors.json")]
    made = provenance("annotate", params["annotate"], inputs, [])
    names, every = [f"descriptor {d}" for d in range(DESCRIPTORS)], np.ones(len(ids), dtype=bool)
    given = np.nonzero(answer >= 0)
    with writing_annotations(Path("results/annotations.h5"), ids, names, every, every) as b:
        b.put(*given, answer[given] == 1, score[given])
        b.sign(made, WHO.as_json(), FRAME)


def write_activations(sentences: int, layers: int, neurons: int, params: Params) -> None:
    """Noise."""
    section = params["activations"] | {"block": BLOCK}
    corpus = Path("results/corpus.parquet")
    made = provenance("activations", section, [corpus], [])
    made |= {"weights": MINILM_SHA256, "site": "ffn_output", "position": "cls", "sinks": 0}
    made |= {"layers": list(range(layers)), "tokenizer": "0" * 64}
    made |= {"max_tokens": 256}
    write_noise(Path("results/activations.h5"), made, corpus, (sentences, layers, neurons))


def write_sets_and_labels() -> None:
    """Exemplars and labels, by the stages themselves."""
    say("exemplars")
    descry("exemplars")
    say("label")
    descry("label")
