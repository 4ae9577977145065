"""The groups of commands in `descry --help`, in their order, and examples for a command's help."""

from typing import Any

from typer.core import TyperGroup

LOOK = "Look at results"
EXPLAIN = "Explain where labels come from"
CHECK = "Check labels and results"
ANNOTATE = "Annotate: models and people that answer"
EXPORT = "Hand results on"
SETUP = "Set up a study"
STAGES_PANEL = "Run a stage, as Snakemake does"
PANELS = (LOOK, EXPLAIN, CHECK, ANNOTATE, EXPORT, SETUP, STAGES_PANEL)


class Grouped(TyperGroup):
    """Commands in the order of their groups."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of commands, those of a group together; commands outside of the groups last."""
        order = {panel: place for place, panel in enumerate(PANELS)}

        def place(name: str) -> int:
            panel = getattr(self.commands[name], "rich_help_panel", "")
            return order.get(str(panel), len(order))

        return sorted(super().list_commands(ctx), key=place)


def examples(*commands: str, end: str = "") -> str:
    """The foot of a command's help: commands to type; each must parse."""
    head = "**Example**" if len(commands) == 1 else "**Examples**"
    listed = "\n".join(f"- `{command}`" for command in commands)
    return f"{head}\n\n{listed}" + (f"\n\n{end}" if end else "")
