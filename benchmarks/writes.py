"""What neurons write, and what labelled ones change at the output, of a run that has labels.

The stages `writes` and `interventions` anew on the files of a run (a folder with params.yaml and
results/labels.parquet), whatever its params say of them but for the target:

- `layers`: the share of neurons whose furthest token is beyond permuted weights, beyond mixtures of
  the layer's neurons, and beyond both; the same of a copy of the model with random weights.
- `examples`: ten neurons drawn by lot of those that write, not chosen.
- `read`: how far the words that neurons promote are in their own exemplars and labels, and in those
  of another neuron of the layer.
- `effects`: labelled neurons set to their mean, and raised, beside others that write as much.

Where the neurons have no output weights or the model no head, the first three are left out, and why
is told.

    python benchmarks/writes.py studies/decoder --json out.json
"""

import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import typer
from activations import Json, Row, folder_for, report

from descry.errors import InputError
from descry.evaluation.writes import Lens, layer_writes, rates
from descry.io.csv_rows import defined
from descry.io.json_files import read_json, write_json
from descry.io.parquet import read_table, table_provenance
from descry.models.checkpoints import Checkpoint
from descry.models.heads import load_headed
from descry.models.unembedding import read_writers
from descry.n2g.token_words import readable
from descry.stages.interventions import KINDS, MEASURES, WAYS, Interventions, intervene
from descry.stages.writes import Writes, find_writes
from descry.workflow.params import Params, load

Part = tuple[str, list[Row]]
EXAMPLES, SHOWN = 10, 6  # neurons, and tokens of each
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@dataclass(frozen=True)
class Study:
    """A run, and where its results are made anew."""

    params: Params
    folder: Path

    def files(self, *names: str) -> dict[str, Path]:
        ends = {"annotations": "h5", "exemplars": "h5", "descriptors": "json"}
        return {name: Path(f"results/{name}.{ends.get(name, 'parquet')}") for name in names}


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="a folder with params.yaml and results/")],
    draws: Annotated[int, typer.Option(min=1, help="of each null")] = 5,
    neurons: Annotated[int, typer.Option(min=2, help="labelled ones that are edited")] = 40,
    sentences: Annotated[int, typer.Option(min=2, help="of each kind")] = 10,
    others: Annotated[int, typer.Option(min=1, help="beside each neuron")] = 5,
    raised: Annotated[float, typer.Option(min=0.1, help="deviations")] = 3.0,
    random: Annotated[int, typer.Option(min=0, help="layers with random weights")] = 2,
    json_file: Json = None,
) -> None:
    """Print the tables; with --json write them, each under its name."""
    rows: list[Row] = []
    target = json_file and json_file.absolute()
    with folder_for(None) as folder, chdir(run):
        study = Study(load(Path("params.yaml")), folder)
        for some in (
            written(study, draws, random),
            effects(study, neurons, sentences, others, raised),
        ):
            for part, own in some:
                report(part, own, None)
                rows += [{"part": part, **row} for row in own]
    if target:
        options = {"draws": draws, "neurons": neurons, "sentences": sentences, "others": others}
        write_json(target, defined({"options": options | {"raised": raised}, "rows": rows}))


def written(study: Study, draws: int, random: int) -> Iterator[Part]:
    section = Writes(enabled=True, top=10, draws=draws, fdr=0.05, seed=0)
    files = study.files("corpus", "descriptors", "labels", "exemplars")
    path, start = study.folder / "writes.parquet", time.process_time()
    find_writes(section, study.params.activations, **files, writes=path, progress=quiet)
    seconds = time.process_time() - start
    table = read_table(path, "writes")
    made = table_provenance(table)
    if why := made.get("undefined"):
        print(f"what neurons write: {why}")
        return
    print(f"{made['how']}; {made['tokens']:,} tokens; {seconds:,.0f} CPU-seconds")
    layers = []
    for layer in pc.unique(table["layer"]).to_pylist():
        own = table.filter(pc.equal(table["layer"], layer))
        layers.append({"layer": layer, **shares(own), **first_tokens(own)})
    layers.append({"layer": "all", **shares(table), **first_tokens(table)})
    yield "layers", layers + at_random(study, draws, random)
    yield "examples", examples(table)
    read = []
    for what in ("exemplars", "labels"):
        known = table.filter(pc.is_valid(table[f"{what}_own"]))
        if len(known):
            said = {name: mean(known[f"{what}_{name}"]) for name in ("own", "other")}
            below = mean(pc.less_equal(known[f"{what}_p"], 0.05).cast(pa.float64()))
            read.append({"in its": what, "neurons": len(known)} | said | {"p <= .05": below})
    yield "read", read


