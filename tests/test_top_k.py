"""Exemplar sets: how large they are, and which sentences lead them."""

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from descry.activations import top_k as exemplars
from descry.activations.exemplar_files import (
    read_ends,
    read_exemplars,
    read_neuron_exemplars,
    read_neurons,
)
from descry.activations.store import Layout
from descry.activations.streaming import StreamingStats
from descry.activations.top_k import (
    BOTTOM,
    ENDS,
    FEW,
    HIGHEST,
    LOWEST,
    NEVER,
    NOBODY,
    REASONS,
    SHARED,
    TIED,
    TopK,
    bottom,
    exemplar_size,
    in_common,
    leaders,
    merged,
    reasons,
    set_sizes,
)
from descry.corpus.splits import HALVES, SPLITS, split_rows
from descry.errors import InputError
from descry.io.hdf5 import hdf5_provenance, writing_hdf5
from descry.io.parquet import write_table
from descry.io.provenance import provenance
from descry.stages import exemplars as stage


@pytest.mark.parametrize(("sentences", "size"), [(43_474, 435), (86_948, 870)])
def test_one_percent_of_the_papers_corpus_is_the_papers_set(sentences, size):
    assert exemplar_size(sentences, 1.0, 5) == size


@pytest.mark.parametrize(
    ("sentences", "percent", "size"),
    [
        (50, 2.0, 1),
        (10000, 0.07, 7),
        (5000, 0.14, 7),
        (10000, 0.14, 14),
        (10, 100.0, 10),
        (1, 0.1, 1),
    ],
)
def test_whole_shares_are_not_rounded_up_by_floating_point(sentences, percent, size):
    assert exemplar_size(sentences, percent, 1) == size


@given(sentences=st.integers(1, 10**6), hundredths=st.integers(1, 10_000))
def test_size_is_the_exact_share_rounded_up(sentences, hundredths):
    exact = math.ceil(Fraction(sentences * hundredths, 10_000))
    assert exemplar_size(sentences, hundredths / 100, 1) == exact


def test_too_small_a_set_names_the_keys_to_change():
    with pytest.raises(InputError, match=r"exemplars\.top_percent: 1% of 200 .* is 2.*min_size"):
        exemplar_size(200, 1.0, 5)


def test_the_smallest_set_allowed_is_allowed():
    assert exemplar_size(500, 1.0, 5) == 5


# Leaders of a whole

CLOSE = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.5, 3.0])  # few values: many ties
FLOATS = CLOSE | st.floats(-1e6, 1e6, width=32)


