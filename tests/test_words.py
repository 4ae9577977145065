"""The annotator by words finds what the phrases name, and what goes with them, without a model."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompts import detection, p2
from descry.annotators.words.annotator import WordsAnnotator
from descry.annotators.words.matching import match_words, stems
from descry.errors import InputError

TOPICS = {
    "price": ["price", "cheap", "cost", "money", "dollars", "bargain", "expensive"],
    "battery": ["battery", "charge", "charger", "power", "recharge", "hours"],
    "smell": ["smell", "scent", "odor", "perfume", "fragrance", "stink"],
    "screen": ["screen", "display", "pixels", "bright", "resolution"],
}
FILLER = [
    *["the", "it", "was", "really", "quite", "that", "this"],
    *["thing", "box", "day", "bought", "arrived", "used", "week"],
]
PHRASES = {name: {words[0]: 3, words[1]: 2} for name, words in TOPICS.items()}


def corpus(seed=0, size=240):
    """Sentences of filler, a third of them with some words of a topic; and each one's topic."""
    draw = np.random.default_rng(seed)
    sentences, about = [], []
    for _ in range(size):
        topic = str(draw.choice([*TOPICS, *[""] * 8]))
        words = list(draw.choice(FILLER, 8))
        if topic:
            words += list(draw.choice(TOPICS[topic], 4))
        sentences.append(" ".join(draw.permutation(words)))
        about.append(topic)
    return sentences, np.array(about)


SENTENCES, ABOUT = corpus()


def judge(sentences=SENTENCES, phrases=PHRASES):
    return WordsAnnotator(phrases, sentences)


def said(annotator, prompts, wanted=None):
    wanted = range(len(prompts)) if wanted is None else wanted
    return dict(pair for group in annotator.answer(prompts, wanted) for pair in group)


def test_sentences_with_words_of_the_phrases_are_yes():
    found = said(judge(), prompts := p2(SENTENCES, list(PHRASES)))
    yes = np.array([parse_verdict(found[i].response, 0).yes for i in range(len(prompts))])
    truth = ABOUT[:, None] == np.array(list(PHRASES))
    yes = yes.reshape(truth.shape)
    assert (yes & truth).sum() / yes.sum() > 0.9
    assert (yes & truth).sum() / truth.sum() > 0.7


def test_words_that_no_phrase_names_are_learnt_from_the_corpus():
    odds = match_words({n: list(p) for n, p in PHRASES.items()}, {}, SENTENCES)[0][0]
    for column, (name, words) in enumerate(TOPICS.items()):
        unnamed = [not {*words[:2]} & {*sentence.split()} for sentence in SENTENCES]
        truth = (name == ABOUT) & unnamed
        rest = np.array(unnamed)
        assert truth.sum() > 0
        assert roc_auc_score(truth[rest], odds[rest, column]) > 0.9


def test_a_description_of_several_is_answered_and_depends_on_nothing_else():
    prompts = [detection(s, "price, smell") for s in SENTENCES]
    alone = said(judge(), prompts)
    beside = judge()
    said(beside, [*p2(SENTENCES[:2], ["battery"]), detection(SENTENCES[0], "battery, screen")])
    assert said(beside, prompts) == alone
    odds = [parse_verdict(alone[i].response, 0).odds for i in range(len(prompts))]
    assert roc_auc_score(np.isin(ABOUT, ["price", "smell"]), odds) > 0.9
    with pytest.raises(InputError, match="not made of the descriptors there are"):
        said(judge(), [detection(SENTENCES[0], "nonsense")])


def test_only_what_is_wanted_is_answered():
    prompts = p2(SENTENCES[:5], list(PHRASES))
    whole, some = said(judge(), prompts), said(judge(), prompts, {7, 2})
    assert some == {row: whole[row] for row in (2, 7)}


@pytest.mark.parametrize("sentences", [[], ["It is."], ["!!!", ""], ["cheap"], ["cheap", "cheap"]])
def test_few_or_no_words_give_no_yes(sentences):
    (odds, several), _ = match_words(
        {"price": ["cheap"], "the": []}, {"a, b": ["cheap"]}, sentences
    )
    assert odds.shape == (len(sentences), 2)
    assert several.shape == (len(sentences), 1)
    assert not (odds > 0).any()


@given(st.lists(st.text("ab cé.'中", max_size=12), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_any_texts_have_finite_odds(sentences):
    (odds, _), _ = match_words({"ab": ["cab"], "é": []}, {}, sentences)
    assert np.isfinite(odds).all()


def test_stems_join_forms_of_a_word():
    assert set(stems("Charging charges charged charge, it is a Charge!")) == {"charg"}
    assert stems("cheaply cheap his as red sing") == ["cheap", "cheap", "red", "sing"]


def test_the_identity_is_that_of_phrases_and_corpus():
    same = judge(list(SENTENCES), json.loads(json.dumps(PHRASES)))
    assert same.identity == judge().identity
    others = [judge(SENTENCES[1:]), judge(phrases=PHRASES | {"price": {"price": 1}})]
    assert len({judge().identity, *(other.identity for other in others)}) == 3


def test_it_answers_without_any_model_library(monkeypatch):
    for name in ("torch", "transformers", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    made = create({"kind": "words"}, "p2", descriptors=PHRASES, corpus=SENTENCES)
    assert len(said(made, p2(SENTENCES[:3], ["price"]))) == 3
