"""Verification: every link of the chain is tampered with, and each is caught and named.

Twice: somebody changes a file and nothing else, which its hash tells; and somebody who also writes
new hashes everywhere, as if the run had made it so, which only the contents tell.
"""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import tiny
import yaml
from extracting import compute, section
from planted import (
    ANNOTATIONS,
    ANNOTATOR,
    CACHE,
    CORPUS,
    LABELS,
    RESULTS,
    Toy,
    answers_changed,
    build,
    log_probabilities,
    made_in,
    run_annotate,
)
from safetensors.numpy import load_file, save_file

from descry.annotators.annotations import read_annotations
from descry.annotators.prompt_cache.store import PromptCache
from descry.errors import InputError
from descry.io.dvc_files import hashes_of, md5
from descry.io.dvc_lock import LOCK, Locked, in_order, read_lock
from descry.io.hashing import canonical, sha256_file
from descry.io.json_files import read_json, write_json
from descry.io.parquet import read_table, table_provenance, write_table
from descry.io.provenance import PROVENANCE
from descry.io.read_provenance import provenance_of
from descry.io.readable import ANY
from descry.models.checkpoints import contents_sha256
from descry.provenance.audit.project import Project
from descry.provenance.verify import recompute as samples
from descry.provenance.verify.cached_answers import CachedAnswers
from descry.provenance.verify.chain import verify
from descry.provenance.verify.hashes import PROVEN, Hashes
from descry.stages.exemplars import Exemplars, select_exemplars
from descry.workflow.params import load, parse

ALL = 10_000  # more sentences and answers than there are
PARAMS = Path("params.yaml")
DATABASE = Path("cache/prompts/cache.db")


def links(sample=0, seed=0):
    project = Project(Path("results"), Path("cache/prompts"))
    return list(verify(project, load(PARAMS), sample=sample, seed=seed))


def faults(sample=0):
    return [f"{link.stage}: {link.fault}" for link in links(sample) if link.fault]


def forge():
    """Write new hashes wherever they stand, stage by stage, as if the run had made the files so."""
    lock = yaml.safe_load(LOCK.read_text())
    params = yaml.safe_load(PARAMS.read_text())
    for stage in in_order(read_lock(LOCK)):
        entry = lock["stages"][stage.name]
        entry["params"]["params.yaml"] = {name: params[name] for name in stage.params}
        for out in (Path(out) for out in stage.outs if Path(out).suffix in PROVEN):
            made = provenance_of(out, stage.name)
            made["inputs"] = {path: sha256_file(Path(path)) for path in made["inputs"]}
            own = made["params"].keys() == stage.params.keys()
            made["params"] = {n: params[n] for n in stage.params} if own else params[stage.name]
            sign(out, made)
        for file in [*entry["deps"], *entry["outs"]]:
            file["md5"], path = md5(Path(file["path"]), Path()), Path(file["path"])
            file["size"] = path.stat().st_size if path.is_file() else file["size"]
    LOCK.write_text(yaml.safe_dump(lock, sort_keys=False))


