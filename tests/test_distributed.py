"""Several processes share the work: the files are those of one, and one's failure ends all."""

import json
import os
import socket
import sys
import time
from pathlib import Path

import extracting
import h5py
import numpy as np
import pytest
import tiny
import torch
from extracting import BLOCK, compute, forked, section, sentences, write_corpus
from transformers import AutoModel, AutoTokenizer

from descry.cli import app as cli
from descry.io.atomic import part_of
from descry.models import distributed as processes
from descry.models.distributed import Share, gpus, launch, share
from descry.models.hooked_model import HookedModel

FOUR = 3500  # sentences, of four blocks
QUICK = 60  # seconds within which a failure has ended all, on a machine with much else to do

# What every process runs: jobs, in all or with one to be killed at a call.
DRIVER = """
import json, os, sys
from pathlib import Path
from extracting import compute, die_at
jobs, rank, *place = json.loads(sys.argv[1])
if os.environ["RANK"] == rank:
    die_at(*place)
for corpus, output, told in jobs:
    compute(Path(corpus), Path(output), told)
"""


@pytest.fixture(autouse=True)
def helpers(monkeypatch):
    """Processes find the tests' own modules."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return tiny.make("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """A corpus of four blocks."""
    return write_corpus(tmp_path_factory.mktemp("four") / "corpus.parquet", sentences(FOUR))


def driver(jobs, rank=None, *place):
    told = [[str(corpus), str(output), params] for corpus, output, params in jobs]
    return [sys.executable, "-c", DRIVER, json.dumps([told, rank, *place])]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def datasets(path):
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
        return found, dict(file.attrs)


def assert_alike(one, other):
    """The same datasets; sums to the last digits only, for their order is another."""
    (one, attributes), (other, others) = datasets(one), datasets(other)
    assert list(one) == list(other)
    assert attributes.keys() == others.keys()
    assert all(np.array_equal(attributes[name], others[name]) for name in attributes)
    for name, values in one.items():
        if name == "distribution/sums":
            assert other[name] == pytest.approx(values, rel=1e-6, abs=1e-6 * np.abs(values).max())
        else:
            assert np.array_equal(values, other[name]), name


def test_two_processes_write_what_one_writes(tmp_path, gpt2, four):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    short = write_corpus(tmp_path / "corpus.parquet", sentences(30))  # a block for two processes
    matrix, kept = section(gpt2), section(gpt2, store="exemplars", keep=25)
    jobs = {
        "matrix.h5": (four, matrix),
        "kept.h5": (four, kept),
        "tokens.h5": (four, section(gpt2, position="tokens", store_dtype="float16")),
        "short.h5": (short, matrix),
        "short_kept.h5": (short, kept),
    }
    for name, (corpus, told) in jobs.items():
        compute(corpus, one / name, told)
    status = launch(2, driver((corpus, two / name, told) for name, (corpus, told) in jobs.items()))
    assert status == 0
    for name in ("matrix.h5", "tokens.h5", "short.h5"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    for name in ("kept.h5", "short_kept.h5"):
        assert_alike(two / name, one / name)
    assert files(two) == files(one) == sorted(jobs)


def test_what_fails_in_one_process_ends_all_with_its_line(tmp_path, gpt2, capfd):
    # The one sentence that spoils its activations is in the second block: the second process's.
    texts = sentences(3 * BLOCK)
    texts[BLOCK + 7] = "Yes"
    corpus = write_corpus(tmp_path / "corpus.parquet", texts)
    model, tokenizer = (auto.from_pretrained(gpt2) for auto in (AutoModel, AutoTokenizer))
    with torch.no_grad():
        model.wte.weight[tokenizer("Yes")["input_ids"]] = float("nan")
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "broken")
    told = json.dumps(section(tmp_path / "broken"))
    started = time.monotonic()
    arguments = ["stage", "activations", f"corpus={corpus}"]
    arguments += [f"activations={tmp_path / 'out' / 'a.h5'}", "-p", told]
    status = launch(2, [sys.executable, "-m", "descry", *map(str, arguments)])
    assert time.monotonic() - started < QUICK
    assert status == 2
    out, err = capfd.readouterr()
    told = [line for line in err.splitlines() if not line.startswith("activations: sentences: ")]
    assert told == [f"error: {tmp_path}/broken: activations are not finite in float32"]
    assert out == ""
    assert files(tmp_path / "out") == [".a.h5.part"]


@pytest.fixture
def computed(monkeypatch):
    """The texts that go through the model."""
    texts, run = [], HookedModel.activations

    def count(model, batch):
        texts.extend(batch)
        return run(model, batch)

    monkeypatch.setattr(HookedModel, "activations", count)
    return texts


def test_a_killed_process_ends_the_others_and_one_alone_goes_on_with_the_matrix(
    tmp_path, gpt2, four, capfd, computed
):
    output, told = tmp_path / "out" / "a.h5", section(gpt2)
    started = time.monotonic()
    # Amid its second block; the other may have come to its own second, or not.
    status = launch(2, driver([(four, output, told)], "1", "descry.activations.store", "_write", 4))
    assert time.monotonic() - started < QUICK
    assert status == -9
    assert capfd.readouterr().err == "error: process 1 was ended by signal 9\n"
    with h5py.File(part_of(output)) as file:
        flags = file["written"][:].tolist()
    assert (flags[1], flags[3]) == (1, 0)
    compute(four, output, told)
    assert len(computed) == FOUR - sum(flags) * BLOCK
    compute(four, tmp_path / "b.h5", told)
    assert output.read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert files(tmp_path / "out") == ["a.h5"]


def test_killed_processes_go_on_with_what_each_kept(tmp_path, gpt2, four):
    out, told = tmp_path / "out", section(gpt2, store="exemplars", keep=25)
    given = four, out / "a.h5", told

    def both(*place):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        first = forked(extracting.ranked, 0, 2, port, *given)
        second = forked(extracting.ranked, 1, 2, port, *given, *place)
        with first as one, second as other:
            one.join()
            other.join()
        return one.exitcode, other.exitcode

    adding = "descry.activations.histogram:Distribution", "add"
    assert both(*adding, 2) == (processes.ELSEWHERE, -9)
    assert files(out) == [".a.0-of-2.h5.part", ".a.1-of-2.h5.part"]
    # What is left of its share is one block: it would be killed at a second.
    assert both(*adding, 2) == (0, 0)
    compute(four, tmp_path / "b.h5", told)
    assert_alike(out / "a.h5", tmp_path / "b.h5")
    assert files(out) == ["a.h5"]


# Launching


def test_every_process_is_told_which_it_is_and_how_many_there_are(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", processes.MEETING]
    code = "import json, os, sys; names = sys.argv[2:]; told = [os.environ[n] for n in names];"
    code += "json.dump(told, open(f'{sys.argv[1]}/{told[0]}', 'w'))"
    assert launch(3, [sys.executable, "-c", code, str(tmp_path), *names]) == 0
    told = [json.loads((tmp_path / str(i)).read_text()) for i in range(3)]
    assert [one[:4] for one in told] == [[str(i), str(i), "3", "3"] for i in range(3)]
    (meeting,) = {one[4] for one in told}
    assert not Path(meeting).parent.exists()  # gone with the job
    assert "WORLD_SIZE" not in os.environ


@pytest.mark.parametrize("failing", [0, 1])
def test_the_first_to_fail_ends_the_others(tmp_path, failing):
    code = (
        f"import os, sys, time; rank = os.environ['RANK']; open('{tmp_path}/' + rank, 'w')\n"
        f"if rank == '{failing}': sys.exit(7)\n"
        f"time.sleep(60); open('{tmp_path}/end', 'w')"
    )
    started = time.monotonic()
    assert launch(2, [sys.executable, "-c", code]) == 7
    assert time.monotonic() - started < 30
    assert not (tmp_path / "end").exists()


def processes_that(**by_rank):
    """A command that does as told by rank: {rank_0: Python code, ...}."""
    code = "import os, sys, time\nrank = os.environ['RANK']\n"
    code += "".join(f"if rank == '{name[-1]}': {does}\n" for name, does in by_rank.items())
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("time.sleep(0.3); sys.exit(2)", 2),
        ("time.sleep(0.3); os.kill(os.getpid(), 9)", -9),
        (f"time.sleep(0.3); sys.exit({processes.ELSEWHERE})", processes.ELSEWHERE),
        ("time.sleep(0.3)", processes.ELSEWHERE),
        ("time.sleep(60)", processes.ELSEWHERE),
    ],
)
@pytest.mark.parametrize("rank", [0, 1])
def test_of_one_that_ended_for_another_s_failure_the_other_s_is_told(
    monkeypatch, rank, end, status
):
    monkeypatch.setattr(processes, "MOMENT", 1.0)
    both = {f"rank_{rank}": f"sys.exit({processes.ELSEWHERE})", f"rank_{1 - rank}": end}
    assert launch(2, processes_that(**both)) == status


def test_what_is_wrong_for_all_is_told_once_and_only_the_main_one_says_what_it_did(capfd):
    fails = "sys.exit('error: no such site')"
    assert launch(3, processes_that(rank_0="time.sleep(0.3); " + fails, rank_1=fails)) == 1
    assert capfd.readouterr() == ("", "error: no such site\n")
    tells = "print(rank); print('so far', file=sys.stderr)"
    assert launch(3, processes_that(rank_0=tells, rank_1=tells, rank_2=tells)) == 0
    assert capfd.readouterr() == ("0\n", "so far\n")


def test_of_another_process_that_fails_the_errors_are_shown(capfd):
    fails = "print('out'); sys.exit('error: not finite')"
    assert launch(2, processes_that(rank_0="print('main'); time.sleep(60)", rank_1=fails)) == 1
    assert capfd.readouterr().err == "error: not finite\n"
    killed = "os.kill(os.getpid(), 9)"
    assert launch(2, processes_that(rank_0="time.sleep(60)", rank_1=killed)) == -9
    assert capfd.readouterr().err == "error: process 1 was ended by signal 9\n"


def test_an_interrupted_launch_leaves_no_process(tmp_path, monkeypatch):
    started = []
    popen = processes.subprocess.Popen

    def start(*given, **named):
        started.append(popen(*given, **named))
        return started[-1]

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    monkeypatch.setattr(processes, "_failed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch(2, [sys.executable, "-c", "import time; time.sleep(60)"])
    assert [process.returncode for process in started] == [-9, -9]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda:1"])
def test_alone_a_process_has_all_and_never_waits(monkeypatch, device):
    for value in (None, "1"):
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        if value:
            monkeypatch.setenv("WORLD_SIZE", value)
        own = share(device)
        assert own == Share(0, 1, device)
        assert own.main
        assert all(map(own.has, range(10)))
        own.wait()


def test_every_piece_is_one_process_s():
    shares = [Share(index, 3, "cpu") for index in range(3)]
    assert [own.main for own in shares] == [True, False, False]
    for piece in range(20):
        assert sum(own.has(piece) for own in shares) == 1


@pytest.mark.parametrize(
    ("device", "found", "wanted"),
    [
        ("auto", 0, 1),
        ("auto", 1, 1),
        ("auto", 4, 4),
        ("cpu", 4, 1),
        ("cuda", 4, 1),
        ("cuda:2", 4, 1),
        ("mps", 4, 1),
    ],
)
def test_a_job_wants_a_process_a_gpu_where_all_are_asked_for(monkeypatch, device, found, wanted):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    assert gpus(device) == wanted
    monkeypatch.setenv("WORLD_SIZE", "4")  # launched already
    assert gpus(device) == 1


@pytest.fixture
def command(tmp_path, gpt2, monkeypatch):
    """`descry stage activations` for a device, as typed."""
    corpus = write_corpus(tmp_path / "corpus.parquet", sentences(20))

    def run(device):
        told = json.dumps(section(gpt2, device=device))
        typed = ["stage", "activations", f"corpus={corpus}"]
        typed += [f"activations={tmp_path / 'a.h5'}", "-p", told]
        monkeypatch.setattr(sys, "argv", ["descry", *typed])
        cli.main()

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return run


@pytest.mark.parametrize("status", [0, 2])
def test_with_several_gpus_the_command_launches_itself(command, monkeypatch, status):
    launched = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(processes, "launch", lambda *given: launched.append(given) or status)
    with pytest.raises(SystemExit) as ended:
        command("auto")
    assert ended.value.code == status
    assert launched == [(3, [sys.executable, "-m", "descry", *sys.argv[1:]])]


def test_with_one_device_the_command_runs_itself(command, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(processes, "launch", None)
    with pytest.raises(SystemExit) as ended:
        command("cpu")
    assert ended.value.code == 0
    assert (tmp_path / "a.h5").exists()
    assert capsys.readouterr().out.startswith("activations: sentences 20, layers 2, neurons 32,")
