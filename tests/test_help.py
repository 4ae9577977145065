"""The command line: its groups, examples and reference; JSON beside tables; completion."""

import json
import math
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from miniature import ROOT
from planted import CACHE, GRAPHS, HOSTILE, RESULTS, Toy, run_annotate
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from descry.activations.exemplar_files import read_exemplars
from descry.activations.word_effects import Word
from descry.cli import completion
from descry.cli.app import app
from descry.cli.panels import PANELS
from descry.cli.reference import reference
from descry.corpus.splits import HALVES
from descry.io.parquet import read_table
from descry.n2g.graph import make_graph
from descry.n2g.paths import Path as GraphPath
from descry.n2g.paths import Step
from descry.n2g.scoring import Score
from descry.n2g.tables import PREDICTORS, Record, write_records
from descry.provenance.reproduce.rebuild import Reproduced
from descry.provenance.verify.check import Link
from descry.run import Run
from descry.try_text import Firing, Trial
from descry.workflow.requests import Forecast


def commands():
    """Every command by its words, such as `cache stats`."""
    group = get_command(app)
    found = dict(group.commands)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            found |= {f"{name} {sub}": own for sub, own in command.commands.items()}
    return {name: command for name, command in found.items() if not command.hidden}


def said(*words, code=0):
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output + repr(done.exception)
    return done.output


def told(*words, code=0):
    return json.loads(said(*words, "--json", code=code))


def test_every_command_stands_in_a_group_and_groups_in_their_order():
    group = get_command(app)
    names = group.list_commands(typer.Context(group))
    panels = [group.commands[n].rich_help_panel for n in names if not group.commands[n].hidden]
    assert set(panels) == set(PANELS)
    assert list(dict.fromkeys(panels)) == list(PANELS)


@pytest.mark.parametrize("name", commands())
def test_every_example_of_a_help_parses(name):
    examples = re.findall(r"^- `(.*)`$", commands()[name].epilog or "", re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example.rpartition(" | ")[2])
        assert words[0] == "descry"
        assert " ".join(words[1:]).startswith(name)
        command, context = get_command(app), None
        words = words[1:]
        context = command.make_context("descry", list(words))
        while isinstance(command, TyperGroup):
            rest = [*context._protected_args, *context.args]
            own, command, words = command.resolve_command(context, rest)
            context = command.make_context(own, list(words), parent=context)


def test_the_examples_of_the_whole_parse():
    examples = re.findall(r"`(descry .*)`", get_command(app).epilog.partition("\n\nA ")[0])
    known = commands()
    assert len(examples) == 4
    for example in examples[:-1]:
        assert example.split()[1] in known
    assert examples[-1] == "descry --install-completion"


@pytest.mark.parametrize("width", ["80", "160"])
def test_the_help_fits_a_terminal(width, monkeypatch):
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", int(width))
    for name in ("", "audit", "cache gc"):
        lines = said(*name.split(), "--help").splitlines()
        assert max(map(len, lines)) <= int(width)
        assert any(line.startswith("╭") for line in lines)


def test_the_page_of_commands_is_that_of_the_commands():
    """Written by `python -m descry.cli.reference docs/commands.md`."""
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert page == reference()
    for name in commands():
        assert f"# `descry {name}`" in page


