# All rules, one a stage: what the Snakefile of a study includes.


# The params, the command of every rule, and what is checked before the first job.
include: "common.smk"


# Lets Snakemake deploy the software with `--sdm apptainer`; unused otherwise.
container: "docker://python:3.11"


# A result stays where it is until the stage has made the next one, and if the stage fails.
outputflags:
    update,


wildcard_constraints:
    shard=r"\d+",
    of=r"\d+",


include: "sentences.smk"
include: "topics.smk"
include: "neurons.smk"
include: "labels.smk"
include: "evaluation.smk"
include: "reporting.smk"
