"""Both ends of a neuron's activations, and some of a model's layers, through every stage.

The neuron i of the first layer is highest on the reviews of topic i and lowest on those of the next
topic; the layers are the second and the fourth of the model's.
"""

import re
import shutil

import h5py
import numpy as np
import pytest
from planted import (
    ANNOTATIONS,
    BROAD,
    CACHE,
    COMPOSED,
    CORPUS,
    CURVES,
    EXEMPLARS,
    HOSTILE_REVIEW,
    LABELS,
    METRICS,
    NAMES,
    NEURONS,
    NULLS,
    RESULTS,
    TOPICS,
    WIDTH,
    Absent,
    Toy,
    answers_changed,
    build,
    made_in,
    own_topic,
    printed,
    read_csv,
    run_annotate,
    run_evaluate,
    run_exemplars,
    run_judge,
    run_label,
    run_report,
    run_untrained,
    topics_of,
    write_gold,
)

from descry.activations.exemplar_files import read_ends, read_exemplars, read_neurons
from descry.activations.top_k import ENDS, HIGHEST, LOWEST
from descry.annotators.annotations import read_annotations
from descry.cli.console.compare import show_compared
from descry.cli.console.neuron import show_neuron
from descry.cli.console.overview import show_table
from descry.cli.console.terminal import show_chain
from descry.corpus.splits import HALVES, SPLITS
from descry.errors import InputError
from descry.io.json_files import read_json
from descry.io.parquet import read_table, table_provenance
from descry.labels.results import labelled_ends, read_labels
from descry.provenance.audit.chain import audit
from descry.provenance.audit.project import Project
from descry.provenance.audit.tree import tree

LAYERS = (1, 3)
TOPIC = list(TOPICS)


def lowest_topic(neuron):
    return TOPIC[(neuron + 1) % len(TOPIC)]


@pytest.fixture(scope="module")
def planted_results(tmp_path_factory):
    """A folder with all results in it, of both ends and two layers."""
    return made_in(tmp_path_factory.mktemp("ends"), lambda: build(LAYERS, lowest=True))


@pytest.fixture
def ids(run):
    return read_table(CORPUS, "corpus")["id"].to_pylist()


def rerun(**exemplars):
    """The stages after the exemplars, with others of those."""
    run_exemplars(**exemplars)
    run_label()
    run_evaluate()
    return run_report()


# label


@pytest.mark.parametrize("neuron", range(len(TOPIC)))
@pytest.mark.parametrize("split", SPLITS)
def test_a_planted_neuron_has_its_own_label_at_each_end(run, split, neuron):
    for end, topic in ((HIGHEST, TOPIC[neuron]), (LOWEST, lowest_topic(neuron))):
        labels = read_labels(LABELS, end)
        assigned = labels.splits[split].assigned[0, neuron]
        assert [labels.descriptors[c] for c in np.flatnonzero(assigned)] == [topic]


def test_the_numbers_of_a_label_of_the_lowest(run):
    split = read_labels(LABELS, LOWEST).splits["all"]
    numbers = (split.f, split.count, split.base_rate, split.lift)
    assert [float(x[0, 2, 3]) for x in numbers] == pytest.approx([1.0, 6, 0.2, 5.0])


def test_labels_have_a_row_per_end_split_neuron_and_descriptor(run):
    table = read_table(LABELS, "label")
    names = ("end", "split", "layer", "neuron", "descriptor")
    rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    assert rows == [
        (end, split, layer, neuron, name)
        for end in ENDS
        for split in SPLITS
        for layer in LAYERS
        for neuron in range(WIDTH)
        for name in TOPIC
    ]
    assert labelled_ends(LABELS) == list(ENDS) == list(read_ends(EXEMPLARS))


def test_the_labels_of_the_highest_are_the_same_without_the_lowest(run):
    both, metrics = read_table(LABELS, "label"), read_json(METRICS, "evaluate")
    curves = read_csv(CURVES)
    tagged = read_json(NEURONS, "label")["neurons"]
    rerun(lowest=False)
    alone = read_table(LABELS, "label")
    assert set(alone["end"].to_pylist()) == {HIGHEST}
    assert alone.to_pylist() == both.to_pylist()[: len(alone)]
    assert labelled_ends(LABELS) == [HIGHEST]
    found = read_json(NEURONS, "label")
    assert set(found) == {"made", "neurons"}
    assert found["neurons"] == tagged
    assert read_json(METRICS, "evaluate")["halves"] == metrics["halves"]
    assert not any(name.startswith(LOWEST) for name in read_json(METRICS, "evaluate"))
    assert read_csv(CURVES) == [row for row in curves if row["against"] == "halves"]


