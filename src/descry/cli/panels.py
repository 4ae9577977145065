"""The groups of commands in `descry --help`, in their order, and examples for a command's help."""

LOOK = "Look at results"
EXPLAIN = "Explain where labels come from"
CHECK = "Check labels and results"
ANNOTATE = "Annotate: models and people that answer"
EXPORT = "Hand results on"
SETUP = "Set up a study"
RUN = "Run a stage, as Snakemake does"
PANELS = (LOOK, EXPLAIN, CHECK, ANNOTATE, EXPORT, SETUP, RUN)


def examples(*commands: str, end: str = "") -> str:
    """The foot of a command's help: commands to type; each must parse."""
    head = "**Example**" if len(commands) == 1 else "**Examples**"
    listed = "\n".join(f"- `{command}`" for command in commands)
    return f"{head}\n\n{listed}" + (f"\n\n{end}" if end else "")
