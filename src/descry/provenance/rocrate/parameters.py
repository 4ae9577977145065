"""Params, inputs and outputs: slots of the workflow, and what was in them in this run."""

from collections.abc import Mapping
from dataclasses import dataclass

from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from descry.io.dvc_lock import Locked
from descry.provenance.rocrate.entities import TYPES, add_slot, add_value, local
from descry.provenance.rocrate.run import Run, is_code


@dataclass(frozen=True)
class Filled:
    """What was in the slots: the values of params by dotted key, files and folders by path."""

    run: Run
    values: Mapping[str, Entity]
    files: Mapping[str, Entity]

    def read(self, stage: Locked) -> list[Entity]:
        """What a stage had: its files, and the values of its params."""
        found = [self.files[path] for path in stage.deps if not is_code(path)]
        return found + [self.values[key] for key in self.run.values(stage)]

    def made(self, stage: Locked) -> list[Entity]:
        """What a stage made."""
        return [self.files[path] for path in stage.outs]


def add_slots(crate: ROCrate, run: Run, files: Mapping[str, Entity]) -> Filled:
    """Add a slot for every param, input and output, each once."""
    values: dict[str, Entity] = {}
    for stage in run.stages:
        for key, value in run.values(stage).items():
            if key not in values:
                values[key] = add_value(crate, local("value", key), key, value)
                kind = TYPES.get(type(value), "Text")
                add_slot(crate, local("param", key), key, kind, values[key])
        for path, key in (run.inputs(stage) | {out: out for out in stage.outs}).items():
            add_slot(crate, local("param", key), key, files[path].type, files[path])
    return Filled(run, values, files)