def test_neurons_json_has_a_map_of_each_end_with_the_models_layers(run):
    expected = {end: {split: {name: [] for name in TOPIC} for split in SPLITS} for end in ENDS}
    rows = read_table(LABELS, "label").to_pylist()
    for row in sorted(rows, key=lambda row: 1.0 if row["p"] is None else row["p"]):
        if row["assigned"]:
            neuron = f"L{row['layer']}:{row['neuron']}"
            expected[row["end"]][row["split"]][row["descriptor"]].append(neuron)
    found = read_json(NEURONS, "label")
    assert list(found) == ["made", "neurons", "lowest"]
    assert found["neurons"] == expected[HIGHEST]
    assert found["lowest"] == expected[LOWEST]
    for neuron, topic in enumerate(TOPIC):
        assert f"L1:{neuron}" in found["neurons"]["all"][topic]
        assert f"L1:{neuron}" in found["lowest"]["all"][lowest_topic(neuron)]
    names = {name for names in found["lowest"]["all"].values() for name in names}
    assert {name.partition(":")[0] for name in names} <= {"L1", "L3"}


def test_counts_say_which_end_they_are_of(run):
    counts = run_label()
    for end, of in ((HIGHEST, ""), (LOWEST, "lowest: ")):
        assigned = read_labels(LABELS, end).splits["all"].assigned
        assert counts[f"{of}neurons"] == len(LAYERS) * WIDTH
        assert counts[f"{of}labelled"] == assigned.any(axis=2).sum()
        assert counts[f"{of}labels"] == assigned.sum()
    assert counts["broad descriptors dropped"] == 2


def test_what_is_broad_is_judged_at_each_end_apart(run):
    dropped = table_provenance(read_table(LABELS, "label"))["dropped"]
    assert [(item["descriptor"], item["end"]) for item in dropped] == [
        (BROAD, HIGHEST),
        (BROAD, LOWEST),
    ]


def broad_at_the_lowest_end():
    """Sound is said of the lowest exemplars of every neuron, and of no other than before."""
    lowest = np.unique(read_exemplars(EXEMPLARS, "all", LOWEST))
    with answers_changed() as answer:
        answer[lowest, NAMES.index("Sound")] = 1
        answer[np.unique(read_exemplars(EXEMPLARS, "all")[0, 1:2])] = [1, 0, 1, 0, 0, 0]


def test_a_descriptor_may_be_broad_at_one_end_alone(run, ids, capsys):
    broad_at_the_lowest_end()
    run_label(broad=0.99, threshold=0.3)
    highest, lowest = (read_labels(LABELS, end) for end in ENDS)
    assert "Sound" in highest.descriptors
    assert "Sound" not in lowest.descriptors
    assert lowest.splits["all"].f.shape == (2, WIDTH, len(lowest.descriptors))
    found = read_json(NEURONS, "label")
    assert "Sound" in found["neurons"]["all"]
    assert "Sound" not in found["lowest"]["all"]
    write_gold(own_topic(ids))
    metrics = run_evaluate()
    assert {"halves", "lowest_halves", "gold", "lowest_gold"} <= set(metrics)
    run_report()
    show_neuron(RESULTS, "L1:0", 2)
    show_chain(tree(audit(Project(RESULTS, CACHE), "L1:0", 2, 2)))
    assert "L1:0, lowest activations" in printed(capsys)


# evaluate


def test_scores_of_the_lowest_stand_beside_those_of_the_highest(run):
    found = read_json(METRICS, "evaluate")
    assert set(found["lowest_halves"]) == set(found["halves"])
    for end, name in ((HIGHEST, "halves"), (LOWEST, "lowest_halves")):
        labels = read_labels(LABELS, end)
        one, other = (labels.splits[half].assigned for half in HALVES)
        union = (one | other).sum(axis=2)
        shares = (one & other).sum(axis=2)[union > 0] / union[union > 0]
        jaccard = found[name]["jaccard"]
        assert jaccard["value"] == pytest.approx(shares.mean(), abs=1e-6)
        assert jaccard["defined"] == len(shares)
    assert found["lowest_halves"] != found["halves"]


