import errno
import json
import math
import re
import tracemalloc
from collections import Counter
from dataclasses import replace
from functools import cache
from tempfile import gettempdir
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.corpus import filters as corpus
from descry.corpus.filters import select, split
from descry.corpus.readers import Review
from descry.corpus.splits import CALIBRATION, VALIDATION, draw, sentence_id, split_rows
from descry.errors import InputError
from descry.io.parquet import table_provenance, write_batches, write_table
from descry.io.temp_database import spilling
from descry.stages import corpus as stage

OPINIONS = ["I like it a lot", "it broke within a week", "the price was fair", "my wife loves it"]
THINGS = ["kettle", "dress", "guitar", "lamp", "shampoo", "novel", "tent", "camera", "puzzle"]
SETTINGS = {
    "per_category": 1000,
    "min_words": 3,
    "max_words": 100,
    "language": "en",
    "near_duplicate": 0.8,
    "seed": 0,
}
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
    dropped = Counter()
    with spilling() as database:
        kept = list(select(reviews, database, **SETTINGS | changed, dropped=dropped))
    return kept, +dropped


def halve(reviews, seed, dropped):
    """The sentences that `split` makes of reviews."""
    with spilling() as database:
        return list(split(reviews, database, seed, dropped))


@pytest.mark.parametrize(
    ("words", "reason"),
    [(2, "too short"), (3, None), (10, None), (11, "too long")],
)
def test_reviews_too_short_or_too_long_are_dropped(words, reason):
    kept, dropped = choose([review(" ".join(LONG.split()[:words]))], max_words=10)
    assert len(kept) == (reason is None)
    assert dropped == ({reason: 1} if reason else {})


CHINESE = "电池很耐用，充电也快，我每天都用它听音乐，非常满意，推荐大家购买。"
TELLING = {
    "zh": CHINESE,
    "ja": "電池は長持ちして、充電も早く、毎日音楽を聴くのに使っています。",
    "th": "แบตเตอรี่ใช้งานได้นานและชาร์จเร็วมาก ฉันใช้ฟังเพลงทุกวัน",
}


@pytest.mark.parametrize("language", TELLING)
def test_a_language_without_blanks_counts_characters(language):
    text = TELLING[language]
    characters = sum(c.isalnum() for c in text)
    assert 20 < characters < 60
    for low, high, why in (
        (characters, characters, {}),
        (characters + 1, 99, {"too short": 1}),
        (3, characters - 1, {"too long": 1}),
    ):
        kept, dropped = choose([review(text)], language=language, min_words=low, max_words=high)
        assert (len(kept), dropped) == (not why, why)


def test_near_duplicates_are_found_in_a_language_without_blanks():
    other = "屏幕很清楚，字很大，老人看起来也不费力，送货很快，包装完好，价格便宜。"
    copy = CHINESE.replace("购买", "购入")
    kept, dropped = choose([review(t) for t in (CHINESE, other, copy)], language="zh")
    assert (len(kept), dropped) == (2, {"near duplicate": 1})


def test_a_language_that_cannot_be_told_is_refused():
    with pytest.raises(InputError, match=r"corpus\.language: xx is not one that py3langid tells"):
        choose([review(LONG)], language="xx")


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
    sentences = halve(kept, 2, dropped)
    assert len(sentences) + dropped.total() == len(reviews)
    assert len(sentences) == 14
    assert {"too short", "too long", "exact duplicate", "odd one out (equal halves)"} < {*dropped}


WORDS = ["a", "good", "bad", "very", "kettle", "lamp", "for", "Me", "me!"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=5, unique_by=lambda word: word[:2].lower())


@settings(max_examples=20)  # each works out the bands anew
@given(st.lists(st.tuples(TEXTS, st.sampled_from("ABC"))), st.integers(0, 3), st.integers(1, 3))
def test_reviews_are_chosen_as_if_all_were_sorted_in_memory(given, seed, limit):
    reviews = [replace(review(" ".join(w), c), line=i) for i, (w, c) in enumerate(given)]
    speaks = corpus._Language("en")
    first = {}
    for one in reviews:
        if len(one.text.split()) >= 3:
            first.setdefault(tuple(one.text.lower().replace("!", "").split()), one)
    taken, expected = Counter(), []
    for one in sorted(first.values(), key=lambda one: draw(seed, one.text)):
        if taken[one.category] < limit and speaks(one.text):
            taken[one.category] += 1
            expected.append(one)
    kept, dropped = choose(reviews, seed=seed, per_category=limit, near_duplicate=0.95)
    assert kept == expected
    assert dropped["exact duplicate"] == len(reviews) - dropped["too short"] - len(first)


ODD = "a nul \x00 and a \N{KANGAROO} in a review that is otherwise plain English"


@pytest.mark.parametrize("overall", [None, 0.1 + 0.2, -0.0, math.inf, math.nan, 1e300])
def test_a_review_comes_back_as_it_was_read(overall):
    given = Review(ODD, "Toys\x00 & Games", "", overall, None, "é", -(2**62), "a b.jsonl", 2**40)
    (found,), _ = choose([given])
    assert repr(found) == repr(given)  # where a NaN is equal to itself
    halves = halve([given, review(LONG)], 0, Counter())
    assert repr(given) in [repr(sentence.review) for sentence in halves]


