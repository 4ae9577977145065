"""Labels over all sentences of the half that did not choose them, on a miniature run."""

import h5py
import numpy as np
import pytest
from planted import (
    ACTIVATIONS,
    ALIGNMENT,
    ANNOTATIONS,
    CORPUS,
    EXEMPLARS,
    LABELS,
    METRICS,
    SCORED,
    TOPICS,
    Toy,
    answers_changed,
    own_topic,
    read_csv,
    run_annotate,
    run_evaluate,
    run_label,
    write_gold,
)
from scipy.stats import binomtest, t
from sklearn import metrics as sk

from descry.activations.exemplar_files import read_exemplars
from descry.activations.top_k import ENDS, HIGHEST
from descry.annotators.annotations import read_annotations
from descry.corpus.splits import HALVES, split_rows
from descry.evaluation.influence import GROUPS
from descry.evaluation.label_scores import METRICS as NAMES
from descry.evaluation.label_scores import Chosen, HeldOutScores, beside_null
from descry.io.json_files import read_json
from descry.io.parquet import read_table, table_provenance
from descry.labels.results import read_labels

BY_CHANCE = {"auroc": 0.5, "pearson": 0.0}
OTHER = dict(zip(HALVES, reversed(HALVES), strict=True))


@pytest.fixture(scope="module")
def planted_results(planted_ends):
    return planted_ends


def scored():
    return read_table(SCORED, "evaluate").to_pylist()


def halves():
    return split_rows(read_table(CORPUS, "corpus")["split"].to_pylist())


def test_every_label_of_either_half_and_end_has_a_row(run):
    rows = scored()
    expected = [
        (end, half, labels.neurons.layers[layer], neuron, labels.descriptors[column])
        for end in ENDS
        for labels in [read_labels(LABELS, end)]
        for half in HALVES
        for layer, neuron, column in np.argwhere(labels.splits[half].assigned)
    ]
    keys = ("end", "chosen", "layer", "neuron", "descriptor")
    assert [tuple(row[key] for key in keys) for row in rows] == expected
    for row in rows:
        labels = read_labels(LABELS, row["end"])
        place = row["layer"], row["neuron"], labels.descriptors.index(row["descriptor"])
        split = labels.splits[row["chosen"]]
        assert [row[name] for name in ("f", "lift", "p", "q")] == [
            getattr(split, name)[place] for name in ("f", "lift", "p", "q")
        ]
    assert table_provenance(read_table(SCORED, "evaluate"))["stage"] == "evaluate"


def test_scores_are_scikit_learns_over_the_sentences_of_the_other_half(run):
    b, splits = read_annotations(ANNOTATIONS), halves()
    with h5py.File(ACTIVATIONS) as file:
        data = file["activations"][:]
    for row in scored():
        other, sign = OTHER[row["chosen"]], 1 if row["end"] == HIGHEST else -1
        rows = splits[other]
        sets = read_exemplars(EXEMPLARS, other, row["end"])[row["layer"], row["neuron"]]
        said = b.answer[rows, b.descriptors.index(row["descriptor"])] == 1
        values, fires = sign * data[rows, row["layer"], row["neuron"]], np.isin(rows, sets)
        expected = {
            "f1": sk.f1_score(fires, said),
            "iou": sk.jaccard_score(fires, said),
            "auroc": sk.roc_auc_score(said, values),
            "average_precision": sk.average_precision_score(said, values),
            "pearson": np.corrcoef(values, said)[0, 1],
            "cosine": values @ said / np.linalg.norm(values) / np.linalg.norm(said),
        }
        assert {name: row[name] for name in NAMES} == pytest.approx(expected, abs=1e-5)
        assert row["share"] == said[np.searchsorted(rows, sets)].mean()


def test_planted_labels_predict_their_neurons_at_both_ends(run):
    for row in scored():
        shift = 0 if row["end"] == HIGHEST else 1
        if row["layer"] == 0 and row["neuron"] < len(TOPICS):
            assert row["descriptor"] == list(TOPICS)[(row["neuron"] + shift) % len(TOPICS)]
            assert row["auroc"] > 0.95
            assert row["pearson"] > 0.7
            assert row["share"] == 1.0


