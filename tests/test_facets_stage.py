"""Stage facets over a planted run: a neuron of two topics, and one whose label is too broad."""

import json
import re

import h5py
import numpy as np
import planted
import pyarrow.parquet as pq
import pytest
from planted import (
    EXEMPLARS,
    FACETS,
    LABELS,
    TOPICS,
    made_in,
    run_facets,
    run_label,
    topic_vectors,
)
from servers import MODEL, Reply, completion, serving

import descry
from descry.annotators.prompts import detection
from descry.errors import InputError
from descry.io.hdf5 import hdf5_provenance
from descry.io.parquet import read_table, table_provenance
from descry.stages.facets import NO_MATRIX, OF_POSITIONS, Facets
from descry.workflow.params import parse

BOTH, BROAD = 5, 6  # neurons of the first layer
FIRST, SECOND = list(TOPICS)[:2]


def changed(data, topic):
    """One neuron that fires on two topics, and one that fires on half of the sentences of one."""
    rng = np.random.default_rng(5)
    data[:, 0, BOTH] += 20 * (topic <= 1)
    data[:, 0, BROAD] += 20 * ((topic == 2) & (rng.random(len(topic)) < 0.5))
    return data


def build():
    planted.write_reviews()
    planted.run_corpus()
    table = read_table(planted.CORPUS, "corpus")
    planted.write_descriptors(table)
    topic, rng = planted.topics_of(table), np.random.default_rng(0)
    answer = np.column_stack([np.ones(len(topic)), np.eye(len(TOPICS))[topic]])
    planted.write_annotations(table, answer, np.where(answer == 1, 2.0, -2.0))
    planted.write_activations(table, changed(planted.activations_of(table, rng), topic))
    planted.run_exemplars(top_percent=40.0)
    run_label(rule="enrichment", fdr=0.05)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return made_in(tmp_path_factory.mktemp("facets"), build)


@pytest.fixture
def here(base, monkeypatch):
    monkeypatch.chdir(base)
    for path in (planted.SCORES, planted.SCORE_TABLE):
        path.unlink(missing_ok=True)  # of the facets of another test


@pytest.fixture
def found(here):
    counts = run_facets(topic_vectors)
    rows = {(row["layer"], row["neuron"]): row for row in read_table(FACETS, "facets").to_pylist()}
    return counts, rows


def test_a_neuron_of_two_topics_has_a_facet_of_each(found):
    counts, rows = found
    own = rows[0, BOTH]
    labels = [[label["descriptor"] for label in facet["labels"]] for facet in own["facets"]]
    assert sorted(labels) == sorted([[FIRST], [SECOND]])
    table = read_table(planted.CORPUS, "corpus")
    topic = planted.topics_of(table)
    for facet, (name,) in zip(own["facets"], labels, strict=True):
        assert set(topic[facet["rows"]].tolist()) == {list(TOPICS).index(name)}
        (label,) = facet["labels"]
        assert label["count"] == len(facet["rows"]) == 12 and label["neuron_p"] < 0.05
        assert label["expected"] == pytest.approx(12 * 12 / 60)
    made = table_provenance(read_table(FACETS, "facets"))
    assert made["chance"]["parted"] == int(str(counts["in facets"]).partition(" ")[0]) >= 1
    assert made["chance"]["random_sets"] >= 200
    # A neuron of one topic has one group, without labels of its own: those of the neuron.
    sizes = [len(row["facets"]) for row in rows.values()]
    assert 1 in sizes
    for row in rows.values():
        if len(row["facets"]) == 1:
            assert row["facets"][0]["labels"] == []


def test_rows_are_of_the_neurons_with_a_label(found):
    _, rows = found
    table = read_table(LABELS, "label").to_pylist()
    labelled = {
        (row["layer"], row["neuron"])
        for row in table
        if row["assigned"] and row["split"] in ("all", "calibration")
    }
    assert rows.keys() == labelled


