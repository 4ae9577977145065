"""The matrix on disk: plain HDF5, the same bytes however it came about, and no block is lost."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descry.activations.store
from descry.activations.store import (
    COLUMNS,
    DATA,
    ROWS,
    TOKENS,
    WRITTEN,
    Layout,
    Writer,
    _chunk_places,
    begin,
    neuron_blocks,
    read_block,
)
from descry.errors import InputError
from descry.io.atomic import part_of
from descry.io.hashing import canonical
from descry.io.readable import MalformedError

MADE = {"stage": "activations", "params": {"block": 1024, "layers": [0, 2]}, "weights": "abc"}
NAMES = {"model": "bert-größe", "site": "ffn_output"}
SMALL = Layout(2500, 2, 300, "float32", 1024)  # three blocks, four chunks a row of them
TINY = Layout(5, 1, 3, "float32", 1024)


def random(layout, seed=0):
    values = np.random.default_rng(seed).normal(size=layout[:3])
    return values.astype(layout.dtype)


def index(layout):
    return {
        "id": np.array([f"{row:016x}" for row in range(layout.rows)], dtype="S"),
        "length": np.arange(layout.rows, dtype=np.int32),
    }


def start(path, layout, made=MADE):
    return begin(path, made, NAMES, layout, index(layout))


def write(path, layout, values, blocks=None, tokens=None):
    """Write some blocks, in the order given."""
    with closing(Writer(start(path, layout))) as writer:
        for block in range(layout.blocks) if blocks is None else blocks:
            first = block * layout.block
            rows = slice(first, first + layout.block)
            writer.write(block, first, values[rows], None if tokens is None else tokens[rows])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@st.composite
def layouts(draw):
    """Matrices of a few blocks; rows and neurons at and beside the edges of chunks."""
    edges = [1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 3000]
    rows = draw(st.sampled_from(edges) | st.integers(1, 3100))
    widths = [1, 2, 31, COLUMNS - 1, COLUMNS, COLUMNS + 1, 2 * COLUMNS, 2 * COLUMNS + 1]
    neurons = draw(st.sampled_from(widths) | st.integers(1, 600))
    dtype = draw(st.sampled_from(["float32", "float16"]))
    return Layout(rows, draw(st.integers(1, 3)), neurons, dtype, 1024 * draw(st.integers(1, 3)))


@settings(max_examples=25)
@given(layouts(), st.randoms(use_true_random=False))
def test_plain_h5py_reads_what_was_written_in_whatever_order(layout, lots):
    values, blocks = random(layout), list(range(layout.blocks))
    tokens = np.arange(layout.rows) % 3
    lots.shuffle(blocks)
    with folder() as here:
        write(here / "a.h5", layout, values, blocks, tokens)
        with h5py.File(part_of(here / "a.h5")) as file:
            data = file[DATA]
            assert (data.shape, data.dtype) == (layout[:3], np.dtype(layout.dtype))
            assert np.array_equal(data[:], values)
            assert file[WRITTEN][:].tolist() == [1] * layout.blocks
            assert (file[TOKENS][:].tolist(), file[TOKENS].dtype) == (tokens.tolist(), np.int32)
            # One place each: nothing is compressed, moved or left out.
            rows, _, width = data.chunks
            across = -(-layout.neurons // width)
            assert data.id.get_num_chunks() == -(-layout.rows // rows) * layout.layers * across
            places = [data.id.get_chunk_info(i) for i in range(data.id.get_num_chunks())]
            assert {place.size for place in places} == {rows * width * data.dtype.itemsize}
            assert not any(place.filter_mask for place in places)
        assert names(here) == [".a.h5.part"]


@settings(max_examples=15)
@given(layouts(), st.randoms(use_true_random=False))
def test_the_bytes_do_not_depend_on_the_order_or_on_who_wrote_when(layout, lots):
    values, blocks = random(layout), list(range(layout.blocks))
    lots.shuffle(blocks)
    with folder() as here:
        write(here / "a.h5", layout, values)
        for block in blocks:  # a writer each, as after kills
            write(here / "b.h5", layout, values, [block])
        assert part_of(here / "a.h5").read_bytes() == part_of(here / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("rows", "neurons", "chunk"),
    [
        (1, 1, (1, 1, 1)),
        (1023, 255, (1023, 1, 255)),
        (1024, 256, (1024, 1, 256)),
        (100_000, 257, (1024, 1, 129)),
        (100_000, 384, (1024, 1, 192)),
        (100_000, 768, (1024, 1, 256)),
        (100_000, 3072, (1024, 1, 256)),
        (100_000, 11_008, (1024, 1, 256)),
    ],
)
def test_a_chunk_has_up_to_1024_rows_and_256_neurons_of_a_layer(rows, neurons, chunk):
    assert Layout(rows, 12, neurons, "float32", 4096).chunk == chunk


@given(st.integers(1, 5000), st.integers(1, 20_000))
def test_the_chunks_of_a_layer_are_of_one_width_but_for_the_last(rows, neurons):
    height, one, width = Layout(rows, 3, neurons, "float32", 1024).chunk
    assert (height, one) == (min(rows, ROWS), 1)
    pieces = -(-neurons // width)
    assert pieces == -(-neurons // COLUMNS)  # no more of them than there must be
    assert 0 <= pieces * width - neurons < pieces


@pytest.mark.parametrize(
    ("rows", "block", "blocks"), [(1, 1024, 1), (4096, 1024, 4), (4097, 2048, 3)]
)
def test_the_last_block_may_be_shorter(rows, block, blocks):
    assert Layout(rows, 1, 1, "float32", block).blocks == blocks


def test_attributes_and_further_datasets_are_there_from_the_beginning(tmp_path):
    with h5py.File(start(tmp_path / "a.h5", SMALL)) as file:
        assert dict(file.attrs) == NAMES | {"descry": canonical(MADE)}
        assert sorted(file) == sorted([DATA, WRITTEN, TOKENS, "id", "length"])
        for name, values in index(SMALL).items():
            assert np.array_equal(file[name][:], values)
        assert file[WRITTEN][:].tolist() == [0, 0, 0]
    assert not (tmp_path / "a.h5").exists()


# Going on


def test_begun_twice_it_goes_on(tmp_path):
    values = random(SMALL)
    write(tmp_path / "a.h5", SMALL, values, [1])
    with closing(Writer(start(tmp_path / "a.h5", SMALL))) as writer:
        assert writer.written.tolist() == [False, True, False]
    write(tmp_path / "a.h5", SMALL, values, [2, 0])
    write(tmp_path / "b.h5", SMALL, values)
    assert part_of(tmp_path / "a.h5").read_bytes() == part_of(tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (MADE | {"params": {"block": 2048, "layers": [0, 2]}}, "params.block 1024, now 2048"),
        (MADE | {"params": {"block": 1024, "layers": [0]}}, r"params.layers [0,2], now [0]"),
        (MADE | {"weights": "xyz"}, 'weights "abc", now "xyz"'),
        (MADE | {"weights": "xyz", "stage": "other"}, 'stage "activations", now "other"'),
        (MADE | {"new": None, "later": 1}, "later null, now 1"),
        ({"stage": "activations", "params": MADE["params"]}, 'weights "abc", now null'),
    ],
)
def test_what_another_run_left_is_refused_by_the_first_key_that_differs(tmp_path, made, told):
    write(tmp_path / "a.h5", SMALL, random(SMALL), [0])
    part = part_of(tmp_path / "a.h5")
    before = part.read_bytes()
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        start(tmp_path / "a.h5", SMALL, made)
    line = str(caught.value)
    assert line == (
        f"{part}: left by a stopped run, with {told}: set it back to resume it, or remove the file"
    )
    assert part.read_bytes() == before


def test_what_another_run_left_empty_is_begun_anew(tmp_path):
    start(tmp_path / "a.h5", SMALL)
    other = MADE | {"weights": "xyz"}
    with closing(Writer(start(tmp_path / "a.h5", TINY, other))) as writer:
        writer.write(0, 0, random(TINY))
    with h5py.File(part_of(tmp_path / "a.h5")) as file:
        assert file.attrs["descry"] == canonical(other)
        assert np.array_equal(file[DATA][:], random(TINY))


def test_an_unfinished_file_is_whole_at_every_moment(tmp_path, monkeypatch):
    values, moments = random(SMALL), []
    part = part_of(tmp_path / "a.h5")

    def look(file, data, place, write=descry.activations.store._write):
        write(file, data, place)
        with h5py.File(part) as seen:
            done = np.flatnonzero(seen[WRITTEN][:])
            assert seen[DATA].shape == SMALL[:3]
            for block in done:
                rows = slice(block * SMALL.block, (block + 1) * SMALL.block)
                assert np.array_equal(seen[DATA][rows], values[rows])
        moments.append(done.tolist())

    monkeypatch.setattr(descry.activations.store, "_write", look)
    write(tmp_path / "a.h5", SMALL, values, [2, 0, 1])
    # Four chunks, then the block's flag.
    assert moments == [*[[]] * 4, *[[2]] * 5, *[[0, 2]] * 5, [0, 1, 2]]


def test_values_are_on_the_disk_before_their_flag(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(descry.activations.store, "_sync", lambda file: calls.append("sync"))
    monkeypatch.setattr(
        descry.activations.store, "_write", lambda file, data, place: calls.append(len(data))
    )
    write(tmp_path / "a.h5", TINY, random(TINY))
    assert calls == [5 * 3 * 4, "sync", 1]


HOLD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_activation_store import SMALL, InputError, Writer, start
try:
    writer = Writer(start(Path(sys.argv[1]), SMALL))
except InputError as error:
    sys.exit(str(error))
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_run(path):
    """Another process that means to write the file."""
    command = [sys.executable, "-c", HOLD, path, Path(__file__).parent]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("blocks", [[], [1]])
def test_a_file_that_another_run_is_writing_is_refused(tmp_path, blocks):
    path = tmp_path / "a.h5"
    write(path, SMALL, random(SMALL), blocks)
    told = re.escape(f"{part_of(path)}: another run is writing it")
    with another_run(path) as first:
        assert first.stdout.readline() == "locked\n"
        before = part_of(path).stat().st_ino
        with pytest.raises(InputError, match=told):
            Writer(start(path, SMALL))
        assert part_of(path).stat().st_ino == before  # the other's work
        first.send_signal(signal.SIGKILL)
        first.wait()
    with closing(Writer(start(path, SMALL))), another_run(path) as second:  # it went with the first
        second.stdin.close()
        assert second.wait() == 1
        assert re.search(told, second.stderr.read())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda part: part.write_bytes(b""),
        lambda part: part.write_bytes(b"garbage" * 1000),
        lambda part: part.write_bytes(part.read_bytes()[:3000]),
        lambda part: os.truncate(part, part.stat().st_size - 1),
    ],
    ids=["empty", "garbage", "beginning", "cut"],
)
def test_an_unreadable_unfinished_file_is_told_in_one_line(tmp_path, spoil):
    write(tmp_path / "a.h5", SMALL, random(SMALL), [0])
    part = part_of(tmp_path / "a.h5")
    spoil(part)
    with pytest.raises(InputError) as caught:
        start(tmp_path / "a.h5", SMALL)
    line = str(caught.value)
    assert re.fullmatch(rf"{re.escape(str(part))}: cannot be read \(.+\): remove it and .+", line)


# Full disks

FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_without_room_for_all_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    asked = []

    def refuse(file, place, size):
        asked.append((place, size))
        raise FULL

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(InputError, match=r"\.a\.h5\.part: the disk is full: free some space"):
        start(tmp_path / "a.h5", SMALL)
    ((place, size),) = asked
    assert place == 0
    assert size >= 2500 * 2 * 300 * 4
    assert names(tmp_path) == []


def test_room_for_all_is_taken_at_the_beginning(tmp_path):
    part = start(tmp_path / "a.h5", SMALL)
    size = part.stat().st_size
    assert part.stat().st_blocks * 512 >= size
    write(tmp_path / "a.h5", SMALL, random(SMALL))
    assert part.stat().st_size == size


def test_a_file_over_the_limit_of_the_process_is_told_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with pytest.raises(InputError, match="the disk is full"):
            start(tmp_path / "a.h5", SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


_BEGIN = """
import os, sys
from pathlib import Path
from descry.errors import InputError
from descry.activations.store import Layout, begin

