"""Annotators that are fitted to a corpus: of a large one to a part, and the rest slab by slab."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_words import ABOUT, PHRASES, SENTENCES, said

from descry.annotators import fitted
from descry.annotators.fitted import Fitted, fingerprint
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompts import p2
from descry.annotators.weak_labels import learn
from descry.annotators.words.annotator import WordsAnnotator
from descry.annotators.words.matching import match_words
from descry.io.hashing import canonical, sha256_text

NAMES = list(PHRASES)
PART = 80  # of 240 sentences


@pytest.fixture
def part(monkeypatch):
    monkeypatch.setattr(fitted, "FITTED_TO", PART)


@given(st.lists(st.text()), st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers())))
def test_the_fingerprint_is_that_of_the_whole_text(corpus, descriptors):
    whole = sha256_text(canonical({"descriptors": descriptors, "corpus": corpus}))
    assert fingerprint(descriptors, corpus) == whole


def test_the_fingerprint_says_that_a_part_was_fitted_to(monkeypatch):
    whole = fingerprint(PHRASES, SENTENCES)
    monkeypatch.setattr(fitted, "FITTED_TO", len(SENTENCES))
    assert fingerprint(PHRASES, SENTENCES) == whole
    found = set()
    for part in (len(SENTENCES) - 1, 5):
        monkeypatch.setattr(fitted, "FITTED_TO", part)
        found.add(fingerprint(PHRASES, SENTENCES))
    assert len(found | {whole}) == 3


def test_what_was_learnt_gives_the_sentences_that_taught_it_the_same():
    rng = np.random.default_rng(0)
    first, vectors = rng.normal(size=(300, 3)), rng.normal(size=(300, 5))
    first[:60] += 3
    odds, weak = learn(first, vectors)
    assert weak(first, vectors) == pytest.approx(odds)
    assert weak(first[5:9], vectors[5:9]) == pytest.approx(odds[5:9])


def test_words_apply_to_others_as_to_those_that_they_were_fitted_to():
    phrases = {name: list(mentions) for name, mentions in PHRASES.items()}
    (odds, several), apply = match_words(phrases, {"a": ["price"]}, SENTENCES)
    again, again_several = apply(SENTENCES)
    assert again == pytest.approx(odds, abs=1e-6)
    assert again_several == pytest.approx(several, abs=1e-6)


def test_no_more_sentences_are_held_than_it_is_fitted_to(part):
    seen = []

    def match(descriptors, merged, sentences):
        def odds(sentences):
            seen.append(len(sentences))
            return np.zeros((len(sentences), len(descriptors))), np.zeros((len(sentences), 0))

        return odds(sentences), odds

    corpus = [f"sentence {row}" for row in range(1000)]
    found = Fitted(PHRASES, corpus, match)
    for start in range(0, 1000, 50):
        prompts = p2(corpus[start : start + 50], NAMES)
        found.fit([prompts[0]], prompts)
        assert len(found.applies(prompts)) == len(prompts)
    assert seen[0] == PART
    assert max(seen[1:]) <= 50
    assert sum(seen) == 1000


def test_which_sentences_it_is_fitted_to_does_not_depend_on_their_order(part):
    one, other = (
        Fitted(PHRASES, SENTENCES, match_words),
        Fitted(PHRASES, SENTENCES[::-1], match_words),
    )
    assert one._row.keys() == other._row.keys()
    assert len(one._row) == PART


def test_all_sentences_are_answered_and_nearly_as_well_by_a_part(part):
    prompts = p2(SENTENCES, NAMES)
    found = said(WordsAnnotator(PHRASES, SENTENCES), prompts)
    yes = np.array([parse_verdict(found[i].response, 0).yes for i in range(len(prompts))])
    truth = ABOUT[:, None] == np.array(NAMES)
    yes = yes.reshape(truth.shape)
    assert (yes & truth).sum() / yes.sum() > 0.8
    assert (yes & truth).sum() / truth.sum() > 0.6


def test_an_answer_does_not_depend_on_what_is_known_already(part):
    prompts = p2(SENTENCES[:40], NAMES)
    whole = said(WordsAnnotator(PHRASES, SENTENCES), prompts)
    some = said(WordsAnnotator(PHRASES, SENTENCES), prompts, {7, 100})
    assert some == {row: whole[row] for row in (7, 100)}