def test_sets_cover_with_what_is_over_represented(found):
    """What is said of every sentence covers any, and tells nothing."""
    _, rows = found
    row = rows[0, BOTH]
    assert row["cover"] and set(row["cover"]) <= {FIRST, SECOND}
    assert row["cover_reached"] and row["covered"] > row["covered_random"]
    assert all(planted.BROAD not in row["cover"] for row in rows.values())
    run = descry.open(".")
    b, held = run.annotations, read_sets("validation")[0, BOTH]
    any_of = np.any([b.yes(name) for name in row["cover"]], axis=0)
    assert row["covered"] == any_of[held].mean()
    half = np.array(run.corpus["split"].to_pylist()) == "validation"
    assert row["covered_random"] == pytest.approx(any_of[half].mean())  # of one stratum
    assert row["labelled_low"] <= row["labelled"] <= row["labelled_high"]
    assert row["labelled_random"] < row["labelled"]


def read_sets(split):
    with h5py.File(EXEMPLARS) as file:
        return file[split]["row"][:]


def test_close_negatives_are_like_the_exemplars_and_do_not_excite(found):
    _, rows = found
    row = rows[0, BROAD]
    run = descry.open(".")
    activations = run.neuron(f"L0:{BROAD}").activations
    half = np.array(run.corpus["split"].to_pylist())
    exemplars = {*run.neuron(f"L0:{BROAD}").exemplars["row"].to_pylist()}
    assert len(row["close"]) == 6  # three of each half
    for one in row["close"]:
        median = np.median(activations[half == half[one["row"]]])
        assert one["activation"] == activations[one["row"]] <= median
        assert one["row"] not in exemplars
    vectors = topic_vectors(run.corpus["text"].to_pylist())
    for name in ("calibration", "validation"):
        own = [one for one in row["close"] if half[one["row"]] == name]
        assert [one["similarity"] for one in own] == sorted(
            (one["similarity"] for one in own), reverse=True
        )
        members = read_sets(name)[0, BROAD]
        mean = vectors[members[members >= 0]].astype(float).mean(axis=0)
        assert own[0]["similarity"] == pytest.approx(vectors[own[0]["row"]] @ mean, abs=1e-5)


def test_a_label_of_close_sentences_that_do_not_excite_is_too_broad(found):
    counts, rows = found
    by_name = {one["descriptor"]: one for one in rows[0, BOTH]["breadth"]}
    sharp = by_name[FIRST]
    assert (sharp["close"], sharp["broad"]) == (0, False) and sharp["exemplars"] == 0.5
    number = sum(len(row["breadth"]) for row in rows.values())
    assert counts["labels too broad"].endswith(f"of {number}")


def test_the_file_is_the_same_again(here):
    run_facets(topic_vectors)
    first = FACETS.read_bytes()
    run_facets(topic_vectors)
    assert FACETS.read_bytes() == first


def test_neurons_are_drawn_or_named(here):
    assert run_facets(topic_vectors, neurons=3)["neurons"] == 3
    assert run_facets(topic_vectors, neurons=[f"L0:{BOTH}"])["neurons"] == 1
    with pytest.raises(InputError, match="L7:0"):
        run_facets(topic_vectors, neurons=["L7:0"])


def test_where_nothing_can_be_found_the_file_says_why(here, monkeypatch):
    assert run_facets()["neurons"] == 0
    assert "not enabled" in table_provenance(read_table(FACETS, "facets"))["undefined"]
    monkeypatch.setattr("descry.stages.facets.stand_for_all", lambda _: np.ones(60, dtype=bool))
    assert run_facets(topic_vectors) == {"neurons": 0, "why": OF_POSITIONS}
    assert len(pq.read_table(FACETS)) == 0