def test_what_is_typed_wrongly_is_one_line(capsys, monkeypatch):
    from descry.cli.app import main

    for words, line in (
        (["audti"], "error: No such command 'audti'. Did you mean 'audit'? Type `descry --help`"),
        (["cache", "gc", "--x"], "error: No such option: --x. Type `descry cache gc --help`"),
        (["stage"], "error: Missing argument 'STAGE'. Type `descry stage --help`"),
    ):
        monkeypatch.setattr("sys.argv", ["descry", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code, capsys.readouterr().err) == (2, f"{line}\n")


# JSON: the same numbers as the table


def test_the_table_of_labels(run):
    found = told("show", "--rows", "4")
    assert len(found["surest"]) == 4
    table = said("show", "--rows", "4")
    for one in found["surest"]:
        row = next(line for line in table.splitlines() if one["neuron"] in line)
        assert f"{one['expected']:.1f}" in row and f" {one['count']} " in row
    for row in found["believed"]:
        assert {"score", "value", "low", "high", "by_chance", "over"} == row.keys()
        if row["low"] is not None:
            assert f"{row['low']:.3f} to {row['high']:.3f}" in table
    for number in (found["labels"], found["replicated"], found["labelled"]):
        assert f"{number:,}" in table


def test_a_neuron_by_either_name(run):
    found = told("show", "l0:2")
    assert found == told("show", "L0:2")
    numbers = found["ends"]["highest"]["numbers"]["Sound"]
    table = said("show", "L0:2")
    for split in ("all", *HALVES):
        assert re.search(rf"{split} .*\b{numbers[split]['count']}\b", table)
    assert [one["rank"] for one in found["ends"]["highest"]["exemplars"]] == [1, 2, 3, 4, 5, 6]
    assert found["activations"].keys() >= {"mean", "deviation", "highest"}


def test_the_exemplar_sets_of_two_files(run):
    path = str(RESULTS / "exemplars.h5")
    found = told("compare", path, path)
    assert [row["sets"] for row in found] == ["all", *HALVES]
    size = read_exemplars(RESULTS / "exemplars.h5", "all").shape[2]
    assert found[0] == {"sets": "all", "size": size, "differ": 0, "common": 1, "fewest": 1}


def test_the_cache(run):
    run_annotate(Toy())
    cache = ["--cache", str(CACHE)]
    (row,) = [one for one in told("cache", "stats", *cache)["answers"] if one["task"] == "p2"]
    line = next(line for line in said("cache", "stats", *cache).splitlines() if "p2" in line)
    assert f"{row['answers']:,}" in line and row["answers"] > 0
    assert told("cache", "stats", *cache, "--price", "1,2")["answers"][0]["dollars"] is not None
    check = ["cache", "verify", *cache, "--results", str(RESULTS)]  # of one the row is damaged
    found, shown = told(*check, code=1), said(*check, code=1)
    assert f"{found['checked']:,} keys follow from their requests, 1 do not" in shown
    assert list(found["wrong"].values()) == ["its row is damaged"]


def write_graphs(*neurons):
    """Graphs of one path: `price` in front of `the`."""
    scores = {name: Score(20, 4, 5, 0.8, 1.0, 0.9, 0.5, math.nan) for name in PREDICTORS}
    path = GraphPath((Step(1, 0.9), Step(2, 0.9)), 1.0)
    graphs = [make_graph(neuron, 2.0, [path], [True], max_gap=None) for neuron in neurons]
    words = {1: "price", 2: "the"}
    records = [Record(0, graph, words, [], [], 0, [], scores, []) for graph in graphs]
    write_records(GRAPHS, records, Run(RESULTS).provenance("graphs.parquet"))


def test_a_graph_and_what_all_graphs_say(run):
    write_graphs(3, 4)
    found = told("graph", "l0:3")
    assert (found["graph"]["highest"], found["words"]["1"]) == (2.0, "price")
    assert found["scores"]["graph_f1"] == pytest.approx(0.9)
    assert "L0:3: highest activation 2, 1 paths" in said("graph", "l0:3")
    responding = told("graph", "--token", "price")["activated"]
    assert [one["neuron"] for one in responding] == ["L0:3", "L0:4"]
    table = said("graph", "--token", "price")
    for one in responding:
        assert f"{one['phrases'][0]['activation']:.2f}" in table
    (like,) = told("graph", "--like", "L0:3")
    assert like == {"neuron": "L0:4", "similarity": 1.0, "shared": 2}
    assert "1.000" in said("graph", "--like", "L0:3")
    (subset,) = told("graph", "--subsets-of", "L0:3")
    assert subset == {"neuron": "L0:4", "paths": 1}


def test_links_of_the_chain(run, monkeypatch):
    links = [Link("corpus", "3 files"), Link("label", "all of it", "L0:1 is another")]
    monkeypatch.setattr("descry.provenance.verify.chain.verify", lambda *_, **__: iter(links))
    monkeypatch.setattr("descry.workflow.params.load", lambda _: SimpleNamespace(model_dump=dict))
    monkeypatch.setattr("descry.workflow.code.other_code", lambda *_: [])
    found = told("verify", code=1)
    assert [one["fault"] for one in found] == [None, "L0:1 is another"]
    assert "WRONG label: all of it" in said("verify", code=1)


def test_a_commit_made_again(run, monkeypatch):
    made = Reproduced("a" * 40, 7, [], ["results/x"], None, ["a note"], Path("/clone"))
    monkeypatch.setattr("descry.provenance.reproduce.rebuild.reproduce", lambda *_, **__: made)
    found = told("reproduce", code=1)
    assert (found["identical"], found["unmade"], found["folder"]) == (7, ["results/x"], "/clone")
    assert "7 of 8 outputs are identical" in said("reproduce", code=1)


def test_what_is_to_be_asked(run, monkeypatch):
    row = Forecast("annotate", "toy", 5, 1234, 99, None, 61.0, 0.5, None, True, None)
    monkeypatch.setattr("descry.workflow.requests.forecast", lambda *_: [row])
    monkeypatch.setattr("descry.workflow.params.load", lambda _: None)
    (found,) = told("forecast", "--cache", "cache")
    assert (found["to_ask"], found["seconds"], found["tokens_out"]) == (1234, 61.0, None)
    table = said("forecast", "--cache", "cache")
    assert "1,234" in table and "0:01:01" in table and "unknown" in table


# completion


def test_the_shell_completes_neurons_and_descriptors(run):
    context = typer.Context(get_command(app))
    context.params = {"results": RESULTS}
    every = completion.neurons_with(context, "")
    assert "L0:2" in every
    own = [name.lower() for name in every if name.startswith("L0:")]
    assert completion.neurons_with(context, "l0:") == own
    assert completion.descriptors_with(context, "so") == ["sound"]  # which commands take
    assert completion.descriptors_with(context, "So") == ["Sound"]
    assert HOSTILE not in completion.descriptors_with(context, "")  # a shell would run it
    context.params = {"results": Path("nowhere")}
    assert completion.neurons_with(context, "") == completion.descriptors_with(context, "") == []


@pytest.mark.parametrize(
    ("words", "place", "found"),
    [
        (["show", "L5", ":", "5"], 3, (["show", "L5:5"], 1, "L5:")),
        (["show", "L5", ":"], 2, (["show", "L5:"], 1, "L5:")),
        (["show", "L5"], 1, (["show", "L5"], 1, "")),
        (["show"], 1, (["show", ""], 1, "")),
        (["show", "L5:5"], 1, (["show", "L5:5"], 1, "")),  # without : in COMP_WORDBREAKS
        (["diff", "L5", ":", "5", "L"], 4, (["diff", "L5:5", "L"], 2, "")),
        (["diff", "L5", ":", "5", "L", ":", "1"], 6, (["diff", "L5:5", "L:1"], 2, "L:")),
        (["x", "http", ":", "//h", ":", "1"], 5, (["x", "http://h:1"], 1, "http://h:")),
    ],
)
def test_words_that_bash_parts_at_colons_are_one(words, place, found):
    assert completion.joined(words, place) == found


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
def test_bash_completes_a_neuron_behind_its_colon(tmp_path):
    """Typed into a bash with a terminal: Tab, then Ctrl-A and `echo` in front of the line."""
    names = {"neurons": {"all": {"Music": ["L5:50", "L5:134"]}}}
    (tmp_path / "results").mkdir()
    (tmp_path / "results/neurons.json").write_text(json.dumps(names))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    typed = [
        "bind 'set enable-bracketed-paste off'",
        'eval "$(_DESCRY_COMPLETE=source_bash descry)"',
        *(f"descry show {word}\t\001echo =\005=" for word in ("L5:5", "l5:1", "L5:", "L5:134")),
        "exit",
    ]
    own, other = pty.openpty()
    command = ["bash", "--norc", "--noprofile", "-i"]
    told = {"PATH": path, "TERM": "dumb", "PS1": "", "INPUTRC": "/dev/null"}
    bash = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, env=os.environ | told,
        start_new_session=True, cwd=tmp_path,
    )  # fmt: skip
    os.close(other)
    os.write(own, "".join(f"{line}\n" for line in typed).encode())
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(own, 4096):
            shown += part
    os.close(own)
    assert bash.wait(timeout=60) == 0
    found = re.findall(r"^=descry show (\S+) ?=", shown.decode().replace("\r", "\n"), re.M)
    assert found == ["L5:50", "l5:134", "L5:", "L5:134"]


