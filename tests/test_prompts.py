from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.params import load
from descry.prompts import UnparsableError, p1, p2, parse_topics, parse_yes_no

PAPER = Path(__file__).parents[1] / "presets/paper.yaml"

# Figures 3 and 4 of Mondal et al. 2024, with k = 5.
FIGURE_3 = """\
Identify at most 5 salient topics being discussed in a sentence.
For example, the shoes are true to size. I am used to wearing running shoes so these have been \
an adjustment. Overall, the shoe is nice and provides well for my HIIT and Grit classes I take.
Expected Concepts: [Size, Fitness, Positive, Adjustability].
Sentence:
< Sentence inserted here >"""
COMFORTABLE = (
    "Love it!! Super comfortable and nice!! Got more than I expected, super flexible great for"
    " training. Definitely recommend it."
)
FIGURE_4 = f'Q: Does the Review: "{COMFORTABLE}" talk about "Flexibility"? Answer in Yes/No A:'


def test_p1_with_the_papers_example_is_figure_3():
    describe = load(PAPER).describe
    assert describe.example is not None
    example = describe.example
    prompt = p1(
        "< Sentence inserted here >", describe.max_descriptors, example.sentence, example.concepts
    )
    assert prompt.text == FIGURE_3


def test_p1_without_an_example_asks_zero_shot():
    first, *_, last_but_one, last = FIGURE_3.splitlines()
    prompt = p1("< Sentence inserted here >", 5, None, None)
    assert prompt.text.splitlines() == [first, last_but_one, last]


def test_p2_is_figure_4():
    assert p2(COMFORTABLE, "Flexibility").text == FIGURE_4


@given(st.text(), st.text())
def test_a_prompt_keeps_what_it_was_rendered_from(sentence, descriptor):
    asked, judged = p1(sentence, 3, None, None), p2(sentence, descriptor)
    assert (asked.task, asked.sentence, asked.descriptor) == ("p1", sentence, None)
    assert (judged.task, judged.sentence, judged.descriptor) == ("p2", sentence, descriptor)
    assert sentence in asked.text
    assert sentence in judged.text


def topics(answer, max_descriptors=5, max_words=4):
    return parse_topics(answer, max_descriptors, max_words)


@pytest.mark.parametrize(
    "answer",
    [
        "[Size, Shoe fit]",
        "[Size, Shoe fit].",
        "Size, Shoe fit",
        "size; shoe fit",
        "Expected Concepts: [Size, Shoe fit]",
        " expected concepts : Size, Shoe fit.",
        "1. Size\n2. Shoe fit",
        "1) Size\r\n2) Shoe fit\r\n",
        "- size\n- shoe fit",
        "* size\n* shoe fit",
        "• size\n• shoe fit",
        "- size - shoe fit",
        "**Size**, **Shoe fit**",
        "[\"Size\", 'Shoe fit']",
        "“Size”, ‘Shoe fit’",
        "Size,\n\n  Shoe   fit  ,",
    ],
)
def test_topics_are_read_from_every_shape_of_list(answer):
    assert topics(answer) == ["size", "shoe fit"]


def test_hyphens_and_apostrophes_within_a_topic_stay():
    assert topics("[Non-stick, Kids' toys, Men's wear]") == [
        "non-stick",
        "kids' toys",
        "men's wear",
    ]


def test_a_topic_is_given_once():
    assert topics("Size, fit, SIZE, 'size'") == ["size", "fit"]


def test_topics_of_too_many_words_are_left_out():
    assert topics("size, the size of the shoe is small, fit of the shoe") == [
        "size",
        "fit of the shoe",
    ]
    assert topics("running shoes, fit", max_words=1) == ["fit"]


def test_the_first_topics_are_kept():
    assert topics("e, d, c, b, a", max_descriptors=3) == ["e", "d", "c"]


def test_numbers_and_signs_are_no_topics():
    assert topics("5, 3/4, size, ---, 100%, 5 stars") == ["size", "5 stars"]


@pytest.mark.parametrize(
    "answer", ["", "   \n", "[]", "[ ]", "Expected Concepts: []", "1, 2", "..."]
)
def test_an_answer_without_topics_is_an_empty_list(answer):
    with pytest.raises(UnparsableError, match="empty list"):
        topics(answer)


def test_an_answer_that_only_retells_the_sentence_is_unusable():
    with pytest.raises(UnparsableError, match="empty list"):
        topics("The reviewer likes the shoes and finds them true to size")


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I can’t do this",
        "I cannot, size",
        "As an AI language model, I have no opinion",
    ],
)
def test_a_refusal_is_named(answer):
    with pytest.raises(UnparsableError, match="refusal"):
        topics(answer)


@given(st.text(), st.integers(1, 5), st.integers(1, 4))
def test_topics_are_few_short_distinct_and_lower_case(answer, max_descriptors, max_words):
    try:
        found = parse_topics(answer, max_descriptors, max_words)
    except UnparsableError:
        return
    assert 1 <= len(found) == len(set(found)) <= max_descriptors
    for phrase in found:
        assert 1 <= len(phrase.split()) <= max_words
        assert phrase == phrase.lower().strip()


@given(
    st.lists(st.from_regex(r"[a-z]{3,8}( [a-z]{3,8})?", fullmatch=True), min_size=1, unique=True)
)
def test_topics_come_back_from_a_list_in_order(phrases):
    assert topics(f"[{', '.join(phrases)}]", max_descriptors=len(phrases)) == phrases


@pytest.mark.parametrize(
    ("answer", "says_yes"),
    [
        ("Yes", True),
        ("No", False),
        ("yes.", True),
        (" NO!\n", False),
        ("**Yes**", True),
        ('"No"', False),
        ("Yes, it talks about comfort.", True),
        ("No, or hardly", False),
        ("No\nYes", False),
    ],
)
def test_yes_and_no_are_read(answer, says_yes):
    assert parse_yes_no(answer) is says_yes


@pytest.mark.parametrize(
    "answer",
    ["", " ", "Maybe", "Yesterday", "Nope", "None", "Not sure", "I think yes", "A: Yes", "1"],
)
def test_what_does_not_begin_with_yes_or_no_is_unusable(answer):
    with pytest.raises(UnparsableError, match="neither Yes nor No"):
        parse_yes_no(answer)


@pytest.mark.parametrize("answer", ["Yes/No", "yes / no", "Yes or No", "No or yes?"])
def test_both_choices_together_are_no_answer(answer):
    with pytest.raises(UnparsableError, match="neither Yes nor No"):
        parse_yes_no(answer)
