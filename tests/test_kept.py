"""Values that stay for another run: the bytes of computing anew, or none."""

import os
from pathlib import Path

import numpy as np
import planted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_effects import extraction, llama

from descry.evaluation.null_models import NullScores, Scores
from descry.io import kept as module
from descry.io.hashing import sha256_file
from descry.io.kept import Kept
from descry.io.parquet import table_provenance
from descry.stages import evaluate, interventions

CACHE = Path("cache/prompts")


def no(*_, **__):
    pytest.fail("computed again")


def test_a_value_is_found_by_all_that_it_depends_on(tmp_path):
    store, array = Kept(tmp_path, ["numpy"], {"model": "a"}), np.arange(6)
    of = "scores", {"k": 1}, None, b"ab", array
    assert store.get(*of) is None
    store.put(b"value", *of)
    assert store.get(*of) == b"value" == Kept(tmp_path, ["numpy"], {"model": "a"}).get(*of)
    for other in (
        ("scores", {"k": 2}, None, b"ab", array),
        ("scores", {"k": 1}, None, "ab", array),
        ("scores", {"k": 1}, b"ab", array),
        ("scores", {"k": 1}, None, b"ab", array.astype(np.int32)),
        ("scores", {"k": 1}, None, b"ab", array.reshape(2, 3)),
        ("scores", {"k": 1}, None, b"ab", array[::-1]),
        ("scores", {"k": 1}, None, b"ab", array.tolist()),
        of[:-1],
    ):
        assert store.get(*other) is None
    for stranger in ({"model": "b"}, {}):
        assert Kept(tmp_path, ["numpy"], stranger).get(*of) is None
    assert Kept(tmp_path, [], {"model": "a"}).get(*of) is None


def test_other_code_has_other_values(tmp_path, monkeypatch):
    Kept(tmp_path, []).put(b"value", "of")
    monkeypatch.setattr(module, "_code", lambda: "another")
    assert Kept(tmp_path, []).get("of") is None


def test_a_damaged_file_has_no_value_and_is_made_anew(tmp_path):
    store = Kept(tmp_path, [])
    store.put(b"value" * 9, "of")
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-4], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b""):
        file.write_bytes(damaged)
        assert store.get("of") is None
    assert store.value(lambda: [1], "of") == [1] == store.value(no, "of")


def test_arrays_tables_and_values_come_back_to_the_bit(tmp_path):
    store, rng = Kept(tmp_path, []), np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(3, 2)), "b": np.array([np.nan, -0.0]), "n": np.arange(3)}
    table = pa.table({"x": pa.array([1.5, None, float("nan")], pa.float32()), "y": [["a"], [], []]})
    value = {"a": [0.1, float("inf"), None], "b": {"c": 2**60}}
    for compute in (lambda: arrays, no):
        found = store.arrays(compute, "arrays")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes()
    assert store.table(lambda: table, "table") is table
    again = store.table(no, "table")
    assert again.schema.equals(table.schema) and str(again.to_pylist()) == str(table.to_pylist())
    assert store.value(lambda: value, "value") == value == store.value(no, "value")


def test_scores_come_back_as_they_were():
    rng = np.random.default_rng(0)
    one, two = ([rng.normal(size=3) for _ in range(4)] for _ in range(2))
    nulls = {"random sets": NullScores(*one), "shuffled neurons": NullScores(*two)}
    scores = Scores(*rng.normal(size=(2, 3)), np.arange(3), *rng.normal(size=(2, 3)), nulls)
    found = Scores.of_arrays(scores.as_arrays())
    assert list(found.nulls) == list(nulls)
    for name, chance in nulls.items():
        for field, array in vars(chance).items():
            np.testing.assert_array_equal(vars(found.nulls[name])[field], array)
    for field in ("value", "deviation", "defined", "low", "high"):
        np.testing.assert_array_equal(getattr(found, field), getattr(scores, field))