def sign(path, made):
    """Have a result say that it was made otherwise."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs[PROVENANCE] = canonical(made)
    elif path.suffix == ".json":
        write_json(path, read_json(path, ANY) | {"made": made})
    else:
        write_table(path, read_table(path, ANY), made)


@contextmanager
def rewritten(path):
    """The rows of a Parquet file, to be changed."""
    table = read_table(Path(path), ANY)
    rows = table.to_pylist()
    yield rows
    changed = pa.Table.from_pylist(rows, schema=table.schema.remove_metadata())
    write_table(Path(path), changed, table_provenance(table))


# What somebody may change: each returns what the contents are to say of it.


def a_review():
    file = sorted(Path("data/sample").glob("*.jsonl"))[0]
    line = next(row["line"] for row in rows_of(file))
    texts = file.read_text().splitlines()
    review = json.loads(texts[line - 1])
    field = "reviewText" if "reviewText" in review else "text"
    texts[line - 1] = json.dumps(review | {field: review[field] + " It broke."})
    file.write_text("\n".join(texts) + "\n")
    return f"is not what stands in {file.as_posix()} line {line}"


def rows_of(file):
    return [r for r in read_table(CORPUS, "corpus").to_pylist() if r["source"] == file.as_posix()]


def a_sentence():
    with rewritten("results/corpus.parquet") as rows:
        rows[3]["text"] += " It broke."
        return f"corpus.parquet: {rows[3]['id']} is not its text's hash"


def a_raw_descriptor():
    with rewritten("results/candidates.parquet") as rows:
        rows[5]["phrase"] = "witchcraft"
        return "candidates.parquet: it has 'witchcraft' of"


def a_cluster():
    found = read_json(Path("results/descriptors.json"), ANY)
    found["descriptors"][0]["name"] = "Witchcraft"
    write_json(Path("results/descriptors.json"), found)
    return "descriptors.json: 'Witchcraft': neither a raw descriptor of it nor a name given by hand"


def an_activation():
    with h5py.File("results/activations.h5", "r+") as file:
        file["activations"][17, 0, 21] += 5
    return "activations.h5: L3:21 of row 17 is recorded as"


def an_exemplar():
    with h5py.File("results/exemplars.h5", "r+") as file:
        file["all/row"][1, 7, :2] = file["all/row"][1, 7, :2][::-1]
    return "exemplars.h5 does not follow from its inputs: all/row: 2 of "


def a_cell_of_b():
    b = read_annotations(Path("results/annotations.h5"))
    with answers_changed() as answer:
        answer[11, 2] = 1 - answer[11, 2]
    return f"annotate: of sentence {b.ids[11]} and {b.descriptors[2]!r} it has"


def a_label():
    with rewritten("results/labels.parquet") as rows:
        rows[100]["assigned"] = not rows[100]["assigned"]
    return "labels.parquet does not follow from its inputs: assigned: 1 of "


def a_neuron_of_the_inverse_map():
    found = read_json(Path("results/neurons.json"), ANY)
    next(iter(found["neurons"]["all"].values())).append("L5:383")
    write_json(Path("results/neurons.json"), found)
    return "neurons.json does not follow from its inputs"


def a_param():
    params = yaml.safe_load(PARAMS.read_text())
    params["label"]["threshold"] = 0.31
    PARAMS.write_text(yaml.safe_dump(params, sort_keys=False))
    return "labels.parquet does not follow from its inputs"


FILES = {
    a_review: "data/sample is not the folder that dvc.lock records",
    a_sentence: "results/corpus.parquet is not the file that dvc.lock records",
    a_raw_descriptor: "results/candidates.parquet is not the file",
    a_cluster: "results/descriptors.json is not the file",
    an_activation: "results/activations.h5 is not the file",
    an_exemplar: "results/exemplars.h5 is not the file",
    a_cell_of_b: "results/annotations.h5 is not the file",
    a_label: "results/labels.parquet is not the file",
    a_neuron_of_the_inverse_map: "results/neurons.json is not the file",
    a_param: "params.yaml: label.threshold is 0.31, 0.12 in dvc.lock",
}


@pytest.fixture
def study(repo, monkeypatch):
    """A copy of the built miniature, as the current folder."""
    monkeypatch.chdir(repo.path)
    return repo


@pytest.mark.slow
def test_all_of_an_untouched_run_follows(study):
    before = hashes()
    found = links(ALL)
    assert [link.fault for link in found if link.fault] == []
    checked = " ".join(f"{link.stage}: {link.checked}" for link in found)
    for words in (
        "cells of B by the cached answers", "cache keys by their requests", "raw descriptors by",
        "activations of {} sentences, by the model", "exemplars.h5 computed anew",
        "labels.parquet, composed.parquet, neurons.json computed anew", "report: params.yaml",
    ):  # fmt: skip
        assert words.format(len(read_table(CORPUS, "corpus"))) in checked
    assert hashes() == before


def hashes():
    """What is here, but for the cache's own housekeeping."""
    found = {p.as_posix(): p for p in Path().rglob("*") if p.is_file() and "cache.db" not in p.name}
    with closing(sqlite3.connect(DATABASE)) as base:
        rows = base.execute("SELECT key, value FROM Cache ORDER BY key").fetchall()
    return {n: hashlib.md5(p.read_bytes()).hexdigest() for n, p in found.items()} | {"rows": rows}


@pytest.mark.slow
@pytest.mark.parametrize("tamper", FILES, ids=lambda f: f.__name__)
def test_a_changed_file_is_caught_by_its_hash_and_named_by_its_contents(study, tamper):
    contents = tamper()
    found = faults()
    assert FILES[tamper] in found[0]
    if tamper not in (a_param, an_activation):  # without a model an activation is only a number
        assert any(contents in fault for fault in found)


@pytest.mark.slow
@pytest.mark.parametrize("tamper", FILES, ids=lambda f: f.__name__)
def test_a_forger_who_writes_new_hashes_is_caught_by_the_contents(study, tamper):
    contents = tamper()
    forge()
    (fault,) = faults(ALL if tamper is an_activation else 0)
    assert contents in fault


