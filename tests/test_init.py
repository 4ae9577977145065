"""A study of one's own: all that is wrong is told at once, and a folder is made whole or not."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import typer
import yaml
from installed import environment, install, wheel
from miniature import PARAMS, ROOT, Repo

from descry.activations.top_k import exemplar_size
from descry.cli.console import init as console_init
from descry.corpus.splits import HALVES
from descry.errors import InputError
from descry.io.dvc_lock import Locked
from descry.stages.corpus import Corpus, build_corpus
from descry.workflow import dag
from descry.workflow.code import Code, list_of, outdated, write_lists
from descry.workflow.package import PACKAGE
from descry.workflow.params import load
from descry.workflow.stage import STAGES
from descry.workflow.study import checks, folder
from descry.workflow.study.checks import Refused, check, columns_of
from descry.workflow.study.choices import Choices

TEXTS = [
    json.loads(line)["reviewText"]
    for file in sorted(ROOT.glob("data/sample/*.jsonl"))
    for line in file.read_text().splitlines()[:9]
]


def write_csv(path, texts=TEXTS):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["hotel", "review"], *(["Sea View", text] for text in texts)])
    return path


@pytest.fixture
def hotels(tmp_path):
    return write_csv(tmp_path / "hotels.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The sentences, which take seconds, and what became of the reviews."""
    place = tmp_path_factory.mktemp("made")
    section = yaml.safe_load(checks.PRESET.read_text())["corpus"] | {"text_fields": ["review"]}
    reviews = [write_csv(place / "hotels.csv")]
    counts = build_corpus(Corpus(**section), reviews=reviews, corpus=place / "corpus.parquet")
    return place / "corpus.parquet", counts


@pytest.fixture
def look(tmp_path, hotels, made, monkeypatch):
    """Check a study; the packaged model is not loaded, and the sentences are there."""

    def copied(_, *, reviews, corpus):
        assert reviews == [hotels]
        shutil.copy(made[0], corpus)
        return made[1]

    monkeypatch.setattr(checks, "build_corpus", copied)
    monkeypatch.setattr(checks, "outline", lambda *_: checks.Outline(6, False, True))
    monkeypatch.setattr("descry.models.embedder.sentence_embedder", lambda _: None)

    def checked(**changes):
        given = {"reviews": hotels, "text": ("review",)} | changes
        choices = Choices(given.pop("folder", tmp_path / "study"), **given)
        return check(choices, tmp_path / "corpus.parquet")

    return checked


def test_all_that_is_wrong_is_told_at_once_a_line_each(look, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    wrong = {"reviews": tmp_path / "nope.csv", "model": "models/nope", "kind": "openai"}
    settings = ("exemplars.tops=1", "label.x=2")
    with pytest.raises(Refused) as refused:
        look(folder=tmp_path / "full", annotator="m", settings=settings, **wrong)
    told = refused.value.problems
    assert [line.split(":")[0].split(" ")[0] for line in told] == [
        f"{tmp_path}/full", "--set", "--set", "--reviews", "--model", "--base-url",
    ]  # fmt: skip
    assert not any("\n" in line for line in told)
    assert "is there already, and not empty" in told[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reviews": None}, "--reviews: name a file or a folder"),
        ({"text": ()}, "has no column reviewText or text or review_body: it has hotel, review"),
        ({"text": ("Review",)}, "has no column Review: it has hotel, review"),
        ({"kind": "chatgpt"}, "--annotator chatgpt: none of embedded, openai, transformers"),
        ({"kind": "transformers"}, "--annotator-model: name the model"),
        ({"base_url": "http://localhost:1/v1"}, "--base-url: of a server, but"),
        ({"settings": ("label.threshold=20",)}, "label.threshold: must be less than 1"),
        ({"settings": ("exemplars.top_percent=2",)}, "needs 5 .*, such as --set exemplars.top_p"),
        ({"settings": ("exemplars.topp=2",)}, "topp=2: .*: did you mean exemplars.top_percent"),
        ({"settings": ("corpus.min_words=many",)}, "corpus.min_words: must be a valid integer"),
    ],
)
def test_each_problem_names_what_is_to_be_given(look, changes, said):
    with pytest.raises(Refused, match=said):
        look(**changes)


def test_a_wrong_column_is_told_before_anything_is_loaded(tmp_path, hotels):
    code = (
        "import sys\nfrom descry.cli.app import main\nsys.argv[1:] = sys.stdin.read().split()\n"
        "try:\n    main()\nfinally:\n"
        "    print({'torch', 'transformers', 'snakemake'} & {*sys.modules}, file=sys.stderr)"
    )
    words = f"init {tmp_path}/study --reviews {hotels} --text nope"
    run = subprocess.run([sys.executable, "-c", code], input=words, capture_output=True, text=True)
    assert "has no column nope: it has hotel, review" in run.stderr
    assert run.stderr.endswith("set()\n")


def test_an_empty_file_is_called_empty(look, hotels):
    hotels.write_text("hotel,review\n")
    with pytest.raises(Refused, match=r"--reviews .*hotels.csv: no review in it"):
        look()