def test_means_over_the_labels_of_a_half_stand_beside_those_of_other_labels(run):
    rows, found = scored(), read_csv(ALIGNMENT)
    assert [(r["end"], r["chosen"], r["score"]) for r in found] == [
        (end, half, name) for end in ENDS for half in HALVES for name in NAMES
    ]
    for row in found:
        own = [
            r[row["score"]] for r in rows if (r["end"], r["chosen"]) == (row["end"], row["chosen"])
        ]
        assert float(row["value"]) == pytest.approx(np.mean(own), abs=1e-6)
        assert float(row["low"]) < float(row["value"]) < float(row["high"])
        assert float(row["low"]) + float(row["high"]) == pytest.approx(
            2 * float(row["value"]), abs=1e-5
        )
        assert int(row["defined"]) == len(own)
        assert BY_CHANCE.get(row["score"], -1.0) <= float(row["null"]) < float(row["value"])
        room = (float(row["value"]) - float(row["null"])) / (1 - float(row["null"]))
        assert float(row["corrected"]) == pytest.approx(room, abs=1e-5)
    alignment = read_json(METRICS, "evaluate")["alignment"]
    for row in found:
        numbers = alignment[row["end"]][f"chosen by {row['chosen']}"][row["score"]]
        assert numbers["value"] == float(row["value"])


def test_the_null_is_drawn_by_the_seed_and_the_scores_are_not(run):
    tables, means = [], []
    for seed in (0, 1, 0):
        run_evaluate(seed=seed)
        tables.append(scored())
        means.append([row["null"] for row in read_csv(ALIGNMENT)])
    assert tables[0] == tables[1] == tables[2]
    assert means[0] == means[2] != means[1]


def test_without_the_matrix_there_is_f1_and_iou_but_no_score_of_activations(run):
    before = scored()
    with h5py.File(ACTIVATIONS, "r+") as file:
        del file["activations"]
    run_evaluate()
    for row, was in zip(scored(), before, strict=True):
        assert (row["f1"], row["iou"], row["share"]) == (was["f1"], was["iou"], was["share"])
        assert [row[name] for name in NAMES[2:]] == [None] * 4
    for row in read_csv(ALIGNMENT):
        known = row["score"] in ("f1", "iou")
        assert (row["value"] != "") == known
        assert (int(row["defined"]) > 0) == known


def test_of_some_neurons_only_those_that_were_asked_about_are_scored(run):
    run_annotate(Toy(), scope="exemplars", neurons=["L0:1", "L0:2"], sample=20)
    run_label()
    run_evaluate()
    rows = [row for row in scored() if row["end"] == HIGHEST]
    asked = read_annotations(ANNOTATIONS).asked
    for row in rows:
        sets = read_exemplars(EXEMPLARS, OTHER[row["chosen"]])
        assert asked[sets[row["layer"], row["neuron"]]].all()
    assert {(0, 1), (0, 2)} <= {(row["layer"], row["neuron"]) for row in rows}


def test_the_share_by_gold_labels_stands_beside_the_annotators(run):
    ids = read_table(CORPUS, "corpus")["id"].to_pylist()
    assert all(row["gold"] is None for row in scored())
    gold = {i: [n for n in names if n != "Sound"] for i, names in own_topic(ids).items()}
    for i in ids[::4]:
        gold[i] = ["price", "battery"]
    for i in ids[::5]:
        del gold[i]
    write_gold(gold)
    run_evaluate()
    folded = {i: [name.casefold() for name in names] for i, names in gold.items()}
    known = 0
    for row in scored():
        name = row["descriptor"].casefold()
        sets = read_exemplars(EXEMPLARS, OTHER[row["chosen"]], row["end"])
        members = sets[row["layer"], row["neuron"]]
        judged = [folded[ids[i]] for i in members[members >= 0] if ids[i] in folded]
        if name == "sound" or not judged:
            assert (row["gold"], row["gold_low"], row["gold_high"]) == (None,) * 3
            continue
        known += 1
        true = sum(name in names for names in judged)
        bounds = binomtest(true, len(judged)).proportion_ci(method="wilson")
        numbers = [row[column] for column in ("gold", "gold_low", "gold_high")]
        expected = [true / len(judged), bounds.low, bounds.high]
        assert numbers == pytest.approx(expected, abs=1e-6)
    assert known > 3


