"""A text of one's own through the model of a run."""

import json

import numpy as np
import pyarrow as pa
import pytest
import yaml
from dictionaries import weights, write_saelens
from extracting import activation_params, section, sentences, write_corpus
from tiny import make

from descry.activations.exemplar_files import read_exemplars
from descry.activations.standing import standing
from descry.activations.store import DATA
from descry.corpus.splits import HALVES
from descry.errors import InputError
from descry.io.hdf5 import reading_hdf5
from descry.io.parquet import read_table, table_provenance, write_table
from descry.labels.tables import LABELS as SCHEMA
from descry.models.dictionaries.dictionary import dictionary_sha256
from descry.models.spec import Pinned
from descry.provenance.audit.project import Project
from descry.stages.activations import extract_activations
from descry.stages.exemplars import Exemplars, select_exemplars

HOSTILE = "\x1b[2J [red]battery[/red] <script>alert(1)</script> works"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make("bert", tmp_path_factory.mktemp("bert") / "model")


def run_of(place, folder, texts=60, **changes):
    """A run of one's own up to the exemplars, without labels."""
    (place / "results").mkdir()
    told = section(folder, position="cls") | changes
    (place / "params.yaml").write_text(yaml.safe_dump({"activations": told}))
    place = place / "results"
    corpus = write_corpus(place / "corpus.parquet", sentences(texts))
    if isinstance(told["dictionary"], dict):
        told["dictionary"] = Pinned(**told["dictionary"])
    params = activation_params(told)
    files = {"corpus": corpus, "activations": place / "activations.h5"}
    extract_activations(params, **files, progress=lambda *_: None)
    sets = Exemplars(top_percent=20.0, min_size=3, window=3, lowest=False)
    files |= {"exemplars": place / "exemplars.h5"}
    if told["unit"] == "token":
        files["positions"] = place / "positions.parquet"
    select_exemplars(sets, params, **files)
    return Project(place, place / "cache")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, folder):
    made = {}

    def of(position):
        if position not in made:
            made[position] = run_of(tmp_path_factory.mktemp(position), folder, position=position)
        return made[position]

    return of


def matrix(run):
    with reading_hdf5(run.path("activations.h5"), "activations") as file:
        return file[DATA][:]


@pytest.mark.parametrize("position", ["cls", "mean", "max", "last"])
def test_a_sentence_of_the_corpus_has_the_activations_of_its_row(runs, position):
    run = runs(position)
    text, values = run.corpus["text"][7].as_py(), matrix(run)
    trial = run.try_text(text, every=True)
    assert trial.in_corpus and trial.seen is None and trial.exact
    assert trial.id == run.corpus["id"][7].as_py()
    assert len(trial.firings) == len(run.neurons)
    for one in trial.firings:
        at = run.neurons.find(one.neuron)
        column = values[:, *at]
        assert one.activation == pytest.approx(float(column[7]), rel=1e-4, abs=2e-5)
        near = np.abs(column - column[7]) < 2e-3 * column.std()  # last digits decide
        above = 60 * (1 - one.percent / 100)
        higher = (column > column[7]) & ~near
        assert higher.sum() <= round(above) <= (higher | near).sum() - 1
    percents = [one.percent for one in trial.firings]
    assert percents == sorted(percents, reverse=True)


def test_a_neuron_fires_on_its_exemplars(runs):
    run = runs("cls")
    sets = read_exemplars(run.path("exemplars.h5"), "all")
    row = int(sets[0, 3, 0])
    trial = run.try_text(run.corpus["text"][row].as_py(), ["l0:3", "L0:4"])
    assert [one.place for one in trial.firings if one.neuron == "L0:3"] == [1]
    assert trial["l0:3"].size == 12 == (sets[0, 3] >= 0).sum()
    assert trial.expected == pytest.approx(2 * 12 / 60)
    assert trial.firing == sum(one.place is not None for one in trial.firings)
    with pytest.raises(InputError, match="L1:1: not among the neurons"):
        trial["L1:1"]


def test_a_word_has_what_is_lost_without_it(runs):
    run = runs("mean")
    whole = run.try_text("battery works great", every=True)
    without = run.try_text("battery great", every=True)
    assert whole.measure == "lost without it"
    assert [word.text for word in whole.words] == ["battery", "works", "great"]
    for one in whole.firings:
        lost = one.activation - without[one.neuron].activation
        assert one.words[1] == pytest.approx(lost, rel=1e-4, abs=2e-5)
    assert np.isnan(run.try_text("battery", ["L0:0"])["L0:0"].words).all()  # nothing is left


def test_of_a_long_text_the_words_that_the_model_saw_are_tried(runs):
    trial = runs("mean").try_text("battery works great " * 40, ["L0:0"])
    assert trial.seen == "the model saw the first 64 of 122 tokens"
    known = ~np.isnan(trial["L0:0"].words)
    assert (known.sum(), len(known)) == (62, 120)  # [CLS] and [SEP] are no words
    assert known[:62].all()


def test_a_maximum_is_that_of_its_words_or_of_a_special_token(runs):
    trial = runs("max").try_text("battery works great", every=True)
    assert trial.measure == "activation"
    reached = 0
    for one in trial.firings:
        assert (one.words <= one.activation + 1e-6).all()
        reached += one.words.max() == pytest.approx(one.activation, abs=1e-6)
    assert 0 < reached < len(trial.firings)


