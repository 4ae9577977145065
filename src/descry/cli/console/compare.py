"""Print how far two runs' exemplar sets differ."""

from pathlib import Path

from rich.table import Table

from descry.activations.exemplar_files import read_neurons
from descry.cli.console.terminal import console
from descry.cli.rows.compare import compared


def show_compared(first: Path, second: Path) -> None:
    """Print how far the exemplar sets of two files differ."""
    rows = compared(first, second)
    table = Table(
        title=f"exemplar sets of {len(read_neurons(first))} neurons in {first} and {second}"
    )
    for column in ("sets", "size", "that differ", "members in common", "fewest"):
        table.add_column(column, justify="left" if column == "sets" else "right")
    for row in rows:
        shares = f"{row['differ']:.1%}", f"{row['common']:.2%}", f"{row['fewest']:.0%}"
        table.add_row(row["sets"], str(row["size"]), *shares)
    console().print(table)
