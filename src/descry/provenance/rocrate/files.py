"""The files of a run as data entities; those that are left out as entities of the same kind."""

import io
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from descry.io.hashing import sha256_text
from descry.provenance.rocrate.contents import ANSWERS, Content, Contents, Folder, Role
from descry.provenance.rocrate.entities import add, local
from descry.provenance.rocrate.run import WORKFLOW, Run

_ANEW = ", without absolute paths and passwords"
FORMATS = {
    ".css": "text/css",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".h5": "application/x-hdf5",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
}
_ABOUT = {
    "dvc.yaml": "The same stages for DVC, written from the Snakefile.",
    "LICENSE": "The licence of the code.",
    "pyproject.toml": "What the code requires.",
    "requirements.lock": "The exact versions that were tested.",
    "results/candidates.parquet": "Its metadata quote the example sentence of prompt p1, which is"
    " that of a review.",
}
_ANSWERS = (
    "Answers of the annotators from the prompt cache, by ids of sentences; the template of p1 in"
    " it quotes its example sentence, which is that of a review."
)
_TO_GET: dict[Role, str] = {
    "input": "It is an input: ask for it where it comes from; its md5 is {}.",
    "result": "In the project `dvc pull` or `git checkout` brings it, and `snakemake --cores all`"
    " makes it; its md5, as in dvc.lock, is {}.",
    "beside": "It is in the project's folder; its md5 is {}.",
}
UNKNOWN = "#licence-of-the-data"
_README = """\
# A run of descry

A [Workflow Run RO-Crate](https://w3id.org/ro/wfrun): `ro-crate-metadata.json` says which file came
of which files, by which program, params and annotator, with the sha256 of each. The labels are in
`results/labels.parquet` and `results/neurons.json`.

Described there, but not in the crate:

"""


def add_licences(crate: ROCrate, run: Run, files: Mapping[str, Entity]) -> list[Entity]:
    """The licence of the code where there is one, and that nobody here knows the reviews'."""
    data = add(
        crate,
        UNKNOWN,
        "CreativeWork",
        name="Licence of the data: not known",
        description="Nothing here says who may use the reviews, and what quotes them, for what:"
        " ask where they come from.",
    )
    if "LICENSE" not in files:
        return [data]
    text = (run.root / "LICENSE").read_text("utf-8", "replace")
    first = next(filter(None, map(str.strip, text.splitlines())), "LICENSE")
    code = files["LICENSE"]
    code.properties().update({"@type": ["File", "CreativeWork"], "name": first})
    return [code, data]


def add_files(crate: ROCrate, run: Run, held: Contents) -> dict[str, Entity]:
    """All files and folders of a run: by path."""
    entities = {path: _file(crate, content) for path, content in held.files.items()}
    for path, folder in held.folders.items():
        inside = all(held.files[part].absent is None for part in folder.parts)
        parts = [entities[part] for part in folder.parts]
        entities[path] = _folder(crate, folder, parts, inside and folder.absent is None)
    for path, text, form, about in (
        ("params.yaml", run.params, "application/yaml", f"The params of all stages{_ANEW}."),
        ("dvc.lock", run.lock, "application/yaml", f"What DVC recorded of every stage{_ANEW}."),
        ("README.md", _readme(held), "text/markdown", "What this crate holds."),
    ):
        properties = _properties(path, sha256_text(text), len(text.encode()))
        properties |= {"description": about, "encodingFormat": form}
        entities[path] = crate.add_file(io.StringIO(text), path, properties=properties)
    entities["README.md"]["about"] = crate.root_dataset
    entities["dvc.yaml"]["isBasedOn"] = entities[WORKFLOW]
    return entities


def _readme(held: Contents) -> str:
    around = {part: f"{f.path}/" for f in held.folders.values() for part in f.parts}
    absent = [content for content in held.files.values() if content.absent is not None]
    counts = Counter((around.get(content.path, content.path), content.absent) for content in absent)
    whole = [folder for folder in held.folders.values() if folder.absent is not None]
    counts.update({(f"{folder.path}/", folder.absent): folder.count for folder in whole})
    lines = [
        f"- `{path}`{f' ({count} files)' if path.endswith('/') else ''}: {why}"
        for (path, why), count in counts.items()
    ]
    return _README + "\n".join(lines or ["- nothing"]) + "\n"


def _file(crate: ROCrate, content: Content) -> Entity:
    properties = _properties(content.path, content.sha256, content.size)
    if content.quotes:
        properties["license"] = {"@id": UNKNOWN}
    about = _ABOUT.get(content.path, _ANSWERS if content.path.startswith(ANSWERS) else "")
    if content.absent is None:
        if about:
            properties["description"] = about
        if content.path == WORKFLOW:
            return crate.add_workflow(
                content.place, WORKFLOW, properties=properties, main=True, lang="snakemake"
            )
        return crate.add_file(content.place, content.path, properties=properties)
    why = _left_out(content.absent, content.role, content.md5)
    properties["description"] = " ".join(filter(None, [why, about]))
    return add(crate, local(content.path), "File", **properties)


def _properties(path: str, sha256: str, size: int) -> dict[str, object]:
    form = FORMATS.get(PurePosixPath(path).suffix, "text/plain")
    return {"name": path, "encodingFormat": form, "sha256": sha256, "contentSize": str(size)}


def _folder(crate: ROCrate, folder: Folder, parts: list[Entity], inside: bool) -> Entity:
    properties: dict[str, object] = {"name": folder.path, "hasPart": parts}
    if folder.quotes:
        properties["license"] = {"@id": UNKNOWN}
    if inside:
        return crate.add_dataset(None, folder.path, properties=properties)
    if folder.absent is not None:
        why = _left_out(folder.absent, "result", folder.md5)
        properties["description"] = f"{why} It has {folder.count} files."
    return add(crate, local(folder.path) + "/", "Dataset", **properties)


def _left_out(reason: str, role: Role, md5: str) -> str:
    return f"Not in this crate: {reason}. {_TO_GET[role].format(md5)}"