def test_gold_labels_and_a_judge_are_held_against_both_ends(run, ids):
    write_gold(own_topic(ids))
    run_annotate(Toy())
    run_label()
    run_judge(Toy(), scope="exemplars", neurons=["L1:0", "L1:1"])
    found = run_evaluate()
    for of in ("", "lowest_"):
        assert found[f"{of}gold"]["jaccard"]["defined"] > 0
        # The same annotator judges: where both were asked they agree on both neurons.
        for score in ("precision", "recall", "jaccard"):
            assert found[f"{of}judge"][score]["value"] == 1.0
            assert found[f"{of}judge"][score]["defined"] >= 2
    against = {row["against"] for row in read_csv(CURVES)}
    assert against == {of + name for of in ("", "lowest_") for name in ("halves", "gold", "judge")}


def test_random_weights_are_held_against_both_ends(run):
    run_untrained(LAYERS, lowest=True, seed=1)
    run_evaluate()
    against = {row["against"] for row in read_csv(NULLS) if row["null"] == "random weights"}
    assert against == {"halves", "lowest_halves"}


def test_composed_labels_and_labels_over_all_sentences_are_of_both_ends(run):
    rows = read_table(COMPOSED, "label").to_pylist()
    for end in ENDS:
        of_end = [row for row in rows if row["end"] == end and row["split"] == "all"]
        assert [(row["layer"], row["neuron"]) for row in of_end] == [
            (layer, neuron) for layer in LAYERS for neuron in range(WIDTH)
        ]
        for row in of_end[: len(TOPIC)]:
            topic = TOPIC[row["neuron"]] if end == HIGHEST else lowest_topic(row["neuron"])
            assert row["formula"] == topic
    found = read_json(METRICS, "evaluate")
    assert set(found["alignment"]) == set(found["composed"]) == set(ENDS)


def test_curves_have_the_same_rows_for_the_lowest(run):
    rows = read_csv(CURVES)
    at = {
        name: [(row["score"], row["at"]) for row in rows if row["against"] == name]
        for name in ("halves", "lowest_halves")
    }
    assert at["lowest_halves"] == at["halves"]
    assert len(rows) == 2 * len(at["halves"])


# annotate


def of_neurons(ends, *places):
    """The rows of some neurons' exemplars at some ends, in any split."""
    sets = [read_exemplars(EXEMPLARS, split, end) for split in SPLITS for end in ends]
    return {int(row) for rows in sets for place in places for row in rows[place]}


def test_the_sentences_of_both_ends_are_asked_about(run):
    counts = run_annotate(Toy(), scope="exemplars", neurons=["L1:2", "L3:5"], sample=0)
    meant = of_neurons(ENDS, (0, 2), (1, 5))
    assert set(np.flatnonzero(read_annotations(ANNOTATIONS).asked)) == meant
    assert counts["sentences"] == len(meant)
    assert meant > of_neurons([HIGHEST], (0, 2), (1, 5))


def test_neurons_that_were_asked_about_are_labelled_at_both_ends(run):
    run_annotate(Toy(), scope="exemplars", neurons=["L1:2"], sample=10)
    run_label()
    for end, topic in ((HIGHEST, TOPIC[2]), (LOWEST, lowest_topic(2))):
        labels = read_labels(LABELS, end)
        defined = np.isfinite(labels.splits["all"].f).any(axis=2)
        assert defined[0, 2]
        assert not defined.all()
        found = np.flatnonzero(labels.splits["all"].assigned[0, 2])
        assert {labels.descriptors[c] for c in found} == {topic}  # BROAD has a lift of 1


@pytest.mark.parametrize("name", ["L0:0", "L2:0", "L1:8"])
def test_a_neuron_of_another_layer_is_not_asked_about(run, name):
    known = "the neurons are L1:0 to L3:7, of the layers 1, 3"
    with pytest.raises(InputError, match=f"^{name}: no such neuron: {known}$"):
        run_annotate(Absent(), scope="exemplars", neurons=[name])


