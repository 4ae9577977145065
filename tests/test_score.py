"""Stage score on planted neurons: a true description scores high, another neuron's does not."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from miniature import ROOT
from planted import (
    ACTIVATIONS,
    ANNOTATOR,
    CACHE,
    CORPUS,
    DESCRIPTORS,
    EXEMPLARS,
    HOSTILE,
    LABELS,
    RESULTS,
    SCORE_TABLE,
    SCORES,
    TOPICS,
    Absent,
    Toy,
    activations_of,
    log_probabilities,
    made_in,
    read_csv,
    run_annotate,
    run_corpus,
    run_exemplars,
    run_facets,
    run_label,
    run_score,
    scored,
    topics_of,
    write_activations,
    write_annotations,
    write_descriptors,
    write_reviews,
)

from descry.annotators.base import Answer
from descry.annotators.human.spec import Human
from descry.annotators.openai_server.annotator import EndpointAnnotator
from descry.annotators.prompt_cache.check import verify
from descry.annotators.prompt_cache.jsonl import export, load
from descry.annotators.prompt_cache.store import Batch, PromptCache
from descry.annotators.prompts import descriptors_of, numbered
from descry.errors import InputError
from descry.io.hashing import canonical
from descry.io.hdf5 import writing_hdf5
from descry.io.json_files import read_json, write_json
from descry.io.parquet import read_table
from descry.io.provenance import provenance
from descry.stages.score import Score
from descry.workflow.garbage import garbage
from descry.workflow.params import Params
from descry.workflow.requests import forecast

SAMPLE = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())
PLANTED = {f"L0:{t}": name for t, name in enumerate(TOPICS)}
ALL = ["detection", "intruder", "simulation"]


@pytest.fixture(scope="module")
def planted_results(tmp_path_factory):
    """The results up to the labels; paths in them are relative to the folder."""
    return made_in(tmp_path_factory.mktemp("built"), up_to_the_labels)


def up_to_the_labels():
    write_reviews()
    run_corpus()
    table, rng = read_table(CORPUS, "corpus"), np.random.default_rng(0)
    write_descriptors(table)
    topic = topics_of(table)
    answer = np.column_stack([np.ones(len(topic)), np.eye(len(TOPICS))[topic]])
    write_annotations(table, answer, answer * 2 - 1)
    write_activations(table, activations_of(table, rng))
    run_exemplars()
    run_label()
    run_facets()


def about(text, description):
    """Whether a sentence has the word of one of a description's topics."""
    topics = [TOPICS[name] for name in descriptors_of(description, TOPICS)]
    return any(word in text for word in topics) or ("Sour" in text and HOSTILE in description)


def words(text, finish="stop"):
    return {"text": text, "finish": finish}


def said(prompt):
    """What somebody says who knows the topics."""
    if prompt.task == "intruder":
        topics = [[about(text, name) for name in TOPICS] for text in prompt.several]
        alone = [topics.count(one) == 1 for one in topics]
        return words(str(1 + alone.index(True)) if sum(alone) == 1 else "1")
    if prompt.task == "simulation":
        return words("10" if about(prompt.sentence, prompt.descriptor) else "0")
    return log_probabilities(about(prompt.sentence, prompt.descriptor))


def knowing():
    return Toy(said)


def table():
    """The rows by neuron and scorer."""
    return {(row["neuron"], row["scorer"]): row for row in read_csv(SCORE_TABLE)}


def number(row, name="value"):
    return float(row[name])


# Planted neurons


def test_planted_neurons_score_high_and_others_descriptions_low(run):
    run_score(knowing(), neurons=list(PLANTED))
    rows = table()
    assert {neuron for neuron, _ in rows} == {*PLANTED}
    for neuron, name in PLANTED.items():
        detection, simulation = rows[neuron, "detection"], rows[neuron, "simulation"]
        assert detection["description"] == simulation["description"] == name
        assert number(detection) == number(detection, "ranked") == 1
        assert number(simulation) > 0.9
        assert number(rows[neuron, "intruder"]) >= 2 / 3
        assert {row["answers"] for row in (detection, simulation)} == {"6"}
        if name not in rows[neuron, "detection"]["other"]:
            assert number(detection, "null") <= 0.5
            assert not simulation["null"] or number(simulation, "null") < 0.5
    means = read_json(SCORES, "score")
    assert (means["neurons"], means["detection"]["balanced_accuracy"]["value"]) == (5, 1)
    for scorer, names in (
        ("detection", ("balanced_accuracy", "auroc")),
        ("simulation", ("pearson", "spearman")),
    ):
        for name in names:
            found = means[scorer][name]
            assert found["value"] > found["null"] + 0.4
            assert found["chance"] == (0.5 if scorer == "detection" else 0)
            assert found["defined"] == 5
    assert means["intruder"]["accuracy"]["chance"] == pytest.approx(1 / 3, abs=1e-6)
    assert means["intruder"]["accuracy"]["null"] is None


