"""Labels that other data bears out, and labels that are owed to errors of annotator and target."""

from itertools import permutations

import h5py
import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from planted import (
    ACTIVATIONS,
    ANNOTATIONS,
    CORPUS,
    EXEMPLARS,
    LABELS,
    TOPICS,
    own_topic,
    write_gold,
)

from descry.activations.exemplar_files import read_exemplars
from descry.activations.top_k import HIGHEST, LOWEST
from descry.annotators.annotations import read_annotations
from descry.corpus.splits import HALVES, other_half
from descry.evaluation import relabelled
from descry.evaluation.agreement import wilson
from descry.evaluation.headline import LEVEL, borne_out, first_words
from descry.evaluation.relabelled import Labelling, shared_errors
from descry.io.hashing import canonical
from descry.io.hdf5 import PROVENANCE, hdf5_provenance
from descry.io.parquet import read_table, table_provenance
from descry.labels.results import read_labels
from descry.labels.rules import Rule
from descry.labels.strata import Strata

P = st.sampled_from([0.01, 0.049, LEVEL, 0.2, 1.0, np.nan])


@st.composite
def labels_and_p(draw):
    shape = draw(st.integers(1, 2)), draw(st.integers(2, 4)), draw(st.integers(1, 3))
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(np.float64, shape, elements=P))


@given(labels_and_p())
def test_a_label_is_borne_out_where_p_is_below_the_level_and_untested_ones_do_not_count(case):
    assigned, p = case
    found = borne_out(assigned, p)
    own = p[assigned & ~np.isnan(p)]
    assert found.labels == len(own)
    if not len(own):
        assert np.isnan([found.value, found.low, found.high, found.base]).all()
        return
    assert found.value == pytest.approx((own < LEVEL).mean())
    assert found.every == pytest.approx((p[~np.isnan(p)] < LEVEL).mean())
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(labels_and_p())
def test_the_base_is_the_mean_over_all_ways_to_deal_labels_to_other_neurons(case):
    assigned, p = case
    p = np.nan_to_num(p, nan=0.3)
    if not assigned.any():
        return
    neurons, dealt = range(p.shape[1]), []
    for order in permutations(neurons):
        hits = p[:, list(order)] < LEVEL
        elsewhere = np.array([order[neuron] != neuron for neuron in neurons])
        dealt.append((hits * assigned * elsewhere[None, :, None], assigned * elsewhere[:, None]))
    hits, number = (np.sum([pair[part] for pair in dealt], axis=0) for part in (0, 1))
    shares = hits[assigned] / number[assigned]
    assert borne_out(assigned, p).base == pytest.approx(shares.mean())


def test_labels_that_share_neurons_and_descriptors_count_for_fewer():
    rng = np.random.default_rng(0)
    p = np.where(rng.random((1, 40, 10)) < 0.5, 0.01, 0.5)
    alone = borne_out(np.ones(p.shape, dtype=bool), p)
    by_descriptor = np.broadcast_to(p[:, :1], p.shape)
    shared = borne_out(np.ones(p.shape, dtype=bool), by_descriptor)
    assert shared.high - shared.low > 4 * (alone.high - alone.low)
    _, low, high = wilson(np.array(shared.value * 10), np.array(10))
    assert (shared.low, shared.high) == pytest.approx((float(low), float(high)), abs=0.03)


def test_of_labels_that_are_all_borne_out_each_neuron_counts_once():
    assigned, p = np.ones((2, 30, 4), dtype=bool), np.full((2, 30, 4), 0.001)
    found = borne_out(assigned, p)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(float(wilson(np.array(30), np.array(30))[1]))


def test_intervals_of_shares_cover_them_about_as_often_as_they_say():
    rng, truth, found = np.random.default_rng(1), [], []
    for _ in range(400):
        odds = 1.2 + rng.normal(size=(80, 1)) * 0.7 + rng.normal(size=(1, 25)) * 0.5
        chance = 1 / (1 + np.exp(-odds))
        p = np.where(rng.random((2, 80, 25)) < chance, 0.01, 0.5)
        found.append(borne_out(rng.random(p.shape) < 0.04, p))
        truth.append(chance.mean())
    covered = [one.low <= np.mean(truth) <= one.high for one in found]
    assert 0.92 <= np.mean(covered) <= 0.985


# in a run


def test_replicated_labels_of_a_half_have_a_small_p_in_the_other(run):
    planted.run_label(rule="enrichment")
    found = planted.run_evaluate()["headline"]["replicated"]
    labels, hits = read_labels(LABELS), []
    for half in HALVES:
        own = labels.splits[half].assigned
        reached = labels.splits[other_half(half)].p[own] < LEVEL
        assert found[f"chosen by {half}"]["labels"] == own.sum() > 0
        assert found[f"chosen by {half}"]["value"] == pytest.approx(reached.mean(), abs=1e-6)
        hits.append(reached)
    assert found["value"] == pytest.approx(np.concatenate(hits).mean(), abs=1e-6)
    assert found["base"] < found["value"] / 2
    # A layer's labels are tested like all.
    layers = planted.read_json(planted.METRICS, "evaluate")["headline"]["layers"]
    for place, layer in enumerate(labels.neurons.layers):
        own = labels.splits["all"].assigned[place]
        one = layers[str(layer)]
        assert (one["labels"], one["labelled"]) == (own.sum(), own.any(axis=1).sum())
        reached = [
            labels.splits[other_half(half)].p[place][labels.splits[half].assigned[place]] < LEVEL
            for half in HALVES
        ]
        share = np.concatenate(reached)
        assert one["replicated"]["labels"] == len(share)
        assert one["replicated"]["value"] == pytest.approx(share.mean(), abs=1e-6, nan_ok=True)


