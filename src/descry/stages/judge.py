"""Stage judge: a second annotator's answers -> judgements.h5 (section 5.1).

In the paper ChatGPT labels the exemplars of ten neurons, and its labels are the truth.
"""

from pathlib import Path

from descry.annotators.client import Progress
from descry.annotators.spec import AnnotatorSpec
from descry.io.hdf5 import writing_hdf5
from descry.io.provenance import provenance
from descry.stages.annotate import PACKAGES, Scoped, answer_p2


class Judge(Scoped):
    """Prompt p2 to a second annotator, for a comparison with the first (section 5.1)."""

    annotator: AnnotatorSpec | None


def judge_sentences(
    params: Judge,
    *,
    corpus: Path,
    template: Path | None = None,
    descriptors: Path,
    exemplars: Path,
    judgements: Path,
    cache_folder: Path,
    journals: Path | None = None,
    replay: bool = False,
    progress: Progress,
) -> dict[str, object]:
    """Write the judge's B as stage annotate does; without a judge, an empty file that says so."""
    if params.annotator is None:
        with writing_hdf5(judgements, provenance("judge", params.model_dump(), [], PACKAGES)):
            return {"judge": 0}
    files, store = (corpus, descriptors, exemplars, judgements), (cache_folder, journals)
    return answer_p2(
        "judge", params, params.annotator, files, store, template, replay=replay, progress=progress
    )
