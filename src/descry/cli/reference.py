"""The page docs/commands.md, written from the commands themselves.

`python -m descry.cli.reference docs/commands.md` writes it.
"""

import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from descry.cli.app import app
from descry.cli.panels import PANELS
from descry.io.atomic import write_text

_HEAD = """<!-- Written by `python -m descry.cli.reference docs/commands.md`. Do not edit. -->

# Commands

`descry COMMAND --help` says the same in the terminal. A neuron is named by layer and number, both
from 0: `L5:50`, or `l5:50`. An id may be shortened to a beginning that no other id has, and the
case of a descriptor's name does not matter. `--json` prints the numbers of a table, not rounded.
`descry --install-completion` has the shell (bash, zsh, fish, PowerShell) complete commands,
options, neurons and descriptors. (In bash the colon of a name ends a word: put
`COMP_WORDBREAKS=${COMP_WORDBREAKS//:}` into `~/.bashrc` to complete behind the colon as well.)

Bad input ends a command with one line on stderr and exit status 2. `verify`, `reproduce`, `doctor`,
`cache verify` and `cache import` end with exit status 1 where they find something wrong.
"""


def reference() -> str:
    """The page: commands by group, then each with its arguments, options and examples."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group, info_name="descry")
    parts, pages = [_HEAD], []
    names = [n for n in group.list_commands(context) if not group.commands[n].hidden]
    for panel in PANELS:
        parts.append(f"## {panel}\n\n| command | what it does |\n|---|---|\n")
        for name in names:
            command = group.commands[name]
            if getattr(command, "rich_help_panel", None) != panel:
                continue
            what = (command.help or "").partition("\n\n")[0].replace("\n", " ")
            parts[-1] += f"| [`descry {name}`](#descry-{name}) | {what} |\n"
            own = typer.Context(command, info_name=name, parent=context)
            assert isinstance(command, TyperCommand | TyperGroup)
            pages.append(
                get_docs_for_click(obj=command, ctx=own, indent=1, name=name, call_prefix="descry")
            )
    return "\n".join([*parts, *(page.strip() + "\n" for page in pages)])


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), reference())
