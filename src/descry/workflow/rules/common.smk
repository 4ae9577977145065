# What all rules share.
import os
import sys
import time
from shlex import quote

STARTED = time.time()  # before anything is read

from snakemake.settings.enums import Quietness

from descry.errors import InputError
from descry.models.devices import may_have_gpu
from descry.workflow.reconcile import reconcile, writable
from descry.workflow.previous_results import keep_previous
from descry.workflow.preflight import check_start, shared_model
from descry.workflow.settled import note
from descry.workflow.dag import Wiring, arguments, name_failures
from descry.workflow.package import has_code

keep_previous()
if Quietness.RULES in (workflow.output_settings.quiet or ()):
    name_failures()

try:
    wiring = Wiring(job=not workflow.is_main_process)
    # Settles who vouches for files that DVC put here (after `dvc pull`, `dvc checkout`, `dvc exp`).
    if workflow.is_main_process:
        wiring.check_dvc_yaml()
        wiring.list_code()
        writable()
        reconcile()
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

# For the stages that take what cores there are, scaled to --cores. Without a GPU they leave one core
# to another stage, and compute in as many threads as there are cores all the same: what a stage does on
# one core (imports, reading, writing) would leave the rest idle. On a GPU two stages at a time would
# share its memory. Where `--resources gpu=2` says that this machine has two GPUs, two stages or shards
# share the cores.
ALL_CORES, in_threads = 1024, ""
local = workflow.is_main_process and workflow.resource_settings.nodes is None
limits = {name: limit.value for name, limit in workflow.global_resources.items()}
if workflow.is_main_process and limits.get("gpu"):  # for a job on a cluster, `gpu` is its own
    ALL_CORES = max(1, (limits["_cores"] or ALL_CORES) // limits["gpu"])
elif local and limits["_cores"] and not may_have_gpu():
    ALL_CORES = max(1, limits["_cores"] - 1)
    # Snakemake sets both to the share that a stage claims; torch takes the second.
    in_threads = "export OMP_NUM_THREADS={0} MKL_NUM_THREADS={0}; ".format(limits["_cores"])

# The priority of the stages that lead to labels: they start before the others.
LABELS_FIRST = 1

# `--config replay=true`: answers come from the cache alone. `--config journals=true`: they live in
# journals, for machines that share this folder, but no disk. No parameters of a rule: they change no
# result, and must make none outdated.
ASKING = {"replay": "--replay", "journals": "--journals cache/journals"}
asking = " ".join(how for key, how in ASKING.items() if str(config.get(key)).lower() == "true")

# The commands of the environment that runs Snakemake, and the code of a checkout.
# (Setting a prefix takes away Snakemake's own strict mode, without which `| tee` hides a failure.)
shell.prefix(
    f"set -euo pipefail; export PATH={quote(os.path.dirname(sys.executable))}:$PATH"
    f"{' PYTHONPATH=src' if has_code() else ''}; {in_threads}asking={quote(asking)}; "
)


# The command of all rules. The stage's function is handed its files by the names that they have in the
# rule, and takes its sections of params.yaml out of the environment, where `wiring` has put them.
# A stage with several shards (docs/cluster.md): what each of them writes, the stage itself takes in.
# The shard 0, where there is one, makes what the others need.
STAGE = "descry stage {params.stage:q} $asking 2>&1 | tee {log}"

# The same of the stages that no label waits for (nulls, graphs, interventions): they take the processor
# that is left.
LATER = f"nice {STAGE}"


# Before the first job: what the params of the stages that will run get wrong.
onstart:
    jobs = list(workflow.dag.needrun_jobs())
    sections = {name for job in jobs for name, _ in job.rule.params._allitems()}
    try:
        check_start(wiring.sections, sections, replay="--replay" in asking)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if shared := shared_model(wiring.sections, sections):
        print(f"warning: {shared}", file=sys.stderr)


# What DVC, behind this run, need not ask again.
onsuccess:
    note(workflow.dag.jobs, STARTED)


def every_result(_):
    """Every result: one that somebody removed is made again, with what follows from it."""
    return [path for rule in workflow.rules if not rule.has_wildcards() for path in rule.output]


def shown(path, caption, category, **labels):
    """An output that `snakemake --report` shows."""
    return report(path, caption=f"../captions/{caption}.rst", category=category, labels=labels)


def figure(name, paper, what):
    return shown(f"results/figures/{name}.svg", name, "Figures", paper=paper, figure=what)


def table(number, what):
    name = f"table{number}"
    return shown(f"results/tables/{name}.csv", name, "Tables", paper=f"Table {number}", table=what)
