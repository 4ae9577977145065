"""Bad input gets one clear line and exit status 2, and leaves no file behind."""

import gzip
import json
import os
import subprocess
import sys

import pytest
import yaml
from miniature import ROOT

SAMPLE = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())
GOOD = json.dumps({"reviewText": "a review of ten words or more, to be kept for once"}) + "\n"


def descry(*arguments, folder):
    command = [sys.executable, "-m", "descry", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ)


def refused(done, *words):
    """One line of error that has the words, and status 2."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def section(name, **changes):
    return json.dumps({**SAMPLE[name], **changes})


def stage(name, section, *options, folder, **files):
    named = (f"{key}={path}" for key, path in files.items())
    return descry("stage", name, *named, "-p", section, *options, folder=folder)


def corpus(folder, **changes):
    files = {"reviews": "mine.jsonl", "corpus": "out/corpus.parquet"}
    return stage("corpus", section("corpus", **changes), **files, folder=folder)


BAD_REVIEWS = {
    "truncated": (gzip.compress(GOOD.encode() * 500)[:-20], "gzip"),
    "no gzip": (b"not gzip at all", "gzip"),
}


@pytest.mark.parametrize(("data", "word"), BAD_REVIEWS.values(), ids=BAD_REVIEWS)
def test_damaged_gzip(tmp_path, data, word):
    (tmp_path / "mine.jsonl.gz").write_bytes(data)
    files = {"reviews": "mine.jsonl.gz", "corpus": "c.parquet"}
    done = stage("corpus", section("corpus"), **files, folder=tmp_path)
    refused(done, "mine.jsonl.gz", "line", word)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.jsonl.gz"]


BAD_TEXTS = {
    "invalid JSON": ((GOOD + "{broken\n") * 10, "line 2"),
    "wrong encoding": ((GOOD + '{"reviewText": "caf\xe9"}\n').encode("latin-1"), "UTF-8"),
    "no text field": ('{"stars": 5, "body": "words"}\n', "body, stars"),
    "nothing left": ('{"reviewText": "too short"}\n', "1 too short"),
    "empty": ("", "1 empty file"),
}


@pytest.mark.parametrize(("text", "word"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_bad_reviews(tmp_path, text, word):
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "mine.jsonl").write_bytes(data)
    refused(corpus(tmp_path), "mine.jsonl", word)
    assert not list(tmp_path.glob("out/*"))


def test_what_a_folder_holds_besides_is_named(tmp_path):
    words = "is the number of this review of ten words"
    folder = tmp_path / "mine.jsonl"  # as `corpus` calls what it reads
    (folder / "sub").mkdir(parents=True)
    reviews = [json.dumps({"text": f"{i} {words} {i * 7}"}) for i in range(1, 9)]
    (folder / "A.JSONL").write_text("\n".join(reviews))
    (folder / "._A.JSONL").write_bytes(b"\0\5")
    done = corpus(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "passed over ._A.JSONL, sub/ (0 files)" in done.stdout


def test_a_few_invalid_lines_are_counted(tmp_path):
    words = "is the number of this review of ten words"
    reviews = [json.dumps({"text": f"{i} {words} {i * 7} {i * i}"}) for i in range(1, 200)]
    (tmp_path / "mine.jsonl").write_text("\n".join([*reviews, "{broken"]))
    done = corpus(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "invalid line 1" in done.stdout


def test_missing_file(tmp_path):
    refused(corpus(tmp_path), "mine.jsonl", "no such file")


BAD_PARAMS = {
    "unknown key": ({"per_categroy": 5}, "corpus.per_categroy", "unknown"),
    "ill-typed": ({"per_category": "many"}, "corpus.per_category", "many"),
    "out of range": ({"near_duplicate": 1.5}, "corpus.near_duplicate", "1.5"),
    "crossed": ({"min_words": 300}, "corpus", "max_words"),
}


@pytest.mark.parametrize("case", BAD_PARAMS.values(), ids=BAD_PARAMS)
def test_bad_params(tmp_path, case):
    changes, *words = case
    refused(corpus(tmp_path, **changes), *words)


def test_missing_key_and_no_json(tmp_path):
    for text, word in (('{"seed": 0}', "missing"), ("{seed", "JSON")):
        done = descry("stage", "corpus", "-p", text, folder=tmp_path)
        refused(done, "--params", word)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("exemplars", {"top_percent": 60.0}),
        ("exemplars", {"top_percent": 0.0}),
        ("label", {"threshold": 1.0}),
        ("label", {"fdr": 0.0}),
    ],
)
def test_k_or_t_out_of_range(tmp_path, name, changes):
    (key,) = changes
    refused(stage(name, section(name, **changes), folder=tmp_path), f"{name}.{key}")


FILES = {
    "none, and no Snakefile": ([], "name its reviews, as reviews=PATH"),
    "no name": (["mine.jsonl"], "mine.jsonl: not of the form name=path"),
    "no path": (["reviews="], "reviews=: not of the form name=path"),
    "an unknown name": (["labels=x", "reviews=y", "corpus=z"], "labels: no file of stage corpus"),
    "one of two": (["reviews=x"], "name its corpus"),
    "twice": (["reviews=x", "corpus=y", "corpus=z"], "corpus: named 2 times"),
}


@pytest.mark.parametrize(("files", "said"), FILES.values(), ids=FILES)
def test_files_are_named_as_in_the_rule(tmp_path, files, said):
    refused(descry("stage", "corpus", *files, "-p", section("corpus"), folder=tmp_path), said)


def test_an_unknown_stage_and_shards_of_one_that_has_none_are_refused(tmp_path):
    refused(descry("stage", "lable", folder=tmp_path), "lable: no stage", "label, writes, facets")
    done = stage("label", section("label"), "--shard", "1-of-2", folder=tmp_path)
    refused(done, "--shard: stage label is not done in parts")


def test_what_a_run_started_with_is_what_its_stages_take(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCRY_PARAMS", json.dumps({"corpus": {**SAMPLE["corpus"], "seed": -1}}))
    files = "reviews=mine.jsonl", "corpus=c.parquet"
    refused(descry("stage", "corpus", *files, folder=tmp_path), "corpus.seed", "-1")


@pytest.mark.parametrize("command", ["show", "audit L0:0", "verify"])
def test_without_results_the_command_that_makes_them_is_named(tmp_path, command):
    refused(descry(*command.split(), folder=tmp_path), "not a descry folder", "--results")
    (tmp_path / "params.yaml").touch()
    refused(descry(*command.split(), folder=tmp_path), "labels.parquet: not made yet", "snakemake")


def test_presets(tmp_path):
    refused(descry("preset", "nothing", folder=ROOT), "nothing", "paper, sample")
    (tmp_path / "mine.yaml").write_text("corpus: [broken\n")
    refused(descry("preset", "mine.yaml", folder=tmp_path), "mine.yaml", "line 2", "YAML")
    assert descry("preset", "sample", folder=tmp_path).returncode == 0
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "presets/sample.yaml").read_text()


def test_pin_without_the_hub_changes_nothing(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "presets/paper.yaml").read_text())
    refused(descry("pin", folder=tmp_path), "OpenAssistant", "hub")
    assert path.read_text() == (ROOT / "presets/paper.yaml").read_text()


def annotate(results, output, section, *options, folder, name="annotate", of="annotations"):
    """Of the results of a run, with a cache of its own."""
    inputs = ("corpus.parquet", "descriptors.json", "exemplars.h5")
    files = {file.partition(".")[0]: results / file for file in inputs} | {of: output}
    return stage(name, section, "--cache", "no-cache", *options, folder=folder, **files)


@pytest.mark.slow
def test_an_unpinned_model_is_refused(built, tmp_path):
    spec = {**SAMPLE["annotate"]["annotator"], "revision": "unpinned"}
    changed = section("annotate", annotator=spec)
    results = built.path / "results"
    done = annotate(results, "x.h5", changed, folder=tmp_path)
    forecast, error = done.stderr.splitlines()
    assert "0 of " in forecast
    assert (done.returncode, error[:7]) == (2, "error: ")
    assert all(word in error for word in ("all-MiniLM-L6-v2", "not pinned", "descry pin"))
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.slow
def test_replay_of_what_was_never_asked(built, tmp_path):
    done = annotate(
        built.path / "results", "x.h5", section("annotate"), "--replay", folder=tmp_path
    )
    refused(done, "embedded", "replay", "answers to p2 are not in no-cache", "Q: Does the Review")
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.slow
def test_a_annotator_asked_by_an_unknown_neuron(built, tmp_path):
    annotator = SAMPLE["annotate"]["annotator"]
    changed = section("judge", annotator=annotator, scope="exemplars", neurons=["L9:0"])
    judge = {"name": "judge", "of": "judgements"}
    done = annotate(built.path / "results", "x.h5", changed, **judge, folder=tmp_path)
    refused(done, "L9:0", "L5:383")


@pytest.mark.slow
def test_fewer_sentences_than_an_exemplar_set_needs(built, tmp_path):
    results = built.path / "results"
    files = {"corpus": results / "corpus.parquet", "activations": results / "activations.h5"}
    changed = section("exemplars", top_percent=0.1)
    done = stage("exemplars", changed, **files, exemplars=tmp_path / "e.h5", folder=built.path)
    refused(done, "exemplars.top_percent", "exemplars.min_size")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("neuron", ["L6:0", "L0:384", "neuron", "L-1:0"])
def test_unknown_neurons(built, neuron):
    refused(descry("show", "--", neuron, folder=built.path), neuron, "L5:383")
    refused(descry("audit", "--", neuron, folder=built.path), neuron, "L5:383")


@pytest.mark.slow
def test_the_disk_is_full(built, tmp_path):
    """A real file system of 64 KiB, in a mount namespace of its own."""
    full = tmp_path / "full"
    full.mkdir()
    mount = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    probe = f"mount -t tmpfs -o size=64k tmpfs {full}"
    if subprocess.run([*mount, probe], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    results = built.path / "results"
    run = (
        f"{sys.executable} -m descry stage exemplars corpus={results}/corpus.parquet"
        f" activations={results}/activations.h5 exemplars={full}/e.h5"
    )
    script = f"{probe} && {run} -p '{section('exemplars', top_percent=10.0)}'; s=$?"
    done = subprocess.run(
        [*mount, f"{script}; ls -A {full}; exit $s"],
        cwd=built.path, capture_output=True, text=True, env=os.environ,
    )  # fmt: skip
    refused(done, "e.h5", "disk is full")
    assert done.stdout == ""


BAD_ANNOTATORS = {
    "unknown kind": ({"kind": "gpt", "model": "x"}, "annotate.annotator", "gpt", "openai"),
    "none": (None, "annotate.annotator", "null"),
    "misspelt": ({**SAMPLE["annotate"]["annotator"], "dtpye": 1}, "annotate.annotator.dtpye"),
}


@pytest.mark.parametrize("case", BAD_ANNOTATORS.values(), ids=BAD_ANNOTATORS)
def test_bad_annotators(tmp_path, case):
    spec, *words = case
    changed = section("annotate", annotator=spec)
    refused(annotate(tmp_path, "x.h5", changed, folder=tmp_path), *words)


def test_help_names_every_stage(tmp_path):
    said = descry("stage", "--help", folder=tmp_path).stdout
    for stage in SAMPLE.keys() - {"shards"}:
        assert stage in said
