"""Two runs over one corpus: who is whose pair, which labels moved, and what is refused."""

import json

import numpy as np
import planted
import pytest
from planted import HOSTILE, HOSTILE_REVIEW, TOPICS, WIDTH, lines_of, printed
from two_runs import copy_of, moved, record, run_in
from typer.testing import CliRunner

import descry
from descry.cli.app import app
from descry.cli.errors import told
from descry.errors import InputError
from descry.models.neurons import Neurons
from descry.two_models import matching
from descry.two_models.contents import contents, write
from descry.two_models.matching import match
from descry.two_models.neuron import BOTH, FIRST, SECOND, tree_of_pair

PLACES = {0: 6, 6: 0}  # the neuron of the first topic, in the second model


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("two") / "first")


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """The same model with two neurons exchanged, and noise."""

    def change(data):
        rng = np.random.default_rng(1)
        return moved(PLACES)(data) + 0.1 * rng.normal(size=data.shape)

    return run_in(tmp_path_factory.mktemp("two") / "second", change)


@pytest.fixture(scope="module")
def by_index(first, second):
    return descry.diff(first, second, draws=50)


@pytest.fixture(scope="module")
def by_correlation(first, second):
    return descry.diff(first, second, match="correlation", draws=50)


# which neuron is which


def test_by_index_the_label_that_moved_is_lost_in_the_one_and_gained_in_the_other(by_index):
    topic = next(iter(TOPICS))
    rows = {
        (row["neuron"], row["change"])
        for row in by_index.labels.to_pylist()
        if row["layer"] == 0 and row["descriptor"] == topic
    }
    assert {(0, "lost"), (6, "gained")} <= rows
    row = by_index.neurons.to_pylist()[0]
    assert (row["other_layer"], row["other_neuron"], row["best"]) == (0, 0, False)
    assert row["matched"] is False and row["rho"] < 0.3 < 0.9 < row["rival"]
    assert by_index.summary["compared"] == len(
        by_index.pair.neurons[0]
    )  # it is compared all the same


def test_by_correlation_the_neuron_is_found_where_it_is_and_keeps_its_label(by_correlation):
    other = by_correlation.neurons["other_neuron"].to_pylist()
    assert other[:WIDTH] == [PLACES.get(k, k) for k in range(WIDTH)]
    row = by_correlation.neurons.to_pylist()[0]
    assert row["matched"] and row["best"] and row["rho"] > 0.95 and row["q"] < 0.05
    assert (row["kept"], row["lost"]) == (1, 0)
    found = {
        row["change"]
        for row in by_correlation.labels.to_pylist()
        if (row["layer"], row["neuron"]) == (0, 0) and row["descriptor"] == next(iter(TOPICS))
    }
    assert found == {"kept"}


def test_a_run_and_itself_share_everything(first):
    found = descry.diff(first, descry.open(first), draws=20)
    s = found.summary
    assert (s["lost"], s["gained"], s["whole"], s["same_half"], s["beyond"]) == (0, 0, 1, 1, 0)
    assert s["exemplars"] == s["rho_within"] == s["best"] == 1
    assert s["kept"] == s["first"] == s["second"] > 0
    assert found.warnings == [] and found.pair.differences == []
    assert {row["change"] for row in found.labels.to_pylist()} == {"kept"}
    assert s["other_half"] == s["halves_first"] == s["halves_second"]


def test_models_of_other_shapes_are_matched_by_correlation_and_the_rest_is_said_to_be_alone(
    first, tmp_path
):
    """The second has one layer, of five of the neurons, turned round, and two of noise."""

    def change(data):
        rng = np.random.default_rng(2)
        kept = np.concatenate([data[:, :1, 4::-1], rng.normal(size=(len(data), 1, 2))], axis=2)
        return kept + 0.1 * rng.normal(size=kept.shape)

    other = run_in(tmp_path / "narrow", change, layers=(3,))
    found = descry.diff(first, other, among="all", draws=20)
    assert found.matches.how == "correlation"
    row = found.neurons.to_pylist()[0]
    assert (row["other_layer"], row["other_neuron"]) == (3, 4)
    matched = [row["matched"] for row in found.neurons.to_pylist()]
    assert matched[:5] == [True] * 5
    assert found.neurons["other_neuron"].null_count == 16 - 7
    assert {"L3:5", "L3:6"} >= {*found.alone}
    with pytest.raises(InputError, match=r"no neuron of bert .* is its pair"):
        alone = found.neurons["other_neuron"].to_pylist().index(None)
        found.neuron(found.pair.neurons[0].names[alone])
    with pytest.raises(InputError, match="no layer in common: match among all layers"):
        descry.diff(first, other)
    with pytest.raises(InputError, match="2 layers of 8 neurons and 1 layers of 7 neurons"):
        descry.diff(first, other, match="index")


