# The one description of the DAG: one rule a stage, below workflow/rules/. `descry dvc` writes dvc.yaml
# from it, in which every stage calls `snakemake STAGE`, unless a run has just left it up to date:
# Snakemake is the only engine.


# The params, the command of every rule, and what is checked before the first job.
include: "workflow/rules/common.smk"


# Lets Snakemake deploy the software with `--sdm apptainer`; unused otherwise.
container: "docker://python:3.11"


# A result stays where it is until the stage has made the next one, and if the stage fails.
outputflags:
    update,


rule all:
    default_target: True
    input:
        # Every result: one that somebody removed is made again, with what follows from it.
        lambda _: [
            path for rule in workflow.rules if not rule.has_wildcards() for path in rule.output
        ],


wildcard_constraints:
    shard=r"\d+",
    of=r"\d+",


include: "workflow/rules/sentences.smk"
include: "workflow/rules/topics.smk"
include: "workflow/rules/neurons.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/reporting.smk"
