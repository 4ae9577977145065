"""The audit: from labels to reviews and files, and the other way round."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from planted import (
    ANNOTATIONS,
    ANNOTATOR,
    BROAD,
    CACHE,
    CANDIDATES,
    CORPUS,
    CUT,
    EXEMPLARS,
    HOSTILE,
    HOSTILE_REVIEW,
    LABELS,
    NAMES,
    RESULTS,
    REVIEWS,
    TOPICS,
    Toy,
    answers_changed,
    lines_of,
    printed,
    run_annotate,
    run_label,
    write_gold,
)

from descry.activations.exemplar_files import read_exemplars
from descry.annotators.annotations import read_annotations
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p1, p2
from descry.annotators.templates import p1_template
from descry.cli.console.neuron import show_neuron
from descry.cli.console.terminal import show_chain
from descry.errors import InputError
from descry.io.dvc_files import md5
from descry.io.hashing import sha256_file
from descry.io.json_files import read_json
from descry.io.parquet import read_table, table_provenance
from descry.io.tree import Node
from descry.labels.results import Numbers, read_labels
from descry.provenance.audit import brief, files
from descry.provenance.audit.chain import ALL, audit
from descry.provenance.audit.evidence import Answer, as_json
from descry.provenance.audit.project import Project
from descry.provenance.audit.query import inquire
from descry.provenance.audit.tree import answer, tree, tree_of_descriptor, tree_of_review
from descry.provenance.audit.uses import of_descriptor, of_review
from descry.stages.corpus import Corpus, build_corpus


def here():
    return Project(RESULTS, CACHE)


def lines(neuron="L0:2", rows=2, project=None):
    return lines_of(tree(audit(project or here(), neuron, rows, rows)))


def of(neuron="L0:2", rows=2):
    return audit(here(), neuron, rows, rows)


def states(found):
    return {f.path: f.state for step in found.steps for f in [*step.inputs, *step.outputs]}


# from a label to its inputs


def test_a_label_has_the_rule_and_its_numbers_in_every_split(run):
    (label,) = of().labels
    assert (label.descriptor, label.rule) == ("Sound", "f > 0.35, by occurrences")
    table = read_labels(LABELS)
    column = table.descriptors.index("Sound")
    for split, numbers in label.splits.items():
        expected = table.splits[split]
        assert numbers.assigned and numbers.f == expected.f[0, 2, column]
        assert numbers.count == expected.count[0, 2, column]
        assert numbers.q == pytest.approx(expected.q[0, 2, column])
    assert label.verdicts == {
        "all": "label",
        "calibration": "label, confirmed",
        "validation": "label, confirmed",
    }
    said = "all: label: 6 exemplars, 1.2 expected of the strata, f 1.000, base rate 0.200, lift 5.0"
    assert said in "\n".join(lines())


def test_what_the_strata_explain_and_what_a_neuron_follows_are_said(run):
    numbers = Numbers(False, 0.5, 4, 0.1, 5.0, 3.5, 0.3, 0.9, 1e-6, 1e-4)
    found = replace(of(), explained={"highest": {"Price": numbers}}, strata=["words", "capitals"])
    text = lines_of(tree(found))
    by = "explained by length in words and share of capitals: Price: 4 exemplars, 3.5 expected"
    assert any(line.startswith(by) and "q 0.900; among all" in line for line in text)
    with_file = {row["covariate"]: row for row in of().follows}
    assert {"words", "tokens", "capitals"} <= with_file.keys()
    line = next(line for line in lines() if line.startswith("words: rho "))
    assert f"exemplars {with_file['words']['exemplars']:.3g}, random" in line
    (RESULTS / "confounders.parquet").unlink()
    assert of().follows == []


def test_its_exemplars_have_rank_activation_sentence_and_place(run):
    (label,) = of(rows=ALL).labels
    rows = read_exemplars(EXEMPLARS, "all")[0, 2]
    sentences = read_table(CORPUS, "corpus").to_pylist()
    with h5py.File(EXEMPLARS) as file:
        values = file["all/activation"][0, 2]
    assert [it.rank for it in label.exemplars] == [1, 2, 3, 4, 5, 6]
    for it, row, value in zip(label.exemplars, rows, values, strict=True):
        sentence = sentences[row]
        assert it.activation == pytest.approx(float(value))
        assert (it.review.text, it.review.id) == (sentence["text"], sentence["id"])
        assert (it.review.source, it.review.line) == ("reviews.jsonl", sentence["line"])
        assert it.review.sha256 == sha256_file(REVIEWS)


def test_an_exemplar_that_was_not_seen_whole_is_marked(run, capsys):
    (label,) = of(rows=ALL).labels
    rows = read_exemplars(EXEMPLARS, "all")[0, 2]
    mark = "the model saw the first 8 of 11 tokens"
    wanted = [mark if CUT[row] else None for row in rows]
    assert {mark, None} == set(wanted)
    assert [it.seen for it in label.exemplars] == wanted
    assert lines(rows=ALL).count(mark) == wanted.count(mark)
    show_neuron(RESULTS, "L0:2", len(rows))
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("[the model saw the first") == wanted.count(mark)


def test_show_does_without_the_activations(run, capsys):
    (RESULTS / "activations.h5").unlink()
    show_neuron(RESULTS, "L0:2", 3)
    assert "exemplars" in capsys.readouterr().out


def test_an_answer_says_by_how_many_tokens_its_sentence_was_cut():
    told = {"name": "l", "model": "m", "revision": "r", "dtype": "float32"}
    one = Answer("Yes", 1.0, "p", "k", told, False, True, None, None, None, None, None, 7)
    top = answer(Node("top"), one)
    assert top.text.endswith("; the prompt's sentence was cut by 7 tokens")
    assert "cut" not in answer(Node("top"), replace(one, cut=0)).text


def test_as_many_exemplars_are_followed_as_asked_those_with_a_yes_first(run):
    for rows, number in ((1, 1), (4, 4), (ALL, 6)):
        assert len(of(rows=rows).labels[0].exemplars) == number
    with answers_changed() as answer:
        top = int(read_exemplars(EXEMPLARS, "all")[0, 2, 0])
        answer[top, NAMES.index("Sound")] = 0
    run_label()
    assert [it.rank for it in of(rows=2).labels[0].exemplars] == [2, 3]
    first = of(rows=ALL).labels[0].exemplars[0]
    assert (first.rank, first.answer.says) == (1, "No")
    assert "5 of 6 exemplars have it" in lines()


def test_an_answer_has_the_exact_prompt_and_its_key_follows(run):
    for it in of(rows=ALL).labels[0].exemplars:
        prompt = p2([it.review.text], ["Sound"])[0]
        assert it.answer.prompt == prompt.text
        assert it.answer.key == ANNOTATOR.request(prompt).key
        assert it.answer.follows
        assert it.answer.annotator == ANNOTATOR.as_json()


def test_it_says_which_answers_are_in_the_cache_and_when_they_were_made(run):
    run_annotate(Toy())
    for it in of(rows=ALL).labels[0].exemplars:
        assert (it.answer.in_cache, it.answer.agrees) == (True, True)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", it.answer.made)
        assert "descry" in it.answer.versions
        assert it.answer.response == {"yes": -0.1, "no": -2.5}
    assert 'in the cache: {"no":-2.5,"yes":-0.1}, made ' in "\n".join(lines())
    shutil.rmtree(CACHE)
    answers = [it.answer for it in of(rows=ALL).labels[0].exemplars]
    assert not any(it.in_cache for it in answers)
    assert all(it.follows and it.agrees is None for it in answers)
    assert not CACHE.exists()  # looking makes no cache
    assert "not in this cache" in "\n".join(lines())


def test_it_says_where_the_cache_has_another_answer(run):
    run_annotate(Toy())
    with answers_changed() as answer:
        answer[:, NAMES.index("Sound")] = 1
    run_label()
    said = "WHERE THE RESPONSE IS ANOTHER"
    assert said not in "\n".join(lines())
    with PromptCache(CACHE) as cache:
        key = of().labels[0].exemplars[0].answer.key
        record = cache.recorded([key])[key]
        cache.remove([key], [])
        made = {name: record[name] for name in ("sentence", "descriptor")}
        cache.store(record["origin"], {key: made | {"response": {"yes": -3.0, "no": -0.1}}})
    assert of().labels[0].exemplars[0].answer.agrees is False
    assert said in "\n".join(lines())


def test_a_chat_template_stands_in_the_prompt_also_without_the_cache(run):
    annotator = Toy()
    annotator.identity = replace(ANNOTATOR, name="framed", model="framed")
    annotator.frame = ("<user>", "<bot>")
    run_annotate(annotator)
    for _ in range(2):
        answers = [it.answer for it in of(rows=ALL).labels[0].exemplars]
        assert all(it.prompt.startswith("<user>Q: Does") for it in answers)
        assert all(it.prompt.endswith("A:<bot>") for it in answers)
        assert all(it.annotator["name"] == "framed" and it.follows for it in answers)
        shutil.rmtree(CACHE, ignore_errors=True)


def test_the_cluster_leads_to_reviews_and_prompts(run):
    cluster = of(rows=ALL).labels[0].cluster
    assert (cluster.descriptor, cluster.mentions, cluster.size) == ("Sound", 12, 1)
    (phrase,) = cluster.phrases
    assert (phrase.phrase, phrase.mentions, len(phrase.given)) == ("Sound words", 12, 12)
    template = p1_template(5, [{"sentence": "The price was fair.", "concepts": ["price"]}])
    for mention in phrase.given:
        prompt = p1([mention.review.text], template)[0]
        assert mention.answer.prompt == prompt.text
        assert mention.answer.follows and mention.answer.says == "Sound words"


def test_a_recorded_key_that_is_not_its_prompts_is_shown_as_such(run):
    import pyarrow as pa

    from descry.io.parquet import table_provenance, write_table

    table = read_table(CANDIDATES, "describe")
    forged = table.set_column(3, "key", pa.array(["0" * 64] * len(table)))
    write_table(CANDIDATES, forged, table_provenance(table))
    given = of().labels[0].cluster.phrases[0].given
    assert not any(mention.answer.follows for mention in given)
    assert "WHICH DOES NOT FOLLOW" in "\n".join(lines())


def test_renames_by_hand_are_named(run):
    cluster = of("L0:0").labels[0].cluster
    assert cluster.edited_from == ["cost"]
    assert any(line.startswith("renamed by hand from cost") for line in lines("L0:0"))


def test_the_steps_hold_params_versions_and_files(run):
    found = of()
    assert [step.stage for step in found.steps] == [
        "corpus", "describe", "cluster", "activations", "exemplars", "annotate", "label",
    ]  # fmt: skip
    assert found.steps[-1].params["threshold"] == 0.35
    assert found.steps[4].versions.keys() == {"descry", "h5py", "numpy"}
    assert set(states(found).values()) == {files.UNCHANGED}
    recorded = {f.path: f.sha256 for f in found.steps[-1].inputs}
    assert recorded == {f.as_posix(): sha256_file(f) for f in (CORPUS, EXEMPLARS, ANNOTATIONS)}
    text = "\n".join(lines())
    assert "threshold 0.35, top_k None" in text
    assert f"from reviews.jsonl (unchanged, sha256 {sha256_file(REVIEWS)})" in text


def test_a_file_that_was_tampered_with_is_shown(run):
    REVIEWS.write_text(REVIEWS.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    changed = {path for path, state in states(of()).items() if state == files.CHANGED}
    assert changed == {"reviews.jsonl"}
    assert sum("CHANGED SINCE" in line for line in lines()) == 1


def test_an_answer_that_was_tampered_with_is_shown(run):
    with answers_changed() as answer:
        answer[0, 1] = 1 - answer[0, 1]
    changed = {path for path, state in states(of()).items() if state == files.CHANGED}
    assert changed == {"results/annotations.h5"}


def test_files_that_are_gone_or_too_large_to_read_are_named(run, monkeypatch):
    REVIEWS.unlink()
    monkeypatch.setattr(files, "READ", CORPUS.stat().st_size - 1)
    found = states(of())
    assert found["reviews.jsonl"] == files.GONE
    assert found["results/corpus.parquet"] == files.UNREAD


def test_a_folder_is_unchanged_while_what_dvc_versions_of_it_is(tmp_path, monkeypatch):
    for name in ("a.jsonl", "note"):
        (tmp_path / "reviews").mkdir(exist_ok=True)
        (tmp_path / "reviews" / name).write_text(name)
    (tmp_path / ".dvcignore").write_text("note\n")
    project = Project(tmp_path / "results", tmp_path / "cache")
    known = md5(tmp_path / "reviews", tmp_path)

    def state(locked=known):
        return files._file(project, "reviews", locked, None).state

    (tmp_path / "reviews/note").write_text("another note")
    assert state() == state(None) == files.UNCHANGED
    (tmp_path / "reviews/b.jsonl").write_text("")
    assert state() == files.CHANGED
    monkeypatch.setattr(files, "READ", 1)
    assert state() == files.UNREAD


def test_a_neuron_without_label_says_what_came_nearest(run):
    run_label(threshold=0.99)
    table = read_labels(LABELS)
    assert not table.splits["all"].assigned[1, 0].any()
    found = of("L1:0")
    column = int(np.argmin(table.splits["all"].p[1, 0]))
    assert found.labels == []
    assert found.strongest["highest"]["descriptor"] == table.descriptors[column]
    assert any(line.startswith("no label; nearest to one: ") for line in lines("L1:0"))


def test_dropped_descriptors_are_named_with_the_reason(run):
    assert [it["descriptor"] for it in of().dropped] == [BROAD]
    assert any(line.startswith(f"no label of any neuron: {BROAD}: f > 0.35") for line in lines())


@pytest.mark.parametrize("neuron", ["L9:0", "foo", "L0:99999", "", "L0", "L0:-1", "L0:1 ", "0:1"])
def test_an_unknown_neuron_is_an_error_that_names_the_known(run, neuron):
    with pytest.raises(InputError, match="the neurons are L0:0 to L1:7"):
        of(neuron)
    with pytest.raises(InputError, match="the neurons are L0:0 to L1:7"):
        show_neuron(RESULTS, neuron, 1)


# git and other folders


def git(*arguments):
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def test_the_commit_and_whether_the_tree_is_clean(run):
    assert (of().commit, of().changed, of().unknown) == (None, None, None)
    assert "no git commit here" in lines()
    assert brief.NO_COMMIT in [node.text for node in brief.brief(of()).children]
    git("init", "-q")
    Path(".gitignore").write_text("cache/\n")
    git("add", ".")
    git("commit", "-qm", "run")
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    assert (of().commit, of().changed) == (head, [])
    assert f"git commit {head}, clean" in lines()
    write_gold({"a": []})
    assert of().changed == ["gold.jsonl"]
    assert lines()[-2:] == [f"git commit {head}, 1 files changed since", "gold.jsonl"]
    Path(".git/index").write_bytes(b"spoilt")
    assert (of().commit, of().changed) == (head, None)
    assert lines()[-1].startswith(f"git commit {head}, files changed since: not known (git: ")
    Path(".git/HEAD").write_bytes(b"")
    assert lines()[-1].startswith("git commit not known (git: not a git repository")


def test_a_run_made_elsewhere_is_audited_as_it_was_there(run, tmp_path, monkeypatch):
    here = as_json(of(rows=ALL))
    monkeypatch.chdir(tmp_path)
    there = as_json(audit(Project(run / RESULTS, run / CACHE), "L0:2", ALL, ALL))
    assert there == here
    assert str(run) not in json.dumps(there)


def test_reviews_outside_of_the_project_are_found_and_their_place_is_not_told(run, tmp_path):
    outside = tmp_path / "elsewhere" / "mine.jsonl"
    outside.parent.mkdir()
    REVIEWS.rename(outside)
    made = table_provenance(read_table(CORPUS, "corpus"))["params"]
    params = Corpus(**made | {"reviews": str(outside)})
    build_corpus(params, reviews=[outside], corpus=CORPUS)
    Path("params.yaml").write_text(f"corpus:\n  reviews: {outside}\n")
    found = of(rows=ALL)
    (source,) = found.steps[0].inputs
    assert (source.path, source.state) == ("mine.jsonl", files.UNCHANGED)
    assert found.steps[0].params["reviews"] == "mine.jsonl"
    assert {it.review.source for it in found.labels[0].exemplars} == {"mine.jsonl"}
    outside.write_text(outside.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert of().steps[0].inputs[0].state == files.CHANGED
    for path in RESULTS.glob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes()


# the other way round


def test_a_review_leads_to_the_labels_that_count_it(run):
    row = int(read_exemplars(EXEMPLARS, "all")[0, 2, 1])
    sentence = read_table(CORPUS, "corpus").to_pylist()[row]
    use = of_review(here(), sentence["id"])
    exemplars = read_exemplars(EXEMPLARS, "all")
    of_neurons = {f"L{layer}:{i}" for layer, i, _ in np.argwhere(exemplars == row)}
    assert use.exemplar_of == len(of_neurons) >= 1
    table = read_labels(LABELS)
    assigned = table.splits["all"].assigned
    tagged = read_annotations(ANNOTATIONS).without([0])
    expected = {
        (f"L{layer}:{i}", table.descriptors[c])
        for layer, i, _ in np.argwhere(exemplars == row)
        for c in np.flatnonzero(assigned[layer, i])
        if tagged.answer[row, tagged.descriptors.index(table.descriptors[c])] == 1
    }
    assert {(it.neuron, it.descriptor) for it in use.labels} == expected
    (own,) = [it for it in use.labels if it.neuron == "L0:2"]
    assert (own.rank, own.descriptor) == (2, "Sound")
    assert [(it.phrase, it.descriptor) for it in use.given] == [("Sound words", "Sound")]
    assert use.base_rate_of == 60
    text = "\n".join(lines_of(tree_of_review(use)))
    assert "L0:2: Sound (exemplar 2, activation" in text
    assert "one of 60 sentences behind every base rate" in text
    assert text.count("prompt: ") == 1 + len({it.descriptor for it in use.labels})


def test_a_review_that_no_label_counts(run):
    run_label(threshold=0.99, rule="composition")
    row = int(read_exemplars(EXEMPLARS, "all")[0, 2, 0])
    with answers_changed() as answer:
        answer[row] = 0
    sentence = read_table(CORPUS, "corpus").to_pylist()[row]["id"]
    assert of_review(here(), sentence).labels == []


def test_a_descriptor_leads_to_its_neurons_and_to_what_is_behind_it(run):
    use = of_descriptor(here(), "Sound", 2, 2)
    assert (use.yes, use.answered, use.fate) == (12, 60, None)
    expected = read_json(RESULTS / "neurons.json", "label")["neurons"]
    assert use.neurons == {"highest": {split: m["Sound"] for split, m in expected.items()}}
    assert [len(p.given) for p in use.cluster.phrases] == [2]
    named = use.neurons["highest"]["all"]
    assert "L0:2" in named
    line = f"label of {len(named)} neurons in split all: {', '.join(named)}"
    assert line in lines_of(tree_of_descriptor(use))


def test_a_descriptor_that_was_dropped_says_why(run):
    use = of_descriptor(here(), BROAD, 1, 1)
    assert use.fate.startswith("f > 0.35 on ")
    assert use.neurons["highest"]["all"] == []
    whole = read_json(RESULTS / "descriptors.json", "cluster")
    whole["dropped"] = [whole["descriptors"].pop() | {"reason": "dropped by hand"}]
    (RESULTS / "descriptors.json").write_text(json.dumps(whole))
    assert of_descriptor(here(), HOSTILE, 1, 1).fate == "dropped by hand"


@pytest.mark.parametrize(
    ("subjects", "diff", "message"),
    [
        ({"neuron": None}, None, "name one neuron"),
        ({"neuron": "L0:2", "review": "x"}, None, "name one neuron"),
        ({"review": "x"}, ("a", "b"), "--diff is about a neuron"),
        ({"review": "nope"}, None, "no sentence of results/corpus.parquet has an id"),
        ({"descriptor": "nope"}, None, "nope: no descriptor of results/descriptors.json"),
        ({"neuron": "L0:2"}, ("HEAD", "HEAD"), "HEAD: no such commit"),
    ],
)
def test_questions_that_cannot_be_answered_get_one_line(run, subjects, diff, message):
    with pytest.raises(InputError, match=message) as error:
        inquire(here(), subjects, diff, None, whole=False)
    assert "\n" not in str(error.value)


def test_an_id_may_be_short_and_a_name_in_any_case(run):
    ids = read_table(CORPUS, "corpus")["id"].to_pylist()
    assert of_review(here(), ids[7][:12]) == of_review(here(), ids[7])
    assert of_descriptor(here(), "sOUND", 1, 1) == of_descriptor(here(), "Sound", 1, 1)
    with pytest.raises(InputError, match=r"Soumd: no descriptor of .*: did you mean Sound\?"):
        of_descriptor(here(), "Soumd", 1, 1)


# how it is shown


def test_a_neuron_is_told_in_a_few_lines_unless_asked_for_all(run):
    def told(**how):
        found = inquire(here(), {"neuron": "L0:2"}, None, None, whole=False, **how)
        return lines_of(found.tree())

    short, full = told(full=False), told(full=True)
    assert full == lines(rows=3)
    label = next(line for line in short if line.startswith("label "))
    assert label.startswith("label Sound: 6 of 6 exemplars have it, 1.2 by chance (q ")
    assert label.endswith("; both halves confirm it")
    row = int(read_exemplars(EXEMPLARS, "all")[0, 2, 0])
    sentence = read_table(CORPUS, "corpus").to_pylist()[row]
    assert f"reviews.jsonl:{sentence['line']}: {sentence['text']}" in short
    assert any(line.startswith("exemplar 1, activation ") for line in short)
    assert "and 3 more" in short
    assert not any(re.search("[0-9a-f]{40}", line) for line in short)
    assert "all of the evidence: descry audit L0:2 --full" in short
    assert any(line.startswith("no file on the way has changed since") for line in short)
    REVIEWS.write_text(REVIEWS.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert f"reviews.jsonl: {files.CHANGED}" in told(full=False)
    run_label(threshold=0.99)
    assert any(line.startswith("no label; nearest to one: ") for line in told(full=False))


def test_the_json_is_all_of_it_unless_rows_says_less(run):
    subjects = {"neuron": "L0:2"}
    whole = inquire(here(), subjects, None, None, whole=True).as_json()
    assert len(whole["labels"][0]["exemplars"]) == 6
    assert (
        len(inquire(here(), subjects, None, 2, whole=True).as_json()["labels"][0]["exemplars"]) == 2
    )
    json.loads(json.dumps(whole, allow_nan=False))


def test_hostile_texts_do_not_steer_the_terminal(run, capsys):
    show_chain(tree(of("L0:4")))
    text = printed(capsys)
    assert "label: " + HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}") in text
    assert HOSTILE_REVIEW.replace("\x1b", "\N{REPLACEMENT CHARACTER}")[:60] in text


def test_a_prompt_is_one_line_of_the_tree(run):
    assert all("\n" not in line for line in lines(rows=ALL))
    assert isinstance(tree(of()), Node)
    assert set(TOPICS) <= set(NAMES)