# terminal


def test_show_names_the_models_layers(run, capsys):
    show_table(RESULTS, 5)
    text = printed(capsys)
    assert "of 16 neurons have a label" in text
    for i in range(4):
        assert f"L1:{i} {TOPIC[i]} 6 1.2 " in text
    assert "L0:" not in text


def test_show_prints_both_ends_of_a_neuron(run, capsys):
    show_neuron(RESULTS, "L1:2", 3)
    text = printed(capsys)
    highest, lowest = text.split("L1:2, lowest activations")
    assert highest.startswith("L1:2 descriptor split")
    assert "Sound all 6 1.2 1.000 5.0 " in highest
    assert "Delivery all 6 1.2 1.000 5.0 " in lowest
    assert (text.count("3 of 6 exemplars"), text.count("Sound all")) == (2, 1)
    assert re.search(r"exemplars activation sentence descriptors 2\d\.\d{3} ", highest)
    assert re.search(r"exemplars activation sentence descriptors -2\d\.\d{3} ", lowest)
    assert re.search(r"activations of 60 sentences: mean \S+, .* highest 2\d\.\d{3}$", lowest)


def test_show_of_the_second_layer_is_of_the_arrays_second_row(run, capsys):
    row = int(read_exemplars(EXEMPLARS, "all")[1, 6, 0])
    text = read_table(CORPUS, "corpus")["text"][row].as_py()
    show_neuron(RESULTS, "L3:6", 1)
    assert text[:30] in printed(capsys)
    with pytest.raises(InputError, match=r"^L2:6: no such neuron: .*, of the layers 1, 3$"):
        show_neuron(RESULTS, "L2:6", 1)


def test_without_the_lowest_show_and_audit_do_not_speak_of_them(run, capsys):
    text = rerun(lowest=False)
    assert "lowest activations" not in text
    show_neuron(RESULTS, "L1:2", 1)
    show_chain(tree(audit(Project(RESULTS, CACHE), "L1:2", 1, 1)))
    assert "lowest activations" not in printed(capsys)


def test_a_comparison_of_exemplar_sets_has_both_ends(run, capsys):
    other = RESULTS / "other.h5"
    shutil.copy(EXEMPLARS, other)
    with h5py.File(other, "r+") as file:
        row = file["lowest/calibration/row"]
        row[0, 0, :2] = [0, 1] if {0, 1}.isdisjoint(row[0, 0]) else [58, 59]
        del file["all/row"]
        file["all/row"] = read_exemplars(EXEMPLARS, "all")[:, :, ::-1]  # the order is nothing
    show_compared(EXEMPLARS, other)
    text = printed(capsys)
    assert "exemplar sets of 16 neurons in results/exemplars.h5 and results/other.h5" in text
    assert "all 6 0.0% 100.00% 100%" in text
    assert "lowest, all 6 0.0% 100.00% 100%" in text
    assert "lowest, calibration 3 6.2% 95.83% 33%" in text


def test_a_comparison_has_the_ends_that_both_have(run, capsys):
    other = RESULTS / "other.h5"
    shutil.copy(EXEMPLARS, other)
    run_exemplars(lowest=False)
    show_compared(EXEMPLARS, other)
    assert "lowest" not in printed(capsys)


def test_exemplars_of_other_layers_are_not_compared(run):
    other = RESULTS / "other.h5"
    shutil.copy(EXEMPLARS, other)
    with h5py.File(other, "r+") as file:
        file["layer"][1] = 2
    with pytest.raises(InputError, match=r"other\.h5: not of the neurons that .*exemplars\.h5"):
        show_compared(EXEMPLARS, other)


@pytest.mark.parametrize(
    "read",
    [
        lambda: show_neuron(RESULTS, "L1:2", 1),
        lambda: audit(Project(RESULTS, CACHE), "L1:2", 1, 1),
        run_report,
    ],
    ids=["show", "audit", "report"],
)
def test_labels_of_an_end_that_the_exemplars_no_longer_have_are_refused(run, read):
    run_exemplars(lowest=False)
    with pytest.raises(InputError, match=r"exemplars\.h5: no sets of the lowest .*`descry stage l"):
        read()


