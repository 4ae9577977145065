import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.params import load
from descry.prompts import (
    UnparsableError,
    Verdict,
    p1,
    p1_template,
    p2,
    parse_topics,
    parse_verdict,
)

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
    template = p1_template(describe.max_descriptors, example.sentence, example.concepts)
    (prompt,) = p1(["< Sentence inserted here >"], template)
    assert prompt.text == FIGURE_3


def test_p1_without_an_example_asks_zero_shot():
    first, *_, last_but_one, last = FIGURE_3.splitlines()
    (prompt,) = p1(["< Sentence inserted here >"], p1_template(5, None, None))
    assert prompt.text.splitlines() == [first, last_but_one, last]


def test_p2_is_figure_4():
    (prompt,) = p2([COMFORTABLE], ["Flexibility"])
    assert prompt.text == FIGURE_4


@given(st.text(), st.text())
def test_a_prompt_keeps_what_it_was_rendered_from(sentence, descriptor):
    asked = p1([sentence], p1_template(3, None, None))[0]
    judged = p2([sentence], [descriptor])[0]
    assert (asked.task, asked.sentence, asked.descriptor) == ("p1", sentence, "")
    assert (judged.task, judged.sentence, judged.descriptor) == ("p2", sentence, descriptor)
    assert sentence in asked.text
    assert sentence in judged.text


# Many prompts

texts = st.lists(st.text(max_size=5), max_size=6)


@given(texts, st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_prompts_come_sentence_by_sentence(sentences, names):
    prompts = p2(sentences, names)
    pairs = [(sentence, name) for sentence in sentences for name in names]
    assert len(prompts) == len(pairs)
    assert [(prompt.sentence, prompt.descriptor) for prompt in prompts] == pairs
    assert [prompts[i] for i in range(len(pairs))] == list(prompts)


@given(texts)
def test_p1_asks_once_about_each_sentence(sentences):
    prompts = p1(sentences, p1_template(5, None, None))
    assert [prompt.sentence for prompt in prompts] == sentences
    assert len(prompts) == len(sentences)


def test_there_is_no_prompt_behind_the_last():
    prompts = p2(["a", "b"], ["x", "y", "z"])
    assert (prompts[-1].sentence, prompts[-1].descriptor) == ("b", "z")
    for outside in (6, -7):
        with pytest.raises(IndexError):
            prompts[outside]


def test_prompts_are_made_only_when_they_are_taken():
    class Watched(list):
        taken = ()

        def __getitem__(self, row):
            self.taken = (*self.taken, row)
            return super().__getitem__(row)

    sentences = Watched(f"sentence {i}" for i in range(1000))
    prompts = p2(sentences, ["x", "y", "z"])
    assert (len(prompts), sentences.taken) == (3000, ())
    assert prompts[2000] == p2(["sentence 666"], ["z"])[0]
    assert sentences.taken == (666,)


# Answers to p1


def topics(answer, max_descriptors=5, max_words=4, finish="stop"):
    return parse_topics({"text": answer, "finish": finish}, max_descriptors, max_words)


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


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("length", "cut off"),
        ("content_filter", "refusal"),
        ("tool_calls", "finish reason tool_calls"),
        (None, "no text"),
    ],
)
def test_a_list_that_is_not_whole_is_unusable(finish, reason):
    with pytest.raises(UnparsableError, match=f"^{reason}$"):
        topics("[Size, Shoe f", finish=finish)


@given(st.text(), st.integers(1, 5), st.integers(1, 4))
def test_topics_are_few_short_distinct_and_lower_case(answer, max_descriptors, max_words):
    try:
        found = topics(answer, max_descriptors, max_words)
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


MALFORMED = [{}, None, [], "text", 3, {"text": "a"}, {"text": None, "finish": "stop"}]


@pytest.mark.parametrize("response", MALFORMED)
def test_a_response_of_another_form_has_no_topics(response):
    with pytest.raises(UnparsableError, match="no text"):
        parse_topics(response, 5, 4)


# Answers to p2 in words


def verdict(answer, finish="stop"):
    return parse_verdict({"text": answer, "finish": finish}, 0.1)


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
    found = verdict(answer)
    assert found.yes is says_yes
    assert found.greedy


def test_words_have_no_odds():
    assert math.isnan(verdict("Yes").odds)