def write_matrix(path, data):
    from descry.io.hdf5 import writing_hdf5

    with writing_hdf5(path, {}) as file:
        chunks = min(64, len(data)), 1, 4
        file.create_dataset("activations", data=data.astype(np.float32), chunks=chunks)


@pytest.mark.parametrize("memory", [2**29, 1])  # all at once, or a neuron at a time
def test_matching_finds_a_permutation_across_layers_whatever_memory_there_is(tmp_path, memory):
    rng = np.random.default_rng(0)
    length = rng.integers(0, 10, 600)
    data = rng.normal(size=(600, 2, 6)) + length[:, None, None]
    order = rng.permutation(12)
    other = data.reshape(600, 12)[:, order] + 0.3 * rng.normal(size=(600, 12))
    write_matrix(tmp_path / "a.h5", data)
    write_matrix(tmp_path / "b.h5", other.reshape(600, 3, 4))
    paths = tmp_path / "a.h5", tmp_path / "b.h5"
    shapes = Neurons((0, 1), 6), Neurons((0, 1, 2), 4)
    choosing = rng.random(600) < 0.5
    found = match(paths, shapes, "correlation", "all", length, choosing, memory)
    assert order[found.second].tolist() == list(range(12))
    assert found.best.all() and found.matched.all()
    assert (found.rival < 0.4).all() and (found.rho_within > 0.5).all()
    assert found.sentences == (~choosing).sum()


