"""Stage judge: a second annotator's answers -> judgements.h5 (section 5.1).

The paper has ChatGPT label the exemplars of ten neurons, and takes that as the truth.
"""

from pathlib import Path
from typing import Any

from descry.annotators.client import Progress
from descry.io.hashing import JSON
from descry.io.hdf5 import writing_hdf5
from descry.io.provenance import provenance
from descry.stages import annotate


def run(
    corpus: Path,
    descriptors: Path,
    exemplars: Path,
    output: Path,
    cache_folder: Path,
    *,
    section: dict[str, Any],
    annotator: JSON | None,
    progress: Progress,
    **how: Any,
) -> dict[str, object]:
    """Write the judge's B as `annotate` does; without a judge, an empty file that says so."""
    files = corpus, descriptors, exemplars, output, cache_folder
    if annotator is not None:
        return annotate.run(
            *files, section=section, annotator=annotator, progress=progress, stage="judge", **how
        )
    with writing_hdf5(output, provenance("judge", section, [], annotate.PACKAGES)):
        return {"judge": 0}
