"""The paper's tables, from a miniature run and from rows made by hand."""

from pathlib import Path

import pytest
from planted import (
    BROAD,
    CANDIDATES,
    CORPUS,
    DESCRIPTORS,
    HOSTILE,
    LABELS,
    NAMES,
    NEURONS,
    TOPICS,
    read_csv,
    run_label,
)
from test_figures import run_figures

from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.reporting import paper_tables as tables


@pytest.fixture(scope="module")
def planted_results(planted_ends):
    return planted_ends


def table(number):
    return read_csv(Path(f"made/tables/table{number}.csv"))


def entry(name, phrases, edited=(), **reason):
    mentions = sum(phrases.values())
    return {
        "name": name,
        "mentions": mentions,
        "phrases": phrases,
        "edited_from": [*edited],
        **reason,
    }


MADE = {
    "made": {"params": {"method": "community", "threshold": 0.6}},
    "descriptors": [
        entry("Price", {"cost": 5, "price": 3, "cheap": 1}, ["cost", "cheap"]),
        entry("food", {"food": 2}),
    ],
    "dropped": [entry("weekday", {"weekday": 4, "monday": 1}, reason="dropped by hand")],
    "too_small": 7,
}


def test_table_1_has_the_raw_descriptors_of_drawn_sentences(run):
    run_figures(sentences=3)
    texts = read_table(CORPUS, "corpus")
    texts = dict(zip(texts["id"].to_pylist(), texts["text"].to_pylist(), strict=True))
    raw = {row["id"]: row["phrase"] for row in read_table(CANDIDATES, "describe").to_pylist()}
    rows = table(1)
    assert len({row["id"] for row in rows}) == 3
    for row in rows:
        assert row["sentence"] == texts[row["id"]]
        assert row["raw_descriptor"] == raw[row["id"]]
    run_figures(sentences=3, seed=1)
    assert {row["id"] for row in table(1)} != {row["id"] for row in rows}


def test_one_review_more_does_not_draw_other_examples():
    few = {f"s{i}": "text" for i in range(20)}
    chosen = tables.examples(few.items(), 3, 0)
    more = tables.examples((few | {"new": "text"}).items(), 4, 0)
    assert chosen.keys() <= more.keys()


def test_a_sentence_without_raw_descriptors_has_an_empty_row():
    (row,) = tables.raw_descriptors({"a": "Some text."}, [])
    assert row == {"id": "a", "sentence": "Some text.", "annotator": None, "raw_descriptor": None}


def test_table_2_marks_the_raw_descriptors_that_name_a_cluster():
    rows = tables.clusters(MADE)
    assert [row["raw_descriptor"] for row in rows] == ["cost", "price", "cheap", "food"]
    assert [row["representative"] for row in rows] == [True, False, True, True]
    assert [row["mentions"] for row in rows] == [5, 3, 1, 2]


def test_table_3_counts_the_neurons_of_every_descriptor_and_end(run):
    run_figures()
    rows = {(row["end"], row["descriptor"]): row for row in table(3)}
    assert set(rows) == {(end, name) for end in ("highest", "lowest") for name in TOPICS}
    inverse = read_json(NEURONS, "label")
    for name in TOPICS:
        row = rows["highest", name]
        assert int(row["neurons"]) == len(inverse["neurons"]["all"].get(name, []))
        assert int(rows["lowest", name]["neurons"]) == len(inverse["lowest"]["all"].get(name, []))
        assert float(row["base_rate"]) == pytest.approx(0.2)
        assert (row["raw_descriptors"], row["mentions"]) == ("1", "12")


def test_table_4_says_what_was_dropped_where_and_why(run):
    run_figures()
    rows = table(4)
    assert {(row["descriptor"], row["stage"], row["end"]) for row in rows} == {
        (BROAD, "label", "highest"),
        (BROAD, "label", "lowest"),
    }
    assert all("label.broad" in row["reason"] for row in rows)
    (row,) = tables.dropped(MADE, {"dropped": []})
    assert (row["descriptor"], row["stage"], row["reason"]) == (
        "weekday", "cluster", "dropped by hand",
    )  # fmt: skip
    assert (row["raw_descriptors"], row["mentions"]) == (2, 5)


def test_a_run_that_drops_nothing_has_an_empty_table_4(run):
    run_label(broad=1.0)
    run_figures()
    assert table(4) == []
    header = Path("made/tables/table4.csv").read_text().strip()
    assert header == ",".join(tables.COLUMNS["table4"])


def test_table_5_accounts_for_every_raw_descriptor():
    mentions = {"cost": 5, "price": 3, "cheap": 1, "food": 2, "weekday": 4, "monday": 1}
    rows = tables.clustering(MADE, mentions | {"odd": 1, "rare": 2})
    assert [row["clusters"] for row in rows] == [2, 1, 7]
    assert [row["raw_descriptors"] for row in rows] == [4, 2, 2]
    assert [row["mentions"] for row in rows] == [11, 5, 3]
    assert (rows[0]["smallest"], rows[0]["median"], rows[0]["largest"]) == (1, 2.0, 3)
    assert rows[2]["largest"] is None
    assert {row["method"] for row in rows} == {"community"}


def test_hostile_texts_go_through_the_tables_unchanged(run):
    run_figures()
    assert HOSTILE in {row["descriptor"] for row in table(2)}
    assert HOSTILE in {row["descriptor"] for row in table(3)}


def test_the_miniature_is_what_the_stages_write(run):
    made = read_json(DESCRIPTORS, "cluster")
    assert [entry["name"] for entry in made["descriptors"]] == NAMES
    assert LABELS.is_file()
