"""The description of a run, as ro-crate-metadata.json holds it.

It follows Provenance Run Crate 0.5 (Leo et al. 2024) on RO-Crate 1.1: which file came of which
files by which program, params and annotator, with the hash of each.
"""

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from descry.annotators.human.annotator import HUMAN
from descry.io.dvc_lock import Locked
from descry.io.hashing import JSON, canonical, sha256_text
from descry.io.provenance import versions
from descry.models.neurons import whose
from descry.provenance.rocrate.sources import (
    ANSWERS,
    WORKFLOW,
    Content,
    CrateSources,
    Role,
    is_code,
)

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
# Not in the context of RO-Crate 1.1.
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
TYPES = {bool: "Boolean", int: "Integer", float: "Float"}
FORMATS = {
    ".css": "text/css",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".h5": "application/x-hdf5",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
}
UNKNOWN = "#licence-of-the-data"
_DONE = {"actionStatus": "http://schema.org/CompletedActionStatus"}
_ANEW = ", without absolute paths and passwords"
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
_README = """\
# A run of descry

A [Workflow Run RO-Crate](https://w3id.org/ro/wfrun): `ro-crate-metadata.json` says which file came
of which files, by which program, params and annotator, with the sha256 of each. The labels are in
`results/labels.parquet` and `results/neurons.json`.

Described there, but not in the crate:

"""


