"""What is known of a neuron."""

from dataclasses import asdict

from descry.activations.exemplar_files import SPREAD
from descry.activations.top_k import HIGHEST
from descry.corpus.units import POSITIONS
from descry.io.hashing import JSON
from descry.run import Neuron, Run


def neuron_rows(run: Run, name: str, rows: int) -> JSON:
    """A neuron: its activations, and at each end its labels by split and its exemplars."""
    ends = [run.neuron(name, end) for end in run.ends]
    spread = ends[0].distribution
    return {
        "neuron": ends[0].name,
        "kind": run.kind,
        "sentences": int(spread["counts"].sum()),
        "activations": {key: float(spread[key]) for key in SPREAD},
        "ends": {neuron.end: _end(neuron, rows) for neuron in ends},
    }


def _end(neuron: Neuron, rows: int) -> JSON:
    if neuron.silent is not None:
        return {"silent": neuron.silent}
    run = neuron.run
    found = {
        "labels": [label.descriptor for label in neuron.labels],
        "explained": neuron.explained,
        "numbers": {
            name: {split: asdict(numbers) for split, numbers in splits.items()}
            for name, splits in neuron.numbers.items()
        },
        "exemplars": neuron.exemplars.slice(0, rows).to_pylist(),
    }
    if run.units == POSITIONS:
        found["words"] = neuron.tokens.slice(0, rows).to_pylist()
    if neuron.end == HIGHEST:
        if run.has("confounders.parquet"):
            found["follows"] = neuron.confounders.to_pylist()
        if run.has("writes.parquet"):
            found["writes"] = neuron.writes
        if run.has("facets.parquet"):
            found["facets"] = neuron.facets
        if run.has("interventions.csv"):
            found["interventions"] = neuron.interventions
    return found
