"""A run as an object: every attribute says what the files say, read by other means."""

import doctest
import json
import math
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from html.parser import HTMLParser
from io import StringIO
from itertools import product

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from miniature import ROOT
from planted import (
    ANNOTATIONS,
    BROAD,
    CACHE,
    CORPUS,
    GRAPHS,
    HOSTILE,
    HOSTILE_REVIEW,
    LAYERS,
    NAMES,
    RESULTS,
    TOPICS,
    WIDTH,
    answers_changed,
    own_topic,
    run_evaluate,
    run_exemplars,
    run_label,
    write_gold,
)

import descry
from descry import run as run_module
from descry.corpus.splits import SPLITS
from descry.errors import InputError
from descry.io.parquet import read_where, write_batches
from descry.labels.tables import LABELS as SCHEMA
from descry.labels.tables import label_table
from descry.models.neurons import Neurons
from descry.n2g.graph import make_graph
from descry.n2g.paths import Path as GraphPath
from descry.n2g.paths import Step
from descry.n2g.scoring import Score
from descry.n2g.tables import PREDICTORS, Record, write_records
from descry.provenance.audit.chain import audit
from descry.provenance.audit.evidence import as_json
from descry.provenance.audit.project import STAGES, Project
from descry.run import Run

SOUND = list(TOPICS).index("Sound")


@pytest.fixture(scope="module")
def built(planted_results):
    return planted_results


@pytest.fixture(scope="module")
def opened(built):
    return descry.open(built / "results")


def table_of(opened, name):
    return pq.read_table(opened.results / name).to_pylist()


# what a neuron is


@pytest.mark.parametrize("neuron", range(len(TOPICS)))
def test_the_labels_of_a_neuron_are_its_rows_of_the_file(opened, neuron):
    rows = [
        row
        for row in table_of(opened, "labels.parquet")
        if (row["layer"], row["neuron"]) == (0, neuron)
    ]
    found = opened.neuron(f"L0:{neuron}")
    assert {label.descriptor for label in found.labels} == {
        row["descriptor"] for row in rows if row["split"] == "all" and row["assigned"]
    }
    for row in rows:
        numbers = found.numbers[row["descriptor"]][row["split"]]
        assert vars(numbers) == {name: row[name] for name in vars(numbers)}
    (label,) = found.labels
    assert (label.descriptor, label.f, label.in_both_halves) == (list(TOPICS)[neuron], 1.0, True)
    assert label.lift == pytest.approx(5.0)
    assert 0 < label.q < 0.05


def test_its_descriptors_come_by_frequency(opened):
    f = [splits["all"].f for splits in opened.neuron("L1:4").numbers.values()]
    assert f == sorted(f, reverse=True)
    assert len(f) == len(TOPICS)


def test_its_exemplars_are_the_highest_activations_with_their_texts(opened):
    sentences = table_of(opened, "corpus.parquet")
    with h5py.File(opened.results / "exemplars.h5") as file:
        rows, values = (file["all"][name][0, SOUND] for name in ("row", "activation"))
    found = opened.neuron(f"L0:{SOUND}").exemplars.to_pylist()
    assert [row["rank"] for row in found] == list(range(1, len(rows) + 1))
    assert [row["row"] for row in found] == rows.tolist()
    assert [row["activation"] for row in found] == values.tolist() == sorted(values)[::-1]
    assert [row["text"] for row in found] == [sentences[row]["text"] for row in rows]
    assert [row["id"] for row in found] == [sentences[row]["id"] for row in rows]
    assert {tuple(row["descriptors"]) for row in found} == {("Sound",)}


def test_the_answers_about_its_exemplars_are_those_of_the_file(opened):
    found = opened.neuron(f"L0:{SOUND}")
    with h5py.File(opened.results / "annotations.h5") as file:
        yes = np.unpackbits(file["yes"], axis=1, count=len(file["id"])).astype(bool)
    rows = found.exemplars["row"].to_pylist()
    answers = found.answers.to_pylist()
    assert [row["yes"] for row in answers] == yes[:, rows].T.ravel().tolist()
    assert [row["descriptor"] for row in answers] == NAMES * len(rows)
    assert [row["id"] for row in answers] == [
        name for name in found.exemplars["id"].to_pylist() for _ in NAMES
    ]


