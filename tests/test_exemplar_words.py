"""Exemplars word by word: which are tried, and what the stage writes of them."""

from itertools import combinations

import numpy as np
import planted
import pytest
from planted import EXEMPLARS, WORD_TABLE, run_interventions
from test_writes import extraction, llama

import descry
from descry.activations.exemplar_files import read_exemplars
from descry.activations.exemplar_words import cover
from descry.io.parquet import read_table, table_provenance


def test_each_set_has_as_many_rows_as_wanted_or_all_that_it_has():
    rng = np.random.default_rng(0)
    sets = [rng.choice(30, size, replace=False).tolist() for size in (1, 2, 5, 5, 8, 8, 8, 0)]
    for number in (1, 2, 3):
        found = cover(sets, number, lambda row: 1.0 + row % 3)
        assert list(found) == sorted(found)
        for place, rows in enumerate(sets):
            assert len(set(rows) & set(found)) >= min(number, len(rows))
            assert [row for row in sorted(rows) if row in found] == [
                row for row in found if place in found[row]
            ]
        assert sum(1 + row % 3 for row in found) <= 2 * cheapest(sets, number)


def cheapest(sets, number):
    """The least that a choice can cost, by trying all."""
    every = sorted({row for rows in sets for row in rows})
    best = np.inf
    for size in range(8):
        for some in combinations(every, size):
            kept = set(some)
            if all(len(kept & set(rows)) >= min(number, len(rows)) for rows in sets):
                best = min(best, sum(1 + row % 3 for row in some))
    return best


def test_shared_and_cheap_rows_are_taken_first():
    assert list(cover([[1, 2], [1, 3], [4]], 1, lambda row: 1.0)) == [1, 4]
    assert list(cover([[1, 2], [1, 3], [4]], 1, lambda row: 9.0 if row == 1 else 1.0)) == [2, 3, 4]
    assert cover([], 1, float) == {}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planted.build()
    return tmp_path


@pytest.mark.parametrize("position", ["mean", "last", "max"])
def test_words_do_what_descry_try_says(run, position):
    llama(run / "llama")
    told = extraction(run / "llama", position=position)
    counts = run_interventions(told, enabled=position == "mean", words=2)
    table = read_table(WORD_TABLE, "interventions")
    made = table_provenance(table)
    assert made["measure"] == ("activation" if position == "max" else "lost without it")
    rows, opened = table.to_pylist(), descry.open("results")
    assert counts["sentences word by word"] == len({one["row"] for one in rows})
    labelled = {(one["layer"], one["neuron"]) for one in opened.surest.to_pylist()}
    assert {(one["layer"], one["neuron"]) for one in rows} == labelled
    sets = [read_exemplars(EXEMPLARS, half) for half in ("calibration", "validation")]
    for one in rows:
        own = [row for of in sets for row in of[one["layer"], one["neuron"], :10].tolist()]
        assert one["row"] in own
    model = hooked(told)
    for one in rows[:3]:
        text = opened.corpus["text"][one["row"]].as_py()
        at = one["layer"], one["neuron"]
        assert one["activation"] == pytest.approx(activation(model, text, at), rel=1e-4, abs=1e-6)
        for start, stop, value in zip(one["start"], one["stop"], one["value"], strict=True):
            if position == "max":
                assert value <= one["activation"] + 1e-6
                continue
            rest = " ".join((text[:start] + text[stop:]).split())
            lost = one["activation"] - activation(model, rest, at)
            assert value == pytest.approx(lost, rel=1e-3, abs=1e-6)
    before = WORD_TABLE.read_bytes()
    run_interventions(told, enabled=position == "mean", words=2)
    assert WORD_TABLE.read_bytes() == before


def hooked(told):
    from descry.models.checkpoints import Checkpoint
    from descry.models.hooked_model import HookedModel

    kept = told.model_dump(include={"site", "position", "layers", "max_tokens", "sinks"})
    return HookedModel(
        Checkpoint(**told.target.model_dump()), dtype="float32", device="cpu", **kept
    )


def activation(model, text, at):
    return float(model.activations(model.tokenize([text]))[0, *at])


def test_where_no_words_are_tried_the_file_says_why(run):
    run_interventions()
    table = read_table(WORD_TABLE, "interventions")
    assert len(table) == 0
    assert "interventions.words" in table_provenance(table)["undefined"]
    llama(run / "llama")
    positions = extraction(run / "llama").model_copy(update={"unit": "token"})
    run_interventions(positions, enabled=False, words=1)
    assert (
        "itself a token" in table_provenance(read_table(WORD_TABLE, "interventions"))["undefined"]
    )
    assert len(descry.open("results").exemplar_words) == 0
