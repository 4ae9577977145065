"""Stage untrained: exemplars of a copy of the target with random weights -> untrained.h5, a null.

What its neurons' labels are worth, the labels of the target must beat: words that a random
projection of the tokens picks out are no finding about the model.
"""

from pathlib import Path
from typing import Any

from descry.io.hdf5 import writing_hdf5
from descry.io.provenance import provenance
from descry.stages import activations, exemplars
from descry.stages.activations import Progress

PACKAGES = activations.PACKAGES


def run(
    corpus: Path,
    output: Path,
    *,
    section: dict[str, Any],
    extraction: dict[str, Any],
    selection: dict[str, Any],
    enabled: bool,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Write exemplar sets as stage exemplars does; where it is not enabled, a file that says so.

    The matrix is not kept.

    Args:
        extraction: section `activations` of params.yaml.
        selection: section `exemplars`.
    """
    if not enabled:
        with writing_hdf5(output, provenance("untrained", section, [], PACKAGES)):
            return {"neurons": 0}
    kept = output.with_suffix(".activations.h5")
    made = extraction | {"store": "exemplars"}
    whole = made | {"untrained": seed}
    seen = activations.run(corpus, kept, section=whole, **made, untrained=seed, progress=progress)
    recorded = {"untrained": section, "activations": extraction, "exemplars": selection}
    counts = exemplars.run(corpus, kept, output, section=recorded, passing=True, **selection)
    kept.unlink()
    return counts | {name: seen[name] for name in ("most tokens", "sentences cut")}
