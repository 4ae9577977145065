import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.clusters import Descriptor, Edits, apply_edits, cluster, describe, medoid
from descry.errors import InputError
from descry.stages.cluster import read_edits

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
        ("- fit", "its keys are rename, merge and drop"),
        ("drop", "its keys are rename, merge and drop"),
        ("remove: [fit]", "its keys are rename, merge and drop"),
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
    ],
)
def test_malformed_edits_are_named(read, text, message):
    with pytest.raises(InputError, match=rf"descriptors\.yaml: .*{message}"):
        read(text)


def test_missing_edits_are_named(tmp_path):
    with pytest.raises(InputError, match=r"descriptors\.yaml: no such file"):
        read_edits(tmp_path / "descriptors.yaml")