class Description:
    """A run's files, and the actions that made each of them.

    Attributes:
        crate: the whole, which writes itself.
        files: the entities of files and folders by path.
        values: the entities of params by dotted key.
    """

    def __init__(self, sources: CrateSources, held: Mapping[str, Content]) -> None:
        """Describe a run, which stands in a project's folder, and the files that are held of it."""
        self.sources, self.held = sources, held
        self.crate, self.engine = ROCrate(version="1.1"), versions(["snakemake"])["snakemake"]
        self.crate.metadata.extra_terms.update(TERMS)
        self.files: dict[str, Entity] = {}
        self.values: dict[str, Entity] = {}
        self._add_files()
        self._describe_root()
        self._describe_workflow()
        self._add_parameters()
        self._add_actions()
        for properties in (entity.properties() for entity in self.crate.get_entities()):
            # A list of one is written as that one, and no list of none, as the profile wants it.
            for name, value in list(properties.items()):
                if value == []:
                    del properties[name]
                elif isinstance(value, list) and len(value) == 1:
                    properties[name] = value[0]

    def _add(self, identifier: str, kind: str, /, **properties: object) -> Entity:
        """Add an entity that is not a file of the crate."""
        properties = {"@type": kind, **properties}
        return self.crate.add(ContextEntity(self.crate, identifier, properties=properties))

    def _add_value(self, identifier: str, key: str, value: JSON) -> Entity:
        """Add a value under its name; what is no number, text or truth value, as JSON."""
        plain = value if isinstance(value, bool | int | float | str) else canonical(value)
        return self._add(identifier, "PropertyValue", name=key, value=plain)

    def _add_values(self, identifier: str, values: Mapping[str, JSON]) -> list[Entity]:
        return [self._add_value(f"{identifier}/{key}", key, values[key]) for key in values]

    def _add_files(self) -> None:
        for path, content in self.held.items():
            describe = self._folder if content.is_folder else self._file
            self.files[path] = describe(path, content)
        for path, text, about in (
            ("params.yaml", self.sources.params, f"The params of all stages{_ANEW}."),
            ("dvc.lock", self.sources.lock, f"What DVC recorded of every stage{_ANEW}."),
            ("README.md", _readme(self.held), "What this crate holds."),
        ):
            properties = _properties(path, sha256_text(text), len(text.encode()))
            properties |= {"description": about}
            self.files[path] = self.crate.add_file(io.StringIO(text), path, properties=properties)
        self.files["README.md"]["about"] = self.crate.root_dataset
        self.files["dvc.yaml"]["isBasedOn"] = self.files[WORKFLOW]

    def _file(self, path: str, content: Content) -> Entity:
        properties = _properties(path, content.sha256, content.size)
        if content.quotes:
            properties["license"] = {"@id": UNKNOWN}
        about = _ABOUT.get(path, _ANSWERS if path.startswith(ANSWERS) else "")
        if content.absent is not None:
            description = f"{_left_out(content)} {about}".rstrip()
            return self._add(_local(path), "File", description=description, **properties)
        if about:
            properties["description"] = about
        if path == WORKFLOW:
            kind = {"main": True, "lang": "snakemake", "lang_version": self.engine}
            return self.crate.add_workflow(content.place, path, properties=properties, **kind)
        return self.crate.add_file(content.place, path, properties=properties)

    def _folder(self, path: str, folder: Content) -> Entity:
        parts = [self.files[part] for part in folder.parts]
        properties: dict[str, object] = {"name": path, "hasPart": parts}
        if folder.quotes:
            properties["license"] = {"@id": UNKNOWN}
        if folder.absent is not None:
            properties["description"] = f"{_left_out(folder)} It has {folder.count} files."
        elif all(self.held[part].absent is None for part in folder.parts):
            return self.crate.add_dataset(None, path, properties=properties)
        return self._add(_local(path) + "/", "Dataset", **properties)

    def _describe_root(self) -> None:
        crate, sources = self.crate, self.sources
        titles = (sources.values(stage).get("report.title") for stage in sources.stages)
        crate.name = next(filter(None, titles), "A run of descry")
        crate.description = (
            "A run of descry: the neurons of a text model, labelled with descriptors that were"
            " found in reviews (Mondal et al. 2024), with all that made the labels. Files that are"
            " left out are described with their hashes."
        )
        crate.datePublished = sources.date
        licence = self._add(
            UNKNOWN,
            "CreativeWork",
            name="Licence of the data: not known",
            description="Nothing here says who may use the reviews, and what quotes them, for what:"
            " ask where they come from.",
        )
        crate.license = [licence]
        if code := self.files.get("LICENSE"):
            text = (sources.root / "LICENSE").read_text("utf-8", "replace")
            first = next(filter(None, map(str.strip, text.splitlines())), "LICENSE")
            code.properties().update({"@type": ["File", "CreativeWork"], "name": first})
            crate.license = [code, licence]
        crate.root_dataset["conformsTo"] = [
            self._add(url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1])
            for url, name in PROFILES.items()
        ]

    def _describe_workflow(self) -> None:
        workflow, head = self.files[WORKFLOW], self.sources.head
        workflow.properties()["@type"].append("HowTo")  # it has steps
        workflow["conformsTo"] = {"@id": BIOSCHEMAS}
        if head.sha is not None:
            workflow["version"] = head.sha
        if head.sha is not None or head.unknown is not None:
            state = unknown = f"not known (git: {head.unknown})"
            if head.changed is not None:
                state = f"changed: {', '.join(head.changed)}" if head.changed else "clean"
            self.crate.root_dataset["additionalProperty"] = [
                self._add_value("#git/commit", "git commit", head.sha or unknown),
                self._add_value("#git/tree", "tracked files at the export", state),
            ]

    def _add_parameters(self) -> None:
        """Add every param, input and output of the workflow, and what it was in this run, once."""
        for stage in self.sources.stages:
            for key, value in self.sources.values(stage).items():
                if key not in self.values:
                    self.values[key] = self._add_value(_local("value", key), key, value)
                    self._add_parameter(key, TYPES.get(type(value), "Text"), self.values[key])
            read = {path: key for path, key in self.sources.inputs.items() if path in stage.deps}
            for path, key in (read | {out: out for out in stage.outs}).items():
                self._add_parameter(key, self.files[path].type, self.files[path])

    def _add_parameter(self, key: str, kind: str, example: Entity) -> None:
        identifier, extra = _local("param", key), {"workExample": {"@id": example.id}}
        example["exampleOfWork"] = self.crate.add_formal_parameter(
            key, kind, identifier, valueRequired=True, properties=extra
        )

    def _add_actions(self) -> None:
        """Add the run of the workflow, of each of its stages, and the engine that started them."""
        stages, inputs = self.sources.stages, self.sources.inputs
        tools = [self._tool(stage) for stage in stages]
        annotators = [list(map(self._annotator, self.sources.annotators(s))) for s in stages]
        targets = [self._target(stage) for stage in stages]
        steps: list[Entity] = []
        actions: list[Entity] = []
        controls: list[Entity] = []
        for stage, tool, agents, models in zip(stages, tools, annotators, targets, strict=True):
            name, about = stage.name, self.sources.about[stage.name]
            read = [self.files[path] for path in stage.deps if not is_code(path)]
            read += [self.values[key] for key in self.sources.values(stage)]
            made = [self.files[path] for path in stage.outs]
            tool["input"], tool["output"] = _parameters(read), _parameters(made)
            more: dict[str, object] = {"name": f"Stage {name}", "description": about, **_DONE}
            if agents:
                more["agent"] = agents
            run = self.crate.add_action(tool, _local("run", name), [*read, *models], made, more)
            more = {"name": name, "position": str(len(steps)), "workExample": tool}
            step = self._add(_local("step", name), "HowToStep", **more)
            more = {"@type": "ControlAction", "name": f"The job of stage {name}"}
            job = self.crate.add_action(step, _local("control", name), run, properties=more)
            steps, actions, controls = [*steps, step], [*actions, run], [*controls, job]
        workflow = self.files[WORKFLOW]
        read = [self.files[path] for s in stages for path in s.deps if path in inputs]
        read += self.values.values()
        made = [self.files[path] for stage in stages for path in stage.outs]
        workflow["input"], workflow["output"] = _parameters(read), _parameters(made)
        workflow["hasPart"], workflow["step"] = tools, steps
        about = "All stages of the workflow, from the reviews to the labels and the report."
        more = {"name": "The run", "description": about, **_DONE}
        run = self.crate.add_action(workflow, "#run", read, made, more)
        more = {"@type": "OrganizeAction", "name": "Snakemake, which started the stages", **_DONE}
        snakemake = self._package("snakemake", self.engine)
        self.crate.add_action(snakemake, "#engine", controls, run, more)
        self.crate.root_dataset["mentions"] = [run, *actions]

    def _package(self, name: str, version: str) -> Entity:
        """A Python package by its package URL."""
        url = f"pkg:pypi/{name}@{quote(version)}"
        about = {"name": name, "softwareVersion": version}
        return self.crate.get(url) or self._add(url, "SoftwareApplication", **about)

    def _tool(self, stage: Locked) -> Entity:
        """The program of a stage: its source, and the packages that its results name."""
        versions = self.sources.made(stage).get("versions", {})
        code = [path for path in stage.deps if is_code(path) and path != WORKFLOW]
        return self._add(
            _local("tool", stage.name),
            "SoftwareApplication",
            name=f"descry {stage.name}",
            description=self.sources.about[stage.name],
            hasPart=[self.files[path] for path in code],
            softwareRequirements=[self._package(*item) for item in sorted(versions.items())],
            **({"softwareVersion": versions["descry"]} if "descry" in versions else {}),
        )

    def _annotator(self, who: Mapping[str, str]) -> Entity:
        """Who answered prompts: a model of a revision, or a person."""
        known = {name: who[name] for name in ("model", "revision", "dtype", "decoding")}
        name = _local("annotator", sha256_text(canonical(known))[:16])
        if name in self.crate:
            return self.crate.get(name)
        about: dict[str, object] = {"name": who["name"]}
        about["additionalProperty"] = self._add_values(name, known)
        if who["model"].startswith(HUMAN):
            return self._add(name, "Person", **about)
        return self._add(name, "SoftwareApplication", softwareVersion=who["revision"], **about)

    def _target(self, stage: Locked) -> list[Entity]:
        """The model whose neurons are explained, of a stage that ran it."""
        made = self.sources.made(stage)
        if "weights" not in made:
            return []
        params = made["params"]  # of a stage's section, or of several by their names
        target = params.get("target") or params["activations"]["target"]
        name = _local("model", target["model"])
        told = ("weights", "quantization", "tokenizer", "site", "position", "sinks")
        known = {k: made[k] for k in told if k in made}
        if dictionary := made.get("dictionary"):
            known["dictionary"] = whose(dictionary)
        about = "The model whose neurons are explained; the hash of its weights is a sha256."
        return [
            self.crate.get(name)
            or self._add(
                name,
                "CreativeWork",
                name=target["model"],
                version=target["revision"],
                description=about,
                additionalProperty=self._add_values(name, known),
            )
        ]