def shares(table: pa.Table, fdr: float = 0.05) -> Row:
    """Of the neurons, and the median score beside that of permutations."""
    return {
        "neurons": len(table),
        "beyond permuted": mean(pc.less_equal(table["q"], fdr).cast(pa.float64())),
        "beyond mixed": mean(pc.less_equal(table["q_mixed"], fdr).cast(pa.float64())),
        "write": mean(table["writes"].cast(pa.float64())),
        "score": pc.approximate_median(table["score"]).as_py(),
        "permuted": pc.approximate_median(table["score_null"]).as_py(),
        "kurtosis": pc.approximate_median(table["kurtosis"]).as_py(),
        "of permuted": pc.approximate_median(table["kurtosis_null"]).as_py(),
    }


def first_tokens(table: pa.Table) -> Row:
    """How many different tokens come first among those that write, and the most frequent one."""
    own = table.filter(table["writes"]).to_pylist()
    first = [furthest(one) for one in own]
    names, counts = np.unique(np.array(first, dtype=object), return_counts=True)
    if not first:
        return {"first tokens": 0, "most frequent": ""}
    most = int(np.argmax(counts))
    return {"first tokens": len(names), "most frequent": f"{names[most]} ({counts[most]})"}


def furthest(one: Row) -> str:
    """The token that is furthest out, either way."""
    ends = [(abs(one[f"{way}_z"][0]), one[f"{way}_token"][0]) for way in WHERE if one[f"{way}_z"]]
    return readable(max(ends)[1]) if ends else ""


WHERE = ("promoted", "suppressed")


def at_random(study: Study, draws: int, number: int) -> list[Row]:
    """The shares of a copy of the model with random weights: its last layers."""
    if not number:
        return []
    section = study.params.activations
    headed = load_headed(Checkpoint(**section.target.model_dump()), "float32", "cpu")
    torch.manual_seed(0)
    copy = type(headed.model)(headed.model.config).eval()
    writers = read_writers(headed._replace(model=copy), section.site)
    lens, last = Lens(writers.unembedding.matrix), writers.vectors[-number:]
    found = [layer_writes(v, lens, top=1, draws=draws, seed=[i]) for i, v in enumerate(last)]
    q, q_mixed = rates(found)
    score = np.concatenate([one.told.score for one in found])
    permuted = np.concatenate([one.score_null for one in found])
    row = {"layer": f"random weights ({number})", "neurons": len(q)}
    row |= {"beyond permuted": float(np.mean(q <= 0.05))}
    row |= {"beyond mixed": float(np.mean(q_mixed <= 0.05))}
    row |= {"write": float(np.mean((q <= 0.05) & (q_mixed <= 0.05)))}
    return [row | {"score": float(np.median(score)), "permuted": float(np.median(permuted))}]


def examples(table: pa.Table) -> list[Row]:
    own = table.filter(table["writes"])
    places = np.random.default_rng(0).permutation(len(own))[:EXAMPLES]
    rows = []
    for one in own.take(np.sort(places)).to_pylist():
        row: Row = {"neuron": f"L{one['layer']}:{one['neuron']}"}
        for way in WHERE:
            tokens = zip(one[f"{way}_token"][:SHOWN], one[f"{way}_z"], strict=False)
            row[way] = "  ".join(f"{readable(token)} {abs(z):.1f}" for token, z in tokens)
        rows.append(row)
    return rows


def effects(
    study: Study, neurons: int, sentences: int, others: int, raised: float
) -> Iterator[Part]:
    section = {"enabled": True, "neurons": neurons, "others": others, "sentences": sentences}
    params = Interventions(**section, raised=raised, words=0, seed=0)
    files = study.files("corpus", "descriptors", "annotations", "exemplars", "labels")
    made = {"metrics": study.folder / "effects.json", "effects": study.folder / "effects.csv"}
    made["words"] = study.folder / "words.parquet"  # without a row
    start = time.process_time()
    intervene(params, study.params.activations, **files, **made, progress=quiet)
    told = read_json(made["metrics"], "interventions")
    print(f"{told['neurons']} labelled neurons; {time.process_time() - start:,.0f} CPU-seconds")
    print("; ".join(f"{name}: {words}" for name, words in told["measures"].items()))
    names = ("value", "others", "low", "high", "neurons")
    yield (
        "effects",
        [
            {"": way, "of sentences": kind, "measure": measure}
            | {name: told[way][kind][measure][name] for name in names}
            for way in WAYS
            for kind in (*KINDS, "difference")
            for measure in MEASURES
        ],
    )


def mean(column: Any) -> float:
    return float(pc.mean(column).as_py() or 0.0)


def quiet(*_: object) -> None:
    pass


if __name__ == "__main__":
    try:
        app()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
