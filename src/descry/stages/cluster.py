"""Stage cluster: candidates -> descriptors.json (section 3.1)."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from descry.errors import InputError
from descry.io.json_files import write_json
from descry.io.parquet import ROW_GROUP, read_blocks
from descry.io.provenance import provenance
from descry.io.read_provenance import provenance_of
from descry.io.section import Count, Place, Section, Threshold
from descry.io.yaml_files import read_yaml
from descry.labels.clustering import ANY, Descriptor, Edited, Edits, apply_edits, cluster, describe
from descry.labels.neighbours import WHOLE, check_rows
from descry.models.checkpoints import Checkpoint
from descry.models.embedder import sentence_embedder
from descry.models.spec import Model

_SHOWN = 8  # edits named in the summary
PACKAGES = ["scikit-learn", "sentence-transformers", "torch", "transformers"]


class Cluster(Section):
    """Raw descriptors to descriptors (section 3.1)."""

    embedder: Model
    method: Literal["community", "agglomerative"]
    threshold: Threshold
    min_size: Count
    min_mentions: Count
    max_descriptors: Count
    edits: Place | None


def cluster_topics(
    params: Cluster, *, candidates: Path, edits: Path | None = None, descriptors: Path
) -> dict[str, int | str]:
    """Write the descriptors, the most mentioned first, and what was dropped with the reason.

    Edits made for another corpus are skipped, and the counts say so.

    Raises:
        InputError: the edits are malformed or do not say for which corpus they are, no cluster is
            large enough, or there are too many raw descriptors for the method.
    """
    wishes, passed_over = _edits_for(candidates, edits)
    counts = count(candidates)
    if not counts:
        raise InputError(f"{candidates}: no raw descriptor: no answer to p1 names a topic")
    phrases = sorted(counts)
    check_rows(len(phrases))
    checkpoint = Checkpoint(**params.embedder.model_dump())
    vectors = sentence_embedder(checkpoint)(phrases)
    clusters = cluster(vectors, params.method, params.threshold)
    found = describe(phrases, counts, vectors, clusters)
    least = params.min_size, params.min_mentions
    large = [d for d in found if len(d.phrases) >= least[0] and d.mentions >= least[1]]
    edited = apply_edits(large, wishes)
    ranked = sorted(edited.kept, key=lambda d: not d.edits)  # those named by hand come first
    chosen = {d.name for d in ranked[: params.max_descriptors]}
    beyond = ranked[params.max_descriptors :]
    kept = [descriptor for descriptor in edited.kept if descriptor.name in chosen]
    if len(kept) < 2:
        raise InputError(
            f"{candidates}: {len(kept)} clusters of at least {least[0]} raw descriptors and"
            f" {least[1]} mentions: lower cluster.min_size, min_mentions or threshold"
        )
    inputs = [candidates] if edits is None else [candidates, edits]
    packages = [*PACKAGES, *(["faiss-cpu"] if len(phrases) > WHOLE else [])]
    dropped = [_entry(d) | {"reason": "dropped by hand"} for d in edited.dropped]
    dropped += [_entry(d) | {"reason": "beyond cluster.max_descriptors"} for d in beyond]
    write_json(
        descriptors,
        {
            "made": provenance("cluster", params.model_dump(), inputs, packages),
            "descriptors": [_entry(d) for d in kept],
            "dropped": dropped,
            "too_small": len(found) - len(large),
            "edits_passed_over": passed_over,
            "edits_applied": edited.applied,
            "edits_of_no_cluster": edited.unknown,
            "edits_overruled": edited.overruled,
        },
    )
    return {
        "raw descriptors": len(phrases),
        "clusters": len(large),
        "descriptors": len(kept),
    } | _told(edited, passed_over)


def _edits_for(candidates: Path, path: Path | None) -> tuple[Edits, str | None]:
    """The edits that act on a corpus's candidates, and why those in the file do not, if so.

    Raises:
        InputError: the file does not say for which corpus its edits are.
    """
    edits = Edits() if path is None else read_edits(path)
    corpus = provenance_of(candidates, "describe").get("corpus_id")
    if not edits or edits.are_for(corpus):
        return edits, None
    turned_on = f'write `corpus: "{corpus}"` (this corpus) or `corpus: {ANY}` in it'
    if edits.corpus is None:
        raise InputError(f"{path}: does not say for which corpus its edits are: {turned_on}")
    return Edits(), (
        f"{path} is for another corpus ({edits.corpus}) and was passed over; to use it, {turned_on}"
    )


def _told(edited: Edited, passed_over: str | None) -> dict[str, int | str]:
    """What the summary of the stage says of the edits."""
    if passed_over:
        return {"edits": passed_over}
    applied = [f"{name} ← {', '.join(old)}" for name, old in edited.applied.items()]
    applied += [f"dropped {descriptor.name}" for descriptor in edited.dropped]
    more = f"; {len(applied) - _SHOWN} more in descriptors.json" if len(applied) > _SHOWN else ""
    return {
        "edits applied": f"{len(applied)} ({'; '.join(applied[:_SHOWN])}{more})" if applied else 0,
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
        InputError: it is not of the form {corpus: c, rename: {a: b}, merge: {b: [a]}, drop: [a]}.
    """
    raw = read_yaml(path) or {}
    if not isinstance(raw, dict) or not set(raw) <= {"corpus", "rename", "merge", "drop"}:
        raise InputError(f"{path}: its keys are corpus, rename, merge and drop, nothing else")
    changes = raw.get("rename") or {}, raw.get("merge") or {}, raw.get("drop") or []
    edits = Edits(*changes, raw.get("corpus"))
    if edits.corpus is not None:
        _check(edits.corpus, str, path, f"corpus: {edits.corpus!r} is not text: put it in quotes")
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
