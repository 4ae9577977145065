"""Texts of strangers, harmless to look at: a review must steer neither a terminal nor a page."""

_SHOWN_AS = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """A text without control characters, which also turn writing around or hide it."""
    return "".join(c if c.isprintable() else _SHOWN_AS for c in text)
