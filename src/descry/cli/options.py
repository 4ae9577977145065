"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from descry.cli.completion import neurons_with

CacheFolder = Annotated[Path, typer.Option("--cache", help="Folder of the prompt cache.")]
Results = Annotated[Path, typer.Option("--results", help="Folder with the results.")]
Replay = Annotated[
    bool, typer.Option("--replay", help="Take answers from the cache alone, and load no annotator.")
]
Prices = Annotated[
    str | None,
    typer.Option(
        "--price", help="Dollars per million tokens, read and written, such as 0.15,0.60."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The same numbers as JSON.")]
AllAsJson = Annotated[bool, typer.Option("--json", help="All of it, as JSON.")]
Unlabelled = Annotated[bool, typer.Option("--all", help="Include neurons without a label.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the draws.")]
End = Annotated[str, typer.Option(help="highest or lowest: which end of the activations.")]
NeuronName = Annotated[
    str | None,
    typer.Argument(
        metavar="NEURON",
        help="A neuron by layer and number, such as L5:50.",
        autocompletion=neurons_with,
    ),
]
CACHE, RESULTS = Path("cache/prompts"), Path("results")