def test_memory_does_not_grow_with_the_reviews_read():
    def peak(n):
        tracemalloc.start()
        choose((review(f"{i} kettles arrived on day {i}") for i in range(n)), per_category=5)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)  # what is loaded once
    few, many = peak(1_000), peak(8_000)
    assert many < few + 100_000  # bytes: 7,000 reviews are some millions


def written(tmp_path, reviews, **changed):
    """What stage corpus makes of reviews in a file: the counts, and the Parquet file."""
    file, output = tmp_path / "Toys.jsonl", tmp_path / "corpus.parquet"
    file.write_text("".join(json.dumps({"text": one.text}) + "\n" for one in reviews))
    section = {"text_fields": ["text"], "columns": None, "max_invalid": 0.0} | SETTINGS | changed
    return built(section, file, output), pq.ParquetFile(output)


def built(section, file, output):
    params = stage.Corpus(reviews=str(file), **section)
    return stage.build_corpus(params, reviews=[file], corpus=output)


def test_a_large_corpus_is_written_in_row_groups_of_a_whole(tmp_path, monkeypatch):
    whole = written(tmp_path, plain_reviews(40))[1].read()
    monkeypatch.setattr(stage, "ROW_GROUP", 16)
    monkeypatch.setattr(stage, "_PIECE", 4)
    counts, file = written(tmp_path, plain_reviews(40))
    assert counts == {"kept": 40}
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [16, 16, 8]
    assert file.read().equals(whole, check_metadata=True)


def test_one_row_group_has_the_bytes_of_the_table_as_a_whole(tmp_path):
    made, table = {"stage": "corpus"}, written(tmp_path, plain_reviews(9))[1].read()
    write_table(tmp_path / "whole", table, made)
    write_batches(tmp_path / "parts", table.schema, iter([table]), made)
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_corpus_that_fails_midway_leaves_what_was_there(tmp_path):
    def batches():
        yield table
        raise InputError("the disk is full")

    table = written(tmp_path, plain_reviews(8))[1].read()
    before = (tmp_path / "corpus.parquet").read_bytes()
    with pytest.raises(InputError):
        write_batches(tmp_path / "corpus.parquet", table.schema, batches(), {})
    assert (tmp_path / "corpus.parquet").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.parquet", "Toys.jsonl"}


def test_a_full_disk_for_the_language_model_is_one_clear_line(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(corpus.LanguageIdentifier, "from_model_file", full)
    with pytest.raises(InputError, match=f"^{re.escape(gettempdir())}: the disk is full"):
        choose(plain_reviews(1))


@pytest.mark.parametrize("reviews", [[], [review("too short")], plain_reviews(1)])
def test_no_review_left_is_an_error_that_says_why(tmp_path, reviews):
    with pytest.raises(InputError, match=r"Toys\.jsonl: no review is left after filtering \("):
        written(tmp_path, reviews)
    assert not (tmp_path / "corpus.parquet").exists()


def test_no_review_left_says_what_the_limits_count(tmp_path):
    with pytest.raises(InputError, match=r"\(1 too short\): .*max_words count words between"):
        written(tmp_path, [review(CHINESE.replace(" ", ""))])
    with pytest.raises(InputError, match=r"\(1 too short\): .* count characters in .*language zh"):
        written(tmp_path, [review("很好")], language="zh")


def test_the_summary_names_the_fields_that_texts_came_from_and_values_that_are_none(tmp_path):
    file, section = tmp_path / "Toys.jsonl", {"text_fields": ["reviewText", "text"]}
    section |= {"columns": None, "max_invalid": 0.0} | SETTINGS
    records = [{"text": one.text, "overall": "many"} for one in plain_reviews(4)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    counts = built(section, file, tmp_path / "o")
    assert counts == {"kept": 4, "overall not a star rating": 4}
    records[0]["reviewText"] = records[0].pop("text")
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    counts = built(section, file, tmp_path / "o")
    noted = {"overall not a star rating": 4, "text of reviewText": 1, "text of text": 3}
    assert counts == {"kept": 4} | noted
    assert table_provenance(pq.read_table(tmp_path / "o"))["noted"] == noted


CATEGORIES = st.lists(st.sampled_from("ABCDE"))


def halves(categories, seed=0):
    """The reviews of these categories, their split, and what was dropped."""
    reviews = [review(f"review {i}", category) for i, category in enumerate(categories)]
    dropped = Counter()
    return reviews, halve(reviews, seed, dropped), +dropped


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
    assert halve(reviews, 0, Counter()) == sentences


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
    assert halve([], 0, Counter()) == []


def test_an_id_is_the_start_of_the_sha256_of_the_text():
    assert sentence_id("Café, ok") == "6ba56cc90511e9d5"  # printf 'Café, ok' | sha256sum


def test_rows_of_the_splits_are_those_of_the_whole_corpus():
    rows = split_rows([VALIDATION, CALIBRATION, VALIDATION, CALIBRATION])
    assert {name: r.tolist() for name, r in rows.items()} == {
        "all": [0, 1, 2, 3],
        CALIBRATION: [1, 3],
        VALIDATION: [0, 2],
    }