# a text of one's own, as it is shown

TEXT = f"{HOSTILE} works"
TRIAL = Trial(
    TEXT, "0" * 16, False, "the model saw the first 8 of 11 tokens", "neuron",
    [Word("works", len(TEXT) - 5, len(TEXT)), Word("\x1b[1mno", 0, 6)], "lost without it", True,
    [
        Firing("L0:2", 0.25, 98.0, 2, 6, 1.5, 3, ["Sound", HOSTILE], np.float32([0.2, np.nan])),
        Firing("L1:3", -0.5, 10.0, None, 6, None, 4, [], np.float32([-0.1, 0.05])),
    ],
    60,
)  # fmt: skip


@pytest.fixture
def tried(run, monkeypatch):
    """What `Project.try_text` was asked; it gives TRIAL."""
    asked = []

    def try_text(project, text, neurons=None, *, every=False):
        asked.append((text, neurons, every))
        return TRIAL

    monkeypatch.setattr("descry.provenance.audit.project.Project.try_text", try_text)
    return asked


def test_a_trial_is_shown_as_text_whatever_is_in_it(tried):
    shown = said("try", TEXT)
    assert tried == [(TEXT, None, False)]
    assert "\x1b" not in shown and "[red]" in shown
    assert "1 of 2 neurons fire" in shown
    assert "a sentence of the corpus 0.2 on average" in shown
    assert "the model saw the first 8 of 11 tokens" in shown
    row = next(line for line in shown.splitlines() if "L0:2" in line)
    assert "0.250" in row and "98.0" in row and "2 of 6" in row and "works 0.200" in row
    assert "no" in next(line for line in shown.splitlines() if "L1:3" in line)


