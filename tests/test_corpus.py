from collections import Counter
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry import corpus
from descry.corpus import select, split
from descry.reviews import Review
from descry.splits import CALIBRATION, VALIDATION, sentence_id, split_rows

OPINIONS = ["I like it a lot", "it broke within a week", "the price was fair", "my wife loves it"]
THINGS = ["kettle", "dress", "guitar", "lamp", "shampoo", "novel", "tent", "camera", "puzzle"]
LONG = " ".join(f"the {thing} was {i} times as good" for i, thing in enumerate(THINGS))


@pytest.fixture(autouse=True, scope="module")
def language_model_loaded_once():
    load = cache(corpus.LanguageIdentifier.from_model_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "LanguageIdentifier", SimpleNamespace(from_model_file=load))
        yield


def review(text, category="Toys"):
    return Review(text, category, None, None, None, None, None, "a.jsonl", 1)


def plain_reviews(n, category="Toys"):
    """English reviews, no two alike."""
    return [
        review(
            f"This {THINGS[i % 9]} of model {i} and series {i * 7} arrived on time,"
            f" {OPINIONS[i % 4]}, and box {i * 3} was number {i * 11} of shipment {i * 13}.",
            category,
        )
        for i in range(n)
    ]


def choose(reviews, **changed):
    """What `select` keeps, and what it drops by reason."""
    settings = {
        "per_category": 1000,
        "min_words": 3,
        "max_words": 100,
        "language": "en",
        "near_duplicate": 0.8,
        "seed": 0,
    }
    dropped = Counter()
    return select(reviews, **settings | changed, dropped=dropped), +dropped


@pytest.mark.parametrize(
    ("words", "reason"),
    [(2, "too short"), (3, None), (10, None), (11, "too long")],
)
def test_reviews_too_short_or_too_long_are_dropped(words, reason):
    kept, dropped = choose([review(" ".join(LONG.split()[:words]))], max_words=10)
    assert len(kept) == (reason is None)
    assert dropped == ({reason: 1} if reason else {})


def test_the_first_of_exact_duplicates_is_kept():
    first = review("I love this kettle, it boils quickly.")
    others = [first, review("i LOVE this kettle: it boils quickly!!"), replace(first, line=9)]
    kept, dropped = choose([first, *others])
    assert kept == [first]
    assert dropped == {"exact duplicate": 3}


@pytest.mark.parametrize("changes", [{"lamp": "torch"}, {"kettle": "pan", "puzzle": "game"}])
def test_a_review_with_few_words_changed_is_a_near_duplicate(changes):
    copy = LONG
    for word, other in changes.items():
        copy = copy.replace(word, other)
    kept, dropped = choose([review(LONG), review(copy)])
    assert len(kept) == 1
    assert dropped == {"near duplicate": 1}


def test_near_duplicates_are_found_almost_always():
    reviews = []
    for i in range(300):
        words = [f"w{i}x{j}" for j in range(60)]
        reviews += [review(" ".join(words)), review(" ".join([*words[:30], "new", *words[31:]]))]
    _, dropped = choose(reviews)  # Jaccard 55/61 = 0.90
    assert 295 <= dropped["near duplicate"] <= 300


def test_different_reviews_with_the_same_words_are_kept():
    backwards = " ".join(reversed(LONG.split()))
    kept, dropped = choose([review(LONG), review(backwards)])
    assert len(kept) == 2
    assert not dropped


@pytest.mark.parametrize(("threshold", "kept"), [(0.90, 1), (0.91, 2)])
def test_the_near_duplicate_threshold_is_a_jaccard_similarity(threshold, kept):
    words = [f"w{j}" for j in range(60)]
    copy = [*words[:30], "new", *words[31:]]  # 55 of 61 three-word shingles are common: 0.9016
    reviews = [review(" ".join(words)), review(" ".join(copy))]
    assert len(choose(reviews, near_duplicate=threshold)[0]) == kept


@pytest.mark.parametrize(
    "text",
    [
        "Sehr gutes Produkt, ich bin sehr zufrieden und würde es wieder kaufen",
        "Muy buen producto, llegó a tiempo y funciona perfectamente, lo recomiendo",
        "Très bon produit, je le recommande à tout le monde sans hésiter",
    ],
)
def test_another_language_is_dropped(text):
    assert choose([review(text)]) == ([], {"another language": 1})


@pytest.mark.parametrize(
    "text",
    [
        "love it so much best purchase ever would buy again lol",
        "great lil thing, works gr8, thx guys, my hubby loves it to bits",
        "omg luv luv luv these!!! so comfy n cute 4 my daughter",
        "NICE CUTE SMALL SOFT GOOD OK FINE THX MUCH WOW",
        "perfect fit no issues A+++ will def order more from seller",
    ],
)
def test_short_informal_english_is_kept(text):
    assert choose([review(text)]) == ([review(text)], {})


