"""Stage untrained: exemplars of a copy of the target with random weights -> untrained.h5, a null.

What its neurons' labels are worth, the labels of the target must beat: words that a random
projection of the tokens picks out are no finding about the model.
"""

from pathlib import Path
from typing import Any

from descry.activations.top_k import exemplar_size
from descry.io.hdf5 import writing_hdf5
from descry.io.parquet import row_count
from descry.io.provenance import provenance
from descry.io.section import Section, Seed
from descry.stages.activations import PACKAGES, Activations, Progress, extract_activations
from descry.stages.exemplars import PACKAGES as OF_EXEMPLARS
from descry.stages.exemplars import Exemplars, select_exemplars


class Untrained(Section):
    """A copy of the target with random weights, as a null."""

    enabled: bool
    seed: Seed


def select_untrained_exemplars(
    params: Untrained,
    extraction: Activations,
    selection: Exemplars,
    *,
    corpus: Path,
    untrained: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write exemplar sets as stage exemplars does; where it is not enabled, a file that says so.

    The activations are not kept: so they are no input of the sets.
    """
    if not params.enabled:
        with writing_hdf5(untrained, provenance("untrained", params.model_dump(), [], PACKAGES)):
            return {"neurons": 0}
    kept = untrained.with_suffix(".activations.h5")
    # No more of the leaders than the sets need: of a wide model those are most of the memory.
    size = exemplar_size(row_count(corpus, "corpus"), selection.top_percent, selection.min_size)
    streamed = extraction.model_copy(update={"store": "exemplars", "keep": size})
    seen = extract_activations(
        streamed, corpus=corpus, activations=kept, progress=progress, untrained=params.seed
    )
    sections = {"untrained": params, "activations": extraction, "exemplars": selection}
    recorded = {name: section.model_dump() for name, section in sections.items()}
    made = provenance("exemplars", recorded, [corpus], OF_EXEMPLARS)
    counts = select_exemplars(
        selection, extraction, corpus=corpus, activations=kept, exemplars=untrained, made=made
    )
    kept.unlink()
    return counts | {name: seen[name] for name in ("most tokens", "sentences cut")}
