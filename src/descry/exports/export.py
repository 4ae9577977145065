"""Exports of a run in the forms that other tools read."""

from collections.abc import Sequence
from pathlib import Path

from descry.activations.store import TOKENS
from descry.errors import InputError
from descry.exports import circuit_tracer, csv_files, hf_dataset, neuronpedia
from descry.exports.contents import Explained, chosen_neurons, explained
from descry.exports.folder import export_folder
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.io.provenance import provenance, without_places
from descry.provenance.audit.project import Project

KINDS = ("neuronpedia", "circuit-tracer", "hf-dataset", "csv")
_READ = (
    "corpus.parquet",
    "exemplars.h5",
    "labels.parquet",
    "label_scores.parquet",
    "writes.parquet",
)
PACKAGES = ["h5py", "numpy", "pyarrow", "tokenizers", "torch", "transformers"]
_WITH = (
    "The texts, sentences and tokens, are of the corpus's reviews: other people's, who gave descry"
    " no rights in them. The terms of the corpus say who may pass them on; the licence of descry,"
    " or of this export, does not cover them."
)
_WITHOUT = "No text of a review is in it, nor any of its tokens; sentences are named by their ids."


def export(
    run: Project,
    kind: str,
    folder: str | Path,
    *,
    neurons: Sequence[str] | None = None,
    every: bool = False,
    exemplars: int = 20,
    sentences: bool = True,
    model: str | None = None,
    source_set: str | None = None,
    creator: str = neuronpedia.CREATOR,
) -> dict[str, int]:
    """Write labels with their scores, exemplars by token and histograms, in another tool's form.

    An export with texts loads the target, for the activations at tokens. Only the highest
    activations are exported. The same run at the same commit gives the same bytes.

    Args:
        run: an opened run.
        kind: form of the export: one of `KINDS`.
        folder: a new folder, or one that holds nothing but an unchanged export, which is replaced.
        neurons: names such as L5:50; None: the neurons with a label, or with `every` all neurons.
        every: whether neurons without a label are exported, too.
        exemplars: exemplars of each neuron, at most.
        sentences: whether the export has texts of reviews.
        model: for Neuronpedia: id of the model; None: made of the target's name.
        source_set: for Neuronpedia: id of the set of sources; None: made of the target's site.
        creator: for Neuronpedia: id of the account that owns the rows.

    Returns:
        How many neurons, labels, exemplars and files there are.

    Raises:
        InputError: no such kind or neuron; a result is missing; the target cannot be loaded; or the
            folder has other files.
    """
    if kind not in KINDS:
        raise InputError(f"export: no such kind: {kind}: there are {', '.join(KINDS)}")
    if exemplars < 1:
        raise InputError(f"export: {exemplars} exemplars: at least 1")
    source = _source(run, model, source_set, creator)
    chosen = chosen_neurons(run, neurons, every=every)
    found = explained(run, chosen, exemplars=exemplars, sentences=sentences)
    licence = _WITH if sentences else _WITHOUT
    told: dict[str, JSON] = {"kind": kind, "neurons": list(neurons) if neurons else None}
    told |= {"every": every, "exemplars": exemplars, "sentences": sentences}
    if kind == "neuronpedia":
        told |= {"model": source.model, "source_set": source.name, "creator": creator}
    with export_folder(Path(folder), _manifest(run, told, licence)) as place:
        match kind:
            case "csv":
                csv_files.write(found, place, sentences=sentences)
            case "hf-dataset":
                title = _title(run)
                hf_dataset.write(found, place, sentences=sentences, title=title, licence=licence)
            case "neuronpedia":
                neuronpedia.write(found, place, source)
            case "circuit-tracer":
                circuit_tracer.write(found, place, _title(run))
    return _counts(found, Path(folder))


def _counts(found: Sequence[Explained], folder: Path) -> dict[str, int]:
    return {
        "neurons": len(found),
        "labels": sum(len(one.labels) for one in found),
        "exemplars": sum(len(one.exemplars) for one in found),
        "files": sum(file.is_file() for file in folder.rglob("*")),
    }


def _manifest(run: Project, told: JSON, licence: str) -> JSON:
    read = [run.path(name) for name in _READ if run.has(name)]
    made = run.provenance("activations.h5")
    manifest = {
        "made": provenance("export", told, read, PACKAGES),
        "run": {
            "target": without_places(made["params"]["target"]),
            "weights": made["weights"],
            "site": made["site"],
            "position": made["position"],
            "unit": run.units.removesuffix(".parquet"),
            "labels": run.provenance("labels.parquet")["params"],
        },
        "commit": run.head.sha,
        "licence": licence,
    }
    if run.dictionary is not None:
        manifest["run"]["dictionary"] = without_places(run.dictionary)
    # How far labels in general hold, beside what chance gives: each label has its own numbers.
    evidence = run.metrics.get("headline") if run.has("metrics.json") else None
    return manifest | ({} if evidence is None else {"evidence": evidence})


def _title(run: Project) -> str:
    made = run.provenance("activations.h5")
    return f"{_name(run)}: labels of {run.kind}s of {made['site']}, by descry"


def _name(run: Project) -> str:
    """The target's own name, without its owner or its place."""
    target = str(run.provenance("activations.h5")["params"]["target"]["model"])
    return Path(target).name


def _source(
    run: Project, model: str | None, source_set: str | None, creator: str
) -> neuronpedia.Source:
    """What Neuronpedia is to call the neurons.

    Raises:
        InputError: a name is none that it takes.
    """
    made, dictionary = run.provenance("activations.h5"), run.dictionary
    own = f"descry-{dictionary['name'] if dictionary else made['site']}"
    given = {"--model": model, "--source-set": source_set}
    for option, name in given.items():
        if name is not None and name != neuronpedia.slug(name):
            raise InputError(f"{option} {name}: small letters, digits and single dashes")
    with reading_hdf5(run.path("exemplars.h5"), "exemplars") as file:
        sentences = len(file[TOKENS])
    return neuronpedia.Source(
        model=model or neuronpedia.slug(_name(run)),
        name=source_set or neuronpedia.slug(own),
        creator=creator,
        title=_title(run),
        owner=str(without_places(made["params"]["target"])["model"]),
        dataset=str(run.provenance("corpus.parquet")["params"]["reviews"]),
        sentences=sentences,
        max_tokens=int(made["max_tokens"]),
        layers=len(run.neurons.layers),
        width=run.neurons.width,
    )