def _local(*names: str) -> str:
    """The id of something that is no file of the crate, such as #value/label.threshold."""
    return "#" + "/".join(map(quote, names))


def _parameters(examples: Iterable[Entity]) -> list[Entity]:
    return [example["exampleOfWork"] for example in examples]


def _properties(path: str, sha256: str, size: int) -> dict[str, object]:
    form = FORMATS.get(PurePosixPath(path).suffix, "text/plain")
    if path == "dvc.lock":
        form = FORMATS[".yaml"]
    return {"name": path, "encodingFormat": form, "sha256": sha256, "contentSize": str(size)}


def _left_out(content: Content) -> str:
    return f"Not in this crate: {content.absent}. {_TO_GET[content.role].format(content.md5)}"


def _readme(held: Mapping[str, Content]) -> str:
    """What the crate holds, and what is left out: file by file, or a folder with their number."""
    around = {part: f"{path}/" for path, folder in held.items() for part in folder.parts}
    around |= {path: f"{path}/" for path, content in held.items() if content.is_folder}
    counts: Counter[tuple[str, str]] = Counter()
    for path, content in held.items():
        if content.absent is not None:
            counts[around.get(path, path), content.absent] += content.count
    lines = [
        f"- `{path}`{f' ({count} files)' if path.endswith('/') else ''}: {why}\n"
        for (path, why), count in counts.items()
    ]
    return _README + ("".join(lines) or "- nothing\n")