@pytest.mark.parametrize(
    "answer",
    ["", " ", "Maybe", "Yesterday", "Nope", "None", "Not sure", "I think yes", "A: Yes", "1"],
)
def test_what_does_not_begin_with_yes_or_no_is_unusable(answer):
    with pytest.raises(UnparsableError, match="neither Yes nor No"):
        verdict(answer)


@pytest.mark.parametrize("answer", ["Yes/No", "yes / no", "Yes or No", "No or yes?"])
def test_both_choices_together_are_no_answer(answer):
    with pytest.raises(UnparsableError, match="neither Yes nor No"):
        verdict(answer)


@pytest.mark.parametrize(
    ("answer", "says_yes"),
    [("Yes, because the shoes", True), ("Yes.", True), ("No,", False), ('"No" is what the', False)],
)
def test_words_behind_the_answer_may_be_cut_off(answer, says_yes):
    assert verdict(answer, "length").yes is says_yes


@pytest.mark.parametrize("answer", ["", "Y", "Ye", "Yes", "No", " no", "N", "Maybe it", "**Yes"])
def test_an_answer_cut_off_within_the_word_is_unusable(answer):
    with pytest.raises(UnparsableError, match="cut off"):
        verdict(answer, "length")


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("content_filter", "refusal"),
        ("tool_calls", "finish reason tool_calls"),
        (None, "no text"),
    ],
)
@pytest.mark.parametrize("answer", ["", "Yes"])
def test_the_reason_for_an_answer_that_did_not_come_is_named(answer, finish, reason):
    with pytest.raises(UnparsableError, match=f"^{reason}$"):
        verdict(answer, finish)


@pytest.mark.parametrize("response", MALFORMED)
def test_a_response_of_another_form_has_no_verdict(response):
    with pytest.raises(UnparsableError, match=r"no (text|log-probabilities)"):
        parse_verdict(response, 0.1)


# Answers to p2 as log-probabilities


def scored(yes, no, min_mass=0.1, **more):
    return parse_verdict({"yes": yes, "no": no} | more, min_mass)


def test_the_likelier_word_is_the_verdict():
    assert scored(-0.25, -2.0) == Verdict(True, 1.75, True)
    assert scored(-2.0, -0.25) == Verdict(False, -1.75, True)


def test_a_tie_is_no():
    assert scored(-0.7, -0.7) == Verdict(False, 0.0, True)


def test_a_labeller_that_would_have_written_another_word_is_not_greedy():
    assert scored(-1.0, -2.0, rest=-0.7, instead="It") == Verdict(True, 1.0, False)
    assert scored(-1.0, -2.0, rest=-0.7, bound="no").greedy


@pytest.mark.parametrize(("yes", "no"), [(0.06, 0.03), (0.0001, 0.0899), (0.09, 1e-9)])
def test_yes_and_no_must_be_likely_enough_together(yes, no):
    yes, no = math.log(yes), math.log(no)
    with pytest.raises(UnparsableError, match="neither Yes nor No"):
        scored(yes, no, 0.1)
    for enough in (0.08, 0.0):
        assert scored(yes, no, enough).yes is (yes > no)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_log_probabilities_that_are_not_finite_are_unusable(odd):
    for yes, no in ((odd, -1.0), (-1.0, odd), (odd, odd)):
        with pytest.raises(UnparsableError, match="log-probabilities are not finite"):
            scored(yes, no, 0.0)


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"yes": -1.0},
        {"no": -1.0},
        {"yes": None, "no": -1.0},
        {"yes": "likely", "no": -1.0},
        {"yes": 0.9, "no": 0.1},
        {"yes": 10**400, "no": -1.0},
    ],
)
def test_log_probabilities_that_are_not_there_are_unusable(response):
    with pytest.raises(UnparsableError, match="no log-probabilities"):
        parse_verdict(response, 0.1)


@given(st.floats(), st.floats(), st.floats(0, 1))
def test_any_two_numbers_are_a_verdict_or_unusable(yes, no, min_mass):
    try:
        found = scored(yes, no, min_mass)
    except UnparsableError:
        return
    assert math.exp(yes) + math.exp(no) >= min_mass
    assert (found.yes, found.odds) == (yes > no, yes - no)


@given(st.text(max_size=12), st.sampled_from(["stop", "length", "content_filter"]))
def test_any_words_are_a_verdict_or_unusable(answer, finish):
    try:
        found = verdict(answer, finish)
    except UnparsableError:
        return
    assert ("yes" if found.yes else "no") in answer.casefold()
