"""Untrusted texts made harmless to show: a review must control neither a terminal nor a page."""

_SHOWN_AS = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Remove control characters, some of which reverse or hide text."""
    return "".join(c if c.isprintable() else _SHOWN_AS for c in text)
