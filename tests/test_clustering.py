from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.corpus.splits import corpus_id
from descry.errors import InputError
from descry.io.json_files import read_json
from descry.io.parquet import Texts, write_table
from descry.labels import clustering as clusters
from descry.labels.clustering import (
    Descriptor,
    Edits,
    apply_edits,
    cluster,
    communities,
    describe,
    medoid,
)
from descry.labels.neighbours import alike
from descry.models.checkpoints import MINILM, MINILM_COMMIT
from descry.stages.cluster import Cluster, cluster_topics, count, read_edits
from descry.stages.corpus import build_corpus
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent

both_methods = pytest.mark.parametrize("method", ["community", "agglomerative"])


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def at_degrees(*angles):
    """Unit vectors of the plane."""
    radians = np.radians(angles)
    return unit(np.stack([np.cos(radians), np.sin(radians)], axis=1))


@both_methods
def test_planted_groups_are_recovered(method):
    rng = np.random.default_rng(0)
    planted = rng.permutation(np.repeat(np.arange(6), [30, 20, 10, 5, 2, 1]))
    vectors = unit(np.eye(32)[planted] + rng.normal(scale=0.05, size=(len(planted), 32)))
    groups = cluster(vectors, method, 0.6)
    expected = [np.flatnonzero(planted == group).tolist() for group in range(6)]
    assert sorted(groups) == sorted(expected)


@both_methods
def test_every_row_is_in_one_group(method):
    vectors = unit(np.random.default_rng(1).normal(size=(200, 4)))
    groups = cluster(vectors, method, 0.7)
    assert sorted(row for group in groups for row in group) == list(range(200))
    assert 1 < len(groups) < 200


@both_methods
def test_the_threshold_is_a_cosine_similarity(method):
    vectors = at_degrees(0, 30)  # cosine 0.87
    assert len(cluster(vectors, method, 0.86)) == 1
    assert len(cluster(vectors, method, 0.88)) == 2


@both_methods
@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_groups_of_their_own(method, rows):
    assert cluster(np.ones((rows, 3), np.float32), method, 0.5) == [[0]][:rows]


def by_sentence_transformers(vectors, threshold):
    """The reference: a community's rows sorted, the communities in its order."""
    import torch
    from sentence_transformers.util import community_detection

    how = {"threshold": threshold, "min_community_size": 1, "batch_size": 2048}
    return [sorted(rows) for rows in community_detection(torch.from_numpy(vectors), **how)]


def by_communities(vectors, threshold, whole):
    with alike(vectors, threshold, whole) as pairs:
        return communities(pairs)


def around(centres, rows, spread, seed):
    rng = np.random.default_rng(seed)
    planted = rng.normal(size=(centres, 16))[rng.integers(centres, size=rows)]
    return unit(planted + rng.normal(scale=spread, size=(rows, 16)))


@pytest.mark.parametrize("whole", [10_000, 0], ids=["every cosine", "bounds"])
@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.8])
def test_communities_are_those_of_sentence_transformers(whole, threshold):
    vectors = around(centres=60, rows=2100, spread=0.5, seed=0)
    expected = by_sentence_transformers(vectors, threshold)
    assert by_communities(vectors, threshold, whole) == expected
    assert 10 < len(expected) < 2100


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 359), min_size=2, max_size=60), st.sampled_from([0.2, 0.6, 0.95, 0.999])
)
def test_communities_with_ties_are_those_of_sentence_transformers(angles, threshold):
    vectors = at_degrees(*angles)
    assert cluster(vectors, "community", threshold) == by_sentence_transformers(vectors, threshold)


def test_of_equally_large_communities_the_first_rows_come_first():
    vectors = at_degrees(0, 100, 10, 110, 200)
    assert cluster(vectors, "community", 0.9) == [[0, 2], [1, 3], [4]]


def test_a_row_between_two_communities_goes_to_the_larger():
    vectors = at_degrees(-1, 0, 25, 50, 51, 52)  # 25 is within 25.8 degrees of 0 and of 50
    assert cluster(vectors, "community", 0.9) == [[2, 3, 4, 5], [0, 1]]


