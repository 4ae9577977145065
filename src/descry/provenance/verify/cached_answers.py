"""The prompt cache, gone through once: are its keys right, and what do its answers say?"""

import math
from collections.abc import Iterator

import numpy as np

from descry.annotators.annotations import MISSING, Annotations
from descry.annotators.base import Frame, Identity
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.check import Verified, verify
from descry.annotators.prompt_cache.store import PromptCache
from descry.corpus.units import text_ids
from descry.io.hashing import JSON
from descry.provenance.audit.project import Project
from descry.provenance.verify.check import Link

PROXY = "annotate: proxy"  # in place of a stage
Said = dict[tuple[str, str], tuple[str, JSON]]  # by annotator and sentence: key and response


class CachedAnswers:
    """The cached answers behind the raw descriptors and behind B.

    Attributes:
        topics: the answers to p1, those of the template that made the raw descriptors.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self.topics: Said = {}
        self._verdicts: dict[str, _Verdicts] = {}

    def go_through(self, cache: PromptCache, template: JSON) -> Link:
        """Compute every key again, and collect the answers that belong to the results.

        Args:
            template: of the prompts to p1.
        """
        corpus = self._project.corpus
        names = text_ids(corpus["id"].to_pylist(), corpus["text"].to_pylist())
        self._verdicts = {
            stage: _Verdicts(b, names, *who) for stage, b, who in _asked(self._project)
        }
        self._template = template
        found = verify(cache, self._project.results, self._take)
        return Link("prompt cache", _words(found), _fault(self._project, found))

    def _take(self, key: str, record: JSON, origin: JSON) -> None:
        if origin["task"] == "p1" and origin["template"] == self._template:
            self.topics[origin["name"], record["sentence"]] = key, record["response"]
        elif origin["task"] == "p2":
            for verdicts in self._verdicts.values():
                verdicts.take(record, origin)

    def verdicts(self, stage: str) -> tuple[np.ndarray, np.ndarray]:
        """B as the cache has it: answer and score [sentences, descriptors].

        Args:
            stage: annotate or judge; or `PROXY`, for the answers of the proxy of a cascade.
        """
        return self._verdicts[stage].answer, self._verdicts[stage].score


def _asked(project: Project) -> Iterator[tuple[str, Annotations, tuple[JSON, Frame]]]:
    b = project.annotations
    yield "annotate", b, (b.annotator, b.frame)
    if b.proxy:
        yield PROXY, b, (b.proxy.annotator, b.proxy.frame)
    if (judge := project.judgements) is not None:
        yield "judge", judge, (judge.annotator, judge.frame)


class _Verdicts:
    """B of one annotator, as it fills.

    Args:
        names: what the cache knows the texts of the rows by; several rows may have one.
        who, frame: of the annotator.
    """

    def __init__(self, b: Annotations, names: list[str], who: JSON, frame: Frame) -> None:
        shape = len(b.ids), len(b.descriptors)
        self.answer = np.full(shape, MISSING, dtype=np.int8)
        self.score = np.full(shape, np.nan, dtype=np.float32)
        self._who = Identity(**who)
        self._template, self._frame = list(b.template), list(frame)
        self._rows: dict[str, list[int]] = {}
        for row in np.flatnonzero(b.asked).tolist():
            self._rows.setdefault(names[row], []).append(row)
        self._columns = {name: column for column, name in enumerate(b.descriptors)}
        self._min_mass = float(b.made["params"]["min_mass"])
        self._own: dict[str, bool] = {}  # by an origin's name: few origins have all answers

    def take(self, record: JSON, origin: JSON) -> None:
        """Take an answer in, if it is one of this annotator about this corpus."""
        if not self._is_own(record["origin"], origin):
            return
        rows, column = self._rows.get(record["sentence"]), self._columns.get(record["descriptor"])
        if rows is not None and column is not None:
            self.answer[rows, column], self.score[rows, column] = self._said(record["response"])

    def _is_own(self, name: str, origin: JSON) -> bool:
        if name not in self._own:
            same = origin["template"] == self._template and origin["frame"] == self._frame
            self._own[name] = same and self._who.answered(origin)
        return self._own[name]

    def _said(self, response: JSON) -> tuple[int, float]:
        try:
            verdict = parse_verdict(response, self._min_mass)
        except UnparsableError:
            return MISSING, math.nan
        return int(verdict.yes), verdict.odds


def _words(found: Verified) -> str:
    checked = f"{found.checked} cache keys by their requests"
    if found.elsewhere:
        checked += f" ({found.elsewhere} of other sentences left out)"
    return checked


def _fault(project: Project, found: Verified) -> str | None:
    if not found.wrong:
        return None
    key, reason = min(found.wrong.items())
    return f"{project.cache_folder}: {key}: {reason}; {len(found.wrong)} are wrong"
