"""How far a stage is: now and then a plain line, with what is worth knowing of an annotator."""

import io
import re
import sys
from collections import Counter

import pytest

from descry.annotators.counts import Counts
from descry.annotators.prompts import p1
from descry.cli import progress
from descry.cli.progress import EVERY, counting, rates, reporting, summary


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def said(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def tally(done, total=1000, cached=0, asking=0.0, tokens=(0, 0), **more):
    counts = {"asked": done - cached, "tokens_in": tokens[0], "tokens_out": tokens[1]}
    return Counts(total=total, done=done, cached=cached, asking=asking, **counts | more)


# Rates


def test_of_what_is_cached_only_the_share_is_told():
    assert rates(tally(0)) == "0% cached"
    assert rates(tally(40, cached=40)) == "100% cached"


def test_speed_is_that_of_asking():
    found = tally(100, cached=80, asking=8.0, tokens=(1000, 40))
    assert rates(found) == "80% cached, 2.5 answers/s, 130 tokens/s"


def test_without_tokens_none_are_told_and_failures_only_where_there_are_any():
    found = tally(3000, asking=2.0, failures=Counter({"refusal": 2, "time-out": 1}))
    assert rates(found) == "0% cached, 1,500.0 answers/s, 3 failed"


# Plain lines


def test_a_line_has_counts_rates_and_the_time_left(clock, capsys):
    with reporting("annotate") as report:
        clock.now += 10
        report("toy", tally(100, cached=50, asking=10.0, tokens=(450, 50)))
        clock.now += 20
        report("toy", tally(200, cached=50, asking=30.0, failures=Counter(refusal=4)))
    assert said(capsys) == [
        "annotate: toy: 100 of 1000, 50% cached, 5.0 answers/s, 50 tokens/s, 0:01:30 left",
        "annotate: toy: 200 of 1000, 25% cached, 5.0 answers/s, 4 failed, 0:02:40 left",
        "annotate: toy: 4 of 1000 failed: 4 refusal",
    ]


def test_nothing_is_printed_more_often_than_every_few_seconds(clock, capsys):
    with reporting("annotate") as report:
        times = []
        for done in range(1000):
            clock.now += 0.3
            report("toy", tally(done))
            if said(capsys):
                times.append(clock.now)
    gaps = [later - earlier for earlier, later in zip([1000.0, *times], times, strict=False)]
    assert min(gaps) >= EVERY
    assert max(gaps) < EVERY + 0.3
    assert len(times) > 50


def test_a_short_run_prints_nothing(clock, capsys):
    with reporting("annotate") as report:
        for done in range(0, 1001, 100):
            clock.now += EVERY / 20
            report("toy", tally(done))
    assert said(capsys) == []


def test_what_is_about_to_be_spent_is_said_at_once_and_once_for_each_annotator(clock, capsys):
    with reporting("describe") as report:
        report("toy", tally(0))
        for _ in range(3):
            report("toy", tally(0, forecast="toy: to ask: 7"))
            report("other", tally(0, forecast="other: to ask: 9"))
    assert said(capsys) == ["describe: toy: to ask: 7", "describe: other: to ask: 9"]


def test_what_failed_is_told_at_the_end_with_an_answer_for_each_reason(clock, capsys):
    failed = Counts(total=9, done=9)
    failed.fail("refusal", 2, p1(["It fits."], ("", "", ""))[0], "I cannot\nsay")
    with reporting("describe") as report:
        report("toy", failed)
        report("other", tally(0))
    (line,) = said(capsys)
    assert line.startswith("describe: toy: 2 of 9 failed: 2 refusal, such as 'I cannot\\nsay' to")


def test_the_time_left_to_the_second_annotator_is_told_by_its_own_speed(clock, capsys):
    with reporting("describe") as report:
        clock.now += 10
        report("toy", tally(900, asking=10.0))
        clock.now += 10
        report("other", tally(100, asking=10.0))
    assert said(capsys)[1].endswith("10.0 answers/s, 0:01:30 left")


def test_where_nothing_moves_the_time_left_is_still_told(clock, capsys):
    with counting("activations") as count:
        for _ in range(2):
            clock.now += 6
            count("sentences", 1, 3)
    assert said(capsys) == [f"activations: sentences: 1 of 3, 0:00:{s} left" for s in (12, 12)]


def test_counts_have_no_rates(clock, capsys):
    with counting("activations") as count:
        clock.now += 3600
        count("sentences", 1, 5)
    assert said(capsys) == ["activations: sentences: 1 of 5, 4:00:00 left"]


# A terminal


class Terminal(io.StringIO):
    """A terminal that remembers what it shows."""

    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_bar_with_the_same_numbers(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with reporting("annotate") as report:
        report("toy [red]v1", tally(0, forecast="toy [red]v1: to ask: 1000"))
        report("toy [red]v1", tally(250, asking=50.0))
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert shown.count("annotate: toy [red]v1: to ask: 1000") == 1
    assert "annotate: toy [red]v1 " in shown
    assert "250/1000" in shown
    assert "5.0 answers/s" in shown


# The end


def test_a_summary_is_one_line(capsys):
    summary("annotate", {"sentences": 60, "asked": 0})
    assert capsys.readouterr().out == "annotate: sentences 60, asked 0\n"