def test_the_communities_do_not_depend_on_how_many_pairs_are_held(monkeypatch):
    vectors = around(centres=20, rows=400, spread=0.5, seed=1)
    at_once = cluster(vectors, "community", 0.6)
    monkeypatch.setattr(clusters, "_HELD", 10)
    assert cluster(vectors, "community", 0.6) == at_once


def test_more_rows_than_agglomerative_clustering_can_hold_are_refused(monkeypatch):
    monkeypatch.setattr(clusters, "AGGLOMERATIVE", 3)
    assert len(cluster(at_degrees(0, 1, 90), "agglomerative", 0.9)) == 2
    with pytest.raises(InputError, match=r"of 4 raw descriptors, .* 3 at most: take community"):
        cluster(at_degrees(0, 1, 90, 91), "agglomerative", 0.9)


def test_mentions_are_counted_over_all_blocks_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("descry.stages.cluster.ROW_GROUP", 2)
    path, phrases = tmp_path / "candidates.parquet", ["fit", "size", "fit", "fit", "price"]
    write_table(path, pa.table({"phrase": phrases}), {})
    assert count(path) == {"fit": 3, "size": 1, "price": 1}


def test_candidates_without_phrases_are_refused(tmp_path):
    write_table(tmp_path / "candidates.parquet", pa.table({"word": ["fit"]}), {})
    with pytest.raises(InputError, match=r"candidates\.parquet: cannot be read"):
        count(tmp_path / "candidates.parquet")


@pytest.mark.parametrize(
    ("weights", "row"), [([1, 1, 1], 1), ([10, 1, 1], 0), ([1, 1, 10], 2), ([5, 1, 5], 1)]
)
def test_the_medoid_is_drawn_to_what_is_mentioned_most(weights, row):
    vectors = at_degrees(0, 40, 90)
    assert medoid(vectors, np.array(weights, np.float32)) == row


def test_of_equal_medoids_the_first_is_taken():
    assert medoid(at_degrees(0, 90), np.ones(2, np.float32)) == 0


PHRASES = ["fit", "fits well", "size", "price", "cheap"]
COUNTS = {"fit": 2, "fits well": 3, "size": 3, "price": 4, "cheap": 9}
VECTORS = at_degrees(20, 0, 40, 90, 110)


def test_a_descriptor_has_its_medoids_name_and_the_most_mentioned_phrases_first():
    (found,) = describe(PHRASES, COUNTS, VECTORS, [[0, 1, 2]])
    assert found == Descriptor("fit", (("fits well", 3), ("size", 3), ("fit", 2)))
    assert found.mentions == 8


def test_descriptors_are_in_the_order_of_mentions_then_names():
    groups = [[0], [1], [2], [3], [4]]
    names = [d.name for d in describe(PHRASES, COUNTS, VECTORS, groups)]
    assert names == ["cheap", "price", "fits well", "size", "fit"]


SIZE = Descriptor("size", (("size", 5), ("fit", 3)))
PRICE = Descriptor("price", (("price", 4), ("cheap", 2)))
COLOUR = Descriptor("colour", (("colour", 2), ("hue", 1)))
FOUND = [SIZE, PRICE, COLOUR]


def edit(**edits):
    edited = apply_edits(FOUND, Edits(**edits))
    return edited.kept, edited.dropped, edited.unknown


def test_without_edits_nothing_changes():
    assert edit() == (FOUND, [], [])


@pytest.mark.parametrize("phrase", ["size", "fit"])
def test_any_phrase_renames_its_cluster(phrase):
    kept, _, _ = edit(rename={phrase: "Size / Fit"})
    assert kept[0] == Descriptor("Size / Fit", SIZE.phrases, edits=("size",))
    assert kept[1:] == FOUND[1:]


@pytest.mark.parametrize("phrase", ["price", "cheap"])
def test_any_phrase_drops_its_cluster(phrase):
    assert edit(drop=[phrase]) == ([SIZE, COLOUR], [PRICE], [])


def test_any_phrases_merge_their_clusters():
    kept, _, _ = edit(merge={"Looks": ["fit", "hue"]})
    phrases = (("size", 5), ("fit", 3), ("colour", 2), ("hue", 1))
    assert kept == [Descriptor("Looks", phrases, edits=("size", "colour")), PRICE]


