"""Stage judge: a second labeller's answers -> judgements.h5 (section 5.1).

The paper has ChatGPT label the exemplars of ten neurons, and takes that as the truth.
"""

from pathlib import Path
from typing import Any

from descry.asking import Progress
from descry.labellers import JSON
from descry.stages import annotate
from descry.storage import provenance, writing_hdf5


def run(
    corpus: Path,
    descriptors: Path,
    exemplars: Path,
    output: Path,
    cache_folder: Path,
    *,
    section: dict[str, Any],
    labeller: JSON | None,
    progress: Progress,
    **how: Any,
) -> dict[str, object]:
    """Write the judge's B as `annotate` does; without a judge, an empty file that says so."""
    files = corpus, descriptors, exemplars, output, cache_folder
    if labeller is not None:
        return annotate.run(
            *files, section=section, labeller=labeller, progress=progress, stage="judge", **how
        )
    with writing_hdf5(output, provenance("judge", section, [], annotate.PACKAGES)):
        return {"judge": 0}
