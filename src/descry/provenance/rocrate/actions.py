"""The run as actions: of the workflow, of each stage, and of the engine that started them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from descry.io.dvc_lock import Locked
from descry.provenance.rocrate.agents import add_annotators, add_package, add_targets, add_tools
from descry.provenance.rocrate.entities import add, local
from descry.provenance.rocrate.parameters import Filled, add_slots
from descry.provenance.rocrate.run import WORKFLOW, Run

_DONE = "http://schema.org/CompletedActionStatus"


class _Stage(NamedTuple):
    """A stage's step of the workflow, its run, and the engine's call of it."""

    step: Entity
    action: Entity
    control: Entity


def add_actions(crate: ROCrate, run: Run, files: Mapping[str, Entity], engine: str) -> None:
    """Add the run of the workflow and of its stages.

    Args:
        engine: Snakemake's version.
    """
    filled, tools = add_slots(crate, run, files), add_tools(crate, run, files)
    annotators, targets = add_annotators(crate, run), add_targets(crate, run)
    stages = []
    for position, stage in enumerate(run.stages):
        name, tool = stage.name, tools[stage.name]
        tool["input"] = _slots(filled.read(stage))
        tool["output"] = _slots(filled.made(stage))
        action = _action(crate, run, stage, tool, filled, targets[name])
        if annotators[name]:
            action["agent"] = annotators[name]
        stages.append(_staged(crate, name, position, tool, action))
    whole = _whole(crate, run, filled, stages, list(tools.values()))
    _add_engine(crate, engine, whole, [stage.control for stage in stages])
    crate.root_dataset["mentions"] = [whole, *(stage.action for stage in stages)]


def _slots(entities: Iterable[Entity]) -> list[Entity]:
    return [entity["exampleOfWork"] for entity in entities]


def _action(
    crate: ROCrate, run: Run, stage: Locked, tool: Entity, filled: Filled, targets: list[Entity]
) -> Entity:
    return add(
        crate,
        local("run", stage.name),
        "CreateAction",
        name=f"Stage {stage.name}",
        description=run.about[stage.name],
        instrument=tool,
        object=[*filled.read(stage), *targets],
        result=filled.made(stage),
        actionStatus=_DONE,
    )


def _staged(crate: ROCrate, name: str, position: int, tool: Entity, action: Entity) -> _Stage:
    step = add(
        crate,
        local("step", name),
        "HowToStep",
        name=name,
        position=str(position),
        workExample=tool,
    )
    control = add(
        crate,
        local("control", name),
        "ControlAction",
        name=f"The job of stage {name}",
        instrument=step,
        object=action,
    )
    return _Stage(step, action, control)


def _whole(
    crate: ROCrate, run: Run, filled: Filled, stages: list[_Stage], tools: list[Entity]
) -> Entity:
    """The workflow with its inputs, outputs and steps, and its run."""
    workflow = crate.get(WORKFLOW)
    read = [filled.files[path] for stage in run.stages for path in run.inputs(stage)]
    read += filled.values.values()
    made = [entity for stage in run.stages for entity in filled.made(stage)]
    workflow["input"], workflow["output"] = _slots(read), _slots(made)
    workflow["hasPart"], workflow["step"] = tools, [stage.step for stage in stages]
    return add(
        crate,
        local("run"),
        "CreateAction",
        name="The run",
        description="All stages of the workflow, from the reviews to the labels and the report.",
        instrument=workflow,
        object=read,
        result=made,
        actionStatus=_DONE,
    )


def _add_engine(crate: ROCrate, engine: str, run: Entity, controls: list[Entity]) -> None:
    add(
        crate,
        local("engine"),
        "OrganizeAction",
        name="Snakemake, which started the stages",
        instrument=add_package(crate, "snakemake", engine),
        result=run,
        object=controls,
        actionStatus=_DONE,
    )
