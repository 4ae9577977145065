"""Neurons that are made to fire on a descriptor get it for a label; before that they do not."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parent.parent / "benchmarks/planted.py"
LAYER = 5
SENTENCES = 864  # of both halves
NEURONS = 5  # planted: the descriptors that the fitting half reads best
TOP_PERCENT = 8.0  # of 432 sentences: 35, nearly as many as a run on the whole sample has
MAX_TOKENS = 48  # for time's sake: nearly half of the sentences are cut


@pytest.fixture(scope="module")
def planting():
    spec = importlib.util.spec_from_file_location("planted_neurons", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def study(planting, tmp_path_factory):
    params = planting.sections(TOP_PERCENT, SENTENCES // planting.CATEGORIES)
    params["activations"]["max_tokens"] = MAX_TOKENS
    return planting.prepare(tmp_path_factory.mktemp("planted"), params, seed=0)


@pytest.fixture(scope="module")
def planted(planting, study):
    """By strength, what became of each neuron."""
    gold, enriched = (planting.BY_GOLD,), ("enrichment",)
    plan = planting.Plan([LAYER], [0.0, 1.0], NEURONS, 0, annotators=gold, rules=enriched)
    found = planting.plant(study, plan, lambda _: None)
    return {s: [one for one in found if one.strength == s] for s in plan.strengths}


def test_directions_are_fitted_on_other_sentences_than_those_labelled(study):
    fitting, held = (set(half.column("id")) for half in (study.fitting, study.held))
    assert len(fitting) == len(held) == SENTENCES // 2
    assert not fitting & held


def test_planted_descriptors_come_back_as_labels(planted):
    assert len(planted[1.0]) == NEURONS
    assert sum(one.right for one in planted[1.0]) >= 0.8 * NEURONS


def test_the_same_neurons_do_not_have_these_labels_before(planted):
    names = [one.descriptor for one in planted[0.0]]
    assert names == [one.descriptor for one in planted[1.0]]
    assert not any(one.found for one in planted[0.0])


def test_a_planted_neuron_fires_on_its_descriptor(planted):
    assert all(after.fires > 0.7 for after in planted[1.0])


def test_a_share_has_wilsons_interval(planting):
    found = planting.share(9, 10)
    assert found == pytest.approx((0.9, 0.596, 0.982), abs=1e-3)


def test_a_fully_planted_neuron_keeps_its_mean_and_deviation(planting):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(50, 8)) + 1
    found = planting.Directions(hidden, rng.normal(size=(2, 8)), np.ones(2))
    old = rng.normal(size=8), 0.5
    row, bias = found.planted(old, 1, 1.0)
    before, after = hidden @ old[0] + old[1], hidden @ row + bias
    assert (after.mean(), after.std()) == pytest.approx((before.mean(), before.std()))
    assert np.corrcoef(after, hidden @ found.rows[1])[0, 1] == pytest.approx(1)
    assert found.planted(old, 1, 0.0)[0].tolist() == old[0].tolist()