def test_its_activations_are_its_column_of_the_matrix(opened):
    with h5py.File(opened.results / "activations.h5") as file:
        whole = file["activations"][:]
    for layer, index in ((0, SOUND), (LAYERS - 1, WIDTH - 1)):
        found = opened.neuron(f"L{layer}:{index}")
        assert found.activations.dtype == np.float32
        np.testing.assert_array_equal(found.activations, whole[:, layer, index])
        assert found.distribution["mean"] == pytest.approx(whole[:, layer, index].mean(), rel=1e-5)
        np.testing.assert_array_equal(
            found.activations[found.exemplars["row"].to_pylist()],
            found.exemplars["activation"].to_numpy(),
        )


def test_activations_in_half_precision_and_several_chunks_come_as_float32(run):
    with h5py.File("results/activations.h5", "r+") as file:
        values = file["activations"][:].astype(np.float16)
        del file["activations"]
        file.create_dataset("activations", data=values, chunks=(7, 1, 3))
    found = descry.open(check=False).neuron("L1:5").activations
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values[:, 1, 5])


def test_without_the_matrix_its_activations_are_refused_by_name(run):
    with h5py.File("results/activations.h5", "r+") as file:
        del file["activations"]
    with pytest.raises(InputError, match=r"activations\.h5: holds no activations: set activations"):
        _ = descry.open(check=False).neuron("L1:5").activations


def test_its_composed_labels_are_its_rows(opened):
    found = opened.neuron("L0:1").composed.to_pylist()
    assert [row["split"] for row in found] == ["all", "calibration", "validation"]
    rows = table_of(opened, "composed.parquet")
    of = [row for row in rows if (row["layer"], row["neuron"]) == (0, 1)]
    assert found == [{k: v for k, v in row.items() if k in found[0]} for row in of]
    assert found[0]["formula"] == "Battery"


def write_graph(neuron):
    steps = (Step(1, 0.9), Step(2, 0.9))
    graph = make_graph(neuron, 2.0, [GraphPath(steps, 1.0)], [True], max_gap=None)
    scores = {name: Score(20, 4, 5, 0.8, 1.0, 0.9, 0.5, math.nan) for name in PREDICTORS}
    record = Record(0, graph, {1: "price", 2: "the"}, [], [], 0, [], scores, [])
    write_records(GRAPHS, [record], Run(RESULTS).provenance("graphs.parquet"))


def test_its_graph_comes_with_words_and_scores_and_others_have_none(run):
    write_graph(3)
    found = descry.open()
    graph = found.neuron("L0:3").graph
    assert (graph.graph.highest, graph.words[1]) == (2.0, "price")
    assert graph.scores["graph_f1"] == pytest.approx(0.9)
    assert found.neuron("L0:2").graph is None


def test_a_neuron_that_always_says_the_same_is_silent_and_says_why(run):
    with h5py.File("results/activations.h5", "r+") as file:
        file["activations"][:, 1, 2] = 0.5
    run_exemplars()
    run_label()
    found = descry.open(check=False).neuron("L1:2")
    assert found.silent == "never changes"
    assert (found.labels, len(found.exemplars), len(found.answers)) == ([], 0, 0)
    assert "never changes" in repr(found) and "never changes" in found._repr_html_()


def test_each_end_has_its_own_labels(run):
    with pytest.raises(InputError, match="no labels of lowest activations"):
        _ = descry.open().neuron("L0:2", "lowest").labels
    run_exemplars(lowest=True)
    run_label()
    found = descry.open(check=False)
    assert found.ends == ["highest", "lowest"]
    highest, lowest = (found.neuron("L0:2", end) for end in found.ends)
    assert [label.descriptor for label in highest.labels] == ["Sound"]
    assert lowest.exemplars["activation"].to_pylist() == sorted(lowest.activations)[:6]
    assert set(lowest.composed["split"].to_pylist()) == {"all", "calibration", "validation"}