def test_a_annotator_that_knows_nothing_scores_as_by_chance(run):
    def always(prompt):
        return log_probabilities(True) if prompt.task == "p2" else words("1")

    run_score(Toy(always), neurons=list(PLANTED))
    means = read_json(SCORES, "score")
    detection = means["detection"]
    assert [detection[n]["value"] for n in ("balanced_accuracy", "auroc")] == [0.5, 0.5]
    assert (means["simulation"]["pearson"]["value"], means["simulation"]["failed"]) == (None, 0)
    assert "all the same" in table()["L0:0", "simulation"]["undefined"]


def test_the_description_is_of_the_half_whose_sentences_are_not_asked_about(run):
    annotator = knowing()
    run_score(annotator)
    corpus = read_table(CORPUS, "corpus")
    half = dict(zip(corpus["text"].to_pylist(), corpus["split"].to_pylist(), strict=True))
    assert {half[text] for prompt in annotator.asked for text in prompt.shown} == {"validation"}
    labels = read_table(LABELS, "label").to_pylist()
    own = {
        (f"L{row['layer']}:{row['neuron']}", row["descriptor"])
        for row in labels
        if row["assigned"] and row["split"] == "calibration"
    }
    for (neuron, scorer), row in table().items():
        parts = descriptors_of(row["description"], [*TOPICS])
        assert scorer == "intruder" or parts
        assert all((neuron, part) in own for part in parts)


def test_a_neuron_without_a_label_has_an_intruder_score_only(run):
    labelled = {neuron for neuron, _ in table_of_all()}
    bare = next(f"L1:{i}" for i in range(8) if f"L1:{i}" not in labelled)
    run_score(knowing(), neurons=[bare])
    rows = table()
    for scorer in ("detection", "simulation"):
        row = rows[bare, scorer]
        assert (row["value"], row["undefined"]) == ("", "no label in the calibration half")
    assert 0 <= number(rows[bare, "intruder"]) <= 1
    assert read_json(SCORES, "score")["detection"]["auroc"]["value"] is None


def table_of_all():
    run_score(knowing())
    return table()


def test_without_any_label_nothing_is_scored_and_nothing_fails(run):
    run_label(threshold=0.99, broad=1.0, top_k=1)
    table = read_table(LABELS, "label")
    assert not any(table["assigned"].to_pylist())
    counts = run_score(Absent())
    assert (counts["neurons"], counts["asked"]) == (0, 0)
    assert read_json(SCORES, "score")["intruder"]["accuracy"]["value"] is None


def test_an_unknown_neuron_is_refused(run):
    with pytest.raises(InputError, match="L9:0: no such neuron"):
        run_score(knowing(), neurons=["L9:0"])


# Answers that are none


def test_what_failed_is_counted_and_left_out(run):
    def shy(prompt):
        if prompt.task == "simulation" and prompt.descriptor == "Price":
            return words("I cannot rate that.")
        return said(prompt)

    with pytest.raises(InputError, match=r"answers failed.*refusal"):
        run_score(Toy(shy), neurons=list(PLANTED))
    counts = run_score(Toy(shy), neurons=list(PLANTED), max_failures=0.5)
    row = table()["L0:0", "simulation"]
    assert (row["value"], row["answers"]) == ("", "0")
    assert row["undefined"].startswith("fewer than three usable ratings")
    assert number(row, "null") < 0.5
    means = read_json(SCORES, "score")["simulation"]
    assert (means["pearson"]["defined"], means["failed"]) == (4, counts["failed"])


def test_a_hostile_description_and_answer_stay_text(run):
    evil = Toy(lambda prompt: words("\x1b[2J=1+1") if prompt.task != "p2" else said(prompt))
    run_score(evil, neurons=["L0:4"], max_failures=1.0)
    assert table()["L0:4", "detection"]["description"] == HOSTILE
    assert "1+1" not in SCORES.read_text() + SCORE_TABLE.read_text()


def test_answers_in_words_have_no_auroc(run):
    def spoken(prompt):
        return words("Yes" if said(prompt)["yes"] > -1 else "No") if prompt.task == "p2" else None

    run_score(Toy(spoken), neurons=list(PLANTED), scorers=["detection"])
    row = table()["L0:1", "detection"]
    assert (row["value"], row["ranked"]) == ("1.0", "")
    assert read_json(SCORES, "score")["detection"]["auroc"]["value"] is None


