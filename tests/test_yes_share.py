"""An annotator that tells nothing apart is noticed by how often it says Yes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import (
    ANNOTATIONS,
    CACHE,
    Toy,
    build,
    log_probabilities,
    printed,
    run_annotate,
    run_evaluate,
    run_judge,
    write_gold,
)

from descry.annotators.annotations import read_annotations
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.yes_share import in_percent, one_sided
from descry.cli.console.cache import show_cache
from descry.cli.progress import finished

ADVICE = ": try annotate.threshold: fitted, and annotate.centre: sentence"


def said(yes, answered):
    return one_sided("toy", np.array(yes), np.array(answered))


@pytest.mark.parametrize(
    ("yes", "answered", "words"),
    [
        ([100, 100], [100, 100], "toy says Yes to 100% of what it is asked"),
        ([91, 91], [100, 100], "toy says Yes to 91% of what it is asked"),
        ([90, 90], [100, 100], None),
        ([2, 2], [100, 100], None),
        ([1, 2], [100, 100], "toy says Yes to 1.5% of what it is asked"),
        ([0, 0], [100, 100], "toy says Yes to 0% of what it is asked"),
        ([100, 0], [100, 100], "toy gives every sentence the same answers"),
        ([100, 0, 0], [100, 100, 0], "toy gives every sentence the same answers"),
        ([100, 1], [100, 100], None),
        ([3, 0], [3, 3], None),  # too few to tell
        ([], [], None),
    ],
)
def test_a_annotator_that_tells_nothing_apart_is_named_with_its_share(yes, answered, words):
    assert said(yes, answered) == (words and words + ADVICE)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_only_none_is_0_percent_and_only_all_is_100(yes, more):
    shown = in_percent(yes / (yes + more))
    assert (shown == "0%") == (yes == 0)
    assert shown != "100%"
    assert in_percent(1.0) == "100%"


def test_annotate_and_the_cache_warn_of_a_annotator_that_never_says_no(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    build()
    capsys.readouterr()
    finished("annotate", run_annotate(Toy(lambda prompt: log_probabilities(True))))
    with PromptCache(CACHE) as cache:
        show_cache(cache, None)
    said = printed(capsys)
    words = "warning: toy (no generative model) says Yes to 100% of what it is asked"
    assert f"annotate: {words}" in said
    assert "warning: toy @ v1 says Yes to 100% of what it is asked" in said


def test_a_annotator_that_tells_sentences_apart_is_not_warned_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build()
    finished("annotate", run_annotate(Toy()))
    with PromptCache(CACHE) as cache:
        show_cache(cache, None)
    assert "warning" not in printed(capsys)


def test_metrics_have_the_share_of_yes_and_the_warning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build()
    run_judge(Toy(lambda prompt: log_probabilities(False)), scope="corpus")
    metrics = run_evaluate()
    assert metrics["answers"]["annotator"]["yes"] == pytest.approx(1 / 3)
    assert metrics["answers"]["judge"]["yes"] == pytest.approx(1 / 360, abs=1e-5)  # in the cache
    words = "toy (no generative model) says Yes to 0.3% of what it is asked"
    advice = "try judge.threshold: fitted, and judge.centre: sentence"
    assert f"{words}: {advice}" in metrics["warnings"]


def test_metrics_say_that_an_annotator_agrees_with_people_by_chance_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build()
    b = read_annotations(ANNOTATIONS)

    def labelled(rows):
        said = (np.flatnonzero(row == 1) for row in b.answer[rows])
        return {
            name: [b.descriptors[column] for column in columns]
            for name, columns in zip(b.ids, said, strict=True)
        }

    order = np.arange(len(b.ids))
    write_gold(labelled(order))
    right = run_evaluate()
    assert right["annotator"]["gold"]["within_kappa"] == pytest.approx(1)
    assert not any("trusted" in words for words in right["warnings"])
    write_gold(labelled(np.random.default_rng(0).permutation(order)))
    (words,) = (words for words in run_evaluate()["warnings"] if "trusted" in words)
    assert "agrees with gold labels no better than chance: kappa" in words
    assert "Yes to 33% of all: labels by it are not to be trusted" in words