def test_supported_labels_have_a_small_p_by_the_truths_own_answers(run):
    planted.run_label(rule="enrichment")
    gold = own_topic(read_table(CORPUS, "corpus")["id"].to_pylist())
    write_gold({i: [n for n in names if n != "Sound"] for i, names in gold.items()})
    found = planted.run_evaluate()
    labels = read_labels(LABELS)
    known = [column for column, name in enumerate(labels.descriptors) if name != "Sound"]
    supported = found["headline"]["supported"]["gold"]
    assert supported["labels"] == labels.splits["all"].assigned[:, :, known].sum()
    assert supported["value"] == 1.0
    # People's answers, about other topics: what they name is not what the neurons fire on.
    others = np.roll(list(TOPICS), 1)
    moved = dict(zip(TOPICS, others, strict=True))
    write_gold({i: [str(moved[names[0]])] for i, names in gold.items()})
    assert planted.run_evaluate()["headline"]["supported"]["gold"]["value"] < 0.2


def test_the_headline_is_the_first_of_the_metrics_and_has_both_ends(planted_ends, monkeypatch):
    monkeypatch.chdir(planted_ends)
    found = planted.read_json(planted.METRICS, "evaluate")
    assert list(found)[:2] == ["made", "headline"]
    assert list(found["headline"]) == ["replicated", "supported", "false_labels", "layers"]
    assert found["lowest_headline"]["replicated"]["labels"] > 0
    words = first_words({HIGHEST: found["headline"], LOWEST: found["lowest_headline"]})
    assert [name.startswith("lowest: ") for name in words] == [False, False, True, True]


def test_false_labels_are_those_of_random_sets_and_of_random_weights(run):
    planted.run_untrained(seed=3)
    planted.run_label(rule="enrichment")
    false = planted.run_evaluate()["headline"]["false_labels"]
    made = table_provenance(read_table(LABELS, "label"))
    assert false["random_sets"] == pytest.approx(made["chance"][HIGHEST], abs=1e-6)
    assert false["labels"] >= len(TOPICS) > false["random_weights"]


def labelling(b, **changes):
    """All sentences, in one stratum."""
    every = np.ones(len(b.asked), dtype=bool)
    rule = Rule("enrichment", "sentences", 0.05)
    whole = Strata(np.zeros(len(b.asked), dtype=np.int32), ("all",))
    return Labelling(**{"rule": rule, "top_k": None, "asked": every, "sampled": every}
        | {"strata": whole} | changes)  # fmt: skip


def test_labels_made_anew_are_those_of_stage_label(run):
    planted.run_label(rule="enrichment", strata=[])
    b, labels = read_annotations(ANNOTATIONS), read_labels(LABELS)
    sets = read_exemplars(EXEMPLARS, "all").reshape(-1, 6)
    found = labelling(b).labels(sets, b.only(labels.descriptors).answer)
    assert (found == labels.splits["all"].assigned.reshape(found.shape)).all()


def test_a_annotator_that_errs_by_lot_has_fewer_labels_than_one_that_errs_as_the_neurons_do(run):
    rng, sentences = np.random.default_rng(0), 600
    b = read_annotations(ANNOTATIONS)
    truth = (rng.random((sentences, 3)) < 0.2).astype(np.int8)
    shared = rng.random((sentences, 3)) < 0.15  # what both take for it
    said = np.where(shared, 1, truth * (rng.random(truth.shape) < 0.5)).astype(np.int8)
    fires = 3.0 * shared.repeat(8, axis=1) + rng.normal(size=(sentences, 24))
    sets = np.argsort(-fires, axis=0, kind="stable")[:40].T
    every = np.ones(sentences, dtype=bool)
    whole = Strata(np.zeros(sentences, dtype=np.int32), ("all",))
    by = labelling(b, asked=every, sampled=every, strata=whole)
    found = shared_errors(by, sets, said, truth)
    assert 24 <= found["annotator"] <= 26
    assert found["errs_by_lot_high"] <= 3
    assert found["errs_by_lot_low"] <= found["errs_by_lot"] <= found["errs_by_lot_high"]
    assert found["truth"] <= 3
    alike = shared_errors(by, sets, truth, truth)
    assert alike["annotator"] == alike["truth"] == alike["both"] == alike["errs_by_lot"]


def test_errors_by_lot_do_not_depend_on_the_number_of_threads(run, monkeypatch):
    b = read_annotations(ANNOTATIONS)
    sets = read_exemplars(EXEMPLARS, "all").reshape(-1, 6)
    truth = np.where(np.random.default_rng(0).random(b.answer.shape) < 0.1, -1, b.answer)
    truth[::3] = 1 - truth[::3]
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(relabelled, "cores", lambda threads=threads: threads)
        found.append(shared_errors(labelling(b), sets, b.answer, np.maximum(truth, -1)))
    assert found[0] == found[1]


def test_a_run_says_that_annotator_and_target_share_a_model(run):
    assert planted.run_evaluate()["annotator"]["shares_target"] is None
    with h5py.File(ACTIVATIONS) as file:
        target = hdf5_provenance(file)["params"]["target"]
    with h5py.File(ANNOTATIONS, "r+") as file:
        made = hdf5_provenance(file)
        made["params"]["annotator"] = {"kind": "embedded"} | target
        file.attrs[PROVENANCE] = canonical(made)
    planted.run_label()
    found = planted.run_evaluate()
    assert found["annotator"]["shares_target"] == "both are toy/bert @ abc123"
    assert any("annotator and target share a model" in words for words in found["warnings"])
