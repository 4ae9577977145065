"""The command line `descry`: each command reads arguments, calls one function and prints."""

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from descry.cli.commands import annotate, check, explain, export, look, setup, stages
from descry.cli.completion import whole_words
from descry.cli.errors import TRACEBACK, told, usage
from descry.cli.panels import examples

app = typer.Typer(
    name="descry",
    help="Explain the neurons of text models in words, and prove where every word came from.",
    epilog=examples(
        "descry doctor",
        "descry show L5:50",
        "descry audit L5:50",
        "descry --install-completion",
        end="A neuron is named by layer and number, both from 0: `L5:50`, or `l5:50`."
        " Ids may be shortened to a beginning that no other id has; the case of names does not"
        " matter. `--json` prints the numbers of a table. The last example has the shell complete"
        " commands, options, neurons and descriptors by the Tab key (bash, zsh, fish, PowerShell).",
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for group in (look, explain, check, annotate, export, setup, stages):  # as --help lists them
    app.add_typer(group.app)

Traceback = Annotated[
    bool,
    typer.Option("--traceback", envvar=TRACEBACK, help="Print the whole traceback of an error."),
]


@app.callback()
def _options(traceback: Traceback = False) -> None:
    """Options before the command."""
    if traceback:
        os.environ[TRACEBACK] = "1"  # also of the processes that this one starts


def main() -> None:
    """Run the command line.

    Bad input, and what this machine lacks, give one line and exit status 2; what nobody foresaw is
    a bug: its traceback, and exit status 1.
    """
    try:
        with whole_words():
            ended = app(prog_name="descry", standalone_mode=False)
    except typer.Abort:  # the end of the input, where something was asked
        print("aborted", file=sys.stderr)
        sys.exit(1)
    except TyperException as error:
        if lines := usage(error):
            print(lines, file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        lines, status = told(error)
        print(lines, file=sys.stderr)
        sys.exit(status)
    sys.exit(ended if isinstance(ended, int) else 0)
