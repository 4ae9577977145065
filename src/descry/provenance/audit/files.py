"""The files, params, code and versions on the way to the labels, and whether they are unchanged."""

from collections.abc import Callable

from descry.io.dvc_files import files_of, md5
from descry.io.hashing import JSON, digests
from descry.provenance.audit.evidence import File, Step
from descry.provenance.audit.project import STAGES, Project

# Larger files and folders are not hashed for a look at one neuron: `descry verify` reads them.
READ = 2**28  # bytes
UNCHANGED, CHANGED, GONE, UNREAD = "unchanged", "CHANGED SINCE", "not here", "not read: too large"
Look = Callable[[str], File]


def steps(project: Project) -> list[Step]:
    """The stages on the way to the labels, the first first."""
    looked: dict[str, File] = {}
    used = {path: sha for made in project.made.values() for path, sha in made["inputs"].items()}
    locked = {
        path: md5
        for stage in project.locked.values()
        for path, md5 in {**stage.deps, **stage.outs}.items()
    }

    def look(path: str) -> File:
        if path not in looked:
            looked[path] = _file(project, path, locked.get(path), used.get(path))
        return looked[path]

    return [_step(project, stage, project.made[stage], look) for stage in STAGES]


def _step(project: Project, stage: str, made: JSON, look: Look) -> Step:
    lock = project.locked.get(stage)
    out = f"results/{STAGES[stage]}"
    code = lock.code if lock else []
    inputs = dict.fromkeys([*made["inputs"], *(lock.deps if lock else [])])
    return Step(
        stage,
        made["params"],
        made["versions"],
        [look(path) for path in inputs if path not in code],
        [look(path) for path in (lock.outs if lock else [out])],
        [look(path) for path in code],
    )


def _file(project: Project, path: str, locked: str | None, used: str | None) -> File:
    place, root = project.place(path), project.root
    if not place.exists():
        state = GONE
    elif sum(file.stat().st_size for file in files_of(place, root).values()) > READ:
        state = UNREAD
    elif place.is_dir():
        state = UNCHANGED if locked in (None, md5(place, root)) else CHANGED
    else:
        found = digests(place)
        same = locked in (None, found.md5) and used in (None, found.sha256)
        state = UNCHANGED if same else CHANGED
    return File(path, state, locked, used)