def test_clusters_of_the_same_name_are_joined():
    kept, _, _ = edit(rename={"hue": "price"})
    assert [(d.name, d.mentions, d.edits) for d in kept] == [
        ("price", 9, ("colour",)),
        ("size", 8, ()),
    ]


def test_merged_clusters_move_up_in_the_order_of_mentions():
    kept, _, _ = edit(merge={"Value": ["cheap", "hue"]})
    assert [d.name for d in kept] == ["Value", "size"]


def test_a_rename_to_its_own_name_is_no_edit():
    assert edit(rename={"fit": "size"}) == (FOUND, [], [])


def test_phrases_of_no_cluster_are_reported():
    kept, dropped, unknown = edit(rename={"smell": "Smell"}, merge={"A": ["taste"]}, drop=["Size"])
    assert (kept, dropped, unknown) == (FOUND, [], ["smell", "taste", "Size"])


def test_the_same_wish_twice_is_no_contradiction():
    kept, _, _ = edit(rename={"size": "Fit"}, merge={"Fit": ["fit", "size"]})
    assert kept[0].name == "Fit"
    assert edit(drop=["size", "fit"])[1] == [SIZE]


@pytest.mark.parametrize(
    ("edits", "overruled"),
    [
        ({"rename": {"size": "Size", "fit": "Fit"}}, "fit"),
        ({"rename": {"size": "Size"}, "drop": ["fit"]}, "fit"),
        ({"merge": {"Size": ["size"], "Fit": ["fit"]}}, "fit"),
        ({"merge": {"Size": ["size"]}, "drop": ["size"]}, "size"),
    ],
)
def test_of_two_fates_the_first_counts_and_the_other_is_reported(edits, overruled):
    edited = apply_edits(FOUND, Edits(**edits))
    assert [d.name for d in edited.kept] == ["Size", "price", "colour"]
    assert edited.dropped == []
    assert edited.overruled == [overruled]


@given(st.lists(st.sampled_from(["size", "price", "colour", "New", None]), min_size=3, max_size=3))
def test_no_mention_is_lost_by_edits(fates):
    wishes = dict(zip(["fit", "cheap", "hue"], fates, strict=True))
    kept, dropped, _ = edit(
        rename={phrase: name for phrase, name in wishes.items() if name},
        drop=[phrase for phrase, name in wishes.items() if name is None],
    )
    assert len({d.name for d in kept}) == len(kept)
    assert sum(d.mentions for d in [*kept, *dropped]) == sum(d.mentions for d in FOUND)


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        path = tmp_path / "descriptors.yaml"
        path.write_text(text, encoding="utf-8")
        return read_edits(path)

    return write_and_read


def test_edits_are_read_from_yaml(read):
    text = "rename: {fit: Size}\nmerge:\n  Price: [cheap, cost]\ndrop:\n- maybe # no topic\n"
    assert read(text) == Edits({"fit": "Size"}, {"Price": ["cheap", "cost"]}, ["maybe"])


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "rename:\nmerge:\ndrop:\n", "drop: []"])
def test_no_edits_are_fine(read, text):
    assert read(text) == Edits()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- fit", "its keys are corpus, rename, merge and drop"),
        ("drop", "its keys are corpus, rename, merge and drop"),
        ("remove: [fit]", "its keys are corpus, rename, merge and drop"),
        ("rename: [fit]", "rename: a mapping from a phrase to a name"),
        ("rename: {fit: [Size]}", "is not text: put it in quotes"),
        ("rename: {fit: }", "None is not text: put it in quotes"),
        ("merge: [fit, size]", "merge: a mapping from a name to a list of phrases"),
        ("merge: {Size: fit}", "merge: a mapping from a name to a list of phrases"),
        ("merge: {Size: [fit, 42]}", "42 is not text: put it in quotes"),
        ("drop: fit", "drop: a list of phrases"),
        ("drop: {fit: Size}", "drop: a list of phrases"),
        ("drop: [no]", "False is not text: put it in quotes"),
        ("drop: [fit\n", "line 2: not valid YAML"),
        ("corpus: 1234567890123456", "1234567890123456 is not text: put it in quotes"),
        ("corpus: [any]", "is not text: put it in quotes"),
    ],
)
def test_malformed_edits_are_named(read, text, message):
    with pytest.raises(InputError, match=rf"descriptors\.yaml: .*{message}"):
        read(text)