folder = Path(sys.argv[1])
for rows in (5, 100_000):
    try:
        begin(folder / f"{rows}.h5", {}, {}, Layout(rows, 1, 3, "float32", 1024), {})
    except InputError as error:
        print(error)
    print(os.listdir(folder))
"""


def test_a_full_disk_is_told_before_anything_is_computed(tmp_path, fill_a_disk):
    done = fill_a_disk(_BEGIN)
    assert (done.returncode, done.stderr) == (0, "")
    part = tmp_path / ".100000.h5.part"
    assert done.stdout.splitlines() == [
        "['.5.h5.part']",
        f"{part}: the disk is full: free some space and run again",
        "['.5.h5.part']",
    ]


def failing_at(call, pwrite=os.pwrite):
    """os.pwrite, out of room at the given call and ever after."""
    calls = 0

    def write(*given):
        nonlocal calls
        calls += 1
        if calls >= call:
            raise FULL
        return pwrite(*given)

    return write


# A block is 4 chunks a thousand rows, and its flag.
@pytest.mark.parametrize(("call", "kept"), [(1, []), (5, []), (6, [0]), (8, [0]), (14, [0, 1])])
def test_a_disk_that_fills_up_meanwhile_keeps_what_was_written(tmp_path, monkeypatch, call, kept):
    values = random(SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_at(call))
        with pytest.raises(InputError, match=r"\.a\.h5\.part: the disk is full"):
            write(tmp_path / "a.h5", SMALL, values)
    with h5py.File(part_of(tmp_path / "a.h5")) as file:
        assert np.flatnonzero(file[WRITTEN][:]).tolist() == kept
        for block in kept:
            rows = slice(block * SMALL.block, (block + 1) * SMALL.block)
            assert np.array_equal(file[DATA][rows], values[rows])
    left = [block for block in range(SMALL.blocks) if block not in kept]
    write(tmp_path / "a.h5", SMALL, values, left)
    write(tmp_path / "b.h5", SMALL, values)
    assert part_of(tmp_path / "a.h5").read_bytes() == part_of(tmp_path / "b.h5").read_bytes()


def test_what_the_system_writes_in_part_is_written_on(tmp_path, monkeypatch):
    values, pwrite = random(SMALL), os.pwrite
    sizes = []

    def some(file, data, place):
        done = pwrite(file, data[: 1 + len(data) // 3], place)
        sizes.append(done)
        return done

    monkeypatch.setattr(os, "pwrite", some)
    write(tmp_path / "a.h5", SMALL, values)
    assert len(sizes) > 100
    with h5py.File(part_of(tmp_path / "a.h5")) as file:
        assert np.array_equal(file[DATA][:], values)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"\.part: cannot be written \("):
        start(tmp_path / "file" / "a.h5", SMALL)


# Reading neurons


@given(layouts(), st.integers(1, 2**23))
def test_blocks_of_neurons_cover_each_once_within_the_bound(layout, most):
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        shape = layout[:3]
        data = file.create_dataset(DATA, shape=shape, dtype=layout.dtype, chunks=layout.chunk)
        seen = np.zeros(shape[1:], dtype=int)
        width = data.chunks[2]
        for layer, columns in neuron_blocks(data, most):
            seen[layer, columns] += 1
            number = columns.stop - columns.start
            assert number == 1 or number * layout.rows * data.dtype.itemsize <= most
            assert columns.start // width == (columns.stop - 1) // width  # of one chunk
    assert (seen == 1).all()


def test_blocks_of_neurons_are_whole_chunks_where_there_is_room():
    layout = Layout(4000, 2, 600, "float32", 1024)
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(DATA, shape=layout[:3], dtype="f4", chunks=layout.chunk)
        whole = list(neuron_blocks(data, 2**30))
        halves = list(neuron_blocks(data, 4000 * 4 * 100))
    assert whole == [(layer, slice(i, i + 200)) for layer in (0, 1) for i in (0, 200, 400)]
    assert halves == [(layer, slice(i, i + 100)) for layer in (0, 1) for i in range(0, 600, 100)]


@pytest.mark.parametrize("rows", [1, 1023, 2500])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_block_is_read_as_hdf5_reads_it(tmp_path, rows, dtype):
    layout = Layout(rows, 2, 300, dtype, 1024)
    values = np.random.default_rng(0).normal(size=layout[:3]).astype(dtype)
    part = begin(tmp_path / "activations.h5", {"a": 1}, {}, layout, {})
    writer = Writer(part)
    for block, first in enumerate(range(0, rows, 1024)):
        writer.write(block, first, values[first : first + 1024])
    writer.close()
    with h5py.File(part) as file:
        for layer, columns in [*neuron_blocks(file[DATA], 1), *neuron_blocks(file[DATA], 2**20)]:
            found = read_block(file[DATA], layer, columns)
            np.testing.assert_array_equal(found, values[:, layer, columns])
            np.testing.assert_array_equal(found, file[DATA][:, layer, columns])


def test_a_file_that_ends_within_a_chunk_is_refused(tmp_path):
    layout = Layout(1500, 1, 300, "float32", 1024)
    part = begin(tmp_path / "activations.h5", {"a": 1}, {}, layout, {})
    with h5py.File(part) as file:
        last = max(place for place in _chunk_places(file[DATA]).values())
        os.truncate(part, last + 100)
        with pytest.raises(MalformedError):
            for layer, columns in neuron_blocks(file[DATA], 2**20):
                read_block(file[DATA], layer, columns)


@pytest.mark.parametrize(("block", "rows"), [(4096, 4096), (1024, 1024)])
def test_chunks_of_many_rows_are_as_narrow_as_blocks_of_neurons(tmp_path, monkeypatch, block, rows):
    monkeypatch.setattr(descry.activations.store, "WIDE", 5000)
    layout, few = (Layout(number, 2, 300, "float32", block) for number in (5001, 5000))
    assert layout.chunk == (rows, 1, 60)
    assert few.chunk == (ROWS, 1, 150)
    values, path = random(layout), tmp_path / "a.h5"
    write(path, layout, values)
    with h5py.File(part_of(path)) as file:
        np.testing.assert_array_equal(file[DATA][:], values)
        for layer, columns in neuron_blocks(file[DATA], 60 * 5001 * 4):
            assert columns.stop - columns.start == 60
            np.testing.assert_array_equal(
                read_block(file[DATA], layer, columns), values[:, layer, columns]
            )