def test_what_was_used_longest_ago_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER", 3 * 132)
    monkeypatch.setattr(module, "MOST", 100)
    store = Kept(tmp_path, [])
    for second, name in enumerate("abc"):
        store.put(bytes(100), name)
        os.utime(store._place([name]), (second, second))
    assert store.get("a")
    store.put(bytes(100), "d")
    store.put(bytes(101), "too large")
    there = [name for name in (*"abcd", "too large") if store.get(name)]
    assert there == ["a", "c", "d"]


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path):
    (tmp_path / "file").write_text("")
    for store in (Kept(tmp_path / "file" / "kept", []), Kept(None, [])):
        assert store.value(lambda: 1, "of") == 1
        assert store.value(lambda: 2, "of") == 2


def test_content_is_of_columns_alone(tmp_path):
    def content(name, table, **how):
        pq.write_table(table, tmp_path / name, **how)
        return module.content(tmp_path / name)

    table = pa.table({"a": [1, 2], "b": ["x", None]})
    same = content("a", table)
    assert content("b", table.replace_schema_metadata({"descry": "{}"})) == same
    assert content("c", table, compression="none") == same
    for other in (table.slice(1), table.select(["a"]), table.rename_columns(["a", "c"])):
        assert content("d", other) != same
    assert content("e", pa.table({"a": [1, 3], "b": ["x", None]})) != same


# Stages


def relabelled(**changes):
    """Labels of other params, by the rule under which t changes none of them."""
    planted.run_label(rule="enrichment", fdr=0.05, **changes)
    return sha256_file(planted.LABELS)


def bytes_of(*files):
    return [file.read_bytes() for file in files]


def test_evaluate_takes_up_its_scores_after_a_change_that_leaves_them(run, monkeypatch):
    files = planted.CURVES, planted.NULLS, planted.ALIGNMENT
    before = relabelled(threshold=0.3)
    anew = planted.run_evaluate(), bytes_of(*files)
    first = planted.run_evaluate(cache=CACHE), bytes_of(*files)
    assert first == anew
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "scores", no)
        patch.setattr(evaluate, "shared_errors", no)
        assert (planted.run_evaluate(cache=CACHE), bytes_of(*files)) == anew
        after = relabelled(threshold=0.4)
        again = planted.run_evaluate(cache=CACHE)
        assert again["made"]["inputs"][planted.LABELS.as_posix()] == after != before
        assert {**again, "made": None} == {**anew[0], "made": None}
    with monkeypatch.context() as patch:  # other answers have other scores
        patch.setattr(evaluate, "scores", no)
        planted.run_label(rule="composition")
        with pytest.raises(pytest.fail.Exception):
            planted.run_evaluate(cache=CACHE)


def test_facets_are_taken_up_and_not_where_labels_are_others(run):
    relabelled(threshold=0.3)
    anew = planted.run_facets(planted.topic_vectors), bytes_of(planted.FACETS)
    for embed in (planted.topic_vectors, no):
        assert (planted.run_facets(embed, CACHE), bytes_of(planted.FACETS)) == anew
    after = relabelled(threshold=0.4)
    assert planted.run_facets(no, CACHE) == anew[0]
    made = table_provenance(pq.read_table(planted.FACETS))
    assert made["inputs"][planted.LABELS.as_posix()] == after
    planted.run_label(rule="enrichment", fdr=0.04)
    with pytest.raises(pytest.fail.Exception):
        planted.run_facets(no, CACHE)


def test_edits_and_words_are_taken_up_without_a_model(run, tmp_path, monkeypatch):
    files = planted.EFFECTS, planted.EFFECT_TABLE, planted.WORD_TABLE
    llama(tmp_path / "llama")
    told = extraction(tmp_path / "llama")
    relabelled(threshold=0.3)
    anew = planted.run_interventions(told, words=1), bytes_of(*files)
    assert (planted.run_interventions(told, CACHE, words=1), bytes_of(*files)) == anew
    monkeypatch.setattr(interventions, "load_headed", no)
    monkeypatch.setattr(interventions, "_hooked", no)
    assert (planted.run_interventions(told, CACHE, words=1), bytes_of(*files)) == anew
    relabelled(threshold=0.4)
    assert planted.run_interventions(told, CACHE, words=1) == anew[0]
    assert planted.EFFECT_TABLE.read_bytes() == anew[1][1]
    with pytest.raises(pytest.fail.Exception):
        planted.run_interventions(told, CACHE, words=1, seed=1)
