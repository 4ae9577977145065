"""Snakemake and DVC agree: which stages run, and that a change of tool runs none.

Both tools run for real, on a miniature corpus, in copies of one repository that is built once.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import yaml
from miniature import AFTER_LABEL, DVC, ROOT, SNAKEMAKE, STAGES, Repo, clone_of

from descry.annotators.prompt_cache.store import PromptCache
from descry.models.devices import may_have_gpu
from descry.n2g.tables import read_records

pytestmark = pytest.mark.slow

JUDGED = {"judge", "evaluate", "figures", "report"}
TOOLS = pytest.mark.parametrize("tool", [SNAKEMAKE, DVC])
CHANGES = {  # a parameter: another value, and the stages behind it
    "annotate.max_failures": (0.02, {"annotate", *AFTER_LABEL}),
    "judge.max_failures": (0.02, JUDGED),
    "exemplars.top_percent": (12.0, {"exemplars", "untrained", "annotate", "judge", *AFTER_LABEL}),
    "untrained.seed": (1, {"untrained", "evaluate", "figures", "report"}),
    "graphs.seed": (1, {"graphs", "report"}),
    "label.threshold": (0.3, AFTER_LABEL),
    "writes.seed": (1, {"writes", "report"}),
    "facets.seed": (1, {"facets", "score", "report"}),
    "interventions.seed": (1, {"interventions", "report"}),
    "figures.dpi": (100, {"figures"}),
    "report.title": ("Another title", {"report"}),
}
READS = {"untrained": {"untrained", "exemplars"}}  # sections that are another, where it is not one


def changed(repo):
    """What is another for DVC: {stage: sections of params.yaml and files}."""
    entries = json.loads(repo.sh("dvc status --json"))
    return {stage: set(names(entry)) for stage, entry in entries.items()}


def names(entry):
    for kind in entry:
        for path, how in kind.get("changed deps", {}).items():
            yield from how if path == "params.yaml" else [path]


def test_dvc_yaml_is_the_one_that_the_snakefile_gives():
    Repo(ROOT).sh("descry dvc --check")


@pytest.mark.parametrize("key", CHANGES)
def test_for_snakemake_a_parameter_makes_exactly_its_dependents_due(repo, key):
    value, expected = CHANGES[key]
    repo.set(**{key: value})
    assert repo.due() == expected


def test_for_dvc_a_parameter_changes_exactly_the_stages_that_read_it(repo):
    repo.set(**{key: value for key, (value, _) in CHANGES.items()})
    stages = {key.partition(".")[0] for key in CHANGES}
    assert changed(repo) == {stage: {stage} for stage in stages} | READS


def test_what_snakemake_ran_dvc_records_and_going_back_gives_the_old_record(second, built):
    assert (second.path / "dvc.lock").read_bytes() != (built.path / "dvc.lock").read_bytes()
    second.set(**{"label.threshold": 0.12})
    assert second.ran(SNAKEMAKE) == AFTER_LABEL
    assert second.ran(DVC) == set()
    assert second.settled()
    assert (second.path / "dvc.lock").read_bytes() == (built.path / "dvc.lock").read_bytes()
    assert second.results() == built.results()


def test_where_the_judges_answers_stay_the_curves_do_too(repo):
    repo.set(**{"judge.max_failures": 0.02})
    assert repo.ran(DVC) == JUDGED - {"figures"}  # DVC stops there
    assert repo.ran(SNAKEMAKE) == set()
    assert repo.settled()


def test_graphs_are_made_where_they_are_asked_for(repo):
    repo.set(**{"graphs.neurons": 2, "graphs.texts": 4, "graphs.train": 2})
    assert repo.ran(SNAKEMAKE) == {"graphs", "report"}
    made, _ = read_records(repo.path / "results/graphs.parquet")
    assert len(made) == 2


@TOOLS
def test_a_clone_with_pulled_data_has_nothing_to_do(clone, tool):
    assert clone.ran(tool) == set()
    assert clone.settled()
    clone.set(**{"label.threshold": 0.3})
    assert clone.due() == AFTER_LABEL


@TOOLS
def test_a_clone_whose_params_change_first_reruns_the_dependents(clone, tool):
    clone.set(**{"evaluate.max_k": 4})
    assert clone.ran(tool) == {"evaluate", "figures", "report"}
    assert clone.ran(DVC) == set()
    assert clone.settled()


def test_a_result_without_its_inputs_is_named(built, tmp_path):
    clone = clone_of(built, tmp_path / "clone")
    clone.set(**{"label.threshold": 0.3})
    clone.sh("dvc pull -q results/labels.parquet")
    said = clone.sh("snakemake --cores all label", status=2)
    assert "dvc pull" in said
    assert "results/labels.parquet" in said
    assert "Traceback" not in said


def test_checking_out_an_older_version_never_passes_for_the_newer(second):
    second.sh("git checkout -q v1 && dvc checkout -q")
    assert second.settled()
    second.set(**{"label.threshold": 0.3})  # what .snakemake remembers; not what the file is
    assert second.due() == AFTER_LABEL


@TOOLS
def test_a_result_edited_by_hand_is_made_again(repo, tool):
    path = repo.path / "results/neurons.json"
    good = path.read_text()
    path.write_text(good.replace("L3:", "L5:") + "\n")
    assert repo.ran(f"{tool} label") == {"label"}
    assert path.read_text() == good
    repo.sh(DVC)
    assert repo.settled()


def test_a_deleted_result_is_made_again(repo):
    (repo.path / "results/report/index.html").unlink()
    assert repo.due() == {"report"}
    assert repo.ran(DVC) == {"report"}


def test_times_and_the_order_of_keys_mean_nothing(repo):
    file = repo.path / "params.yaml"
    params = yaml.safe_load(file.read_text())
    transposed = {k: dict(reversed(v.items())) for k, v in reversed(params.items())}
    file.write_text(yaml.safe_dump(transposed, sort_keys=False))
    for path in [
        *repo.path.glob("src/**/*.py"),
        *repo.path.glob("data/**/*"),
        repo.path / "Snakefile",
        *repo.path.glob("src/descry/workflow/rules/*.smk"),
    ]:
        path.touch()
    assert repo.settled()


@pytest.mark.parametrize(
    ("file", "stages", "due"),
    [
        ("src/descry/evaluation/metrics.py", {"evaluate"}, {"evaluate", "figures", "report"}),
        ("src/descry/reporting/explorer/app/index.html", {"report"}, {"report"}),
        ("src/descry/cli/console/overview.py", set(), set()),
    ],
)
def test_an_edit_in_src_is_one_of_the_stages_whose_code_it_is(repo, file, stages, due):
    path = repo.path / file
    path.write_text(path.read_text() + ("\n" if file.endswith("html") else "# edited\n"))
    assert repo.due() == due
    assert changed(repo) == {stage: {file} for stage in stages}


def test_an_experiment_in_a_workspace_of_its_own(repo):
    said = repo.sh("dvc exp run --temp -S report.title=Another")
    assert re.findall(r"Running stage '(\w+)'", said) == ["report"]
    table = repo.sh("dvc exp show --csv")
    assert "Another" in table
    assert repo.settled()


def test_metrics_and_plots_can_be_compared(second):
    said = second.sh("dvc metrics diff --all v1")
    assert "halves_jaccard_corrected" in said
    assert {line.split()[0] for line in said.splitlines()[1:]} == {"results/summary.yaml"}
    assert len(said.splitlines()) <= 19
    second.sh("dvc plots diff -o plots v1")


def test_what_the_readme_says_to_commit_is_all_that_git_should_have(repo):
    command = re.search("`(git add dvc.lock [^`]*)`", (ROOT / "docs/orchestration.md").read_text())[
        1
    ]
    repo.sh("git rm -rq --cached dvc.lock results && git commit -qm none")
    assert "results/" in repo.sh("git status --porcelain")
    repo.sh(f"{command} && git commit -qm run")
    assert repo.sh("git status --porcelain") == ""
    assert "failed to load" not in repo.sh("dvc metrics diff && dvc plots diff -o plots HEAD")


def test_a_annotator_that_is_down_leaves_the_previous_answers(repo):
    before = repo.results()
    down = {"kind": "openai", "model": "m", "revision": "m", "dtype": "q4", "price": None}
    down |= {"base_url": "http://127.0.0.1:9/v1", "api_key_env": None, "max_new_tokens": 8}
    old = yaml.safe_load((repo.path / "params.yaml").read_text())["annotate"]["annotator"]
    down |= {"concurrency": 1, "timeout": 1.0, "retries": 0}
    repo.set(**{"annotate.annotator": down})
    assert "other kinds of annotators now: run `descry dvc`" in repo.sh("dvc repro", status=255)
    repo.sh("descry dvc")
    said = repo.sh("dvc repro annotate", status=255)
    assert "stage annotate failed: see logs/annotate.log" in said
    assert repo.results() == before
    repo.sh("descry show")
    assert repo.due() >= {"annotate"}
    repo.set(**{"annotate.annotator": old})
    repo.sh("descry dvc")
    assert repo.settled()


def test_a_job_may_have_more_gpus_than_one(repo):
    repo.set(**{"annotate.max_failures": 0.02})
    said = repo.sh("snakemake -n --quiet host --cores all annotate --set-resources annotate:gpu=4")
    assert "gpu=4" in said


def test_a_stage_that_loads_a_model_leaves_a_core_to_another_or_shares_them_by_gpus(repo):
    repo.set(**{"annotate.max_failures": 0.02})
    alone = 8 if may_have_gpu() else 7
    for told, threads in (("", alone), ("--resources gpu=2", 4)):
        said = repo.sh(f"snakemake annotate -n --quiet host --cores 8 {told}")
        assert f"threads: {threads}" in said
    said = repo.sh("snakemake annotate -n --quiet host --cores 1")
    assert "threads: 1" in said or "threads" not in said


def test_without_edits_and_gold_labels_dvc_follows_neither(repo):
    repo.set(**{"cluster.edits": None, "evaluate.gold": None})
    assert "run `descry dvc`" in repo.sh("snakemake -n --cores all", status=2)
    repo.sh("descry dvc && rm data/descriptors.yaml data/gold.jsonl")
    assert repo.ran("dvc repro cluster") == {"cluster"}
    assert "edits applied 0" in (repo.path / "logs/cluster.log").read_text()
    repo.sh("descry dvc --check")
    stages = yaml.safe_load((repo.path / "dvc.yaml").read_text())["stages"]
    assert not [
        dep for stage in stages.values() for dep in stage["deps"] if dep.startswith("data/")
    ]


def test_dvc_lock_says_which_file_made_which(built):
    stages = yaml.safe_load((built.path / "dvc.lock").read_text())["stages"]
    made = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    assert set(stages) == set(STAGES)
    for stage in stages.values():
        for dep in stage["deps"]:
            assert made.get(dep["path"], dep["md5"]) == dep["md5"]


def answers(repo):
    """How many are in the prompt cache."""
    with PromptCache(repo.path / "cache/prompts") as cache:
        return cache.stats()["answers"]


def test_a_run_that_was_killed_while_asking_is_resumed_and_gives_the_same_bytes(repo):
    results = repo.results()
    shutil.rmtree(repo.path / "results")
    shutil.rmtree(repo.path / "cache")
    describe = "snakemake --cores all describe"
    with subprocess.Popen(
        f"exec {Path(sys.executable).parent}/{describe}",
        shell=True, cwd=repo.path, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as run:  # fmt: skip
        while not answers(repo):
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
    repo.sh("snakemake --unlock")
    assert repo.ran(describe) == {"describe"}
    made = repo.results()
    assert set(made) == {"results/corpus.parquet", "results/candidates.parquet"}
    assert made.items() <= results.items()


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [("label.threshold", 1.5, "label.threshold"), ("corpus.reviews", "nowhere", "nowhere")],
)
def test_bad_params_stop_snakemake_in_one_line(repo, key, value, named):
    repo.set(**{key: value})
    said = repo.sh("snakemake --cores all", status=2).splitlines()
    (line,) = (line for line in said if not line.startswith("Using workflow specific profile"))
    assert line.startswith("error: ")
    assert named in line


def test_snakemake_packs_figures_tables_and_the_explorer_for_somebody_else(repo, tmp_path):
    repo.sh(f"snakemake --report {tmp_path}/report.zip")
    with zipfile.ZipFile(tmp_path / "report.zip") as packed:
        names = [Path(name) for name in packed.namelist()]
        html = packed.read("report/report.html").decode()
    kinds = Counter(name.suffix for name in names)
    assert (kinds[".svg"], kinds[".csv"]) == (6, 5)
    assert {"index.html", "run.js", "neurons-0.js", "plot.min.js"} <= {name.name for name in names}
    assert all(f'"{category}"' in html for category in ("Figures", "Tables", "Report"))


# Shards


def test_a_stage_in_shards_changes_no_result_and_both_tools_vouch_for_it(repo, built):
    repo.set(**{"shards.annotate": 2})
    ran = repo.ran("snakemake --cores all annotate")
    assert ran == {"annotate-1-of-2", "annotate-2-of-2", "annotate"}
    assert repo.results() == built.results()
    assert "up to date" in repo.sh("dvc status annotate")
    shutil.rmtree(repo.path / ".snakemake")  # as in a clone: DVC alone knows what made the results
    said = repo.sh("snakemake -n --cores all annotate")
    assert "adopting as recorded in dvc.lock" in said and "Nothing to be done" in said


@pytest.mark.parametrize("change", ["label.threshold", "report.title"])
def test_the_doctor_names_the_stages_that_snakemake_would_run(repo, change):
    repo.set(**{change: CHANGES[change][0]})
    found = json.loads(repo.sh("descry doctor --json", status=1))
    named = {one["name"] for one in found if one["said"].startswith("outdated: ")}
    assert named == repo.due() == CHANGES[change][1]