# explorer


def test_the_explorer_has_the_labels_of_each_end(run):
    packs = run_report()
    assert packs["run"]["ends"] == list(ENDS)
    assert packs["run"]["target"]["layers"] == list(LAYERS)
    assert {(item["descriptor"], item["end"]) for item in packs["run"]["broad"]} == {
        (BROAD, end) for end in ENDS
    }
    for end in ENDS:
        table, labels = packs[f"table-{end}"], read_labels(LABELS, end)
        labelled = labels.splits["all"].assigned.any(axis=2)
        assert packs["run"]["labelled"][end] == labelled.sum()
        assert (np.diff(table["start"]) > 0).tolist() == labelled.ravel().tolist()
        for neuron in range(5):
            topic = TOPIC[neuron] if end == HIGHEST else lowest_topic(neuron)
            column, values = packs["neurons-0"][neuron]["ends"][end]["labels"][0]
            assert packs["run"]["descriptors"][column]["name"] == topic
            assert (values["all"][0], values["all"][2]) == (1, 5)
    assert "lowest_halves" in packs["run"]["metrics"]


def test_the_explorer_shows_the_sentences_of_each_end(run):
    packs = run_report()
    hostile = [sentence["text"] for sentence in packs["sentences-0"]].index(HOSTILE_REVIEW)
    ends = {end: [] for end in ENDS}
    for neuron in packs["neurons-0"][:5]:
        for name, pairs in neuron["sets"].items():
            ends[LOWEST if name == LOWEST else HIGHEST] += pairs
    assert all(value > 15 for _, value in ends[HIGHEST])
    assert all(value < -15 for _, value in ends[LOWEST])
    assert hostile in {row for row, _ in ends[HIGHEST]}


def test_a_descriptor_that_one_end_lacks_is_undefined_there(run):
    broad_at_the_lowest_end()
    run_label(broad=0.99, threshold=0.3)
    run_evaluate()
    packs, lowest = run_report(), read_labels(LABELS, LOWEST)
    names = [entry["name"] for entry in packs["run"]["descriptors"]]
    sound = names.index("Sound")
    assert "Sound" not in lowest.descriptors
    assert packs["run"]["descriptors"][sound]["neurons"][LOWEST]["all"] == 0
    assert packs["run"]["descriptors"][sound]["base"]["all"] > 0
    f = np.array(packs[f"map-{LOWEST}-0"]["f"], dtype=object).reshape(WIDTH, len(names))
    assert set(f[:, sound].tolist()) == {None}
    whole = lowest.splits["all"].f[0]
    for column, name in enumerate(lowest.descriptors):
        found = np.array(f[:, names.index(name)], dtype=float)
        np.testing.assert_array_equal(found, np.rint(1000 * whole[:, column]))
    start, columns = (packs[f"table-{LOWEST}"][name] for name in ("start", "descriptor"))
    found = [names[column] for column in columns[start[2] : start[3]]]
    assigned = lowest.splits["all"].assigned[0, 2]
    assert sorted(found) == sorted(lowest.descriptors[c] for c in np.flatnonzero(assigned))


def test_the_explorer_of_a_run_without_labels_at_either_end(run):
    run_label(threshold=0.999)
    run_evaluate()
    packs = run_report()
    assert packs["run"]["labelled"] == dict.fromkeys(ENDS, 0)
    assert all(packs[f"table-{end}"]["descriptor"] == [] for end in ENDS)


# all of them


def test_run_twice_they_write_the_same_bytes(run):
    def contents():
        return {p: p.read_bytes() for p in RESULTS.rglob("*") if p.is_file()}

    before = contents()
    rerun(lowest=True)
    assert contents() == before


def test_the_planted_ends_are_those_of_the_topics(run):
    topics = topics_of(read_table(CORPUS, "corpus"))
    for neuron in range(len(TOPIC)):
        for end, topic in ((HIGHEST, neuron), (LOWEST, (neuron + 1) % len(TOPIC))):
            rows = read_exemplars(EXEMPLARS, "all", end)[0, neuron]
            assert set(topics[rows].tolist()) == {topic}
    assert read_neurons(EXEMPLARS).layers == LAYERS
