"""Stage annotate: corpus and descriptors -> annotations.h5 (prompt p2, section 3.2)."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from descry.activations.exemplar_files import read_ends, read_exemplars, read_neurons
from descry.annotators.annotations import writing_annotations
from descry.annotators.base import NO_FRAME
from descry.annotators.cascade.asking import WantedError, ask_in_cascade, by_proxy, put
from descry.annotators.cascade.decide import lots, reports
from descry.annotators.cascade.spec import Cascade
from descry.annotators.client import AskOptions, Progress, stored_frame
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.prompt_cache.jsonl import opened
from descry.annotators.prompts import Prompts, p2
from descry.annotators.sampling import Scope, exemplar_scope, whole
from descry.annotators.spec import AnnotatorSpec
from descry.annotators.templates import Shot, p2_template
from descry.annotators.threshold import Centre, find_offsets, typical
from descry.annotators.verdicts import IN_WORDS, verdicts
from descry.annotators.yes_share import one_sided
from descry.corpus.splits import SPLITS
from descry.corpus.units import stand_for_all
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.json_files import read_json, write_json
from descry.io.kept import FOLDER
from descry.io.parquet import Chosen, Texts
from descry.io.provenance import provenance
from descry.io.section import Count, Place, Section, Seed, Share, crossed
from descry.io.sharding import WHOLE, Shard
from descry.models.spec import NeuronNames

PACKAGES = ["h5py", "numpy", "scikit-learn"]
NEAR_TIE = 0.1  # log-odds: within it another batching or machine may turn an answer


def _word(value: object) -> object:
    """YAML 1.1 has the words yes and no for true and false."""
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class Example(Section):
    """An example of p2, written by hand."""

    sentence: Annotated[str, Field(pattern=r"\S")]
    descriptor: Annotated[str, Field(pattern=r"\S")]
    answer: Annotated[Literal["yes", "no"], BeforeValidator(_word)]


# Which of the two a value is to be, so that an error is of that one alone; no key has brackets.
_Number = Annotated[float, Field(allow_inf_nan=False), Tag("[number]")]
_Fitted = Annotated[Literal["fitted"], Tag("[word]")]
_Threshold = Annotated[
    _Number | _Fitted, Discriminator(lambda it: "[word]" if isinstance(it, str) else "[number]")
]


class Scoped(Section):
    """Which sentences an annotator is asked about with p2, how, and what an answer counts as."""

    examples: Annotated[list[Example], Field(min_length=1)] | None
    template: Place | None
    centre: Centre | None
    threshold: _Threshold
    scope: Literal["corpus", "exemplars"]
    neurons: NeuronNames | Count | None
    sample: Seed
    seed: Seed
    min_mass: Share
    max_failures: Share

    @property
    def shots(self) -> list[Shot]:
        """The examples that a prompt shows."""
        return [example.model_dump() for example in self.examples or ()]

    @property
    def settles(self) -> bool:
        """Whether anything is taken off the log-odds."""
        return self.centre is not None or self.threshold != 0

    @model_validator(mode="after")
    def _people_answer_in_words(self) -> Self:
        stage = type(self).__name__.lower()
        who = getattr(self, "annotator", None)
        if who is not None and who.kind == "human":
            if self.examples is not None or self.template is not None:
                raise crossed(f"{stage}: people read no prompt: set template and examples to null")
            if self.settles:
                raise crossed(f"{stage}: {IN_WORDS}: set centre to null, threshold to 0")
        return self


class Annotate(Scoped):
    """Prompt p2 for every sentence and descriptor (section 3.2)."""

    annotator: AnnotatorSpec
    cascade: Cascade | None

    @model_validator(mode="after")
    def _cascade_finds_where_yes_begins(self) -> Self:
        if self.cascade is not None:
            if self.settles:
                raise crossed(
                    "annotate.cascade: the cascade finds where Yes begins: set annotate.centre to"
                    " null, annotate.threshold to 0"
                )
            if self.cascade.proxy == self.annotator:
                raise crossed(
                    "annotate.cascade.proxy is annotate.annotator, its oracle: name another, or"
                    " null the cascade"
                )
        return self


def annotate_sentences(
    params: Annotate,
    *,
    corpus: Path,
    template: Path | None = None,
    descriptors: Path,
    exemplars: Path,
    annotations: Path,
    parts: Sequence[Path] = (),
    cache_folder: Path,
    journals: Path | None = None,
    replay: bool = False,
    shard: Shard = WHOLE,
    progress: Progress,
) -> dict[str, object]:
    """Write B and the log-odds behind it, in the form of `annotators.annotations`.

    Every prompt and key follows from the annotator, the frame of its chat template and the texts.

    Args:
        template: of the prompts, in place of the paper's.
        exemplars: read only with scope exemplars.
        parts: files of the shards. After shards, failed prompts are not asked again: the shards
            have just tried.
        journals: as `prompt_cache.journal.opened` takes them.
        shard: with one of several, the answers go into the cache, and their counts into
            `annotations`.
    """
    files, store = (corpus, descriptors, exemplars, annotations), (cache_folder, journals)
    if params.cascade is not None and shard == WHOLE:
        return _in_cascade(
            params, params.cascade, files, store, template, replay, progress, again=not parts
        )
    # Shards of a cascade ask its proxy alone: what the oracle is asked depends on all answers.
    who = params.annotator if params.cascade is None else params.cascade.proxy
    return answer_p2(
        "annotate",
        params,
        who,
        files,
        store,
        template,
        replay=replay,
        progress=progress,
        shard=shard,
        again=not parts,
    )


def wanted_next(params: Annotate, **files: Any) -> list[tuple[int, str]]:
    """Return what a cascade asks people next: rows of the corpus, and descriptors; or nothing.

    The proxy is asked for the answers that it has not given yet.

    Args:
        files: the files of `annotate_sentences`, without `annotations`.
    """
    with TemporaryDirectory(prefix="descry-sheet-") as scratch:
        try:
            annotate_sentences(params, **files, annotations=Path(scratch) / "annotations.h5")
        except WantedError as wanted:
            ids = Texts(files["corpus"], "corpus", "id")
            asked = scope_of(params, ids, files["exemplars"], stand_for_all(files["corpus"])).asked
            entries = read_json(files["descriptors"], "cluster")["descriptors"]
            row, column = np.divmod(wanted.cells, wanted.descriptors)
            rows = np.flatnonzero(asked)[row].tolist()
            return [(at, entries[i]["name"]) for at, i in zip(rows, column.tolist(), strict=True)]
    return []


def answer_p2(
    stage: str,
    params: Scoped,
    annotator: AnnotatorSpec,
    files: tuple[Path, Path, Path, Path],
    store: tuple[Path, Path | None],
    template: Path | None,
    *,
    replay: bool,
    progress: Progress,
    shard: Shard = WHOLE,
    again: bool = True,
) -> dict[str, object]:
    """Write an annotator's B, for stage annotate or judge.

    Args:
        files: corpus, descriptors, exemplars, and the file to write.
        store: folders of the prompt cache, and of its journals, where there are any.
        template: of the prompts.
        again: whether to ask failed prompts again.
    """
    it = _questions(stage, params, files, template)
    output, made, rows, names, tally = files[-1], it.made, it.rows, it.names, Counts()
    spec, kept = annotator.model_dump(), store[0].with_name(FOLDER)
    who = create(spec, "p2", descriptors=it.phrases, corpus=it.texts, kept=kept)
    with opened(*store) as cache:
        how = AskOptions(stage, cache, params.max_failures, replay, progress, shard, again)
        found = verdicts(how, who, it.prompts, params.min_mass, tally, in_words=not params.settles)
        if shard != WHOLE:
            for _ in found:
                pass  # stored as they come
            write_json(output, tally.counts())
            return dict(tally.brief)
        with writing_annotations(output, it.ids, names, it.which.asked, it.which.sampled) as b:
            others = 0
            for positions, yes, odds, greedy in found:
                row, column = np.divmod(positions, len(names))
                b.put(rows[row], column, yes, odds)
                others += int((~greedy).sum())
            if params.settles:
                stand = typical(it.which.asked, it.which.sampled)
                how_much = params.centre, params.threshold
                b.settle(find_offsets(b.odds, len(names), stand, *how_much))
            yes_of, answered, near = b.totals(NEAR_TIE)
            frame = stored_frame(cache, who.identity) or NO_FRAME
            of_b = {"other word likelier": others, "near ties": near}
            cut = [tally.shortened.get(name, 0) for name in it.ids] if tally.shortened else []
            made |= {"template": [*it.prompts.template], "failed": tally.failed} | of_b
            made |= {"cut": len(tally.shortened)}
            b.sign(made, who.identity.as_json(), frame, cut)
    warning = one_sided(who.identity.name, yes_of, answered, stage)
    counts = {"yes": int(yes_of.sum())} | of_b
    told: dict[str, object] = {"sentences": len(rows), **tally.brief, **counts}
    return told | ({"warnings": [warning]} if warning else {})


class _Questions(NamedTuple):
    """What is asked with p2: of which sentences, which descriptors, in which words."""

    ids: Sequence[str]
    texts: Sequence[str]
    phrases: dict[str, dict[str, int]]
    which: Scope
    rows: np.ndarray
    prompts: Prompts
    made: JSON

    @property
    def names(self) -> list[str]:
        """The names of the descriptors."""
        return list(self.phrases)


def _questions(
    stage: str, params: Scoped, files: tuple[Path, Path, Path, Path], template: Path | None
) -> _Questions:
    corpus, descriptors, exemplars, _ = files
    ids, texts = (Texts(corpus, "corpus", name) for name in ("id", "text"))
    entries = read_json(descriptors, "cluster")["descriptors"]
    phrases = {entry["name"]: entry["phrases"] for entry in entries}
    read = [corpus, descriptors] + ([exemplars] if params.scope == "exemplars" else [])
    read += [template] if template else []
    made = provenance(stage, params.model_dump(), read, PACKAGES)
    which = scope_of(params, ids, exemplars, stand_for_all(corpus))
    rows = np.flatnonzero(which.asked)
    prompts = p2(Chosen(texts, rows), list(phrases), p2_template(params.shots, template))
    return _Questions(ids, texts, phrases, which, rows, prompts, made)


def _in_cascade(
    params: Annotate,
    cascade: Cascade,
    files: tuple[Path, Path, Path, Path],
    store: tuple[Path, Path | None],
    template: Path | None,
    replay: bool,
    progress: Progress,
    *,
    again: bool,
) -> dict[str, object]:
    """Write B by a cheap annotator and, where that is not sure, by the annotator itself."""
    it = _questions("annotate", params, files, template)
    specs, tallies = (cascade.proxy, params.annotator), (Counts(), Counts())
    proxy, oracle = (
        create(spec.model_dump(), "p2", descriptors=it.phrases, corpus=it.texts) for spec in specs
    )
    drawn = lots([it.ids[row] for row in it.rows.tolist()], it.names, cascade.seed)
    with opened(*store) as cache:
        how = AskOptions("annotate", cache, params.max_failures, replay, progress, WHOLE, again)
        said = ask_in_cascade(
            cascade, how, (proxy, oracle), it.prompts, drawn, params.min_mass, tallies
        )
        decided = said[-1]
        with writing_annotations(
            files[-1], it.ids, it.names, it.which.asked, it.which.sampled
        ) as b:
            put(b, it.rows, said[:2], decided)
            yes_of, answered, near = b.totals(NEAR_TIE)
            frames = [stored_frame(cache, who.identity) or NO_FRAME for who in (proxy, oracle)]
            b.add_proxy(
                by_proxy(len(it.ids), it.rows, said[0], decided),
                decided.cut,
                proxy.identity.as_json(),
                frames[0],
            )
            shortened = tallies[0].shortened | tallies[1].shortened
            cut = [shortened.get(name, 0) for name in it.ids] if shortened else []
            failed = sum(tally.failed for tally in tallies)
            of_b = {"other word likelier": said[1].others, "near ties": near}
            asked = int((~decided.by_proxy).sum())
            of_cascade = {
                "asked": asked,
                "cells": decided.known.size,
                "rounds": decided.rounds,
                "descriptors": dict(reports(decided, it.names)),
            }
            made = it.made | {"template": [*it.prompts.template], "failed": failed} | of_b
            made |= {"cut": len(shortened), "cascade": of_cascade}
            b.sign(made, oracle.identity.as_json(), frames[1], cut)
    missed = [name for name, ok in zip(it.names, decided.reached, strict=True) if not ok]
    warnings = [one_sided(oracle.identity.name, yes_of, answered)]
    if missed:
        warnings.append(
            f"annotate.cascade: the budget is too small for its goals: of {len(missed)} of"
            f" {len(it.names)} descriptors nothing is guaranteed"
        )
    briefs = {"proxy": tallies[0].brief, "oracle": tallies[1].brief}
    told: dict[str, object] = {"sentences": len(it.rows)}
    told |= {f"{who} {name}": n for who, brief in briefs.items() for name, n in brief.items()}
    told |= {"answered by the oracle": f"{asked:,} of {decided.known.size:,}"}
    told |= {"yes": int(yes_of.sum())} | of_b
    said_why = [words for words in warnings if words]
    return told | ({"warnings": said_why} if said_why else {})


def scope_of(
    params: Scoped, ids: Sequence[str], exemplars: Path, sampled: np.ndarray | None = None
) -> Scope:
    """The sentences that are asked about.

    Args:
        sampled: bool [sentences], those that represent all, where not every one does.

    Raises:
        InputError: the exemplars are of another corpus.
    """
    if params.scope == "corpus":
        return whole(len(ids)) if sampled is None else Scope(np.ones(len(ids), bool), sampled)
    ends = read_ends(exemplars)
    sets = [read_exemplars(exemplars, split, end) for split in SPLITS for end in ends]
    if max(int(rows.max()) for rows in sets) >= len(ids):
        raise InputError(f"{exemplars}: not of this corpus: run `descry stage exemplars` again")
    drawn = params.neurons, params.sample, params.seed
    return exemplar_scope(ids, sets, read_neurons(exemplars), *drawn, sampled)
