"""Functions for one's own arrays: they are a run's, to the bit, and their examples are true."""

import doctest
import inspect
import json
import re
import subprocess
import sys
import types
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import planted
import pytest
import tiny
import torch
from extracting import WORDS, activation_params, compute, section, sentences, write_corpus
from miniature import ROOT
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import descry
from descry import InputError
from descry.annotators.annotations import read_annotations
from descry.io.hashing import canonical
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.labels.strata import stratify
from descry.n2g.graph import graph_json
from descry.n2g.tables import read_records
from descry.stages.graphs import Graphs, graph_neurons
from descry.workflow.params import load

FUNCTIONS = [
    name
    for name, module in descry._LAZY.items()
    if module == "descry.api" and inspect.isfunction(getattr(descry, name))
]
SHIPPED = load(ROOT / "presets/sample.yaml").model_dump()
TEXTS = sentences(60)


# The package


def test_importing_the_package_imports_nothing_heavy_nor_do_its_functions_before_a_call():
    heavy = {
        "torch",
        "transformers",
        "pyarrow",
        "sklearn",
        "scipy",
        "h5py",
        "numba",
        "openai",
        "pydantic",
    }
    code = "import sys, descry; print('numpy' in sys.modules);"
    code += f"descry.top_k; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "set()"]


def test_every_lazy_name_is_there_and_hides_no_package_of_the_folder():
    assert set(descry._LAZY) <= set(dir(descry))
    folder = Path(descry.__file__).parent
    for name in descry._LAZY:
        assert not isinstance(getattr(descry, name), types.ModuleType)
        assert not (folder / name).exists() and not (folder / f"{name}.py").exists()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        descry.nothing  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_is_true(name):
    """Whatever a function prints in its docstring, it prints here."""
    function = getattr(descry, name)
    parts = re.findall(r"^    (\w+):$", function.__doc__, re.MULTILINE)
    assert parts[-2:] == ["Raises", "Examples"]
    [example] = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert example.examples[-1].want
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed == 0


