"""Stage label goes through neurons and sentences in blocks: its tables do not depend on them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from descry.activations.exemplar_files import exemplar_blocks, exemplar_group, read_exemplars
from descry.activations.top_k import ENDS
from descry.annotators.annotations import writing_annotations
from descry.corpus.splits import HALVES, SPLITS, split_rows
from descry.errors import InputError
from descry.io.hdf5 import writing_hdf5
from descry.io.parquet import write_table
from descry.labels.compositional import Composer
from descry.stages import label

SENTENCES, LAYERS, WIDTH, DESCRIPTORS = 60, 2, 7, 5
SIZES = {"all": 6, "calibration": 4, "validation": 4}
NAMES = ("labels.parquet", "composed.parquet", "neurons.json")
SECTION = {
    "rule": "composition",
    "frequency": "occurrences",
    "threshold": 0.35,
    "fdr": 0.05,
    "top_k": None,
    "broad": 0.6,
    "compose": 2,
    "beam": 3,
    "penalty": 0.95,
    "strata": ["words"],
    "strata_parts": 30,
}


def write_study(folder):
    """A corpus, sets at both ends, and answers by lot; the first descriptor is common."""
    rng = np.random.default_rng(0)
    ids = [f"{row:016x}" for row in range(SENTENCES)]
    texts = ["word " * int(words) for words in np.random.default_rng(1).integers(1, 9, SENTENCES)]
    made = {"params": {"language": "en"}}
    halves = [HALVES[row % 2] for row in range(SENTENCES)]
    write_table(
        folder / "corpus.parquet", pa.table({"id": ids, "split": halves, "text": texts}), made
    )
    rows = split_rows(halves)
    with writing_hdf5(folder / "exemplars.h5", {}) as file:
        file["layer"] = np.arange(LAYERS)
        for name in ("lowest", "highest", "at_lowest", "at_highest"):
            file[f"distribution/{name}"] = np.ones((LAYERS, WIDTH))
        file["distribution/counts"] = np.full((LAYERS, WIDTH, 1), SENTENCES)
        for end in ENDS:
            for split in SPLITS:
                sets = [rng.permutation(rows[split])[: SIZES[split]] for _ in range(LAYERS * WIDTH)]
                shaped = np.array(sets, dtype=np.int32).reshape(LAYERS, WIDTH, -1)
                file[f"{exemplar_group(split, end)}/row"] = shaped
    answer = (rng.random((SENTENCES, DESCRIPTORS)) < [0.9, 0.3, 0.3, 0.2, 0.2]).astype(np.int8)
    answer[rng.random(answer.shape) < 0.05] = -1
    every, known = np.ones(SENTENCES, dtype=bool), np.nonzero(answer >= 0)
    names = [f"d{column}" for column in range(DESCRIPTORS)]
    with writing_annotations(folder / "annotations.h5", ids, names, every, every) as b:
        b.put(*known, answer[known] == 1, np.zeros(len(known[0])))
        b.sign({}, {"name": "toy"}, [])


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    return tmp_path


def labelled(folder, cache=None, **changed):
    section = SECTION | changed
    names = "corpus.parquet", "exemplars.h5", "annotations.h5", *NAMES
    files = {name.partition(".")[0]: folder / name for name in names}
    counts = label.label_neurons(label.Label(**section), **files, cache_folder=cache)
    tables = [pq.read_table(folder / name) for name in NAMES[:2]]
    return counts, tables, json.loads((folder / NAMES[2]).read_text())


@pytest.mark.parametrize("rule", ["composition", "enrichment"])
@pytest.mark.parametrize("most", [1, 13, 50])
def test_the_tables_do_not_depend_on_how_much_is_held_at_a_time(study, monkeypatch, rule, most):
    whole = labelled(study, rule=rule)
    for name in ("MEMBERS", "_ROWS", "_SENTENCES"):
        monkeypatch.setattr(label, name, most)
    assert labelled(study, rule=rule) == whole
    assert pq.ParquetFile(study / NAMES[0]).num_row_groups > len(SPLITS) * len(ENDS)


def test_a_broad_descriptor_is_in_no_row(study):
    counts, (labels, composed), neurons = labelled(study)
    assert counts["broad descriptors dropped"] == len(ENDS)
    assert [entry["descriptor"] for entry in neurons["made"]["dropped"]] == ["d0", "d0"]
    assert set(labels["descriptor"].to_pylist()) == {"d1", "d2", "d3", "d4"}
    assert not any("d0" in formula for formula in composed["formula"].to_pylist() if formula)
    assert (len(labels), len(composed)) == (2 * 3 * 14 * 4, 2 * 3 * 14)


def test_without_composed_labels_their_table_is_empty(study):
    _, (_, composed), _ = labelled(study, compose=0)
    assert len(composed) == 0
    assert composed.schema.names[-1] == "other_null"


@pytest.mark.parametrize(
    ("changed", "again"), [({"fdr": 0.2}, False), ({"beam": 1}, True), ({"compose": 3}, True)]
)
def test_composed_labels_are_kept_where_they_would_be_the_same(study, monkeypatch, changed, again):
    section, cache = {"rule": "enrichment"}, study / "cache/prompts"
    _, (_, first), _ = labelled(study, cache, **section)
    composed = []
    monkeypatch.setattr(
        label, "Composer", lambda *_, **how: composed.append(how) or Composer(*_, **how)
    )
    kept = labelled(study, cache, **section | changed)
    assert bool(composed) == again
    assert kept == labelled(study, **section | changed)
    assert again or kept[1][1].equals(first)


@pytest.mark.parametrize("members", [1, 6, 20, 1000])
def test_blocks_of_sets_are_those_of_the_file_in_order(study, members):
    path = study / "exemplars.h5"
    blocks = list(exemplar_blocks(path, "all", "lowest", members))
    assert max(map(np.size, blocks)) <= max(members, SIZES["all"])
    whole = read_exemplars(path, "all", "lowest").reshape(LAYERS * WIDTH, -1)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("most", [7, 2**16])
@pytest.mark.parametrize("rows", [slice(0, 59), slice(59, None, -1)])
def test_answers_about_another_corpus_are_refused(study, monkeypatch, rows, most):
    monkeypatch.setattr(label, "_SENTENCES", most)
    corpus = pq.read_table(study / "corpus.parquet")
    other = corpus.take(list(range(SENTENCES))[rows])
    write_table(study / "corpus.parquet", other, {})
    with pytest.raises(InputError, match=r"annotations.h5: not of this corpus"):
        labelled(study)
