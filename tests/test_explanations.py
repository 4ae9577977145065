"""Other people's explanations: read from what their tools write, and scored beside labels."""

import gzip
import json
import math

import numpy as np
import planted
import pytest
from planted import TOPICS
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import descry
from descry.annotators.fitted import Fitted
from descry.annotators.parsing.answers import Verdict
from descry.annotators.prompt_cache.store import PromptCache
from descry.cli.app import app
from descry.cli.errors import told
from descry.errors import InputError
from descry.evaluation.scorer_items import ScorerItem
from descry.explanations import score
from descry.explanations.comparison import Trial, mean_of, prompts_of, scored, summary, tried
from descry.explanations.readers import read_explanations
from descry.io.csv_rows import read_csv, write_csv
from descry.models.neurons import Neurons

EVERY = Neurons((0, 1), 8)
TEXTS = {"L0:3": "=talk of price, say", "L1:7": "deliveries that came late"}


def as_csv(folder):
    path = folder / "theirs.csv"
    rows = [
        f'{name},"\'{text}"\n' if text[0] == "=" else f'{name},"{text}"\n'
        for name, text in TEXTS.items()
    ]
    path.write_text("neuron,explanation\n" + "".join(rows))
    return path


def as_lines(folder):
    path = folder / "theirs.jsonl"
    rows = [json.dumps({"neuron": name, "explanation": text}) for name, text in TEXTS.items()]
    path.write_text("\n".join(rows) + "\n\n")
    return path


def as_neuronpedia(folder):
    for name, text in TEXTS.items():
        layer, index = name[1:].split(":")
        place = folder / f"gpt2/{layer}-res-jb/explanations"
        place.mkdir(parents=True)
        row = {"layer": f"{layer}-res-jb", "index": index, "description": text, "modelId": "gpt2"}
        (place / "batch-0.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    return folder


def as_delphi(folder):
    for kind in ("explanations", "scores/detection"):
        (folder / kind).mkdir(parents=True)
    for name, text in TEXTS.items():
        layer, index = name[1:].split(":")
        file = f"layers.{layer}.mlp_latent{index}.txt"
        (folder / "explanations" / file).write_text(json.dumps(text))
        (folder / "scores/detection" / file).write_text("[]")
    return folder


FORMS = [as_csv, as_lines, as_neuronpedia, as_delphi]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_explanations(tmp_path, form):
    found = read_explanations(form(tmp_path), EVERY)
    assert found.texts == TEXTS and not found.problems


def test_our_own_export_for_neuronpedia_is_read(planted_results, tmp_path):
    run = descry.open(planted_results)
    descry.export(run, "neuronpedia", tmp_path / "out", sentences=False)
    found = read_explanations(tmp_path / "out", run.neurons)
    labelled = {f"L{row['layer']}:{row['neuron']}" for row in run.surest.to_pylist()}
    assert found.texts.keys() == labelled
    for name, text in found.texts.items():
        assert text == " ".join(run.neuron(name).labels[0].descriptor.split())


def test_what_is_no_explanation_is_counted_with_one_example(tmp_path):
    path = tmp_path / "theirs.jsonl"
    lines = [
        '{"neuron": "L0:1", "explanation": "price"}',
        '{"neuron": "L0:1", "explanation": "another"}',
        '{"neuron": "L9:1", "explanation": "of no layer"}',
        '{"neuron": "L9:2", "explanation": "of no layer"}',
        '{"neuron": "L0:2", "explanation": "  "}',
        '{"neuron": "L0:4", "explanation": "Explanation could not be parsed."}',
        '{"neuron": "L0:5", "explanation": "' + "a" * 2001 + '"}',
        '{"neuron": "\\u001b[2J", "explanation": "hostile"}',
        '{"neuron": 3}',
        "[]",
        "{",
    ]
    path.write_text("\n".join(lines))
    found = read_explanations(path, EVERY)
    assert found.texts == {"L0:1": "price"}
    assert dict(found.problems) == {
        "another explanation of the same neuron": 1,
        "no neuron of the run": 3,
        "empty": 1,
        "no explanation was given": 1,
        "longer than 2000 characters": 1,
        "no text under the keys neuron and explanation": 1,
        "no object": 1,
        "no JSON": 1,
    }
    assert len(found.lines()) == len(found.problems)
    assert (
        "3 passed over: no neuron of the run, such as theirs.jsonl line 3 (L9:1)" in found.lines()
    )
    assert all("\x1b" not in line for line in found.lines())


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("none.csv", None, "no such file"),
        ("theirs.txt", b"a", "explanations are a folder, a .csv or a .jsonl"),
        ("theirs.csv", b"neuron\nL0:1\n", "no columns neuron and explanation"),
        ("theirs.csv", b'neuron,explanation\nL0:1,"a\n', "no CSV"),
        ("theirs.jsonl", b"\xff\xfe", "damaged, or not UTF-8"),
        ("theirs.jsonl.gz", b"no gzip", "damaged, or not UTF-8"),
        ("theirs.jsonl", b'{"neuron": "L7:7", "explanation": "a"}', "no explanation of a neuron"),
        ("empty/x.txt", b"a", "neither Neuronpedia's"),
    ],
)
def test_a_file_of_no_use_is_one_line(tmp_path, name, data, words):
    path = tmp_path / name
    if data is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read_explanations(path.parent if name.startswith("empty") else path, EVERY)
    assert len(str(caught.value).splitlines()) == 1


# Scores


def a_trial(name, active, quiet, **texts):
    item = ScorerItem(name, EVERY.find(name), (), "", active, quiet, [], [])
    every = dict.fromkeys(("theirs", "theirs_other", "ours", "ours_other"))
    return Trial(item, every | texts)


