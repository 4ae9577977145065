"""The whole chain, stage by stage; it ends at the first stage where something does not follow."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from descry.annotators.prompt_cache.store import PromptCache
from descry.corpus.units import POSITIONS
from descry.errors import InputError
from descry.io.dvc_lock import in_order
from descry.provenance.audit.answers import Topics
from descry.provenance.audit.project import STAGES, Project
from descry.provenance.verify import contents
from descry.provenance.verify import recompute as samples
from descry.provenance.verify.cached_answers import CachedAnswers
from descry.provenance.verify.check import Check, Link
from descry.provenance.verify.hashes import Hashes
from descry.workflow.params import Params


def verify(
    project: Project, params: Params, *, sample: int, seed: int, hashes: bool = False
) -> Iterator[Link]:
    """Check every link, from the reviews to the labels and what is made of them.

    Hashes come first, of each file once; then whether what a result says follows from its inputs.

    Args:
        sample: sentences, and answers to each prompt, that the models compute again; 0: none.
        seed: draws them.
        hashes: these alone.

    Yields:
        A link at a time. The last ones are of the first stage where something is wrong.

    Raises:
        InputError: a result is missing; or the prompt cache, which hashes alone do not need.
    """
    made = project.made  # read before any link: where a result is missing, nothing is checked
    with ExitStack() as stack:
        contents_of: dict[str, list[Check]] = {}
        if not hashes:
            contents_of = _contents(stack, project, params, Topics(made["describe"]), sample, seed)
        for stage, checks in _stages(project):
            wrong = False
            for check in [*checks, *contents_of.get(stage, [])]:
                link = _settled(stage, check)
                wrong = wrong or link.fault is not None
                yield link
            if wrong:
                return


def _stages(project: Project) -> Iterator[tuple[str, list[Check]]]:
    """Every stage with its checks of hashes: those of dvc.lock, or else of the results alone."""
    hashes, locked = Hashes(project), in_order(project.locked)
    for stage in locked:
        yield stage.name, hashes.checks(stage)
    if not locked:
        for name, result in STAGES.items():
            yield name, [partial(hashes.recorded, name, f"results/{result}", {})]


def _settled(stage: str, check: Check) -> Link:
    """What a check says; input that is not in order is a fault as well."""
    try:
        return check()
    except InputError as error:
        return Link(stage, "whether it can be read", str(error))


def _cache(project: Project) -> PromptCache:
    """The prompt cache, if it is here: opening would make an empty one."""
    if not (project.cache_folder / "cache.db").is_file():
        raise InputError(
            f"{project.cache_folder}: no prompt cache: `descry cache import` makes one of exports"
        )
    return PromptCache(project.cache_folder)


def _contents(
    stack: ExitStack, project: Project, params: Params, topics: Topics, sample: int, seed: int
) -> dict[str, list[Check]]:
    """The checks of each stage whether what its result says follows from its inputs.

    Args:
        stack: closes the cache that they read, and removes what they compute again.
    """
    cache = stack.enter_context(_cache(project))
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="descry-verify-")))
    answers, held = CachedAnswers(project), partial(contents.annotations, project)
    checks: dict[str, list[Check]] = {
        "corpus": [partial(contents.corpus, project, params)],
        "describe": [
            partial(answers.go_through, cache, list(topics.template)),
            partial(contents.candidates, project, topics, cache, answers),
        ],
        "cluster": [partial(contents.clusters, project)],
        "activations": [partial(samples.weights, project, params)],
        "exemplars": [partial(contents.exemplar_sets, project, params, scratch)],
        "annotate": [lambda: held(project.annotations, answers, "annotate")],
        "judge": [lambda: held(project.judgements, answers, "judge")],
        "label": [partial(contents.labels, project, params, scratch)],
        "facets": [partial(contents.facets, project, params)],
    }
    if project.units == POSITIONS:
        checks["tokens"] = [partial(contents.tokens, project, params, scratch)]
    if sample:
        drawn = sample, seed
        some = partial(samples.some_activations, project, params, scratch, *drawn)
        again = partial(samples.some_topics, project, params, topics, cache, *drawn)
        checks["describe"].append(again)
        checks["activations"].append(some)
        checks["writes"] = [partial(samples.some_writes, project, params, *drawn)]
        checks["annotate"].append(partial(samples.some_verdicts, project, params, cache, *drawn))
    return checks