def test_an_interval_adds_what_neurons_sentences_and_the_choice_of_labels_vary():
    chosen = Chosen(np.arange(4), np.array([0, 0, 1, 1]), np.array([2, 0]))
    scores = np.array([[0.2, 0.4, 0.6, 0.8], [0.1] * 4, [0.3] * 4])
    influence = np.zeros((4, GROUPS), dtype=np.float32)
    found = beside_null(chosen, scores, influence)
    of_neurons, of_choice = 4 / 3 * (2 * 0.3**2 + 2 * 0.1**2), 2**2 / 2 * 0.2**2
    reach = t.ppf(0.975, 3) * (of_neurons + of_choice) ** 0.5 / 4
    assert (found["value"], found["null"]) == pytest.approx((0.5, 0.3))
    assert found["high"] - found["value"] == pytest.approx(reach)
    influence[:, 0], influence[:, 1] = 0.05, -0.05  # all neurons meet the same sentences
    more = beside_null(chosen, scores, influence)
    of_sentences = 2 * 0.2**2 * GROUPS / (GROUPS - 1) - 8 * 0.05**2
    reach = t.ppf(0.975, 3) * (of_neurons + of_choice + of_sentences) ** 0.5 / 4
    assert more["high"] - more["value"] == pytest.approx(reach)


def test_of_a_run_without_labels_no_score_is_defined(run):
    with answers_changed() as answer:
        answer[:] = 0
    run_label()
    run_evaluate()
    assert scored() == []
    assert {(row["value"], row["defined"]) for row in read_csv(ALIGNMENT)} == {("", "0")}


def test_a_sample_of_all_sentences_gives_what_all_activations_give(run):
    labels, rows = read_labels(LABELS, HIGHEST), halves()
    b = read_annotations(ANNOTATIONS).only(labels.descriptors)
    sets = {half: read_exemplars(EXEMPLARS, half) for half in HALVES}
    sets = {half: found.reshape(-1, found.shape[2]) for half, found in sets.items()}
    with h5py.File(ACTIVATIONS) as file:
        data = file["activations"][:]
    values, every = data.reshape(len(data), -1), slice(0, len(labels.neurons))
    whole, part, half = (HeldOutScores(labels, HIGHEST, sets, b, rows, 0) for _ in range(3))
    whole.add(every, values)
    part.add(every, None)
    part.add_sample(every, values, np.ones(len(values), dtype=bool))
    for one, other in zip(part.means(), whole.means(), strict=True):
        assert one == pytest.approx(other, nan_ok=True)
    assert part.table(b.answer).equals(whole.table(b.answer))
    some = np.arange(len(values)) % 3 > 0
    half.add(every, None)
    half.add_sample(every, values[some], some)
    found = {(row["layer"], row["neuron"], row["descriptor"], row["chosen"]): row["auroc"]
             for row in half.table(b.answer).to_pylist()}  # fmt: skip
    for (layer, neuron, descriptor, chosen), auroc in found.items():
        other = rows[OTHER[chosen]][some[rows[OTHER[chosen]]]]
        yes = b.answer[other, labels.descriptors.index(descriptor)]
        row = labels.neurons.layers.index(layer)
        known = yes >= 0
        if len(set(yes[known])) == 2:
            expected = sk.roc_auc_score(yes[known] == 1, data[other, row, neuron][known])
            assert auroc == pytest.approx(expected)
