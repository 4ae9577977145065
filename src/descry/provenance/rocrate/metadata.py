"""The description of a run, as ro-crate-metadata.json holds it.

It follows Provenance Run Crate 0.5 (Leo et al. 2024) on RO-Crate 1.1: which file came of which
files by which program, params and annotator, with the hash of each.
"""

from collections.abc import Mapping

from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from descry.io.provenance import versions
from descry.provenance.rocrate.actions import add_actions
from descry.provenance.rocrate.contents import Contents
from descry.provenance.rocrate.entities import add, add_value, local
from descry.provenance.rocrate.files import add_files, add_licences
from descry.provenance.rocrate.run import WORKFLOW, Run

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
# Not in the context of RO-Crate 1.1.
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}


def described(run: Run, held: Contents) -> ROCrate:
    """The description of a run and its files."""
    crate, engine = ROCrate(version="1.1"), versions(["snakemake"])["snakemake"]
    crate.metadata.extra_terms.update(TERMS)
    files = add_files(crate, run, held)
    _describe_root(crate, run, files)
    _describe_workflow(crate, run, engine)
    add_actions(crate, run, files, engine)
    _compact(crate)
    return crate


def _describe_root(crate: ROCrate, run: Run, files: Mapping[str, Entity]) -> None:
    titles = [run.values(stage).get("report.title") for stage in run.stages]
    crate.name = next(filter(None, titles), "A run of descry")
    crate.description = (
        "A run of descry: the neurons of a text model, labelled with descriptors that were found in"
        " reviews (Mondal et al. 2024), with all that made the labels. Files that are left out are"
        " described with their hashes."
    )
    crate.datePublished = run.date
    crate.license = add_licences(crate, run, files)
    crate.root_dataset["conformsTo"] = [
        add(crate, url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1])
        for url, name in PROFILES.items()
    ]


def _describe_workflow(crate: ROCrate, run: Run, engine: str) -> None:
    workflow = crate.get(WORKFLOW)
    workflow.properties()["@type"].append("HowTo")  # it has steps
    workflow["conformsTo"] = {"@id": BIOSCHEMAS}
    workflow["programmingLanguage"]["version"] = engine
    head = run.head
    if head.sha is not None:
        workflow["version"] = head.sha
    if head.sha is not None or head.unknown is not None:
        why = f"not known (git: {head.unknown})"
        state = why if head.changed is None else _state(head.changed)
        crate.root_dataset["additionalProperty"] = [
            add_value(crate, local("git", "commit"), "git commit", head.sha or why),
            add_value(crate, local("git", "tree"), "tracked files at the export", state),
        ]


def _state(changed: list[str]) -> str:
    return f"changed: {', '.join(changed)}" if changed else "clean"


def _compact(crate: ROCrate) -> None:
    """Write a list of one as that one, and no list of none, as the profile wants it."""
    for entity in crate.get_entities():
        properties = entity.properties()
        for name, value in list(properties.items()):
            if value == []:
                del properties[name]
            elif isinstance(value, list) and len(value) == 1:
                properties[name] = value[0]
