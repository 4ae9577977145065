"""Print what is in order here and what is not."""

from collections.abc import Sequence

from rich.table import Table

from descry.cli.console.terminal import console, plain
from descry.io.sanitize import printable
from descry.workflow.doctor import Finding


def show_findings(found: Sequence[Finding]) -> None:
    """Print what is in order and what is not, group by group, and what to type."""
    out = console()
    for group in dict.fromkeys(one.group for one in found):
        table = Table(title=group, title_justify="left", box=None, show_header=False)
        for column in ("name", "state", "said"):
            table.add_column(column, no_wrap=column == "state")
        for one in found:
            if one.group == group:
                said = plain(one.said)
                if one.remedy:
                    said.append(f"\n-> {printable(one.remedy)}")
                state = {"ok": "ok", "note": "note", "wrong": "WRONG"}[one.state]
                table.add_row(plain(one.name), state, said)
        out.print(table)
    wrong = sum(one.state == "wrong" for one in found)
    out.print(f"{wrong} wrong" if wrong else "nothing is wrong")
