"""Files of a later time than now."""

import os
import time

from descry.workflow.clock import SLACK, back_to_now


def put(path, later):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() + later,) * 2)
    return str(path)


def late(path):
    return os.stat(path).st_mtime > time.time()  # noqa: PTH116


def test_only_what_is_later_than_now_is_set(tmp_path, capsys):
    day, before = put(tmp_path / "day", 86_400), put(tmp_path / "before", -86_400)
    read, near = put(tmp_path / "read", 86_400), put(tmp_path / "near", SLACK / 2)
    was = os.stat(before).st_mtime  # noqa: PTH116
    assert back_to_now([day, before, near], [read, str(tmp_path / "missing")]) == {day}
    assert not late(day) and not late(read) and late(near)
    assert os.stat(before).st_mtime == was  # noqa: PTH116
    assert capsys.readouterr().err.startswith("warning: 2 files are of a later time than now")


def test_a_folder_is_as_late_as_what_is_in_it(tmp_path):
    inside = put(tmp_path / "page/data/one.js", 86_400)
    os.utime(tmp_path / "page/data")
    assert back_to_now([str(tmp_path / "page")], []) == {str(tmp_path / "page")}
    assert not late(inside)


def test_nothing_is_said_where_nothing_is_later(tmp_path, capsys):
    assert back_to_now([put(tmp_path / "now", 0)], [str(tmp_path)]) == set()
    assert capsys.readouterr().err == ""