def test_the_page_about_ones_own_arrays_is_true(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    part = page[page.index("## Your own arrays") :].replace("```", "\n")
    example = doctest.DocTestParser().get_doctest(part, {}, "docs/python.md", None, 0)
    assert len(example.examples) > 8
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed == 0


# The parameters


def defaults(name):
    told = inspect.signature(getattr(descry, name)).parameters.values()
    return {one.name: one.default for one in told if one.default is not one.empty}


@pytest.mark.parametrize(
    ("name", "stage", "others"),
    [
        ("extract_activations", "activations", {"model"}),
        ("top_k", "exemplars", {"k", "largest"}),
        ("key_phrases", "describe", {"n", "model"}),
        ("cluster_phrases", "cluster", {"model"}),
        ("assign_labels", "label", {"covariates", "parts"}),
        ("compose_labels", "label", {"length"}),
        ("explain_neuron", "graphs", {"model", "settings", "site", "dtype", "device"}),
        ("writes", "writes", {"site", "vectors"}),
    ],
)
def test_the_defaults_are_those_of_the_shipped_params(name, stage, others):
    found = defaults(name)
    shipped = SHIPPED["activations"] | SHIPPED[stage]
    assert {key: found[key] for key in found.keys() - others} == {
        key: shipped[key] for key in found.keys() - others
    }


def test_the_other_defaults_are_those_of_the_shipped_params():
    assert defaults("key_phrases")["n"] == SHIPPED["describe"]["max_descriptors"]
    assert defaults("compose_labels")["length"] == SHIPPED["label"]["compose"]
    assert defaults("extract_activations")["model"] == SHIPPED["activations"]["target"]["model"]
    settings = asdict(descry.N2G_SETTINGS)
    assert settings == {name: SHIPPED["graphs"][name] for name in settings}


# A run


def test_every_step_gives_what_a_run_of_the_pipeline_has(built):
    results, params = built.path / "results", load(built.path / "params.yaml").model_dump()
    corpus = read_table(results / "corpus.parquet", "corpus")
    texts = corpus["text"].to_pylist()
    layers = params["activations"]["layers"]
    activations = descry.extract_activations(texts, layers=layers)
    with h5py.File(results / "activations.h5") as file:
        assert np.array_equal(activations.values, file["activations"][:])
        assert activations.cut.tolist() == np.maximum(file["tokens"][:] - 256, 0).tolist()
    check_sets(activations, corpus, results, params["exemplars"])

    phrases = descry.key_phrases(texts)
    rows = read_table(results / "candidates.parquet", "describe").to_pylist()
    ids = [i for i, some in zip(corpus["id"].to_pylist(), phrases, strict=True) for _ in some]
    assert [(row["id"], row["phrase"]) for row in rows] == list(
        zip(ids, (phrase for some in phrases for phrase in some), strict=True)
    )
    mentions = Counter(row["phrase"] for row in rows)
    how = {
        name: params["cluster"][name] for name in ("min_size", "min_mentions", "max_descriptors")
    }
    descriptors = descry.cluster_phrases(mentions, **how)
    entries = read_json(results / "descriptors.json", "cluster")["descriptors"]
    assert [(one.name, dict(one.phrases)) for one in descriptors] == [
        (entry["name"], entry["phrases"]) for entry in entries
    ]
    b = read_annotations(results / "annotations.h5")
    found = descry.annotate(texts, descriptors)
    assert np.array_equal(found.yes, b.answer == 1) and np.array_equal(found.odds, b.score)
    check_labels(results, found.yes, descriptors, params["label"])


def check_sets(activations, corpus, results, told):
    how = {name: told[name] for name in ("top_percent", "min_size")}
    halves = np.array(corpus["split"].to_pylist())
    values = np.asarray(activations)
    for split in ("all", "calibration", "validation"):
        rows = np.flatnonzero((halves == split) | (split == "all"))
        sets = descry.top_k(values[rows], **how)
        with h5py.File(results / "exemplars.h5") as file:
            expected = file[split]["row"][:]
            assert np.array_equal(np.where(sets < 0, -1, rows[sets]), expected.reshape(sets.shape))
            if "lowest" in file:
                lowest = descry.top_k(values[rows], largest=False, **how)
                expected = file["lowest"][split]["row"][:].reshape(lowest.shape)
                assert np.array_equal(np.where(lowest < 0, -1, rows[lowest]), expected)


TESTED = ("expected", "p", "q", "p_unmatched", "q_unmatched")


def check_labels(results, applies, descriptors, told, end="highest"):
    """Labels of the whole corpus, and composed ones, from the run's own exemplars."""
    with h5py.File(results / "exemplars.h5") as file:
        rows = (file if end == "highest" else file["lowest"])["all/row"][:]
    sets = rows.reshape(-1, rows.shape[-1])
    names = ("rule", "frequency", "threshold", "fdr", "top_k", "broad")
    how = {name: told[name] for name in names} | {"parts": told["strata_parts"]}
    texts = read_table(results / "corpus.parquet", "corpus")["text"].to_pylist()
    words = {"words": np.array([len(text.split()) for text in texts])}
    labels = descry.assign_labels(sets, applies, descriptors, words, **how)
    table = of_whole(results / "labels.parquet", end)
    assert table["descriptor"].to_pylist() == labels.descriptors * len(sets)
    for column in ("f", "count", "base_rate", "lift", *TESTED, "assigned"):
        expected = table[column].to_numpy(zero_copy_only=False).astype(np.float64)
        found = np.broadcast_to(getattr(labels, column), labels.f.shape).ravel()
        assert np.array_equal(found.astype(np.float64), expected, equal_nan=True), column
    made = json.loads(read_table(results / "labels.parquet", "label").schema.metadata[b"descry"])
    assert labels.chance.as_json() == made["chance"][end]
    assert list(labels.dropped) == [
        one["descriptor"] for one in made["dropped"] if one["end"] == end
    ]
    tested = descry.enrichment(sets, applies[:, labels.columns])
    assert np.array_equal(tested.q, labels.q_unmatched, equal_nan=True)
    tested = descry.enrichment(sets, applies[:, labels.columns], words, parts=told["strata_parts"])
    assert np.array_equal(tested.q, labels.q, equal_nan=True)

    how = {"length": told["compose"], "beam": told["beam"], "penalty": told["penalty"]}
    composed = descry.compose_labels(sets, applies[:, labels.columns], labels.descriptors, **how)
    table = of_whole(results / "composed.parquet", end)
    assert [one and one.formula for one in composed] == table["formula"].to_pylist()
    assert [one and one.iou for one in composed] == table["iou"].to_pylist()
    return labels


def of_whole(path, end):
    """The rows of a table that are of the whole corpus and of one end."""
    return read_table(path, "label", only=[("split", "==", "all"), ("end", "==", end)])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Planted neurons whose lowest activations are labelled, too."""
    folder = tmp_path_factory.mktemp("study")
    return planted.made_in(folder, lambda: planted.build(lowest=True))


@pytest.mark.parametrize("end", ["highest", "lowest"])
@pytest.mark.parametrize("rule", ["composition", "enrichment"])
@pytest.mark.parametrize("frequency", ["occurrences", "sentences"])
def test_labels_are_those_of_planted_neurons(study, tmp_path, monkeypatch, end, rule, frequency):
    monkeypatch.chdir(study)
    told = {"rule": rule, "frequency": frequency, "threshold": 0.35, "fdr": 0.05, "top_k": 2}
    planted.run_label(**told)
    told |= {"broad": 0.8, "compose": 2, "beam": 3, "penalty": 0.95}
    told |= {"strata": ["words"], "strata_parts": 1}
    b = read_annotations(planted.ANNOTATIONS)
    labels = check_labels(planted.RESULTS, b.answer, b.descriptors, told, end)
    if end == "highest":
        assert [labels.of(t) for t in range(len(planted.TOPICS))] == [[t] for t in planted.TOPICS]
        assert repr(labels).startswith(f"<NeuronLabels: {int(labels.assigned.sum())} on ")


def test_sets_are_those_of_planted_neurons(study, monkeypatch):
    monkeypatch.chdir(study)
    with h5py.File(planted.ACTIVATIONS) as file:
        values = file["activations"][:]
    told = {"top_percent": 10.0, "min_size": 3}
    check_sets(values, read_table(planted.CORPUS, "corpus"), planted.RESULTS, told)


def test_labels_of_planted_neurons_predict_them(study, monkeypatch):
    monkeypatch.chdir(study)
    b = read_annotations(planted.ANNOTATIONS)
    with h5py.File(planted.ACTIVATIONS) as file:
        values = file["activations"][:]
    sets = descry.top_k(values, 6, min_size=3)
    labels = descry.assign_labels(sets, b.answer, b.descriptors, rule="composition", threshold=0.35)
    scores = descry.score_labels(labels, values, sets, b.answer)
    own = np.argwhere(labels.assigned)[:, 0] < len(planted.TOPICS)
    assert scores.auroc[own].min() == 1 and scores.f1[own].tolist() == pytest.approx([2 / 3] * 5)


# Models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tiny models by family, each made once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tiny.make(name, tmp_path_factory.mktemp(name), words=WORDS)
        return made[name]

    return of


def test_activations_of_a_folder_are_the_stages(folder, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.parquet", TEXTS)
    told = section(folder("gpt2"), site="ffn_hidden", position="mean", layers=[1], max_tokens=4)
    compute(corpus, tmp_path / "activations.h5", told)
    how = {
        name: told[name] for name in ("site", "position", "layers", "max_tokens", "batch_tokens")
    }
    found = descry.extract_activations(TEXTS, folder("gpt2"), device="cpu", **how)
    with h5py.File(tmp_path / "activations.h5") as file:
        assert np.array_equal(found.values, file["activations"][:])
        assert found.cut.tolist() == np.maximum(file["tokens"][:] - 4, 0).tolist()
        assert found.cut.any()
    assert found.layers == (1,) and found.names[7] == "L1:7"
    assert found["L1:7"].tolist() == found.values[:, 0, 7].tolist()
    with pytest.raises(InputError, match="L0:7"):
        found["L0:7"]


def test_at_every_token_a_text_has_as_many_rows(folder):
    how = {"position": "tokens", "device": "cpu"}
    found = descry.extract_activations(TEXTS, folder("bert"), **how)
    first = descry.extract_activations(TEXTS, folder("bert"), position="cls", device="cpu")
    assert len(found.values) == found.start[-1] and len(found.start) == len(TEXTS) + 1
    assert np.diff(found.start).min() >= 3  # a word, and a special token on either side
    assert np.abs(found.values[found.start[:-1]] - first.values).max() < 1e-5
    with pytest.raises(InputError, match="activations: of every token"):
        descry.top_k(found, 5)


def test_thousands_of_texts_go_block_by_block_in_their_order(folder):
    texts = sentences(9000)
    found = descry.extract_activations(texts, folder("gpt2"), position="last", device="cpu")
    some = descry.extract_activations(
        texts[8190:8200], folder("gpt2"), position="last", device="cpu"
    )
    assert np.abs(found.values[8190:8200] - some.values).max() < 1e-5
    assert np.array_equal(found.start, np.arange(9001))


LOADED = {
    "bert": (AutoModelForMaskedLM, "cls"),
    "roberta": (AutoModel, "cls"),
    "gpt2": (AutoModelForCausalLM, "last"),
    "t5": (AutoModel, "mean"),
}


def pair(folder, kind=AutoModel):
    return kind.from_pretrained(folder).train(), AutoTokenizer.from_pretrained(folder)


def state(model, tokenizer):
    """What must be as it was: hooks, modes, settings, and how texts are read."""
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    modes = [module.training for module in model.modules()]
    return hooks, modes, model.config.to_dict(), tokenizer("</s> great")["input_ids"]


@pytest.mark.parametrize("name", LOADED)
def test_a_model_in_memory_gives_what_its_folder_does_and_is_left_as_it_was(folder, name):
    kind, position = LOADED[name]
    model, tokenizer = pair(folder(name), kind)
    next(model.children()).eval()
    before = state(model, tokenizer)
    how = {"position": position, "device": "cpu", "max_tokens": 64}
    found = descry.extract_activations(TEXTS, (model, tokenizer), **how)
    expected = descry.extract_activations(TEXTS, folder(name), **how)
    assert np.array_equal(found.values, expected.values)
    assert state(model, tokenizer) == before
    with pytest.raises(InputError, match="no layer 9"):
        descry.extract_activations(TEXTS, (model, tokenizer), layers=[9], **how)
    assert state(model, tokenizer) == before


def test_the_hooks_that_a_model_has_count(folder):
    model, tokenizer = pair(folder("gpt2"))
    how = {"position": "last", "layers": [0]}
    plain = descry.extract_activations(TEXTS, (model, tokenizer), **how)
    hook = model.h[0].mlp.c_proj.register_forward_hook(lambda _, __, output: output * 0)
    assert not descry.extract_activations(TEXTS, (model, tokenizer), **how).values.any()
    hook.remove()
    again = descry.extract_activations(TEXTS, (model, tokenizer), **how)
    assert np.array_equal(plain.values, again.values)


def test_a_model_in_half_precision_stays_in_it(folder):
    model, tokenizer = pair(folder("gpt2"))
    expected = descry.extract_activations(TEXTS, (model, tokenizer), position="last").values
    found = descry.extract_activations(
        TEXTS, (model.to(torch.bfloat16), tokenizer), position="last"
    ).values
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("position", ["tokens", "cls"])
@pytest.mark.parametrize("augment", [None, "embeddings"])
def test_a_graph_is_the_one_of_stage_graphs(folder, tmp_path, position, augment):
    told = SHIPPED["graphs"] | {"neurons": ["L1:5"], "augment": augment, "position": position}
    told |= {"method": "published", "site": "ffn_hidden"}
    corpus = write_corpus(tmp_path / "corpus.parquet", TEXTS)
    files = {"graphs": tmp_path / "graphs.parquet", "scores": tmp_path / "graphs.csv"}
    sections = Graphs(**told), activation_params(section(folder("bert")))
    graph_neurons(*sections, corpus=corpus, **files, progress=lambda *_: None)
    [record], _ = read_records(files["graphs"])

    for model in (folder("bert"), pair(folder("bert"), AutoModelForMaskedLM)):
        given = {"position": position, "augment": augment, "device": "cpu", "max_tokens": 64}
        found = descry.explain_neuron(TEXTS, "L1:5", model, batch_tokens=4096, **given)
        assert canonical(graph_json(found.graph)) == canonical(graph_json(record.graph))
        assert str(found.scores) == str(record.scores) and found.fires == record.fires
        assert len(found.train) == 10 and set(found.train) | set(found.held) <= set(TEXTS)
        assert str(found).startswith("L1:5: highest activation") and found.graph.drawn
        assert found.to_dot().startswith("digraph") and repr(found).startswith(
            "<Explanation of L1:5"
        )
    by_place = descry.explain_neuron(TEXTS, (1, 5), folder("bert"), batch_tokens=4096, **given)
    assert str(by_place) == str(found)


# Arguments

SETS = np.array([[0, 1, 2], [3, 4, -1]])
APPLIES = np.eye(6, 2, dtype=bool)
VALUES = np.random.default_rng(0).normal(size=(20, 3))
NAMES = ["one", "two"]
WRONG = {
    "a text alone": ("extract_activations", ("one text",), {}, "texts: a single text"),
    "no text": ("extract_activations", ([],), {}, "texts: there is none"),
    "no string": ("key_phrases", (["a", None],), {}, "texts: number 1 is NoneType"),
    "no model": ("extract_activations", (TEXTS, "no/such@" + "0" * 40), {}, "no/such"),
    "unknown model": ("extract_activations", (TEXTS, "nobody/nothing"), {}, "nobody/nothing: "),
    "no tokens": ("extract_activations", (TEXTS,), {"max_tokens": 0}, "max_tokens: 0"),
    "no batch": ("extract_activations", (TEXTS,), {"batch_tokens": 0.5}, "batch_tokens: 0.5"),
    "no site": ("extract_activations", (TEXTS,), {"site": "attic"}, "site attic"),
    "no layer": ("extract_activations", (TEXTS,), {"layers": [6]}, "layers: .*no layer 6"),
    "flat": ("top_k", (VALUES[0], 5), {}, r"activations: of shape \(3,\)"),
    "of no sentence": ("top_k", (VALUES[:0], 5), {}, r"activations: of shape \(0, 3\)"),
    "integers": ("top_k", (np.ones((9, 2), dtype=int), 5), {}, "activations: int64"),
    "NaN": ("top_k", (np.where(VALUES > 1, np.nan, VALUES), 5), {}, "activations: NaN"),
    "a large k": ("top_k", (VALUES, 21), {}, "k: a set of 21 .* sentences, 20"),
    "a small k": ("top_k", (VALUES, 4), {}, "k: a set of 4 .* min_size 5"),
    "a part of one": ("top_k", (VALUES, 5.5), {}, "k: 5.5"),
    "no percent": ("top_k", (VALUES,), {"top_percent": 0}, "top_percent: 0"),
    "few percent": ("top_k", (VALUES,), {"top_percent": 5}, "top_percent: a set of 1"),
    "no phrases": ("cluster_phrases", ({},), {}, "mentions: there is none"),
    "no descriptors": ("annotate", (TEXTS, []), {}, "descriptors: there is none"),
    "a name alone": ("annotate", (TEXTS, "price"), {}, "descriptors: a single name"),
    "one name twice": ("annotate", (TEXTS, ["a", "a"]), {}, "descriptors: two of one name"),
    "flat sets": ("enrichment", (SETS[0], APPLIES), {}, "sets: int64"),
    "sets of numbers": ("enrichment", (SETS / 2, APPLIES), {}, "sets: float64"),
    "other rows": ("enrichment", (SETS + 3, APPLIES), {}, "sets: rows from 2 to 7 of 6"),
    "below": ("enrichment", (SETS - 1, APPLIES), {}, "sets: rows from -2"),
    "twice": ("enrichment", (SETS * 0, APPLIES), {}, "sets: a sentence stands twice"),
    "flat answers": ("enrichment", (SETS, APPLIES[:, 0]), {}, r"applies: of shape \(6,\)"),
    "shares": ("enrichment", (SETS, APPLIES * 0.5), {}, "applies: neither bool nor"),
    "twos": ("enrichment", (SETS, APPLIES * 2), {}, "applies: neither bool nor"),
    "one name": ("assign_labels", (SETS, APPLIES, ["a"]), {}, "descriptors: 1 names.* 2 columns"),
    "no rule": ("assign_labels", (SETS, APPLIES, NAMES), {"rule": "best"}, "rule: 'best'"),
    "no way": ("assign_labels", (SETS, APPLIES, NAMES), {"frequency": "x"}, "frequency: 'x'"),
    "no share": (
        "assign_labels",
        (SETS, APPLIES, NAMES),
        {"rule": "composition", "threshold": 2},
        "threshold: 2",
    ),
    "percent": (
        "assign_labels",
        (SETS, APPLIES, NAMES),
        {"rule": "enrichment", "fdr": 5},
        "fdr: 5",
    ),
    "no label": ("assign_labels", (SETS, APPLIES, NAMES), {"top_k": 0}, "top_k: 0"),
    "all broad": (
        "assign_labels",
        (SETS[:1], APPLIES[:, :1], NAMES[:1]),
        {"rule": "composition"},
        "broad: every descriptor has f > 0.12",
    ),
    "no formula": ("compose_labels", (SETS, APPLIES, NAMES), {"length": 0}, "length: 0"),
    "no neuron": ("explain_neuron", (TEXTS, "50"), {}, "neuron: '50'"),
    "another neuron": (
        "explain_neuron",
        (TEXTS, (0, 1536)),
        {},
        "neuron: layer 0 has neurons 0 to",
    ),
    "another layer": ("explain_neuron", (TEXTS, "L6:0"), {}, "no layer 6"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_in_one_line(what):
    name, given, named, words = WRONG[what]
    with pytest.raises(InputError, match=words) as told:
        getattr(descry, name)(*given, **named)
    assert "\n" not in str(told.value)


def test_labels_and_activations_of_others_are_refused():
    sets = descry.top_k(VALUES, 5)
    applies = np.random.default_rng(1).random((20, 2)) < 0.5
    labels = descry.assign_labels(sets, applies, NAMES, broad=1)
    for given, words in (
        ((VALUES[:9], sets, applies), "activations: of 9 sentences"),
        ((VALUES[:, :2], sets, applies), "activations: of 2 neurons"),
        ((VALUES, sets, applies[:, :1]), "applies: other descriptors"),
    ):
        with pytest.raises(InputError, match=words):
            descry.score_labels(labels, *given)


def test_a_neuron_without_a_set_has_no_label():
    sets = np.array([[0, 1, 2], [-1, -1, -1], [3, -1, -1]])
    labels = descry.assign_labels(sets, APPLIES, NAMES, broad=1)
    assert np.isnan(labels.f[1]).all() and np.isnan(labels.q[1]).all() and labels.of(1) == []
    assert labels.of(0) == [] or labels.assigned[0].any()
    assert descry.compose_labels(sets, APPLIES, NAMES)[1:] == [None, None]
    nobody = descry.assign_labels(sets[1:2], APPLIES, NAMES)
    assert nobody.chance is None and repr(nobody) == "<NeuronLabels: 0 on 0 of 1 neurons>"


# Enrichment among sentences that are alike


def test_with_a_covariate_a_neuron_that_follows_length_has_no_enrichment():
    rng = np.random.default_rng(0)
    words = np.exp(rng.normal(3.5, 0.7, 1500))
    applies = rng.random((1500, 12)) < np.clip(0.05 * words[:, None] / 33, 0, 0.8)
    applies[:, 0] = rng.random(1500) < 0.05  # a topic, whatever the length
    activations = np.log(words)[:, None] + rng.normal(0, 0.7, (1500, 60))
    activations[:, 0] += 3 * applies[:, 0]
    sets = descry.top_k(activations, 40)
    plain = descry.enrichment(sets, applies)
    alike = descry.enrichment(sets, applies, {"words": words})
    assert (plain.q[1:] <= 0.01).sum() > 50
    assert (alike.q[1:] <= 0.01).sum() == 0
    assert alike.q[0, 0] <= 1e-6


def test_answers_that_did_not_come_are_drawn_in_no_stratum():
    rng = np.random.default_rng(1)
    words = rng.integers(5, 50, 400)
    applies = rng.integers(-1, 2, (400, 3))
    sets = np.array([rng.permutation(400)[:20], np.full(20, -1)])
    p = descry.enrichment(sets, applies, {"words": words}, parts=5).p
    assert np.isnan(p[1]).all()
    asked = applies[:, 1] >= 0  # one descriptor by itself, of the sentences that have an answer
    place = np.cumsum(asked) - 1
    kept = place[sets[0][asked[sets[0]]]]
    strata = stratify({"words": words}, 5).of[asked]
    one = descry.enrichment(kept[None], applies[asked][:, [1]], {"stratum": strata.astype(str)})
    assert p[0, 1] == pytest.approx(one.p[0, 0])


@pytest.mark.parametrize(
    ("covariates", "said"),
    [
        ({"words": np.ones(3)}, r"covariates: 'words' has the shape \(3,\): expected"),
        ({"words": np.array([None] * 100)}, "covariates: 'words' must be numbers or texts"),
    ],
)
def test_a_covariate_that_is_none_is_named(covariates, said):
    with pytest.raises(InputError, match=said):
        descry.enrichment(np.array([[0, 1]]), np.ones((100, 1), dtype=bool), covariates)