# The cache


def test_a_second_run_and_a_replay_ask_nothing_and_give_the_same_bytes(run):
    first = run_score(knowing())
    before = SCORES.read_bytes(), SCORE_TABLE.read_bytes()
    for replay in (False, True):
        counts = run_score(Absent(), replay=replay)
        assert (counts["asked"], counts["failed"]) == (0, 0)
        assert (SCORES.read_bytes(), SCORE_TABLE.read_bytes()) == before
    assert first["asked"] > 0


def test_a_replay_without_answers_is_refused(run):
    with pytest.raises(InputError, match=r"replay: .* answers to p2 are not in"):
        run_score(Absent(), replay=True)


def test_detection_by_one_descriptor_was_asked_by_annotate(run):
    run_annotate(Toy(lambda p: log_probabilities(p.descriptor == "Quality" or about(*p[2:4]))))
    annotator = knowing()
    run_score(annotator, scorers=["detection"])
    assert {prompt.descriptor in TOPICS for prompt in annotator.asked} <= {False}
    run_score(Absent(), scorers=["detection"], neurons=list(PLANTED)[:1], seed=3, replay=False)


def asked_and_stored():
    run_score(knowing())
    with PromptCache(CACHE) as cache:
        return {key: json.loads(text) for key, text in cache.records()}


def test_every_answer_is_verified_those_about_several_sentences_too(run):
    records = asked_and_stored()
    several = [record for record in records.values() if isinstance(record["sentence"], list)]
    assert {len(record["sentence"]) for record in several} == {3}
    with PromptCache(CACHE) as cache:
        found = verify(cache, RESULTS)
    assert (found.checked, found.elsewhere, found.wrong) == (len(records), 0, {})


def put(key, record):
    with PromptCache(CACHE) as cache:
        cache.remove([key], [])
        cache.merge(Batch(cache.origins(), {key: canonical(record)}, {}))


