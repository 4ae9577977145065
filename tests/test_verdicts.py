"""Verdicts on scores: yes, barely, no better than chance."""

import pytest

from descry.reporting.explorer.verdicts import beside_random, verdict, with_verdicts


@pytest.mark.parametrize(
    ("value", "low", "chance", "expected"),
    [
        (0.90, 0.82, 0.11, "yes"),
        (0.16, 0.08, 0.001, "barely"),  # its lower end: less than a tenth of the way to 1
        (0.16, 0.11, 0.001, "yes"),
        (0.55, 0.53, 0.5, "barely"),
        (0.60, 0.56, 0.5, "yes"),
        (0.30, 0.11, 0.11, "no"),  # the interval reaches chance
        (0.30, 0.05, 0.11, "no"),
        (0.05, 0.20, 0.11, "no"),  # below chance, whatever the interval says
        (0.90, None, 0.11, "barely"),  # nobody knows how sure that is
        (0.10, None, 0.11, "no"),
        (1.00, 1.00, 1.00, "no"),  # chance gives the best score: nothing can be better
    ],
)
def test_a_verdict_follows_from_value_interval_and_null(value, low, chance, expected):
    assert verdict(value, low, chance) == expected


@pytest.mark.parametrize(
    ("labels", "random", "expected"),
    [(100, 0, "yes"), (100, 5, "yes"), (100, 6, "barely"), (100, 100, "no"), (0, 0, "no")],
)
def test_labels_stand_beside_those_of_random_sets(labels, random, expected):
    assert beside_random(labels, random, 0.05) == expected


def test_every_score_with_a_null_gets_a_verdict_and_nothing_else_changes():
    share = {"labels": 9, "value": 0.75, "low": 0.5, "base": 0.04}
    chance = {"labels": 90, "random_labels": 2.0, "no_better": False}
    metrics = {
        "halves": {"jaccard": {"value": 0.2, "low": 0.1, "null": 0.15}, "undefined": "no gold"},
        "headline": {"replicated": share | {"chosen by calibration": share}},
        "chance": {"highest": chance, "lowest": chance | {"no_better": True}},
        "neurons": 9,
        "unknown": {"value": None, "null": 0.1},
        "warnings": ["one"],
    }
    found = with_verdicts(metrics, 0.05)
    assert found["halves"]["jaccard"].pop("verdict") == "no"
    assert found["headline"]["replicated"].pop("verdict") == "yes"
    assert found["headline"]["replicated"]["chosen by calibration"].pop("verdict") == "yes"
    assert found["chance"]["highest"].pop("verdict") == "yes"
    assert found["chance"]["lowest"].pop("verdict") == "no"
    assert found == metrics


@pytest.mark.parametrize(("copy", "expected"), [(0, "yes"), (2, "barely"), (8, "no"), (9, "no")])
def test_a_copy_with_random_weights_that_has_labels_too_is_no_better_than_chance(copy, expected):
    false = {"labels": 8, "random_labels": 0.0, "random_weights": copy}
    assert with_verdicts({"false_labels": false}, 0.001)["false_labels"]["verdict"] == expected
