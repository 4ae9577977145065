"""How an error is told: a line where a user can mend it, a traceback where it is a bug."""

import errno
import subprocess
import sys

import pytest

from descry.cli import app as cli
from descry.cli.errors import BUG, TRACEBACK, told
from descry.errors import InputError


@pytest.fixture(autouse=True)
def unasked(monkeypatch):
    monkeypatch.delenv(TRACEBACK, raising=False)


def caught(cause, error):
    """An error with where it comes from."""
    try:
        try:
            raise cause
        except Exception as first:
            raise error from first
    except Exception as found:
        return found


def test_bad_input_is_one_line():
    assert told(caught(KeyError("x"), InputError("a.csv: no text"))) == ("error: a.csv: no text", 2)


@pytest.mark.parametrize("wish", ["1", "true", "yes"])
def test_bad_input_is_told_whole_with_its_cause_where_that_is_asked_for(monkeypatch, wish):
    monkeypatch.setenv(TRACEBACK, wish)
    lines, status = told(caught(KeyError("deep"), InputError("a.csv: no text")))
    assert status == 2
    assert lines.count("Traceback (most recent call last):") == 2
    assert "KeyError: 'deep'" in lines
    assert "direct cause" in lines
    assert lines.endswith("\nerror: a.csv: no text")


@pytest.mark.parametrize("wish", ["", "0", "false", "no", "False"])
def test_no_traceback_where_none_is_wanted(monkeypatch, wish):
    monkeypatch.setenv(TRACEBACK, wish)
    assert told(InputError("a.csv: no text")) == ("error: a.csv: no text", 2)


@pytest.mark.parametrize("bug", [AttributeError, TypeError, KeyError, ValueError, RuntimeError])
def test_a_bug_is_a_traceback_that_asks_for_a_report(bug):
    lines, status = told(caught(OSError("cause"), bug("planted")))
    assert (status, lines.splitlines()[-1]) == (1, BUG)
    assert "planted" in lines.splitlines()[-2]
    assert "Traceback" in lines
    assert "remove" not in lines


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO, errno.EMFILE]
)
def test_what_the_machine_lacks_is_one_line(number):
    lines, status = told(OSError(number, "said otherwise", "results/a.h5"))
    assert (status, lines.startswith("error: results/a.h5: ")) == (2, True)
    assert "\n" not in lines


def test_a_file_that_nobody_looked_for_is_a_bug():
    assert told(FileNotFoundError(errno.ENOENT, "none", "x"))[1] == 1


def test_a_text_of_a_stranger_steers_no_terminal_in_a_traceback(monkeypatch):
    monkeypatch.setenv(TRACEBACK, "1")
    for error in (InputError("\x1b[31mred"), ValueError("\x1b[31mred")):
        assert "\x1b" not in told(error)[0]


def test_a_planted_bug_ends_the_command_with_status_1(monkeypatch, capsys):
    def planted(*_):
        raise AttributeError("'File' object has no attribute 'planted'")

    monkeypatch.setattr("descry.workflow.preflight.check_made", lambda *_: None)
    monkeypatch.setattr("descry.cli.console.overview.show_table", planted)
    monkeypatch.setattr(sys, "argv", ["descry", "show"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    errors = capsys.readouterr().err
    assert (ended.value.code, errors.splitlines()[-1]) == (1, BUG)
    assert "planted" in errors


@pytest.mark.parametrize("how", [["--traceback"], []])
def test_the_option_and_the_variable_do_the_same(tmp_path, monkeypatch, how):
    if not how:
        monkeypatch.setenv(TRACEBACK, "1")
    command = [sys.executable, "-m", "descry", *how, "show", "--results", "none"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].endswith("or name results with --results")