TAMPERED = {
    "another order": lambda ids: ids[::-1],
    "one fewer": lambda ids: ids[1:],
    "one alone": lambda ids: ids[0],
    "nothing": lambda ids: [],
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_another_list_of_sentences_is_named(run, change):
    records = asked_and_stored()
    key, record = next((k, r) for k, r in records.items() if isinstance(r["sentence"], list))
    put(key, record | {"sentence": change(record["sentence"])})
    with PromptCache(CACHE) as cache:
        found = verify(cache, RESULTS)
    assert found.wrong == {key: "the key does not follow from its request"}


@pytest.mark.parametrize("ids", [None, 3, [["a"]], [{}]])
def test_what_is_no_list_of_sentences_is_damaged(run, ids):
    records = asked_and_stored()
    key, record = next(iter(records.items()))
    put(key, record | {"sentence": ids})
    with PromptCache(CACHE) as cache:
        assert verify(cache, RESULTS).wrong == {key: "its row is damaged"}


def test_a_list_with_a_sentence_of_another_corpus_is_not_checked(run):
    records = asked_and_stored()
    key, record = next((k, r) for k, r in records.items() if isinstance(r["sentence"], list))
    put(key, record | {"sentence": [*record["sentence"][:-1], "0" * 16]})
    with PromptCache(CACHE) as cache:
        found = verify(cache, RESULTS)
    assert (found.elsewhere, found.wrong) == (1, {})


def test_exports_hold_the_answers_and_another_machine_replays_them(run):
    asked_and_stored()
    before = SCORES.read_bytes()
    with PromptCache(CACHE) as cache:
        written = export(cache, Path("answers"))
    assert {name.partition("--")[0] for name in written} == {"p2", "intruder", "simulation"}
    shutil.rmtree(CACHE)
    with PromptCache(CACHE) as cache:
        assert load(cache, [Path("answers")])[1] == []
    run_score(Absent(), replay=True)
    assert SCORES.read_bytes() == before


@pytest.mark.parametrize("ids", ["[]", "[1]", "{}", "7", "null"])
def test_an_export_with_an_impossible_list_of_sentences_is_refused(run, ids):
    asked_and_stored()
    with PromptCache(CACHE) as cache:
        export(cache, Path("answers"))
    (path,) = Path("answers").glob("intruder--*.jsonl")
    *lines, last = path.read_text(encoding="utf-8").splitlines()
    entry = json.loads(last)
    entry["is"]["sentence"] = json.loads(ids)
    path.write_text("\n".join([*lines, json.dumps(entry)]), encoding="utf-8")
    with PromptCache(CACHE) as cache, pytest.raises(InputError, match="not of an export"):
        load(cache, [path])


# Who knows of the questions

ENDPOINT = {
    "kind": "openai", "model": "toy-1", "revision": "toy-1", "dtype": "unknown",
    "base_url": "http://localhost:1/v1", "api_key_env": None, "max_new_tokens": 32,
    "concurrency": 1, "timeout": 1.0, "retries": 0, "price": [1.0, 1.0],
}  # fmt: skip
KNOBS = {"neurons": None, "sentences": 3, "distractors": 2, "max_failures": 0.0}


def params(**changes):
    """Params of which only the stage asks anything that was answered."""
    raw = json.loads(json.dumps(SAMPLE))
    raw["describe"] |= {
        "annotators": [ENDPOINT],
        "examples": [{"sentence": "a", "concepts": ["b"]}],
    }
    raw["annotate"] |= {"annotator": ENDPOINT}
    raw["score"] |= {"annotator": ENDPOINT} | KNOBS | changes
    return Params.model_validate(raw, strict=True)


@pytest.fixture
def server(monkeypatch):
    """In place of a server: somebody who knows the topics."""
    toy = knowing()
    monkeypatch.setattr(EndpointAnnotator, "answer", lambda _, *given: toy.answer(*given))
    return toy


def foretold(**changes):
    with PromptCache(CACHE) as cache:
        return {row.stage: row for row in forecast(params(**changes), RESULTS, cache, None)}


def test_a_forecast_is_what_is_asked_then(run, server):
    before = foretold()
    run_score(None, ENDPOINT)
    tasks = [prompt.task for prompt in server.asked]
    for scorer, task in zip(ALL, ("p2", "intruder", "simulation"), strict=True):
        assert (before[f"score {scorer}"].to_ask, before[f"score {scorer}"].known) == (
            tasks.count(task),
            True,
        )
        assert foretold()[f"score {scorer}"].to_ask == 0
    assert not [stage for stage in foretold(annotator=None) if stage.startswith("score")]


def test_gc_keeps_the_answers_while_they_are_asked_for(run, server):
    run_score(None, ENDPOINT)
    with PromptCache(CACHE) as cache:
        stored = cache.stats()["answers"]
        assert garbage(cache, params(), RESULTS).kept == stored
        # What annotate would ask too stays: detection by one descriptor.
        single = {p for p in server.asked if p.task == "p2" and p.descriptor in TOPICS}
        assert garbage(cache, params(annotator=None), RESULTS).kept == len(single)
        some = garbage(cache, params(scorers=["intruder"]), RESULTS)
        assert len(some.answers) + some.kept == stored
        assert some.answers


@pytest.mark.parametrize("lost", [LABELS, EXEMPLARS])
def test_gc_refuses_and_a_forecast_does_not_know_while_labels_are_missing(run, server, lost):
    lost.unlink()
    before = foretold()
    for scorer in ALL:
        assert (before[f"score {scorer}"].known, before[f"score {scorer}"].after) == (
            False,
            "label",
        )
    with PromptCache(CACHE) as cache, pytest.raises(InputError, match="score detection asks"):
        garbage(cache, params(), RESULTS)


def test_where_no_matrix_is_kept_nobody_asks_for_simulation(run, server):
    raw = params().model_dump()
    raw["activations"]["store"] = "exemplars"
    with PromptCache(CACHE) as cache:
        rows = forecast(Params.model_validate(raw, strict=True), RESULTS, cache, None)
    assert [row.stage for row in rows if "score" in row.stage] == [
        "score detection",
        "score intruder",
    ]


# Who cannot answer, and files that do not fit


@pytest.mark.parametrize("scorers", [ALL, ["detection", "simulation"], ["intruder"]])
def test_a_person_answers_p2_alone(run, scorers):
    ann = Human(kind="human", model="ann", revision="round-1")
    with pytest.raises(InputError, match=r"ann \(human\): people answer only p2.*score\.scorers"):
        run_score(None, ann, scorers=scorers)
    assert not SCORES.exists()
    assert not CACHE.exists()  # refused before anything was asked


def test_a_persons_answers_to_p2_are_enough_for_detection(run):
    ann = Human(kind="human", model="ann", revision="round-1")
    with pytest.raises(InputError, match="not answered by a person"):
        run_score(None, ann, scorers=["detection"])


def test_without_a_annotator_the_files_say_so(run):
    assert scored(Score(**SAMPLE["score"] | {"annotator": None})) == {"score": 0}
    found = read_json(SCORES, "score")
    assert (found["undefined"], found["made"]["stage"]) == (
        "no annotator (score.annotator)",
        "score",
    )
    assert read_csv(SCORE_TABLE) == []
    assert SCORE_TABLE.read_text().startswith("neuron,scorer,")


def without_matrix():
    with h5py.File(ACTIVATIONS) as file:
        made = json.loads(file.attrs["descry"])
    with writing_hdf5(ACTIVATIONS, made) as file:
        file.create_dataset("kept", data=[0])
    with h5py.File(EXEMPLARS, "a") as file:
        made = json.loads(file.attrs["descry"])
        made["inputs"] = provenance("", {}, [CORPUS, ACTIVATIONS], [])["inputs"]
        file.attrs["descry"] = canonical(made)
    run_label()


def test_without_a_matrix_simulation_is_undefined_and_not_asked(run):
    without_matrix()
    annotator = knowing()
    run_score(annotator, neurons=list(PLANTED))
    assert {prompt.task for prompt in annotator.asked} == {"p2", "intruder"}
    reason = read_json(SCORES, "score")["simulation"]["undefined"]
    assert "activations.store" in reason
    assert table()["L0:0", "simulation"]["undefined"] == reason
    assert number(table()["L0:0", "detection"]) == 1


def test_the_activations_are_those_of_the_sentences(run):
    """A rating that is the activation itself correlates perfectly."""
    texts = read_table(CORPUS, "corpus")["text"].to_pylist()
    with h5py.File(ACTIVATIONS) as file:
        data = file["activations"][:]
    low, high = data[:, 0, 1].min(), data[:, 0, 1].max()

    def exact(prompt):
        share = (data[texts.index(prompt.sentence), 0, 1] - low) / (high - low)
        return words(f"{10 * share:.6f}")

    run_score(Toy(exact), neurons=["L0:1"], scorers=["simulation"], sentences=10)
    row = table()["L0:1", "simulation"]
    assert number(row) == pytest.approx(1, abs=1e-5)
    assert number(row, "ranked") == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("path", [EXEMPLARS, LABELS, CORPUS, ACTIVATIONS, DESCRIPTORS])
def test_a_missing_file_names_the_command_that_makes_it(run, path):
    path.unlink()
    with pytest.raises((InputError, FileNotFoundError)) as error:
        run_score(Absent())
    assert path.name in str(error.value)


def test_files_of_different_runs_are_refused(run):
    run_exemplars(top_percent=12.0)
    with pytest.raises(
        InputError, match=r"labels\.parquet: made of another exemplars\.h5: run `descry stage"
    ):
        run_score(Absent())
    table = read_table(CORPUS, "corpus")
    write_activations(table, activations_of(table, np.random.default_rng(1)))
    with pytest.raises(InputError, match=r"exemplars\.h5: made of another activations\.h5: run"):
        run_score(Absent())


def test_labels_of_other_descriptors_are_refused(run):
    found = read_json(DESCRIPTORS, "cluster")
    found["descriptors"] = found["descriptors"][:3]
    write_json(DESCRIPTORS, found)
    with pytest.raises(InputError, match=r"labels\.parquet: has '.*descriptors\.json: run `descry"):
        run_score(Absent())


def test_what_made_the_files_stands_in_them(run):
    run_score(knowing())
    made = read_json(SCORES, "score")["made"]
    names = [Path(path).name for path in made["inputs"]]
    files = (CORPUS, DESCRIPTORS, LABELS, EXEMPLARS, ACTIVATIONS)
    assert names == [path.name for path in files]
    assert made["annotators"] == dict.fromkeys(ALL, ANNOTATOR.as_json())
    run_score(knowing(), scorers=["detection"])
    assert "activations.h5" not in str(read_json(SCORES, "score")["made"]["inputs"])


def test_a_failed_answer_fails_again_in_replay_and_is_counted(run):
    def shy(prompt):
        if prompt.task == "intruder":
            return Answer(words("3 or 1"))
        return said(prompt)

    run_score(Toy(shy), neurons=["L0:0"], max_failures=1.0)
    before = SCORES.read_bytes()
    run_score(Absent(), neurons=["L0:0"], max_failures=1.0, replay=True)
    assert SCORES.read_bytes() == before
    assert read_json(SCORES, "score")["intruder"]["failed"] == 3
    assert table()["L0:0", "intruder"]["undefined"] == "no usable answer"


def test_the_list_that_is_shown_is_numbered(run):
    annotator = knowing()
    run_score(annotator, neurons=["L0:0"], scorers=["intruder"])
    for prompt in annotator.asked:
        assert prompt.sentence == numbered(prompt.several)
        assert [line[:3] for line in prompt.sentence.splitlines()] == ["1. ", "2. ", "3. "]
