# The study in this folder, whose stages are those of src/: one rule a stage, in
# src/descry/workflow/rules. In a study that `descry init` made they are the installed package's.
# `descry dvc` writes dvc.yaml from this, in which every stage calls `snakemake STAGE`, unless a run has
# just left it up to date: Snakemake is the only engine.
import sys

sys.path.insert(0, "src")


include: "src/descry/workflow/rules/study.smk"


rule all:
    default_target: True
    input:
        every_result,