def test_the_edits_that_acted_are_named_with_the_clusters_that_they_changed():
    wishes = {"merge": {"Looks": ["fit", "hue"]}, "rename": {"price": "price", "taste": "Taste"}}
    assert apply_edits(FOUND, Edits(**wishes)).applied == {"Looks": ["size", "colour"]}
    assert apply_edits(FOUND, Edits(drop=["fit"])).applied == {}


# The stage: edits are for one corpus

MINE, THEIRS = "0123456789abcdef", "fedcba9876543210"
SECTION = {
    "embedder": {"model": MINILM, "revision": MINILM_COMMIT},
    "method": "community",
    "threshold": 0.5,
    "min_size": 1,
    "min_mentions": 1,
    "max_descriptors": 9,
}


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Run the stage on a corpus's candidates with a file of edits (None: none)."""
    monkeypatch.chdir(tmp_path)

    def run_with(text):
        candidates, edits = Path("candidates.parquet"), Path("edits.yaml")
        phrases = ["breakfast", "night", "carpet", "price"]
        write_table(candidates, pa.table({"phrase": phrases}), {"corpus_id": MINE})
        if text is not None:
            edits.write_text(text)
        section = SECTION | {"edits": None if text is None else str(edits)}
        given = None if text is None else edits
        files = {"candidates": candidates, "edits": given, "descriptors": Path("out.json")}
        told = cluster_topics(Cluster(**section), **files)
        return told, read_json(Path("out.json"), "cluster")

    return run_with


def descriptors(made):
    return {entry["name"] for entry in made["descriptors"]}


@pytest.mark.parametrize("named", [MINE, "any"])
def test_edits_for_this_corpus_or_any_act_and_are_listed(edited, named):
    told, made = edited(f'corpus: "{named}"\nmerge: {{Food: [breakfast]}}\ndrop: [price, days]\n')
    assert descriptors(made) == {"Food", "night", "carpet"}
    assert made["edits_applied"] == {"Food": ["breakfast"]}
    assert told["edits applied"] == "2 (Food ← breakfast; dropped price)"
    assert told["edits of no cluster"] == 1


def test_edits_for_another_corpus_do_nothing_and_the_summary_says_how_to_turn_them_on(edited):
    told, made = edited(f'corpus: "{THEIRS}"\nmerge: {{Food: [breakfast]}}\ndrop: [price]\n')
    assert descriptors(made) == {"breakfast", "night", "carpet", "price"}
    assert made["edits_applied"] == {}
    for words in (THEIRS, "edits.yaml", f'corpus: "{MINE}"', "corpus: any"):
        assert words in told["edits"] and words in made["edits_passed_over"]


def test_edits_that_name_no_corpus_are_refused_with_the_line_to_add(edited):
    with pytest.raises(InputError, match=f'edits.yaml: .*write `corpus: "{MINE}"`'):
        edited("drop: [price]\n")


@pytest.mark.parametrize("text", [None, "", "drop: []\n", f'corpus: "{THEIRS}"\n'])
def test_without_edits_there_need_be_no_corpus_and_no_file(edited, text):
    told, made = edited(text)
    assert len(descriptors(made)) == 4
    assert (told["edits applied"], made["edits_passed_over"]) == (0, None)


def test_the_shipped_edits_are_for_the_shipped_reviews(tmp_path):
    section = load(ROOT / "params.yaml").corpus
    made = tmp_path / "corpus.parquet"
    build_corpus(section, reviews=[ROOT / section.reviews], corpus=made)
    known = corpus_id(Texts(made, "corpus", "id"))
    assert read_edits(ROOT / "data/descriptors.yaml").corpus == known


def test_missing_edits_are_named(tmp_path):
    with pytest.raises(InputError, match=r"descriptors\.yaml: no such file"):
        read_edits(tmp_path / "descriptors.yaml")