@pytest.mark.parametrize("name", ["L0:8", "L2:0", "L0", "5:1", "L0:-1", ""])
def test_no_neuron_of_this_name_is_one_line(opened, name):
    with pytest.raises(InputError, match=r"the neurons are L0:0 to L1:7"):
        opened.neuron(name)


# what a descriptor is


@pytest.mark.parametrize("name", TOPICS)
def test_a_descriptor_has_its_neurons_sentences_and_answers(opened, name):
    found, sentences = opened.descriptors[name], table_of(opened, "corpus.parquet")
    topic = f"topic {list(TOPICS).index(name)}"
    assert f"L0:{list(TOPICS).index(name)}" in found.neurons
    rows = table_of(opened, "labels.parquet")
    assert set(found.neurons) == {
        f"L{row['layer']}:{row['neuron']}"
        for row in rows
        if row["assigned"] and row["split"] == "all" and row["descriptor"] == name
    }
    assert found.base_rate == pytest.approx(0.2)
    assert found.sentences.to_pylist() == [it for it in sentences if it["category"] == topic]
    answers = found.answers.to_pylist()
    assert [it["id"] for it in answers] == [it["id"] for it in sentences]
    assert [it["yes"] for it in answers] == [it["category"] == topic for it in sentences]
    assert all((it["odds"] > 0) == it["yes"] for it in answers)
    assert found.phrases == {f"{name} words": 12}


def test_answers_that_are_missing_are_null_and_what_was_not_asked_is_left_out(run):
    with answers_changed() as answer:
        answer[3, NAMES.index("Sound")] = -1
    with h5py.File(ANNOTATIONS, "r+") as file:
        file["asked"][5] = False
        file["score"][NAMES.index("Sound"), 3] = np.nan
    found = descry.open(check=False)
    answers = found.descriptors["Sound"].answers.to_pylist()
    assert answers[3]["yes"] is answers[3]["odds"] is None
    assert found.corpus["id"][5].as_py() not in [it["id"] for it in answers]
    assert len(answers) == len(found.corpus) - 1
    assert found.annotations.answered("Sound").sum() == len(found.corpus) - 1


def test_a_broad_descriptor_says_why_it_labels_nothing(opened):
    found = opened.descriptors[BROAD]
    assert (found.neurons, found.base_rate) == ([], None)
    assert "label.broad" in found.fate and "label.broad" in repr(found)
    assert opened.descriptors["Sound"].fate is None


def test_descriptors_are_those_of_the_file_in_its_order(opened):
    assert list(opened.descriptors) == NAMES
    with pytest.raises(KeyError):
        opened.descriptors["Musik"]


# the whole of it


def test_tables_and_metrics_are_what_the_files_hold(opened):
    for name in ("corpus", "candidates", "labels", "composed", "label_scores"):
        assert getattr(opened, name).equals(pq.read_table(opened.results / f"{name}.parquet"))
    metrics = json.loads((opened.results / "metrics.json").read_text())
    assert opened.metrics == {key: value for key, value in metrics.items() if key != "made"}
    assert opened.provenance("metrics.json") == metrics["made"]
    assert opened.judgements is None
    assert opened.label_arrays().splits["all"].f.shape == (LAYERS, WIDTH, len(TOPICS))


def test_a_file_is_read_once(run, monkeypatch):
    found = descry.open()
    first = [found.corpus, found.annotations, found.neuron("L0:2").labels, found.metrics]
    CORPUS.unlink()
    ANNOTATIONS.unlink()
    assert found.corpus is first[0] and found.annotations is first[1]
    assert found.metrics is first[3]
    assert len(found.neuron("L0:2").exemplars)


