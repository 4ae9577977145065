"""The shipped reviews are many, different from each other, and labelled."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from descry.corpus.files import review_files
from descry.corpus.readers import read_reviews
from descry.corpus.splits import sentence_id
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.embedder import sentence_embedder

DATA = Path(__file__).parent.parent / "data"
PAPER = {
    "Age Appropriate / For Kids", "Audio / Sound", "Battery / Charging", "Beverage",
    "Cleaning / Maintenance", "Color", "Controls", "Design / Looks / Appearance", "Durability",
    "Fabric", "Gift / Present", "Graphics", "Grip", "Healthy / Fresh", "Negative",
    "Packaging / Shipping / Delivery", "Positive", "Price", "Product Quality",
    "Protection / Safety", "Size / Fit", "Skincare / Haircare", "Smell / Fragrance / Odor",
    "Taste / Flavor", "Texture", "User Experience",
}  # fmt: skip


@pytest.fixture(scope="module")
def reviews():
    """The reviews meant to stay: one of each text, of 10 words or more."""
    every = list(read_reviews(review_files(DATA / "sample"), ["reviewText"], 0.0, Counter()))
    distinct = {review.text: review for review in every}.values()
    return [review for review in distinct if len(review.text.split()) >= 10]


@pytest.fixture(scope="module")
def gold():
    lines = (DATA / "gold.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row["labels"] for row in map(json.loads, lines)}


def test_at_least_100_reviews_in_each_of_18_categories(reviews):
    count = Counter(review.category for review in reviews)
    assert len(count) == 18
    assert min(count.values()) >= 100
    assert sum(count.values()) >= 1800


def test_at_least_nine_of_ten_word_4_grams_are_unique(reviews):
    grams = Counter()
    for review in reviews:
        words = re.findall(r"[a-z0-9']+", review.text.lower())
        grams.update(zip(words, words[1:], words[2:], words[3:], strict=False))
    assert sum(n == 1 for n in grams.values()) / grams.total() >= 0.9


def test_under_one_percent_of_neighbours_are_near_duplicates(reviews):
    """By the embedder, among those that share most of their words with another."""
    texts = [review.text for review in reviews]
    suspects = most_alike(texts, len(reviews) // 20)
    vectors = sentence_embedder(Checkpoint(MINILM, MINILM_COMMIT))([texts[i] for i in suspects])
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert (similarity.max(axis=1) > 0.95).sum() < 0.01 * len(reviews)


def most_alike(texts, number):
    """The texts nearest to another by their words, and those others: their rows."""
    words = TfidfVectorizer().fit_transform(texts)
    similarity = (words @ words.T).toarray()
    np.fill_diagonal(similarity, -1)
    first = np.argsort(-similarity.max(axis=1))[:number]
    return np.unique([first, similarity[first].argmax(axis=1)])


def test_every_review_has_gold_labels_over_the_papers_descriptors(reviews, gold):
    assert {sentence_id(review.text) for review in reviews} <= set(gold)
    count = Counter(label for labels in gold.values() for label in labels)
    assert set(count) == PAPER
    assert min(count.values()) >= 50


def test_lengths_and_stars_are_mixed(reviews):
    words = np.array([len(review.text.split()) for review in reviews])
    stars = Counter(review.overall for review in reviews)
    assert np.percentile(words, 20) < 25
    assert np.percentile(words, 85) > 60
    assert set(stars) == {1, 2, 3, 4, 5}


def test_no_stage_before_the_evaluation_reads_the_gold_labels():
    source = DATA.parent / "src" / "descry"
    users = {p.stem for p in source.rglob("*.py") if re.search(r"\bread_gold\(", p.read_text())}
    assert users == {"gold", "evaluate", "contents"}  # contents: of the explorer