@st.composite
def columns_and_size(draw, dtype=np.float32, elements=FLOATS, sentences=30):
    """Activations [neurons, sentences], and a size that may be larger than there are sentences."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, sentences)))
    values = draw(hnp.arrays(dtype, shape, elements=elements))
    return values, draw(st.integers(1, shape[1] + 3))


def sorted_leaders(columns, size):
    """The same by a stable sort of everything."""
    rows = np.argsort(-columns, axis=1, kind="stable")[:, :size]
    return rows, np.take_along_axis(columns, rows, axis=1)


def assert_same(found, expected):
    """Rows and values are the same: of values the bits, so that 0.0 is not -0.0."""
    np.testing.assert_array_equal(found[0], expected[0])
    bits = (np.asarray(values, dtype=np.float32).view(np.uint32) for _, values in (found, expected))
    np.testing.assert_array_equal(*bits)


@given(columns_and_size())
def test_leaders_are_those_of_a_stable_sort(case):
    assert_same(leaders(*case), sorted_leaders(*case))


@given(columns_and_size(np.float16, CLOSE | st.floats(-6e4, 6e4, width=16)))
def test_leaders_of_half_precision_are_those_of_a_stable_sort(case):
    assert_same(leaders(*case), sorted_leaders(*case))


def column(*values):
    return np.array([values], dtype=np.float32)


def test_highest_first_and_ties_by_the_lower_row():
    rows, values = leaders(column(1.0, 5.0, 3.0, 3.0, 5.0, 3.0), 4)
    assert rows.tolist() == [[1, 4, 2, 3]]
    assert values.tolist() == [[5.0, 5.0, 3.0, 3.0]]


def test_a_tie_with_the_last_goes_to_the_lower_rows_wherever_they_stand():
    rows, _ = leaders(column(2.0, 0.0, 2.0, 9.0, 2.0, 0.0, 2.0), 3)
    assert rows.tolist() == [[3, 0, 2]]


def test_plus_and_minus_zero_tie():
    rows, values = leaders(column(-0.0, 0.0, -1.0, -0.0, 0.0), 3)
    assert rows.tolist() == [[0, 1, 3]]
    assert np.signbit(values).tolist() == [[True, False, True]]


def test_a_silent_neuron_takes_the_first_rows():
    assert leaders(np.zeros((1, 8), dtype=np.float32), 3)[0].tolist() == [[0, 1, 2]]


def test_a_neuron_that_is_always_negative_has_its_least_negative_sentences():
    rows, values = leaders(column(-3.0, -1.0, -2.0), 2)
    assert rows.tolist() == [[1, 2]]
    assert values.tolist() == [[-1.0, -2.0]]


@given(seed=st.integers(0, 2**32), sentences=st.integers(1, 1500), size=st.integers(1, 12))
def test_the_bottom_is_the_leaders_of_the_negated(seed, sentences, size):
    values = np.random.default_rng(seed).integers(-20, 20, (3, sentences)) / np.float32(4)
    columns = np.where(values == 0, np.float32(-0.0), values).astype(np.float32)
    for found, expected in zip(bottom(columns, size), leaders(-columns, size), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
        assert np.signbit(found).tolist() == np.signbit(expected).tolist()


def test_the_leaders_of_the_negated_are_the_lowest_the_lowest_first():
    rows, values = leaders(-column(4.0, -2.0, 1.0, -2.0, 1.0), 3)
    assert rows.tolist() == [[1, 3, 2]]
    assert (-values).tolist() == [[-2.0, -2.0, 1.0]]


def test_fewer_sentences_than_asked_for_lead_all():
    rows, values = leaders(column(1.0, 2.0), 5)
    assert (rows.tolist(), values.tolist()) == ([[1, 0]], [[2.0, 1.0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types_are_those_that_are_stored(dtype):
    rows, values = leaders(np.zeros((2, 4), dtype=dtype), 2)
    assert (rows.dtype, values.dtype) == (np.int32, np.float32)


# Leaders of parts


@given(columns_and_size(), st.integers(1, 4), st.data())
def test_the_leaders_of_parts_give_those_of_the_whole(case, number, data):
    columns, size = case
    owner = data.draw(hnp.arrays(np.int8, columns.shape[1], elements=st.integers(0, number - 1)))
    parts = []
    for part in set(owner.tolist()):
        rows = np.flatnonzero(owner == part)
        within, values = leaders(np.ascontiguousarray(columns[:, rows]), size)
        parts.append((rows[within], values))
    assert_same(merged(parts, size), leaders(columns, size))


def test_a_tie_between_parts_goes_to_the_lower_row():
    later = np.array([[2, 6]]), column(3.0, 1.0)
    earlier = np.array([[1, 5]]), column(3.0, 1.0)
    rows, values = merged([later, earlier], 3)
    assert (rows.tolist(), values.tolist()) == ([[1, 2, 5]], [[3.0, 3.0, 1.0]])


def test_places_that_nobody_took_come_last():
    full = np.array([[4, 3]]), column(-7.0, -8.0)
    free = np.array([[0, NOBODY]]), column(-9.0, -np.inf)
    rows, values = merged([free, full], 4)
    assert rows.tolist() == [[4, 3, 0, NOBODY]]
    assert values.tolist() == [[-7.0, -8.0, -9.0, -np.inf]]


@st.composite
def two_sets(draw):
    """Exemplar sets of the same neurons, maybe of different sizes."""
    number = draw(st.integers(1, 4))
    sizes = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    orders = st.lists(st.permutations(range(9)), min_size=number, max_size=number)
    return [np.array(draw(orders), dtype=np.int32)[:, :size] for size in sizes]


@given(two_sets())
def test_members_in_common_are_counted_neuron_by_neuron(sets):
    first, second = sets
    shares = [
        len({*one} & {*two}) / len(one)
        for one, two in zip(first.tolist(), second.tolist(), strict=True)
    ]
    np.testing.assert_allclose(in_common(first, second), shares)


def test_rows_of_a_large_corpus_in_common():
    rows = np.full((4000, 1), 2**31 - 2, dtype=np.int32)
    assert in_common(rows, rows).min() == 1.0
    assert in_common(rows, rows - 1).max() == 0.0


# Leaders of what comes block by block


def cuts(length, most):
    """Ways to cut so many rows into blocks, as slices."""
    inner = st.sets(st.integers(1, max(1, length - 1)), max_size=most)
    return inner.map(
        lambda places: [slice(*ends) for ends in pairwise(sorted({0, length, *places}))]
    )


@st.composite
def streams(draw):
    """Activations, a size, blocks, what happens after each, and how many rows are a slab."""
    columns, size = draw(columns_and_size(sentences=60))
    order = draw(st.sampled_from(["as drawn", "rising", "falling"]))
    if order != "as drawn":
        columns = np.sort(columns, axis=1)[:, :: 1 if order == "rising" else -1].copy()
    blocks = draw(cuts(columns.shape[1], 12))
    pauses = st.sampled_from(["go on", "go on", "settle", "begin anew"])
    after = draw(st.lists(pauses, min_size=len(blocks), max_size=len(blocks)))
    return columns, size, blocks, after, draw(st.integers(1, 8))


def numbered(length):
    """Rows of a half: ever higher, with gaps."""
    return np.arange(length, dtype=np.int32) * 3 + 1


def kept_of(columns, size, blocks, after, slab):
    """The leaders of a stream, saved and gone on with by another where it is so said."""
    rows = numbered(columns.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exemplars, "_SLAB", slab)
        kept = TopK(len(columns), size)
        for block, then in zip(blocks, after, strict=True):
            kept.add(columns[:, block].T, rows[block])
            if then != "go on":
                state = kept.finalize()
            if then == "begin anew":
                kept = TopK(len(columns), size)
                kept.restore(*state)
    return kept


def padded(columns, size):
    """The leaders of the whole, with the places that are free."""
    rows, values = leaders(columns, size)
    free = ((0, 0), (0, size - rows.shape[1]))
    rows = np.pad(numbered(columns.shape[1])[rows], free, constant_values=NOBODY)
    return rows, np.pad(values, free, constant_values=-np.inf)


@given(streams())
def test_leaders_of_blocks_are_those_of_the_whole_however_it_is_cut_and_paused(stream):
    columns, size, *_ = stream
    assert_same(kept_of(*stream).finalize(), padded(columns, size))


@given(streams())
def test_settling_twice_changes_nothing(stream):
    kept = kept_of(*stream)
    rows, values = (part.copy() for part in kept.finalize())
    assert_same(kept.finalize(), (rows, values))


@given(streams())
def test_leaders_take_no_more_room_than_at_first(stream):
    columns, size, *_, slab = stream
    kept = kept_of(*stream)
    room = len(columns), size + max(size, slab)
    assert kept.rows.shape == kept.values.shape == room
    assert (kept.rows.dtype, kept.values.dtype) == (np.int32, np.float32)
    assert (kept.fill <= room[1]).all()


@pytest.mark.parametrize("size", [1, 100, 1500])
@pytest.mark.parametrize("block", [1, 333, 1024, 5000])
def test_long_streams_that_rise_fall_and_repeat(size, block):
    rows = np.arange(5000)
    waves = np.random.default_rng(0).integers(-3, 3, 5000)
    columns = np.array([rows, -rows, rows % 7, 0 * rows, waves], dtype=np.float32)
    kept = TopK(len(columns), size)
    room = kept.rows, kept.values
    for start in range(0, 5000, block):
        part = slice(start, start + block)
        kept.add(columns[:, part].T, numbered(5000)[part])
    assert kept.rows is room[0]
    assert kept.values is room[1]
    assert room[0].shape == (5, size + max(size, 1024))
    assert_same(kept.finalize(), padded(columns, size))


def test_an_equal_activation_that_comes_later_does_not_lead():
    kept = TopK(1, 2)
    kept.add(np.array([[1.0], [1.0]], dtype=np.float32), np.array([0, 1]))
    kept.restore(*kept.finalize())
    kept.add(np.array([[1.0], [2.0], [1.0]], dtype=np.float32), np.array([2, 3, 4]))
    rows, values = kept.finalize()
    assert (rows.tolist(), values.tolist()) == ([[3, 0]], [[2.0, 1.0]])


def test_an_empty_block_changes_nothing():
    kept = TopK(2, 3)
    kept.add(np.ones((2, 2), dtype=np.float32), np.array([0, 1]))
    kept.add(np.ones((0, 2), dtype=np.float32), np.array([], dtype=np.int32))
    assert kept.finalize()[0].tolist() == [[0, 1, NOBODY]] * 2


# The stage

LAYERS = [1, 3]  # of the model
SENTENCES, WIDTH, BLOCK = 300, 5, 64


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder with a corpus in two uneven halves."""
    monkeypatch.chdir(tmp_path)
    halves = np.random.default_rng(0).choice(HALVES, SENTENCES, p=[0.4, 0.6])
    write_table(Study.corpus, pa.table({"split": halves.tolist()}), {"stage": "corpus"})
    return Study(halves)


