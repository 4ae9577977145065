"""Stage cluster: candidates -> descriptors.json (section 3.1)."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from descry.clusters import Descriptor, Edits, apply_edits, cluster, describe
from descry.errors import InputError
from descry.models import Checkpoint, sentence_embedder
from descry.storage import ROW_GROUP, provenance, read_blocks, read_yaml, write_json

PACKAGES = ["faiss-cpu", "scikit-learn", "sentence-transformers", "torch", "transformers"]


def run(
    candidates: Path,
    edits: Path,
    output: Path,
    *,
    section: dict[str, Any],
    embedder: dict[str, Any],
    method: Literal["community", "agglomerative"],
    threshold: float,
    min_size: int,
    min_mentions: int,
    max_descriptors: int,
) -> dict[str, int]:
    """Write the descriptors, the most mentioned first, and what was dropped with the reason.

    Raises:
        InputError: the edits are malformed, no cluster is large enough, or there are too many raw
            descriptors for the method.
    """
    counts = count(candidates)
    phrases = sorted(counts)
    checkpoint = Checkpoint(**embedder)
    vectors = sentence_embedder(checkpoint)(phrases)
    found = describe(phrases, counts, vectors, cluster(vectors, method, threshold))
    large = [d for d in found if len(d.phrases) >= min_size and d.mentions >= min_mentions]
    edited = apply_edits(large, read_edits(edits))
    ranked = sorted(edited.kept, key=lambda d: not d.edits)  # those named by hand come first
    chosen, beyond = {d.name for d in ranked[:max_descriptors]}, ranked[max_descriptors:]
    kept = [descriptor for descriptor in edited.kept if descriptor.name in chosen]
    if len(kept) < 2:
        raise InputError(
            f"{candidates}: {len(kept)} clusters of at least {min_size} raw descriptors and"
            f" {min_mentions} mentions: lower cluster.min_size, min_mentions or threshold"
        )
    dropped = [_entry(d) | {"reason": "dropped by hand"} for d in edited.dropped]
    dropped += [_entry(d) | {"reason": "beyond cluster.max_descriptors"} for d in beyond]
    write_json(
        output,
        {
            "made": provenance("cluster", section, [candidates, edits], PACKAGES),
            "descriptors": [_entry(d) for d in kept],
            "dropped": dropped,
            "too_small": len(found) - len(large),
            "edits_of_no_cluster": edited.unknown,
            "edits_overruled": edited.overruled,
        },
    )
    return {
        "raw descriptors": len(phrases),
        "clusters": len(large),
        "descriptors": len(kept),
        "edits of no cluster": len(edited.unknown),
        "edits overruled": len(edited.overruled),
    }


def count(candidates: Path) -> Counter[str]:
    """How often each raw descriptor was given.

    Raises:
        InputError: the file is missing or damaged.
    """
    counts: Counter[str] = Counter()
    for block in read_blocks(candidates, "describe", ["phrase"], ROW_GROUP):
        for found in block["phrase"].value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
    return counts


def _entry(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "name": descriptor.name,
        "mentions": descriptor.mentions,
        "phrases": dict(descriptor.phrases),
        "edited_from": list(descriptor.edits),
    }


def read_edits(path: Path) -> Edits:
    """Read data/descriptors.yaml.

    Raises:
        InputError: it is not of the form {rename: {a: b}, merge: {b: [a]}, drop: [a]}.
    """
    raw = read_yaml(path) or {}
    if not isinstance(raw, dict) or not set(raw) <= {"rename", "merge", "drop"}:
        raise InputError(f"{path}: its keys are rename, merge and drop, nothing else")
    edits = Edits(raw.get("rename") or {}, raw.get("merge") or {}, raw.get("drop") or [])
    _check(edits.rename, dict, path, "rename: a mapping from a phrase to a name")
    _check(edits.merge, dict, path, "merge: a mapping from a name to a list of phrases")
    _check(edits.drop, list, path, "drop: a list of phrases")
    for value in edits.merge.values():
        _check(value, list, path, "merge: a mapping from a name to a list of phrases")
    words = [*edits.rename, *edits.rename.values(), *edits.merge, *edits.drop]
    for word in words + [phrase for phrases in edits.merge.values() for phrase in phrases]:
        _check(word or None, str, path, f"{word!r} is not text: put it in quotes")
    return edits


def _check(value: object, kind: type, path: Path, advice: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{path}: {advice}")