@pytest.mark.parametrize("sentences", [70, 12])
def test_a_percentage_is_only_named_where_it_suffices(look, monkeypatch, sentences):
    halves = dict.fromkeys(HALVES, np.arange(sentences // 2))
    monkeypatch.setattr(checks, "read_split_rows", lambda *_: halves)
    with pytest.raises(Refused) as refused:
        look()
    [told] = refused.value.problems
    named = re.search(r"--set exemplars\.top_percent=(\d+)", told)
    assert (named is not None) == (sentences == 70)
    if named:
        assert exemplar_size(sentences // 2, float(named[1]), 5) == 5


def test_a_server_is_asked_once_more_and_no_longer_than_half_a_minute(tmp_path, monkeypatch):
    url = "http://localhost:1/v1"
    choices = Choices(tmp_path, None, kind="openai", annotator="m", base_url=url)

    def silent(spec):
        assert (spec["retries"], spec["timeout"]) == (1, 30.0)
        raise InputError(f"m at {url}: no answer")

    monkeypatch.setattr(checks, "pinned", silent)
    with pytest.raises(InputError, match=f"--annotator: m at {url}: no answer"):
        checks._annotator(choices)
    monkeypatch.setattr(checks, "pinned", lambda spec: spec | {"revision": "m-2026"})
    found = checks._annotator(choices)
    assert (found["retries"], found["timeout"], found["revision"]) == (5, 120.0, "m-2026")


def test_a_decoder_of_this_machine_is_read_at_its_mean_and_linked_to(tmp_path, hotels):
    model = tiny.make("gpt2", tmp_path / "my-gpt")
    choices = Choices(tmp_path / "study", hotels, ("review",), str(model), "words")
    with pytest.raises(Refused) as refused:
        check(choices, tmp_path / "corpus.parquet")
    assert refused.value.problems[0].startswith("--annotator words: none of")  # and nothing else
    spec = checks._target(choices)
    found = checks._outline(spec)
    assert (found.decoder, found.cls, found.layers) == (True, False, 2)
    assert len(spec["revision"]) == 64
    assert checks._links(choices) == {"models/my-gpt": model}
    assert checks._here(spec)["model"] == "models/my-gpt"


def test_an_encoder_with_a_cls_token_is_known(tmp_path):
    model = tiny.make("bert", tmp_path / "my-bert")
    found = checks._outline(checks._target(Choices(tmp_path / "study", None, model=str(model))))
    assert (found.decoder, found.cls) == (False, True)
    with pytest.raises(InputError, match=r"models/no|hub"):
        checks._target(Choices(tmp_path / "study", None, model="models/no"))


def test_params_keep_the_comments_of_the_preset_and_say_what_was_chosen(look, tmp_path):
    study = look(settings=("exemplars.top_percent=10", "label.compose=0"))
    folder.write_params(tmp_path / "params.yaml", study.changes)
    params = load(tmp_path / "params.yaml")
    assert (params.corpus.reviews, params.corpus.text_fields) == ("data/hotels.csv", ["review"])
    assert (params.exemplars.top_percent, params.label.compose) == (10, 0)
    assert params.evaluate.gold is None
    before = checks.PRESET.read_text().splitlines()
    after = (tmp_path / "params.yaml").read_text().splitlines()
    comments = [
        {line.partition("# ")[2] for line in text if "# " in line} for text in (before, after)
    ]
    assert len(comments[0] - comments[1]) == 1  # which preset it is
    assert len({*after} - {*before}) <= 8
    assert "  gold: # human labels" in "\n".join(after)


def test_a_study_that_cannot_be_finished_leaves_nothing(look, tmp_path, monkeypatch):
    study = look()
    before = {*tmp_path.iterdir()}

    def fail(*_):
        raise InputError("dvc init: no")

    monkeypatch.setattr(folder, "_run", fail)
    with pytest.raises(InputError, match="dvc init: no"):
        folder.make(study, lambda _: None)
    assert {*tmp_path.iterdir()} == before


def test_a_terminal_is_asked_for_what_options_leave_out(tmp_path, hotels, monkeypatch):
    answers = iter([str(hotels), "review", "my/model", "openai", "qwen", "http://h/v1", "KEY"])
    questions = []

    def prompt(question, *_, **__):
        questions.append(question)
        return next(answers)

    monkeypatch.setattr(typer, "prompt", prompt)
    found = console_init.asked(Choices(tmp_path / "study", None), set())
    assert found.text == ("review",)
    assert (found.kind, found.annotator, found.base_url) == ("openai", "qwen", "http://h/v1")
    assert (found.model, found.api_key_env) == ("my/model", "KEY")
    assert "(hotel, review)" in questions[1]
    given = {"reviews", "model", "kind"}
    assert console_init.asked(Choices(tmp_path / "study", hotels, ("review",)), given) == Choices(
        tmp_path / "study", hotels, ("review",)
    )


def test_columns_are_those_of_all_files(tmp_path, hotels):
    (tmp_path / "many").mkdir()
    (tmp_path / "many/a.jsonl").write_text('{"text": "a", "stars": 1}\n')
    (tmp_path / "many/b.jsonl").write_text('{"body": "b"}\n')
    assert columns_of(tmp_path / "many") == ["text", "stars", "body"]
    assert columns_of(hotels) == ["hotel", "review"]


# The code of a study without source files


@pytest.fixture(scope="module")
def lists():
    return Code(PACKAGE).lists(load(ROOT / "params.yaml").model_dump())


def test_the_list_of_a_stage_has_the_hash_of_each_of_its_modules(lists, tmp_path):
    assert lists.keys() == {*STAGES, "workflow"} - {"tokens"}  # of unit token alone
    (tmp_path / "list").write_text(lists["label"])
    subprocess.run(
        ["sha256sum", "-c", "--quiet", tmp_path / "list"], cwd=PACKAGE.parent, check=True
    )
    named = {line.split()[1] for line in lists["label"].splitlines()}
    assert {"descry/stages/label.py", "descry/labels/enrichment.py"} <= named
    assert "descry/stages/report.py" not in named
    assert "descry/workflow/rules/common.smk" in lists["workflow"]


def test_what_an_upgrade_changes_is_outdated_and_nothing_else(lists, tmp_path):
    assert outdated(tmp_path, lists) == []  # there are none yet
    write_lists(tmp_path, lists)
    assert outdated(tmp_path, lists) == []
    before = (tmp_path / list_of("corpus")).stat()
    newer = lists | {"label": lists["label"].replace("a", "b"), "workflow": "other"}
    assert outdated(tmp_path, newer) == ["label"]
    write_lists(tmp_path, newer)
    assert outdated(tmp_path, newer) == []
    assert (tmp_path / list_of("corpus")).stat().st_mtime_ns == before.st_mtime_ns


@pytest.fixture
def wired(look, tmp_path, hotels, monkeypatch):
    """The wiring of a study's folder that has no source files."""
    folder.write_params(tmp_path / "params.yaml", look().changes)
    (tmp_path / "data").mkdir()
    hotels.rename(tmp_path / "data/hotels.csv")
    (tmp_path / "data/descriptors.yaml").touch()
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.chdir(tmp_path)
    return dag.Wiring(job=False)


def test_a_study_s_rules_depend_on_lists_and_on_no_place_of_this_machine(wired, capsys):
    assert wired.code("label") == ["code/label.sha256"]
    assert wired.rules == ["Snakefile", "code/workflow.sha256"]
    wired.list_code()
    assert capsys.readouterr().err == ""
    Path("code/label.sha256").write_text("of another version\n")
    wired.list_code()
    assert "has other code for these stages" in (said := capsys.readouterr().err)
    assert said.endswith(": label\n")
    assert "descry/stages/label.py" in Path("code/label.sha256").read_text()


def test_a_dvc_yaml_of_another_version_is_refused(wired):
    dag.DVC_YAML.write_text(dag.header().replace("0.1.0", "0.0.9") + "stages: {}\n")
    with pytest.raises(InputError, match=r"not of the installed version .*: run `descry dvc`"):
        wired.check_dvc_yaml()


def test_a_list_is_code_of_its_stage():
    deps = {"code/label.sha256": "1", "results/corpus.parquet": "2"}
    assert Locked("label", deps, {}, {}).code == ["code/label.sha256"]


# The package as somebody installs it


@pytest.mark.slow
def test_the_installed_package_takes_a_study_to_labels(tmp_path, monkeypatch):
    built = wheel(tmp_path / "built")
    programs = environment(tmp_path / "env")
    install(built, programs)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    write_csv(tmp_path / "hotels.csv")
    here = Repo(tmp_path)
    options = " ".join(f"-s '{key}={json.dumps(value)}'" for key, value in PARAMS.items())
    said = here.sh(f"descry init study --reviews hotels.csv --text review {options} < /dev/null")
    assert said.endswith("  cd study\n  snakemake --cores all\n  dvc repro\n")
    study = Repo(tmp_path / "study")
    assert str(tmp_path) not in (study.path / "dvc.yaml").read_text()
    assert "label" in study.ran("snakemake --cores all")
    assert study.ran("dvc repro") == set()
    assert study.settled()
    assert "labels" in study.sh("descry show")
    study.sh("descry verify --hashes")
    assert "code/label.sha256" in study.sh("descry audit L3:0 --json")
    # An upgrade.
    (module,) = (tmp_path / "env").glob("lib/*/site-packages/descry/evaluation/metrics.py")
    module.write_text(module.read_text() + "# newer\n")
    said = study.sh("snakemake -n --cores all")
    assert (
        "other code for these stages than made their results, which are made again: evaluate"
        in said
    )
    assert set(yaml.safe_load(study.sh("dvc status --json"))) == {"evaluate"}
    assert study.due() == {"evaluate", "figures", "report"}