class Study:
    """A corpus, activations of it, and the exemplars that the stage makes of them."""

    corpus, output = Path("corpus.parquet"), Path("exemplars.h5")
    matrix, state = Path("matrix.h5"), Path("state.h5")

    def __init__(self, halves):
        self.halves, self.splits = halves, split_rows(halves)
        rng = np.random.default_rng(1)
        self.data = rng.normal(size=(SENTENCES, len(LAYERS), WIDTH)).astype(np.float32)
        self.data[:, :, 1] = rng.integers(-3, 4, (SENTENCES, len(LAYERS))) / 2  # ties
        self.data[:, 0, 2] = 0.0  # never changes
        self.data[:, 1, 2] = np.arange(SENTENCES) - 50  # mostly beyond the first block's bins
        self.data[::3, 1, 3] = -0.0

    def made(self, block=BLOCK, **changes):
        section = {"block": block, "keep": changes.pop("keep", 40)}
        made = provenance("activations", section, [self.corpus], [])
        return made | {"layers": LAYERS, "position": "cls"} | changes

    def write_matrix(self, dtype="float32", **changes):
        chunk = Layout(*self.data.shape, dtype, BLOCK).chunk
        with writing_hdf5(self.matrix, self.made(**changes)) as file:
            file.create_dataset("activations", data=self.data.astype(dtype), chunks=chunk)
            file.create_dataset("tokens", data=np.ones(SENTENCES, dtype=np.int32))

    def write_state(self, keep=40):
        flat = self.data.reshape(SENTENCES, -1)
        running = StreamingStats(flat.shape[1], keep)
        running.lay_out(flat[:BLOCK])
        for start in range(0, SENTENCES, BLOCK):
            rows = np.arange(start, min(start + BLOCK, SENTENCES), dtype=np.int32)
            running.add(flat[rows], rows, self.halves[rows], np.ones(len(rows), dtype=np.int32))
        with writing_hdf5(self.state, self.made(keep=keep)) as file:
            for name, values in running.state().items():
                file.create_dataset(name, data=values)

    def run(self, activations=None, lowest=True, top_percent=10.0, min_size=5):
        section = {"top_percent": top_percent, "min_size": min_size, "window": 5, "lowest": lowest}
        files = {"corpus": self.corpus, "activations": activations or self.matrix}
        return stage.select_exemplars(
            stage.Exemplars(**section), None, **files, exemplars=self.output
        )

    def datasets(self):
        """All of the result, by name: type, shape and bytes."""
        found = {}
        with h5py.File(self.output) as file:
            file.visititems(
                lambda name, item: (
                    found.update({name: (item.dtype, item.shape, item[:].tobytes())})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
        return found


def expected(study, split, end, size, data=None, min_size=5):
    """Rows and activations of the sets, by a stable sort of each neuron: [layer, neuron, size].

    Without the lowest where one outside is equal to it, -1 and NaN in the places that are left.
    """
    rows = study.splits[split]
    part = (study.data if data is None else data)[rows]
    shape = (len(LAYERS), WIDTH, size)
    found = np.full(shape, NOBODY), np.full(shape, np.nan, dtype=np.float32)
    for layer, neuron in np.ndindex(shape[:2]):
        column = part[:, layer, neuron]
        order = np.argsort(-column if end == HIGHEST else column, kind="stable")
        chosen, others = order[:size], order[size:]
        chosen = chosen[~np.isin(column[chosen], column[others])]
        if len(chosen) >= min_size:
            found[0][layer, neuron, : len(chosen)] = rows[chosen]
            found[1][layer, neuron, : len(chosen)] = column[chosen]
    return found


def assert_sets(study, ends, data=None):
    """All sets are those of a stable sort; the sizes are 10% of each split."""
    sizes = {split: math.ceil(len(rows) / 10) for split, rows in study.splits.items()}
    for split, size in sizes.items():
        for end in ends:
            rows, values = expected(study, split, end, size, data)
            np.testing.assert_array_equal(read_exemplars(study.output, split, end), rows)
            with h5py.File(study.output) as file:
                group = file[split if end == HIGHEST else f"lowest/{split}"]
                assert (group["row"].dtype, group["activation"].dtype) == (np.int32, np.float32)
                np.testing.assert_array_equal(group["activation"][:], values)
                signs = np.signbit(group["activation"][:])
                np.testing.assert_array_equal(signs, np.signbit(values))


def test_sets_of_both_ends_in_every_split_are_those_of_a_stable_sort(study):
    study.write_matrix()
    counts = study.run()
    assert_sets(study, ENDS)
    sizes = {f"{split} set": math.ceil(len(rows) / 10) for split, rows in study.splits.items()}
    assert counts == {"neurons": 10} | sizes | {NEVER: 1, SHARED: 2}
    with h5py.File(study.output) as file:
        lowest = file["lowest/all/activation"][:]
        assert not (np.diff(lowest, axis=2) < 0).any()
        rows, values = expected(study, "all", LOWEST, BOTTOM, min_size=1)
        np.testing.assert_array_equal(file["bottom/row"][:], rows)
        np.testing.assert_array_equal(file["bottom/activation"][:], values)
        assert set(file) == {*SPLITS, "lowest", "bottom", "distribution", "layer", "tokens"}
        assert set(file["lowest"]) == set(SPLITS)
        assert hdf5_provenance(file)["stage"] == "exemplars"


def test_the_lowest_are_there_only_if_asked_for(study):
    study.write_matrix()
    study.run(lowest=True)
    with_lowest = study.datasets()
    study.run(lowest=False)
    without = study.datasets()
    assert without == {n: v for n, v in with_lowest.items() if not n.startswith("lowest/")}
    assert len(without) < len(with_lowest)
    assert read_ends(study.output) == (HIGHEST,)


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("top_percent", [10.0, 5.0, 13.0])
def test_a_running_state_gives_the_same_as_the_matrix_to_the_last_bit(study, lowest, top_percent):
    found = []
    study.write_matrix()
    study.write_state()
    for activations in (study.matrix, study.state):
        study.run(activations, lowest, top_percent)
        found.append(study.datasets())
    assert found[0] == found[1]


def test_a_state_that_has_kept_every_sentence_gives_sets_of_any_size(study):
    study.write_matrix()
    study.write_state(keep=SENTENCES)
    found = []
    for activations in (study.matrix, study.state):
        study.run(activations, top_percent=50.0)
        found.append(study.datasets())
    assert found[0] == found[1]


@pytest.mark.parametrize("columns", [5, 3, 2, 1])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_blocks_that_are_part_of_a_chunk_change_nothing(study, monkeypatch, columns, dtype):
    study.write_matrix(dtype)
    study.run()
    whole = study.datasets()
    read = []
    blocks = stage.neuron_blocks
    threads = 4
    held = columns * SENTENCES * np.dtype(dtype).itemsize
    monkeypatch.setattr(stage, "cores", lambda: threads)
    monkeypatch.setattr(stage, "MEMORY", held * 3 * (threads + 2))

    def follow(data, most):
        for layer, span in blocks(data, most):
            read.append(span.stop - span.start)
            yield layer, span

    monkeypatch.setattr(stage, "neuron_blocks", follow)
    study.run()
    assert max(read) == columns
    assert sum(read) == len(LAYERS) * WIDTH
    assert study.datasets() == whole


def test_a_matrix_of_half_precision_is_ranked_by_what_is_stored(study):
    study.data *= 0.01  # as float16 many tie
    study.write_matrix("float16")
    study.run()
    assert_sets(study, ENDS, study.data.astype(np.float16).astype(np.float32))


def test_the_distribution_is_that_of_the_whole_corpus(study):
    study.write_matrix()
    study.run()
    exact = study.data.astype(np.float64)
    with h5py.File(study.output) as file:
        found = {name: item[:] for name, item in file["distribution"].items()}
    np.testing.assert_allclose(found["mean"], exact.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["deviation"], exact.std(axis=0), rtol=1e-5)
    varied = exact.std(axis=0) > 0
    for name, moment in (("skewness", stats.skew), ("kurtosis", stats.kurtosis)):
        wanted = moment(exact[:, varied])
        np.testing.assert_allclose(found[name][varied], wanted, rtol=1e-4, atol=1e-4)
        assert np.isnan(found[name][~varied]).all()
    assert (~varied).sum() == 1
    np.testing.assert_array_equal(found["lowest"], study.data.min(axis=0))
    np.testing.assert_array_equal(found["highest"], study.data.max(axis=0))
    assert (found["counts"].sum(axis=2) == SENTENCES).all()
    assert found["counts"].shape[:2] == found["low"].shape == (len(LAYERS), WIDTH)
    assert found["counts"][1, 2, -1] > SENTENCES // 2


def test_which_layers_of_the_model_they_are_is_written(study):
    study.write_matrix()
    study.run()
    neurons = read_neurons(study.output)
    assert (neurons.layers, neurons.width) == ((1, 3), WIDTH)
    found = read_neuron_exemplars(study.output, *neurons.find("L3:4"), ENDS)
    for end in ENDS:
        rows, values = expected(study, "all", end, 30)
        np.testing.assert_array_equal(found.sets[end][0], rows[1, 4])
        np.testing.assert_array_equal(found.sets[end][1], values[1, 4])
    assert found.distribution["highest"] == study.data[:, 1, 4].max()


@pytest.mark.parametrize("keep", [29, 1])
def test_sets_larger_than_what_was_kept_are_refused(study, keep):
    study.write_state(keep=keep)
    with pytest.raises(
        InputError,
        match=rf"^exemplars\.top_percent: sets of 30 .* but {keep} were kept \(activations\.keep\)",
    ):
        study.run(study.state)
    assert not study.output.exists()


def test_sets_just_as_large_as_what_was_kept_are_made(study):
    study.write_state(keep=30)
    study.run(study.state)
    assert_sets(study, ENDS)


def test_activations_of_every_token_are_refused(study):
    study.write_matrix(position="tokens")
    with pytest.raises(InputError, match=r"^matrix\.h5: .* every token \(activations\.position\)$"):
        study.run()
    assert not study.output.exists()


@pytest.mark.parametrize("form", ["matrix", "state"])
def test_activations_of_another_corpus_are_refused(study, form):
    getattr(study, f"write_{form}")()
    write_table(study.corpus, pa.table({"split": study.halves[::-1].tolist()}), {})
    with pytest.raises(InputError, match=rf"^{form}\.h5: not of this corpus: run `descry stage"):
        study.run(getattr(study, form))
    assert not study.output.exists()


@pytest.mark.parametrize("gone", ["corpus", "matrix"])
def test_a_missing_file_is_named(study, gone):
    study.write_matrix()
    getattr(study, gone).unlink()
    with pytest.raises(InputError, match=rf"^{gone}\.\w+: no such file: make it with `descry "):
        study.run()
    assert not study.output.exists()


@pytest.mark.parametrize("form", ["matrix", "state"])
def test_the_same_inputs_give_the_same_bytes(study, form):
    getattr(study, f"write_{form}")()
    study.run(getattr(study, form))
    before = study.output.read_bytes()
    study.output.unlink()
    study.run(getattr(study, form))
    assert study.output.read_bytes() == before


@pytest.mark.parametrize(
    ("values", "places", "size"),
    [([5], 3, 1), ([2, 1], 2, 2), ([1, 1], 2, 0), ([3, 1, 1], 3, 1), ([3, 2, 2], 2, 1)],
)
def test_of_very_few_sentences_those_above_an_equal_make_the_set(values, places, size):
    assert set_sizes(np.array([values], dtype=np.float32), places, 1).tolist() == [size]


@pytest.mark.parametrize(("at_floor", "reason"), [(1, TIED), (2, FEW), (3, FEW)])
def test_a_set_that_would_reach_equals_at_the_floor_has_too_few(at_floor, reason):
    told = {"lowest": 0.0, "highest": 1.0, "at_lowest": at_floor, "at_highest": 1}
    distribution = {name: np.array([value]) for name, value in told.items()}
    (found,) = reasons(distribution, sentences=10, places=10, end=HIGHEST)
    assert REASONS[found] == reason
