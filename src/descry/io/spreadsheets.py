"""Untrusted texts in CSV files: no spreadsheet may take a cell for a formula."""

import re

_FORMULA = r"(?:[\s\x00-\x1f\ufeff]*+[=+\-@＝＋－＠]|[\t\r\n])"
_NUMBER = r"(?=.*\d)[\W\d_]*+[^\W\d_]*+[\W\d_]*+\Z"  # also a date: digits and at most one word
_REWRITTEN = re.compile(rf"'|{_FORMULA}|{_NUMBER}|(true|false)\Z", re.I | re.S)
_NEXT_CELL = re.compile(rf"([;\t\r\n])(?={_FORMULA})")


def guarded(cell: str) -> str:
    """Return a cell that every spreadsheet takes for text."""
    return f"'{cell}" if _REWRITTEN.match(cell) else cell


def unguarded(cell: str) -> str:
    """Return the text inside a guarded cell."""
    return cell[1:] if cell[:1] == "'" and _REWRITTEN.match(cell[1:]) else cell


def in_one_cell(text: str) -> str:
    """Return a text that holds no formula, even if another separator cuts the line."""
    return _NEXT_CELL.sub(r"\1'", text)
