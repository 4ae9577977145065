"""What can be known of a run before it works is said before it works."""

import os

import pyarrow as pa
import pytest
import yaml
from miniature import ROOT

from descry.errors import InputError
from descry.io.parquet import write_table
from descry.workflow import preflight as startup
from descry.workflow.params import Params
from descry.workflow.preflight import check_corpus, check_made, check_start, shared_model

SERVER = {
    "kind": "openai", "model": "m", "revision": "m", "dtype": "unknown",
    "base_url": "http://localhost:1/v1", "api_key_env": "A_KEY_NOBODY_HAS", "max_new_tokens": 8,
    "concurrency": 1, "timeout": 1.0, "retries": 0, "price": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop(startup.SETS, None)


def params(**changes):
    raw = yaml.safe_load((ROOT / "presets/sample.yaml").read_text(encoding="utf-8"))
    for section, values in changes.items():
        raw[section] |= values
    return Params.model_validate(raw).model_dump()


def test_the_shipped_params_have_nothing_wrong():
    check_start(params(), Params.model_fields, replay=False)


@pytest.mark.parametrize(
    ("changes", "stage", "said"),
    [
        ({"annotate": {"annotator": SERVER}}, "annotate", "A_KEY_NOBODY_HAS is not in the env"),
        ({"describe": {"annotators": [SERVER]}}, "describe", r"describe\.annotators\.0\.api_key"),
        (
            {"activations": {"target": {"model": "a/b", "revision": "unpinned"}}},
            "activations",
            "activations.target: a/b is unpinned: run `descry pin`",
        ),
        (
            {"activations": {"dictionary": {"path": "an/sae", "revision": "unpinned"}}},
            "activations",
            "activations.dictionary: an/sae is unpinned: run `descry pin`",
        ),
        (
            {"activations": {"dictionary": {"path": "an/sae", "revision": "0" * 64}}},
            "activations",
            "activations.dictionary.path: an/sae: no such folder or file",
        ),
        (
            {"cluster": {"embedder": {"model": "models/nope", "revision": "0" * 64}}},
            "cluster",
            "cluster.embedder.model: models/nope: no such folder",
        ),
    ],
)
def test_what_a_stage_will_miss_is_said_where_the_stage_will_run(changes, stage, said):
    with pytest.raises(InputError, match=said):
        check_start(params(**changes), ["corpus", stage], replay=False)
    check_start(params(**changes), ["corpus", "label"], replay=False)


@pytest.mark.parametrize(
    ("stage", "text", "changes", "said"),
    [
        ("describe", "{sentence}", {"examples": 3}, r"no \{examples\}, where the 3 examples"),
        ("describe", "{examples}", {"examples": 0}, r"\{sentence\} must stand in it once"),
        ("annotate", "{sentence} {topic}", {}, r"no place is called \{topic\}"),
        ("judge", "{descriptor} {sentence}", {}, r"\{sentence\} must stand before"),
    ],
)
def test_a_template_that_is_not_in_order_is_said_before_anything(
    tmp_path, stage, text, changes, said
):
    (tmp_path / "p.txt").write_text(text)
    wrong = {stage: {"template": str(tmp_path / "p.txt")} | changes}
    with pytest.raises(InputError, match=rf"p\.txt: .*{said}"):
        check_start(params(**wrong), [stage], replay=True)


def test_in_replay_no_annotator_needs_anything():
    check_start(params(annotate={"annotator": SERVER}), ["annotate"], replay=True)


def corpus_of(tmp_path, sentences):
    halves = ["calibration", "validation"] * (sentences // 2)
    write_table(tmp_path / "corpus.parquet", pa.table({"split": halves}), {})
    return tmp_path / "corpus.parquet"


def test_a_corpus_too_small_for_the_sets_of_the_run_is_refused_before_models_see_it(tmp_path):
    small, large = corpus_of(tmp_path, 300), 500
    check_corpus(small)  # no run makes sets of it
    check_start(params(exemplars={"top_percent": 2.0}), ["corpus", "exemplars"], replay=False)
    with pytest.raises(InputError, match="2% of 150 sentences is 3, but an exemplar set needs 5"):
        check_corpus(small)
    check_corpus(corpus_of(tmp_path, large))


def test_what_was_not_made_yet_and_what_is_no_descry_folder_is_said(tmp_path):
    results = tmp_path / "results"
    with pytest.raises(InputError, match="not a descry folder"):
        check_made(results, "labels.parquet")
    (tmp_path / "params.yaml").touch()
    with pytest.raises(InputError, match=r"labels\.parquet: not made yet: run `snakemake"):
        check_made(results, "labels.parquet")
    results.mkdir()
    (results / "labels.parquet").touch()
    check_made(results, "labels.parquet")


def test_that_annotator_and_target_share_a_model_is_said_where_labels_will_be_made():
    assert "both are sentence-transformers" in str(shared_model(params(), {"annotate", "label"}))
    assert shared_model(params(), {"label"}) is None
    other = {"annotator": SERVER}
    assert shared_model(params(annotate=other), {"annotate"}) is None
