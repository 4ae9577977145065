"""Ctrl-C at any moment is one line, and exit status 130."""

import json
import signal
import subprocess
import sys
import time

import pytest
import yaml
from miniature import ROOT

RUN = [sys.executable, "-m", "descry"]
SECTION = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())["corpus"]
MOMENTS = [0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.4]  # seconds after the start


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A command that takes a few seconds, most of them in imports."""
    folder = tmp_path_factory.mktemp("interrupted")
    reviews = folder / "mine.jsonl"
    words = [
        f"{number} words of review {number * number} that nobody wrote" for number in range(99)
    ]
    reviews.write_text("".join(json.dumps({"text": f"{w} and {w[::-1]}"}) + "\n" for w in words))
    output = folder / "c.parquet"
    return [
        *RUN,
        "stage",
        "corpus",
        f"reviews={reviews}",
        f"corpus={output}",
        "-p",
        json.dumps(SECTION),
    ]


def interrupted(command, after, **how):
    """Exit status and errors of a command that is sent SIGINT after so many seconds."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
    ) as process:
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
        return process.returncode, errors


def test_an_interrupt_is_one_line_at_any_moment(command):
    ends = [interrupted(command, moment) for moment in MOMENTS]
    for status, errors in ends:
        # Before descry begins, Python itself tells an interrupt, in its own way.
        began = "descry" in errors.replace("descry/__init__.py", "") or status == 130
        assert (status, errors) in ((130, "interrupted\n"), (0, "")) or not began
    assert (130, "interrupted\n") in ends


WORKING = """
import sys, time
from descry import __main__
from descry.cli.console import overview as show
from descry.workflow import preflight as startup

def working(*_):
    print("at work", flush=True)
    time.sleep(60)

startup.check_made = lambda *_: None
show.show_table, sys.argv = working, ["descry", "show"]
__main__.main()
"""


def test_an_interrupt_within_a_command_is_one_line():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WORKING], **pipes) as process:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
    assert (process.returncode, errors) == (130, "interrupted\n")


def test_a_command_in_the_background_heeds_no_interrupt():
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    assert interrupted([*RUN, "--help"], 0.1, **ignoring) == (0, "")