def test_the_language_is_a_parameter():
    german = review("Sehr gutes Produkt, ich bin sehr zufrieden und würde es wieder kaufen")
    assert choose([german, *plain_reviews(1)], language="de") == ([german], {"another language": 1})


def test_a_category_has_at_most_its_limit():
    reviews = [*plain_reviews(30), review("a small book about nothing at all", "Books")]
    kept, dropped = choose(reviews, per_category=10)
    assert Counter(r.category for r in kept) == {"Toys": 10, "Books": 1}
    assert dropped == {"over the limit of its category": 20}


def test_the_choice_follows_the_seed_and_not_the_order_of_the_files():
    reviews = plain_reviews(30)
    first, _ = choose(reviews, per_category=10)
    assert choose(reviews[::-1], per_category=10)[0] == first
    assert set(choose(reviews, per_category=10, seed=1)[0]) != set(first)


def test_reviews_of_another_category_do_not_change_the_choice():
    toys = plain_reviews(30)
    books = [review(f"{i} books about whales and {i * 3} ships", "Books") for i in range(30)]
    alone, _ = choose(toys, per_category=10)
    mixed, _ = choose(books + toys, per_category=10)
    assert [r for r in mixed if r.category == "Toys"] == alone


def test_a_review_that_is_dropped_does_not_use_up_the_limit():
    reviews = [*plain_reviews(10), *(replace(r, line=2) for r in plain_reviews(10))]
    kept, dropped = choose(reviews, per_category=10)
    assert len(kept) == 10
    assert dropped == {"exact duplicate": 10}


def test_every_review_read_is_kept_or_counted():
    reviews = [
        *plain_reviews(25),
        *plain_reviews(4, "Books"),  # exact duplicates
        review("nope"),
        review("far too long " * 50),
        review(LONG),
        review(LONG.replace("lamp", "torch")),
        review("Sehr gutes Produkt, ich bin sehr zufrieden und würde es wieder kaufen"),
    ]
    kept, dropped = choose(reviews, per_category=15, seed=2)
    sentences = split(kept, 2, dropped)
    assert len(sentences) + dropped.total() == len(reviews)
    assert len(sentences) == 14
    assert {"too short", "too long", "exact duplicate", "odd one out (equal halves)"} < {*dropped}


CATEGORIES = st.lists(st.sampled_from("ABCDE"))


def halves(categories, seed=0):
    """The reviews of these categories, their split, and what was dropped."""
    reviews = [review(f"review {i}", category) for i, category in enumerate(categories)]
    dropped = Counter()
    return reviews, split(reviews, seed, dropped), +dropped


def by_half(sentences, category=None):
    chosen = [s for s in sentences if category in (None, s.review.category)]
    return [sum(s.split == half for s in chosen) for half in (CALIBRATION, VALIDATION)]


@given(CATEGORIES)
def test_the_halves_are_equal(categories):
    _, sentences, _ = halves(categories)
    calibration, validation = by_half(sentences)
    assert calibration == validation == len(categories) // 2


@given(CATEGORIES)
def test_the_halves_keep_the_shares_of_categories_within_one(categories):
    _, sentences, _ = halves(categories)
    for category in set(categories):
        calibration, validation = by_half(sentences, category)
        assert abs(calibration - validation) <= 1


@given(CATEGORIES)
def test_the_odd_one_out_is_counted(categories):
    reviews, sentences, dropped = halves(categories)
    assert dropped.total() == len(categories) % 2 == len(reviews) - len(sentences)
    assert {s.review for s in sentences} <= set(reviews)


@given(CATEGORIES, st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_reviews(categories, random):
    reviews, sentences, _ = halves(categories)
    random.shuffle(reviews)
    assert split(reviews, 0, Counter()) == sentences


@given(CATEGORIES)
def test_sentences_are_in_the_order_of_their_ids(categories):
    _, sentences, _ = halves(categories)
    ids = [s.id for s in sentences]
    assert ids == sorted(set(ids))
    assert ids == [sentence_id(s.review.text) for s in sentences]


def test_the_split_follows_the_seed():
    _, one, _ = halves("ABCDE" * 20)
    _, other, _ = halves("ABCDE" * 20, seed=1)
    assert [s.split for s in one] != [s.split for s in other]


def test_no_review_gives_no_sentence():
    assert split([], 0, Counter()) == []


def test_an_id_is_the_start_of_the_sha256_of_the_text():
    assert sentence_id("Café, ok") == "6ba56cc90511e9d5"  # printf 'Café, ok' | sha256sum


def test_rows_of_the_splits_are_those_of_the_whole_corpus():
    rows = split_rows([VALIDATION, CALIBRATION, VALIDATION, CALIBRATION])
    assert {name: r.tolist() for name, r in rows.items()} == {
        "all": [0, 1, 2, 3],
        CALIBRATION: [1, 3],
        VALIDATION: [0, 2],
    }