def test_some_columns_and_rows_are_read_by_themselves(opened):
    where = pc.field("assigned") & (pc.field("split") == "all")
    found = opened.read("labels.parquet", ["neuron", "descriptor"], where)
    assert found.column_names == ["neuron", "descriptor"]
    assert 0 < len(found) < len(opened.labels)


def test_a_run_of_files_in_other_places_is_the_same(built, tmp_path):
    moved = {}
    for number, name in enumerate(("labels.parquet", "corpus.parquet")):
        moved[name] = tmp_path / str(number)
        shutil.copy(built / "results" / name, moved[name])
    found = Run(built / "results", files=moved)
    assert found.path("labels.parquet") == moved["labels.parquet"]
    assert found.neuron("L0:2").exemplars.equals(Run(built / "results").neuron("L0:2").exemplars)


# open


@pytest.mark.parametrize("way", ["results", "project", "elsewhere"])
def test_a_run_is_opened_by_its_results_its_project_or_anywhere(built, tmp_path, way):
    path = built if way == "project" else built / "results"
    if way == "elsewhere":
        path = tmp_path / "a run"
        shutil.copytree(built / "results", path)
    found = descry.open(path)
    assert isinstance(found, descry.Run)
    assert [label.descriptor for label in found.neuron("L0:2").labels] == ["Sound"]


def test_no_results_are_one_line(tmp_path):
    with pytest.raises(InputError, match="not a descry folder"):
        descry.open(tmp_path)
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(InputError, match=r"labels\.parquet: no such file: make it with"):
        _ = descry.open(tmp_path).labels


@pytest.mark.parametrize("hashed", [run_module._HASHED, 0], ids=["small", "large"])
def test_results_that_were_not_made_of_each_other_are_refused(run, monkeypatch, hashed):
    monkeypatch.setattr(run_module, "_HASHED", hashed)
    descry.open()
    run_exemplars(top_percent=20.0)
    run_label()  # evaluate is not run again
    with pytest.raises(InputError, match=r"(metrics|label_scores).*made of another exemplars\.h5"):
        descry.open()
    assert len(descry.open(check=False).neuron("L0:2").exemplars) == 12


def test_another_file_in_the_place_of_the_labels_is_named(run):
    shutil.copy(RESULTS / "composed.parquet", RESULTS / "labels.parquet")
    with pytest.raises(InputError, match=r"labels\.parquet: .*no column"):
        _ = descry.open(check=False).neuron("L0:2").labels