def test_the_scores_of_each_description_are_scikit_learns_and_of_its_own_answers():
    rng = np.random.default_rng(0)
    corpus = [f"{'word ' * (row % 5 + 1)}{row}" for row in range(12)]
    trials = [
        a_trial(
            "L0:1", [0, 3, 4], [7, 8, 9], theirs="a", theirs_other="b", ours="a", ours_other="c"
        ),
        a_trial("L0:2", [1, 2], [5, 6], theirs="b"),
    ]
    prompts = prompts_of(trials, corpus)
    assert len(prompts) == 6 * 3 + 4 * 1  # the same description is asked once
    odds = {(p.sentence, p.descriptor): float(rng.normal()) for p in prompts}
    said = [Verdict(x > 0, x, True) for p in prompts for x in [odds[p.sentence, p.descriptor]]]
    rows = scored(trials, iter(said), corpus, "en")
    truth = [True] * 3 + [False] * 3
    places = [0, 3, 4, 7, 8, 9]
    for name, text in (("theirs", "a"), ("theirs_other", "b"), ("ours", "a"), ("ours_other", "c")):
        of = [odds[corpus[row], text] for row in places]
        assert rows[0][f"{name}_auroc"] == pytest.approx(roc_auc_score(truth, of))
    lengths = [len(corpus[row].split()) for row in places]
    assert rows[0]["length_auroc"] == pytest.approx(roc_auc_score(truth, lengths))
    assert math.isnan(rows[1]["ours_auroc"]) and math.isnan(rows[1]["theirs_other_auroc"])
    means = summary(rows)
    assert means["auroc"]["ours"]["neurons"] == 1 and means["auroc"]["theirs"]["neurons"] == 2
    assert means["auroc"]["theirs_minus_ours"]["value"] == 0


def test_intervals_hold_the_mean_of_neurons_in_95_of_100_draws():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        found = mean_of(np.append(rng.beta(4, 2, 25), math.nan))
        held += found.low <= 4 / 6 <= found.high
    assert 0.935 < held / 2000 < 0.965
    assert math.isnan(mean_of(np.array([0.5, math.nan])).low)


def test_the_null_is_another_text_of_the_same_layer(planted_results):
    run = descry.open(planted_results)
    theirs = {f"L{layer}:{i}": f"of layer {layer}: {i % 3}" for layer in (0, 1) for i in range(8)}
    source = score._sentences(run)
    found = tried(theirs, {}, run.neurons, source, sentences=3, seed=0)
    assert len(found) == 16
    for trial in found:
        own, other = trial.texts["theirs"], trial.texts["theirs_other"]
        assert own != other and own[:10] == other[:10] and trial.texts["ours"] is None
        halves = run.corpus["split"].take(trial.item.rows).to_pylist()
        assert set(halves) == {"validation"}


def test_planted_explanations_are_told_from_wrong_ones_and_answers_are_kept(run, monkeypatch):
    results = descry.open(run / "results")
    topics = list(TOPICS)[:4]
    lines = [f'{{"neuron": "L0:{i}", "explanation": "{topic}"}}' for i, topic in enumerate(topics)]
    lines += [f'{{"neuron": "L1:{i}", "explanation": "{topic}"}}' for i, topic in enumerate(topics)]
    (run / "theirs.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(score, "create", lambda *_, **__: planted.Toy())
    with PromptCache(run / "other") as cache:
        how = {"cache": cache, "settings": score.Settings(sentences=3)}
        found = score.score_explanations(results, run / "theirs.jsonl", {}, **how)
        means = found.means["auroc"]
        of = {row["neuron"]: row for row in found.rows}
        planted_ones = [of[f"L0:{i}"] for i in range(4)]  # of few others some are of the topic, too
        assert all(row["theirs_auroc"] > 0.6 > row["theirs_other_auroc"] for row in planted_ones)
        assert np.mean([row["theirs_auroc"] for row in planted_ones]) > 0.8
        assert means["theirs"]["value"] > means["theirs_other"]["value"]
        assert found.counts.asked > 0
        monkeypatch.setattr(score, "create", lambda *_, **__: planted.Absent())
        again = score.score_explanations(results, run / "theirs.jsonl", {}, replay=True, **how)
        assert again.counts.asked == 0 and again.rows == found.rows


def test_free_text_has_no_phrases_and_is_refused_where_it_was_not_asked_for():
    match = None
    free = Fitted({"Price": {"cost": 3}}, ["a"], match, free_text=True)
    assert free.phrases_of("words of anybody") == [] and free.phrases_of("Price") == ["cost"]
    with pytest.raises(InputError, match="not made of the descriptors"):
        Fitted({"Price": {"cost": 3}}, ["a"], match).phrases_of("words of anybody")


def test_the_command_says_what_it_lacks_in_one_line(run, monkeypatch):
    result = CliRunner().invoke(app, ["score-explanations", "none.csv"])
    lines, status = told(result.exception)
    assert status == 2 and len(lines.splitlines()) == 1 and "params.yaml" in lines


def test_a_table_of_rows_can_be_read_again(tmp_path):
    rows = scored(
        [a_trial("L0:2", [0, 1], [2, 3], theirs="b")], iter([None] * 4), ["a b"] * 4, "en"
    )
    write_csv(tmp_path / "rows.csv", rows)
    (row,) = read_csv(tmp_path / "rows.csv", "none", ["theirs_auroc", "length_auroc"])
    assert math.isnan(row["theirs_auroc"]) and row["length_auroc"] == 0.5
