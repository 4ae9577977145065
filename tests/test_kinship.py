"""Whether an annotator and the target are one model."""

import json

import pytest

from descry.models.checkpoints import MINILM, MINILM_COMMIT, MINILM_SHA256
from descry.models.kinship import kinship, made_from

TARGET = {
    "model": "org/target",
    "revision": "a" * 40,
    "weights": "1" * 64,
    "made_from": ["org/base"],
}


@pytest.mark.parametrize(
    ("annotator", "why"),
    [
        ({"model": "org/target", "revision": "a" * 40}, "both are org/target @ aaaaaaaaaaaa"),
        # A folder is named by the hash of its contents, wherever it is.
        ({"model": "/a/copy", "revision": "a" * 40}, "both are /a/copy @ aaaaaaaaaaaa"),
        (
            {"model": "Org/Target", "revision": "b" * 40},
            "both are Org/Target, at different revisions",
        ),
        ({"model": "org/target"}, "both are org/target, at different revisions"),  # of a server
        ({"model": "org/base", "revision": "c" * 40}, "the target was made from org/base"),
        ({"model": "org/other", "revision": "c" * 40}, None),
        ({}, None),
    ],
)
def test_what_an_annotator_shares_with_the_target_is_told_in_words(annotator, why):
    assert kinship(TARGET, annotator) == why


def test_a_copy_of_the_packaged_model_is_known_by_its_weights():
    copied = TARGET | {"weights": MINILM_SHA256}
    packaged = {"model": MINILM, "revision": MINILM_COMMIT}
    assert kinship(copied, packaged) == f"both have the weights of {MINILM}"
    assert kinship(TARGET, packaged) is None


def test_what_a_checkpoint_was_made_from_stands_in_its_configuration(tmp_path):
    assert made_from(tmp_path) == []
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "org/base"}))
    assert made_from(tmp_path) == ["org/base"]
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "org/adapted"})
    )
    assert made_from(tmp_path) == ["org/adapted", "org/base"]
    (tmp_path / "config.json").write_text("{}")
    assert made_from(tmp_path) == ["org/adapted"]