def answer_otherwise(task, also):
    """Another answer in the cache; and in the results, where it goes."""
    with closing(sqlite3.connect(DATABASE)) as base:
        origins = dict(base.execute("SELECT key, value FROM Cache WHERE key LIKE 'origin:%'"))
        ours = {
            key.removeprefix("origin:")
            for key, value in origins.items()
            if json.loads(value)["task"] == task and "descry-embedded" in value  # not the judge's
        }
        rows = base.execute("SELECT key, value FROM Cache WHERE key LIKE 'answer:%' ORDER BY key")
        key, record = next(
            (k, r) for k, v in rows if (r := json.loads(v))["origin"] in ours and "descriptor" in r
        )
        said = record["response"]
        record["response"] = said | {"yes": said["no"], "no": said["yes"]}
        base.execute(
            "UPDATE Cache SET value = ?, tag = NULL WHERE key = ?", (canonical(record), key)
        )
        base.commit()
    if also:
        b = read_annotations(Path("results/annotations.h5"))
        cell = b.ids.index(record["sentence"]), b.descriptors.index(record["descriptor"])
        with answers_changed() as answer:
            answer[cell] = 1 - answer[cell]
        with h5py.File("results/annotations.h5", "r+") as file:
            file["score"][cell[::-1]] = np.float32(said["no"] - said["yes"])
    return key.removeprefix("answer:")


@pytest.mark.slow
def test_a_changed_answer_in_the_cache_is_not_what_b_says(study):
    key = answer_otherwise("p2", also=False)
    (fault,) = faults()
    assert fault.startswith("annotate: annotate: of sentence ")
    assert key in fault


@pytest.mark.slow
def test_an_answer_forged_in_cache_and_results_is_not_what_the_annotator_says(study):
    key = answer_otherwise("p2", also=True)
    forge()
    (fault,) = faults(ALL)
    assert f"the cached answer {key} is not what embedded" in fault


@pytest.mark.slow
def test_a_key_that_is_not_its_requests_is_named(study):
    with closing(sqlite3.connect(DATABASE)) as base:
        key = base.execute("SELECT key FROM Cache WHERE key LIKE 'answer:%' LIMIT 1").fetchone()[0]
        base.execute("UPDATE Cache SET key = ? WHERE key = ?", ("answer:" + "0" * 64, key))
        base.commit()
    found = faults()
    assert found[0].startswith("prompt cache: ")
    assert "0" * 64 + ": the key does not follow from its request; 1 are wrong" in found[0]


@pytest.mark.slow
def test_changed_code_is_named(study):
    with Path("src/descry/labels/clustering.py").open("a") as file:
        file.write("# a word\n")
    (fault,) = faults()
    assert fault.startswith(
        "cluster: src/descry/labels/clustering.py is not the file that dvc.lock records"
    )


@pytest.mark.slow
def test_without_dvc_lock_the_results_are_held_against_each_other(study):
    LOCK.unlink()
    assert faults() == []
    an_exemplar()
    found = faults()
    assert "exemplars.h5 does not follow from its inputs" in found[0]
    forge_nothing = read_table(Path("results/labels.parquet"), "label")
    assert table_provenance(forge_nothing)["inputs"]["results/exemplars.h5"] != sha256_file(
        Path("results/exemplars.h5")
    )


@pytest.mark.slow
def test_the_command_ends_with_status_1_and_names_it(study):
    assert "WRONG" not in study.sh("descry verify --sample 0")
    contents = a_cell_of_b()
    said = study.sh("descry verify --sample 0", status=1)
    assert "WRONG" in said and contents in said
    shutil.rmtree("cache")
    assert "no prompt cache" in study.sh("descry verify", status=2)
    assert "labels.parquet" in study.sh("rm results/labels.parquet; descry verify", status=2)