def test_p_of_a_match_is_uniform_where_models_have_nothing_but_length_in_common(tmp_path):
    """The assignment takes the best of 40 for each, and the other half does not care."""
    rng = np.random.default_rng(1)
    ps, chosen = [], []
    for number in range(25):
        length = rng.integers(0, 6, 400)
        paths = tmp_path / f"a{number}.h5", tmp_path / f"b{number}.h5"
        for path in paths:
            write_matrix(path, rng.normal(size=(400, 1, 40)) + length[:, None, None])
        shape = Neurons((0,), 40)
        found = match(paths, (shape, shape), "correlation", "layer", length, np.arange(400) < 200)
        ps += found.p.tolist()
        chosen.append(found.rho.mean())
    assert np.mean(chosen) > 0.5  # they look alike
    assert (np.array(ps) < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (np.array(ps) < 0.5).mean() == pytest.approx(0.5, abs=0.05)


def test_too_many_candidates_are_refused_before_memory_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(matching, "_PAIRS", 10)
    write_matrix(tmp_path / "a.h5", np.random.default_rng(0).normal(size=(50, 1, 4)))
    paths, shape = (tmp_path / "a.h5",) * 2, Neurons((0,), 4)
    of = np.zeros(50, dtype=int), np.arange(50) < 25
    with pytest.raises(InputError, match="4 x 4 candidates are more than fit into memory"):
        match(paths, (shape, shape), "correlation", "layer", *of)
    found = match(paths, (shape, shape), "index", "layer", *of)
    assert np.isnan(found.rival).all() and found.rho == pytest.approx(1)


def test_without_the_matrix_there_are_labels_and_sets_but_no_correlation(first, second, tmp_path):
    bare = copy_of(second, tmp_path / "bare")
    (bare / "activations.h5").unlink()
    found = descry.diff(first, bare, draws=20)
    assert found.neurons["rho"].null_count + np.isnan(found.neurons["rho"].to_numpy()).sum() == 16
    assert found.summary["matched"] is None and found.summary["lost"] > 0
    assert found.neuron("L0:0").of(FIRST)[0].activations[1] is None
    with pytest.raises(InputError, match="both runs need the activations of all sentences"):
        descry.diff(first, bare, match="correlation")


def test_the_lowest_activations_have_labels_of_their_own(tmp_path):
    results = run_in(tmp_path / "low", lowest=True)
    found = descry.diff(results, results, end="lowest", draws=20)
    s = found.summary
    assert s["kept"] == s["first"] > 0 and found.end == "lowest"
    run = descry.open(results)
    for n in range(WIDTH):
        own = [row for row in found.labels.to_pylist() if (row["layer"], row["neuron"]) == (0, n)]
        labels = {label.descriptor for label in run.neuron(f"L0:{n}", "lowest").labels}
        assert {row["descriptor"] for row in own} == labels
    assert {label.end for label in found.neuron("L0:0").labels} == {"lowest"}


# what changed


def test_tables_add_up(by_index):
    s = by_index.summary
    for table in (by_index.layers, by_index.descriptors, by_index.neurons):
        for key in ("kept", "lost", "gained"):
            assert sum(table[key].to_pylist()) == s[key]
    changes = by_index.labels["change"].to_pylist()
    assert {key: changes.count(key) for key in ("kept", "lost", "gained")} == {
        key: s[key] for key in ("kept", "lost", "gained")
    }
    assert s["first"] == s["kept"] + s["lost"] and s["second"] == s["kept"] + s["gained"]
    p = [row["p"] for row in by_index.labels.to_pylist() if row["p"] == row["p"]]
    assert p == sorted(p)


def test_numbers_of_labels_are_those_of_the_two_files(by_index, first, second):
    runs = {"first": descry.open(first), "second": descry.open(second)}
    for row in by_index.labels.to_pylist():
        for side, run in runs.items():
            whole = run.neuron(f"L{row['layer']}:{row['neuron']}").numbers[row["descriptor"]]["all"]
            for key in ("count", "expected", "q"):
                assert row[f"{side}_{key}"] == getattr(whole, key)
            assert whole.assigned == (
                row["change"] in ("kept", {"first": "lost"}.get(side, "gained"))
            )


def test_a_pair_of_neurons_has_the_sentences_that_made_the_difference(by_index, first, second):
    found = by_index.neuron("L0:0")
    sets = [
        set(descry.open(results).neuron("L0:0").exemplars["id"].to_pylist())
        for results in (first, second)
    ]
    assert {one.id for one in found.of(BOTH)} == sets[0] & sets[1]
    assert {one.id for one in found.of(FIRST)} == sets[0] - sets[1]
    assert {one.id for one in found.of(SECOND)} == sets[1] - sets[0]
    ids = descry.open(first).corpus["id"].to_pylist()
    columns = [descry.open(results).neuron("L0:0").activations for results in (first, second)]
    for one in found.sentences:
        row = ids.index(one.id)
        assert one.activations == pytest.approx([column[row] for column in columns])
    gone = next(row for row in found.numbers if row["change"] == "lost")
    said = [gone["descriptor"] in one.descriptors for one in found.of(FIRST)]
    assert sum(said) == gone["only_first"] > 0
    assert gone["p"] < 0.01 and gone["halves"] == 1
    assert found.made["corpus"] == [] and "activations.h5" in found.made["exemplars"][0]


def test_a_pair_in_words_is_harmless_to_a_terminal(by_index, capsys):
    from descry.cli.console.diff import show_pair

    hostile = len(TOPICS) - 1
    lines = lines_of(tree_of_pair(by_index.neuron(f"L0:{hostile}"), 20))
    assert any(HOSTILE_REVIEW in line for line in lines)
    show_pair(by_index, f"L0:{hostile}", 20)
    assert "[bold]Sour[/bold]" in printed(capsys)


# fairness


def test_another_annotator_and_other_parameters_are_named(first, tmp_path):
    def turn():
        with planted.answers_changed() as answer:
            answer[3, 1] = 1 - answer[3, 1]
        record(planted.ACTIVATIONS, site="ffn_hidden", params__block=32)

    other = run_in(tmp_path / "other", before=turn, threshold=0.3)
    found = descry.diff(first, other, draws=20)
    answers, params = found.warnings
    assert "1 answers of the annotator differ" in answers and "come from the annotator" in answers
    assert 'activations.site: "ffn_output" -> "ffn_hidden"' in params
    assert "label.threshold: 0.35 -> 0.3" in params
    assert "block" not in params  # which changes no label
    assert {one.what for one in found.pair.differences} == {"site", "block", "threshold"}


def test_another_checkpoint_is_no_warning_but_what_is_compared(first, tmp_path):
    def tuned():
        target = {"model": "toy/tuned", "revision": "def456"}
        record(planted.ACTIVATIONS, weights="2" * 64, params__target=target)

    found = descry.diff(first, run_in(tmp_path / "tuned", before=tuned), draws=20)
    assert found.warnings == []
    assert {one.kind for one in found.pair.differences} == {"model"}
    assert found.pair.names == ("bert", "tuned")
    assert repr(found).startswith("<Diff bert -> tuned: ")


def other_corpus(folder):
    path = folder / "corpus.parquet"
    from descry.io.parquet import read_table, table_provenance, write_table

    table = read_table(path, "corpus")
    write_table(path, table.slice(1), table_provenance(table))


def test_what_cannot_be_compared_is_one_line(first, second, tmp_path):
    def refused(folder, words, **how):
        with pytest.raises(InputError, match=words) as error:
            descry.diff(first, folder, **how)
        lines, status = told(error.value)
        assert status == 2 and lines.count("\n") == 0

    refused(tmp_path / "nothing", "not a descry folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "not a descry folder")
    for name in ("corpus.parquet", "exemplars.h5", "annotations.h5", "labels.parquet"):
        lacking = copy_of(second, tmp_path / f"no-{name}")
        (lacking / name).unlink()
        refused(lacking, f"{name}: no such file")
    spoilt = copy_of(second, tmp_path / "spoilt")
    (spoilt / "exemplars.h5").write_bytes(b"no HDF5")
    refused(spoilt, "exemplars.h5")
    mixed = copy_of(second, tmp_path / "mixed")
    other_corpus(mixed)
    refused(mixed, "made of another corpus.parquet")
    refused(second, "no sets of the lowest activations", end="lowest")
    refused(second, "match: 'name': must be one of auto, index, correlation", match="name")
    refused(second, "among: 'any': must be one of layer, all", among="any")
    refused(second, "end: 'both': must be one of highest, lowest", end="both")


def test_another_corpus_and_other_descriptors_are_refused(first, tmp_path, monkeypatch):
    monkeypatch.setattr(planted, "ENDINGS", [*planted.ENDINGS[1:], "it went back to the shop."])
    other = run_in(tmp_path / "corpus")
    with pytest.raises(InputError, match=r"made of another corpus .* send the same corpus.parquet"):
        descry.diff(first, other)
    monkeypatch.undo()
    monkeypatch.setattr(planted, "NAMES", ["Quality", "Cost", *list(TOPICS)[1:]])
    monkeypatch.setattr(planted, "HOSTILE", HOSTILE)
    other = run_in(tmp_path / "descriptors")
    with pytest.raises(InputError, match=r"has other descriptors than .* such as 'Cost'"):
        descry.diff(first, other)


# what is written


def cli(*arguments):
    return CliRunner().invoke(app, ["diff", *map(str, arguments)])


def test_the_command_prints_tables_or_json_and_the_same_every_time(first, second):
    said = cli(first, second, "--draws", 20)
    assert said.exit_code == 0 and "beyond halves" in said.output and "\x1b" not in said.output
    as_json = [cli(first, second, "--draws", 20, "--json").output for _ in range(2)]
    assert as_json[0] == as_json[1]
    found = json.loads(as_json[0], parse_constant=pytest.fail)
    assert found["summary"]["lost"] == len([r for r in found["labels"] if r["change"] == "lost"])
    said = cli(first, second, "--draws", 20, "--json", "--neuron", "L0:0").output
    one = json.loads(said, parse_constant=pytest.fail)  # no NaN, which is no JSON
    assert (one["first"], one["second"]) == ("L0:0", "L0:0") and one["sentences"]
    tree = cli(first, second, "--draws", 20, "--neuron", "L0:0", "--rows", 2)
    assert "only of the first: 5, 2 shown" in tree.output


def test_a_folder_has_the_page_and_the_tables(by_index, tmp_path):
    write(by_index, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"{name}.csv" for name in ("summary", "layers", "descriptors", "neurons", "labels")}
    assert names == tables | {"index.html", "diff.json"}
    labels = planted.read_csv(tmp_path / "out/labels.csv")
    assert len(labels) == by_index.labels.num_rows
    write(by_index, tmp_path / "page.html")
    page = (tmp_path / "out/index.html").read_bytes()
    assert (tmp_path / "page.html").read_bytes() == page
    assert str(tmp_path).encode() not in page


def test_the_page_has_sentences_of_the_neurons_that_changed(by_index, monkeypatch):
    value = contents(by_index)
    assert not {"first", "second"} & set(value)
    (both, gone, came) = value["exemplars"]["0"]
    assert [both[1], gone[1], came[1]] == [1, 5, 5] and len(gone[2]) == 5
    row, ranks, values = gone[2][0]
    assert ranks[0] in (1, 2)
    assert ranks[1] is None and values[1] is None
    said = value["sentences"][str(row)][2]
    assert value["names_of"][said[-1]] == next(iter(TOPICS))
    monkeypatch.setattr("descry.two_models.contents.NEURONS", 2)
    assert len(contents(by_index)["exemplars"]) == 2