def test_positions_and_histograms(tmp_path, folder):
    how = {"position": "tokens", "unit": "token", "store": "exemplars", "sample": 100}
    run = run_of(tmp_path, folder, **how)
    with reading_hdf5(run.path("exemplars.h5"), "exemplars") as file:
        lowest, highest = (file[f"distribution/{name}"][:] for name in ("lowest", "highest"))
    trial = run.try_text("battery works great", every=True)
    assert not trial.exact
    for one in trial.firings:
        assert one.activation == pytest.approx(one.words.max())  # special tokens are no positions
        at = run.neurons.find(one.neuron)
        inside = lowest[at] < one.activation < highest[at]
        assert 0 <= one.percent <= 100
        assert inside or one.percent in (0, 100)


def test_what_histograms_tell_is_near_to_what_is_counted(runs):
    run = runs("cls")
    exemplars, values = run.path("exemplars.h5"), matrix(run)[7]
    counted = standing(exemplars, run.path("activations.h5"), values)
    read = standing(exemplars, None, values)
    whole = matrix(run)
    assert (counted.above == (whole > values + 1e-3 * whole.std(axis=0)).sum(axis=0)).all()
    step = [read.above - counted.above, counted.above - read.above]
    assert np.max(step) <= 6  # of 60: the sentences of a bin
    lowest = whole.min(axis=0)
    assert (standing(exemplars, None, whole.max(axis=0)).above == 0).all()
    assert (standing(exemplars, None, lowest).above == (whole > lowest).sum(axis=0)).all()


def test_latents(tmp_path, folder):
    every = weights(width=32, latents=48)
    write_saelens(tmp_path / "sae", "topk", every, k=4, metadata=None, d_in=32, d_sae=48)
    place = {"path": str(tmp_path / "sae"), "revision": dictionary_sha256(tmp_path / "sae")}
    how = {"dictionary": place, "site": "residual", "position": "max", "store": "exemplars"}
    run = run_of(tmp_path, folder, **how, layers=[1])
    text = run.corpus["text"][5].as_py()
    trial = run.try_text(text, every=True)
    assert (trial.kind, len(trial.firings), trial.exact) == ("latent", 48, False)
    sets = read_exemplars(run.path("exemplars.h5"), "all")
    with reading_hdf5(run.path("exemplars.h5"), "exemplars") as file:
        kept = file["all/activation"][:]
    seen = 0
    for layer, latent, rank in np.argwhere(sets == 5):
        one = trial[run.neurons.name(layer, latent)]
        assert one.activation == pytest.approx(float(kept[layer, latent, rank]), rel=1e-4)
        seen += 1
    assert seen
    silent = [one for one in trial.firings if one.activation == 0]
    assert silent and all(one.place is None for one in silent)


def label(run, labels):
    """Write labels.parquet with these: names of neurons, and their descriptors."""
    names = sorted({name for some in labels.values() for name in some})
    rows = []
    for split in ("all", *HALVES):
        for neuron in run.neurons.names:
            layer, index = run.neurons.find(neuron)
            for name in names:
                row = {field.name: 0 for field in SCHEMA} | {"end": "highest", "split": split}
                row |= {"layer": run.neurons.layers[layer], "neuron": index, "descriptor": name}
                rows.append(row | {"assigned": name in labels.get(neuron, ()), "p": 0.01})
    made = table_provenance(read_table(run.path("corpus.parquet"), "corpus"))
    write_table(run.path("labels.parquet"), pa.Table.from_pylist(rows, SCHEMA), made)


def test_labelled_neurons_are_those_that_are_meant(tmp_path, folder):
    run = run_of(tmp_path, folder)
    label(run, {"L0:3": ["Price", HOSTILE], "L1:2": ["Price"]})
    trial = run.try_text(HOSTILE)
    assert {one.neuron for one in trial.firings} == {"L0:3", "L1:2"}
    assert sorted(trial["L0:3"].labels) == sorted(["Price", HOSTILE])
    of = {row["label"]: row for row in trial.labels}
    assert of["Price"]["neurons"] == 2
    assert of["Price"]["expected"] == pytest.approx(2 * 12 / 60)
    assert trial.table.num_rows == 2
    told = json.loads(json.dumps(trial.as_json()))
    assert told["neurons"][0]["activation"] == trial.firings[0].activation
    page = trial._repr_html_()
    assert "\x1b" not in page and "<script>" not in page
    assert repr(trial).startswith(f"<Trial: {trial.firing} of 2 neurons fire")


def test_what_cannot_be_tried_is_one_line(runs, tmp_path, folder, monkeypatch):
    run = runs("cls")
    for text, neurons, message in (
        (" ", None, "there is no text"),
        ("battery", ["L9:9"], "the neurons are L0:0 to"),
        ("battery", None, "no neuron has a label: name some"),
    ):
        with pytest.raises(InputError, match=message):
            run.try_text(text, neurons)
    made = run.provenance("activations.h5")
    monkeypatch.setitem(made, "tokenizer", "0" * 64)
    with pytest.raises(InputError, match=r"not the model that .* is of"):
        run.try_text("battery", ["L0:0"])