# Hashes alone, and answers of several annotators, on a planted run.


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The planted run, as the current folder."""
    monkeypatch.chdir(made_in(tmp_path, build))
    return Project(RESULTS, CACHE)


def by_hashes(project):
    """What is wrong by the hashes alone."""
    params = load(Path(__file__).parent.parent / "params.yaml")
    return [x.fault for x in verify(project, params, sample=0, seed=0, hashes=True) if x.fault]


def test_hashes_alone_need_no_prompt_cache_and_make_none(planted):
    shutil.rmtree(CACHE)
    assert by_hashes(planted) == []
    with answers_changed() as answer:
        answer[0, 0] = 0
    assert "labels.parquet was made of another results/annotations.h5" in by_hashes(planted)[0]
    assert not CACHE.exists()


def test_where_a_result_is_missing_no_hash_is_checked(planted):
    LABELS.unlink()
    with pytest.raises(InputError, match=r"labels\.parquet"):
        by_hashes(planted)


def test_only_answers_of_the_annotator_of_b_count(planted):
    shutil.rmtree(CACHE)
    other = Toy(lambda prompt: log_probabilities(True))
    other.identity = replace(ANNOTATOR, revision="v2")
    run_annotate(other)
    run_annotate(Toy())
    answers = CachedAnswers(planted)
    with PromptCache(CACHE) as cache:
        assert answers.go_through(cache, []).fault is None
    b = read_annotations(ANNOTATIONS)
    found, score = answers.verdicts("annotate")
    assert (found == b.answer).all() and (score == b.score).all()
    assert {0, 1} == set(b.answer.ravel().tolist())


# A folder: DVC's cache has a listing of it.


@pytest.fixture
def page(tmp_path):
    """A result that is a folder, and the fault of its hash as dvc.lock records it now."""
    folder = tmp_path / "results/report"
    (folder / "data").mkdir(parents=True)
    (tmp_path / ".dvcignore").write_text("results/report/data/commit.js\n")
    for name in ("index.html", "data/run.js", "data/words-0.js", "data/commit.js"):
        (folder / name).write_text(name)
    known = md5(folder, tmp_path)
    entries = [{"md5": of, "relpath": n} for n, of in hashes_of(folder, tmp_path).items()]
    kept = tmp_path / ".dvc/cache/files/md5" / known[:2] / known[2:]
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(entries, sort_keys=True))
    stage = Locked("report", {}, {"results/report": known}, {})

    def fault():
        *_, outputs = Hashes(Project(tmp_path / "results", tmp_path / "cache")).checks(stage)
        return outputs().fault

    return folder, kept, fault


def test_a_folder_is_as_it_was_whatever_dvc_ignores_in_it(page):
    folder, _, fault = page
    assert fault() is None
    (folder / "data/commit.js").write_text("another commit")
    assert fault() is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("data/run.js", "edited", "data/run.js in it is another; files that differ: 1"),
        ("data/run.js", None, "data/run.js in it is not here; files that differ: 1"),
        ("data/a\x1b.js", "", "data/a\N{REPLACEMENT CHARACTER}.js in it is new; files that differ"),
    ],
)
def test_what_was_changed_removed_or_added_in_a_folder_is_named(page, name, text, words):
    folder, kept, fault = page
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    said = "results/report is not the folder that dvc.lock records (md5 "
    assert fault().startswith(said)
    assert words in fault()
    kept.unlink()  # without the listing nobody knows which file it is
    assert fault().startswith(said) and fault().endswith(")")


# One weight: a local model, whose hash is its revision.


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A tiny local model, and the planted run with its activations, as the current folder."""
    made_in(tmp_path, build)
    monkeypatch.chdir(tmp_path)
    tiny.make("bert", Path("model"))
    told = section(Path("model")) | {"position": "cls"}
    compute(CORPUS, RESULTS / "activations.h5", told)
    chosen = Exemplars(top_percent=10.0, min_size=3, window=5, lowest=False)
    files = {name: RESULTS / f"{name}.h5" for name in ("activations", "exemplars")}
    select_exemplars(chosen, None, corpus=CORPUS, **files)
    return Path("model")


def pinned(model):
    """The params with the model as it is now."""
    params = load(Path(__file__).parent.parent / "params.yaml")
    told = section(model) | {"position": "cls"}
    told["target"] = {"model": str(model), "revision": contents_sha256(model)}
    return params.model_copy(update={"activations": parse("activations", told, "here")})


def one_weight(model):
    weights = load_file(model / "model.safetensors")
    name = next(name for name in sorted(weights) if "output.dense.weight" in name)
    weights[name][0] += 1
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def recomputed(model, tmp_path):
    return samples.some_activations(Project(RESULTS, CACHE), pinned(model), tmp_path, ALL, 0).fault


def test_an_untouched_model_gives_the_recorded_activations(model, tmp_path):
    assert samples.weights(Project(RESULTS, CACHE), pinned(model)).fault is None
    assert recomputed(model, tmp_path / "scratch") is None


def test_a_changed_weight_is_caught_by_the_models_revision(model):
    params = pinned(model)
    one_weight(model)
    with pytest.raises(InputError, match=r"model: its contents have sha256 \w+, not"):
        samples.weights(Project(RESULTS, CACHE), params)


def test_a_changed_weight_is_caught_where_the_revision_was_written_anew(model):
    one_weight(model)
    fault = samples.weights(Project(RESULTS, CACHE), pinned(model)).fault
    assert fault.startswith("the weights of model have sha256 ")


def test_a_changed_weight_is_caught_by_its_activations_where_all_hashes_are_forged(model, tmp_path):
    one_weight(model)
    made = provenance_of(RESULTS / "activations.h5", "activations")
    made["weights"] = sha256_file(model / "model.safetensors")
    sign(RESULTS / "activations.h5", made)
    assert samples.weights(Project(RESULTS, CACHE), pinned(model)).fault is None
    fault = recomputed(model, tmp_path / "scratch")
    assert fault.startswith("activations.h5: L")
    assert ", the model gives " in fault