def test_a_damaged_result_is_named(run):
    (RESULTS / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json: cannot be read"):
        descry.open()


def test_an_audit_and_a_verification_are_those_of_the_commands(run):
    found = descry.open(cache=CACHE)
    project = Project(RESULTS, CACHE)
    assert as_json(found.audit("L0:4")) == as_json(audit(project, "L0:4", 3, 3))
    (sentence,) = (it["id"] for it in found.corpus.to_pylist() if it["text"] == HOSTILE_REVIEW)
    assert [it.descriptor for it in found.audit_review(sentence).labels] == [HOSTILE]
    assert found.audit_descriptor("Sound").neurons["highest"]["all"] == (
        found.descriptors["Sound"].neurons
    )
    assert found.audit("L0:4").labels[0].exemplars[0].answer.in_cache
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    links = list(found.verify(hashes=True))
    assert [link.stage for link in links] == list(STAGES)
    assert [link.fault for link in links] == [None] * len(links)


def test_the_examples_of_the_documentation_run(run):
    """On a run with other neurons: what they print is that of the sample, columns apart."""
    write_graph(3)
    write_gold(own_topic(pq.read_table(CORPUS)["id"].to_pylist()))
    run_evaluate()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    text = (ROOT / "docs/python.md").read_text().partition("## A run")[2].partition("\n## ")[0]
    for name, here in (("L5:50", "L0:2"), ("L0:25", "L0:3"), ("Music", "Sound")):
        text = text.replace(name, here)
    names, examples = {}, doctest.DocTestParser().get_examples(text)
    for example in examples:
        shown = StringIO()
        with redirect_stdout(shown):
            exec(compile(example.source, "docs/python.md", "single"), names)
        assert bool(shown.getvalue()) == bool(example.want)
        if "column_names" in example.source and example.source.startswith("neuron"):
            assert shown.getvalue() == example.want
    assert len(examples) > 20


# what it costs


def test_neither_import_nor_open_loads_a_model_or_what_takes_long(built):
    code = (
        "import sys, descry;"
        "loaded = {name.partition('.')[0] for name in sys.modules};"
        "assert not loaded & {'numpy', 'pyarrow', 'h5py', 'typing'}, loaded;"
        f"run = descry.open({str(built)!r}); neuron = run.neuron('L0:2');"
        "neuron.labels, neuron.exemplars, neuron.activations, neuron._repr_html_();"
        "loaded = {name.partition('.')[0] for name in sys.modules};"
        "slow = {'torch', 'transformers', 'sklearn', 'scipy', 'matplotlib', 'dvc'};"
        "assert not loaded & slow, loaded & slow"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_a_neuron_is_found_in_whichever_row_groups_it_stands(tmp_path, rows):
    rng = np.random.default_rng(rows)
    columns = {name: rng.integers(0, 4, 100).astype(np.int32) for name in ("layer", "neuron")}
    whole = pa.table(columns | {"f": rng.random(100)})
    parts = (whole.slice(start, rows) for start in range(0, 100, rows))
    write_batches(tmp_path / "t.parquet", whole.schema, parts, {"stage": "label"})
    for layer, neuron in product(range(5), range(4)):
        only = {"layer": layer, "neuron": neuron}
        found = read_where(tmp_path / "t.parquet", "label", ["f"], only)
        expected = [
            {"f": row["f"]}
            for row in whole.to_pylist()
            if (row["layer"], row["neuron"]) == (layer, neuron)
        ]
        assert found.to_pylist() == expected


def test_one_neuron_of_a_large_table_takes_a_small_part_of_its_memory(tmp_path):
    descriptors, width = [f"descriptor {c}" for c in range(200)], 500
    rng = np.random.default_rng(0)

    def tables():
        for split in SPLITS:
            for start in range(0, 4 * width, 250):
                f = rng.random((250, 200))
                drawn = {"f": f, "count": (f * 10).astype(np.int32), "base_rate": f, "lift": f}
                drawn |= dict.fromkeys(("expected", "p", "q", "p_unmatched", "q_unmatched"), f)
                drawn["assigned"] = f > 0.99
                neurons = Neurons((0, 1, 2, 3), width)
                yield label_table("highest", split, neurons, start, descriptors, drawn)

    write_batches(tmp_path / "labels.parquet", SCHEMA, tables(), {"stage": "label"})
    code = """
import pyarrow as pa
from pathlib import Path
from descry.labels.results import neuron_labels
from descry.run import Run

numbers = neuron_labels(Path("labels.parquet"), 2, 77)["highest"]
assert len(numbers) == 200 and {len(splits) for splits in numbers.values()} == {3}
print(pa.default_memory_pool().max_memory(), Run(Path()).labels.nbytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    one, whole = map(int, done.stdout.split())
    assert one < whole / 4


# notebooks


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        assert attrs == []
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_a_notebook_shows_texts_of_strangers_as_text(opened):
    neuron = opened.neuron(f"L0:{list(TOPICS).index(HOSTILE)}")
    shown = [opened._repr_html_(), neuron._repr_html_(), opened.descriptors[HOSTILE]._repr_html_()]
    for html in shown:
        found = Elements(html)
        assert found.tags == {"table", "caption", "tr", "th", "td"}
        assert html.isprintable()
        assert "<script>alert(1)</script>" in "".join(found.texts)
    assert "<image src=https://evil.example/x onerror=alert(1)>" in "".join(
        Elements(shown[1]).texts
    )
    for of in (opened, neuron, opened.descriptors[HOSTILE]):
        assert repr(of).isprintable()
    assert "(q " in repr(neuron)