def test_word_by_word_and_from_stdin(tried):
    done = CliRunner().invoke(app, ["try", "-", "-n", "l0:2", "-n", "L1:3"], input="From stdin")
    assert tried == [("From stdin", ["l0:2", "L1:3"], False)]
    assert "word by word: activation that is lost without it" in done.output
    (row,) = re.findall(r"│ works +│.*", done.output)
    assert "0.200" in row and "-0.1000" in row


def test_a_trial_as_json(tried):
    found = told("try", TEXT, "--all")
    assert tried == [(TEXT, None, True)]
    first, second = found["neurons"]
    assert (first["neuron"], first["percent"], first["place"]) == ("L0:2", 98.0, 2)
    assert second["words"] == pytest.approx([-0.1, 0.05])
    assert first["words"][1] is None
    assert found["labels"][0] == {"label": "Sound", "firing": 1, "neurons": 1, "expected": 0.1}
    assert found["text"] == TEXT


def test_a_sentence_of_the_corpus_by_the_first_digits_of_its_id(run):
    name = read_table(RESULTS / "corpus.parquet", "corpus")["id"][3].as_py()
    cache = ["--cache", str(CACHE)]
    whole, short = (told("audit", "--review", typed, *cache) for typed in (name, name[:10]))
    assert whole == short
    assert whole["review"]["id"] == name