def test_without_the_matrix_there_are_facets_and_sets_but_no_close_negatives(
    base, tmp_path, monkeypatch
):
    import shutil

    shutil.copytree(base / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    with h5py.File("results/activations.h5", "r+") as file:
        del file["activations"]
    forged(EXEMPLARS, "results/activations.h5")
    forged_labels()
    counts = run_facets(topic_vectors)
    assert counts["close negatives"] == f"none: {NO_MATRIX}"
    (row,) = [r for r in read_table(FACETS, "facets").to_pylist() if r["neuron"] == BOTH]
    assert row["close"] is None and row["breadth"] is None and len(row["facets"]) == 2


def forged(path, source):
    """Have an HDF5 file record the present hash of an input."""
    from descry.io.hashing import canonical, sha256_file

    with h5py.File(path, "r+") as file:
        made = hdf5_provenance(file)
        made["inputs"][source] = sha256_file(planted.Path(source))
        file.attrs["descry"] = canonical(made)


def forged_labels():
    from descry.io.hashing import sha256_file
    from descry.io.parquet import write_table

    table = read_table(LABELS, "label")
    made = table_provenance(table)
    made["inputs"][EXEMPLARS.as_posix()] = sha256_file(EXEMPLARS)
    write_table(LABELS, table, made)


def test_files_of_other_runs_are_refused(base, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(base / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    with h5py.File("results/activations.h5", "r+") as file:
        file.attrs["note"] = "another"
    with pytest.raises(InputError, match=r"made of another activations\.h5"):
        run_facets(topic_vectors)
    shutil.copy(base / "results/activations.h5", "results/activations.h5")
    with h5py.File(EXEMPLARS, "r+") as file:
        file.attrs["note"] = "another"
    with pytest.raises(InputError, match=r"made of another exemplars\.h5"):
        run_facets(topic_vectors)


@pytest.mark.parametrize(("key", "value"), [("most", 0), ("coverage", 1.0), ("negatives", 0)])
def test_params_that_make_no_sense_are_refused(key, value):
    good = {
        "enabled": True,
        "neurons": None,
        "most": 4,
        "coverage": 0.9,
        "negatives": 20,
        "seed": 0,
    }
    parse("facets", good, "params")
    with pytest.raises(InputError, match=f"facets.{key}"):
        parse("facets", json.loads(json.dumps(good | {key: value})), "params")


# What verify says


def verified():
    from types import SimpleNamespace

    from descry.provenance.verify.contents import facets

    section = {"enabled": True, "neurons": None, "most": 4, "coverage": 0.8, "negatives": 3}
    params = SimpleNamespace(facets=Facets(**section, seed=0), cluster=None)
    return facets(descry.open(".", check=False), params)


def tampered(change):
    """Change the rows of the file."""
    from descry.io.parquet import write_table

    table = read_table(FACETS, "facets")
    rows = table.to_pylist()
    change({row["neuron"]: row for row in rows if row["layer"] == 0}[BOTH])
    made = table_provenance(table)
    write_table(FACETS, table.from_pylist(rows, table.schema.remove_metadata()), made)


def first_label(row):
    return next(part for part in row["facets"] if part["labels"])["labels"][0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: first_label(row).update(count=3), "facets does not follow"),
        (lambda row: row["facets"][0]["rows"].pop(), "its groups are not its exemplars"),
        (lambda row: row.update(cover=["Sound"]), "cover does not follow"),
        (lambda row: row.update(labelled=0.125), "labelled does not follow"),
        (lambda row: row["breadth"][0].update(close=0.5), "breadth does not follow"),
        (lambda row: row["close"][0].update(row=row["facets"][0]["rows"][0]), "excites it"),
        (lambda row: row["close"][0].update(activation=7.0), "close does not follow"),
    ],
)
def test_verify_finds_what_does_not_follow(here, change, says):
    run_facets(topic_vectors)
    assert verified().fault is None
    tampered(change)
    assert says in verified().fault and f"L0:{BOTH}" in verified().fault


def test_verify_of_a_run_without_facets_has_nothing_to_say(here):
    run_facets()
    assert verified().fault is None and "not enabled" in verified().checked


# Who reads the file


def scored(**changes):
    """Whoever says Yes to every sentence with a topic's word."""
    write_candidates()
    run = planted.run_score_close(planted.Toy(said), **changes)
    rows = planted.read_csv(planted.SCORE_TABLE)
    return run, {(row["neuron"], row["scorer"]): row for row in rows}


def said(prompt):
    """Yes to every sentence with a word of a topic of the description."""
    words = [TOPICS[name] for name in prompt.descriptor.split(", ") if name in TOPICS]
    return planted.log_probabilities(any(word in prompt.sentence for word in words))


def write_candidates():
    planted.write_descriptors(read_table(planted.CORPUS, "corpus"))


def test_a_label_that_fits_close_negatives_detects_no_better_than_chance(here):
    run_facets(topic_vectors)
    _, rows = scored(neurons=[f"L0:{BOTH}", "L0:0"], sentences=4)
    for name in (f"L0:{BOTH}", "L0:0"):
        close = rows[name, "detection_close"]
        assert close["undefined"] == "" and close["description"]
        trial = rows[name, "detection"]
        assert close["description"] == trial["description"]
        assert float(close["value"]) <= float(trial["value"])
    means = planted.read_json(planted.SCORES, "score")["detection_close"]
    assert means["balanced_accuracy"]["chance"] == 0.5
    inputs = planted.read_json(planted.SCORES, "score")["made"]["inputs"]
    assert FACETS.as_posix() in inputs


QUESTION = re.compile(r'Does the Review: "(.*)" talk about "(.*)"\? Answer', re.DOTALL)


def test_a_model_behind_a_server_judges_close_negatives_as_the_same_answers_here_do(here):
    def script(body, before):
        asked = QUESTION.search(body["messages"][0]["content"])
        found = said(detection(*asked.groups()))
        return Reply(completion(top={"Yes": found["yes"], "No": found["no"]}))

    run_facets(topic_vectors)
    chosen = {"neurons": [f"L0:{BOTH}", "L0:0"], "sentences": 4}
    _, expected = scored(**chosen)
    with serving(script) as server:
        spec = {"kind": "openai", "base_url": server.url, "model": "tiny", "revision": MODEL}
        spec |= {"dtype": "unknown", "api_key_env": None, "max_new_tokens": 40, "concurrency": 2}
        spec |= {"timeout": 5.0, "retries": 0, "price": None}
        planted.run_score(None, spec, scorers=["detection", "detection_close"], **chosen)
        assert server.requests == len(server.asked)  # each prompt once, whichever scorers have it
    rows = planted.read_csv(planted.SCORE_TABLE)
    assert {(row["neuron"], row["scorer"]): row for row in rows} == expected
    assert expected["L0:0", "detection_close"]["answers"] != "0"


def test_without_close_negatives_the_scorer_says_so(here):
    run_facets()
    _, rows = scored(neurons=["L0:0"])
    assert rows["L0:0", "detection"]["undefined"] == ""
    assert rows["L0:0", "detection_close"]["undefined"].startswith("no close negatives")
    means = planted.read_json(planted.SCORES, "score")
    assert means["detection_close"]["undefined"].startswith("no close negatives")


def test_close_negatives_of_other_exemplars_are_refused(here, base):
    run_facets(topic_vectors)
    table = read_table(FACETS, "facets")
    made = table_provenance(table)
    made["inputs"][EXEMPLARS.as_posix()] = "0" * 64
    from descry.io.parquet import write_table

    write_table(FACETS, table, made)
    with pytest.raises(InputError, match=r"facets\.parquet: made of another exemplars\.h5"):
        scored(neurons=["L0:0"])


def test_a_run_has_them_as_objects(here):
    run_facets(topic_vectors)
    run = descry.open(".")
    neuron = run.neuron(f"L0:{BOTH}")
    assert len(neuron.facets["facets"]) == 2 and run.facets_nothing is None
    assert run.facets_chance["parted"] >= 1 and len(run.facets) == run.facets_chance["neurons"]
    close = neuron.close_negatives
    assert close["similarity"].to_pylist() == sorted(close["similarity"].to_pylist(), reverse=True)
    assert close["text"].to_pylist() == run.sentences(close["row"].to_pylist())["text"].to_pylist()
    without = next(n for n in run.neurons.names if run.neuron(n).facets is None)
    with pytest.raises(InputError, match=f"no close negatives of {without}"):
        _ = run.neuron(without).close_negatives
    run_facets()
    assert "not enabled" in descry.open(".").facets_nothing


def test_the_terminal_shows_facets_and_labels_that_are_too_broad(here, capsys):
    from descry.cli.console.neuron import show_neuron

    run_facets(topic_vectors)
    show_neuron(planted.RESULTS, f"L0:{BOTH}", 2)
    out = planted.printed(capsys)
    assert "facets; labels of one by lot" in out and "labels beside close negatives" in out
    assert "covers held-out exemplars: " in out
