"""The data of the tables of the terminal, for `--json` too: the same numbers, not rounded."""
