"""Answers of one word or one number: p2, intruder and simulation."""

import json
import math
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.annotators.parsing.answers import Verdict, parse_intruder, parse_rating, parse_verdict
from descry.annotators.parsing.unwrap import UnparsableError

MALFORMED = [{}, None, [], "text", 3, {"text": "a"}, {"text": None, "finish": "stop"}]
FULLWIDTH = {0xFF01 + i: chr(0x21 + i) for i in range(94)} | {ord("Ċ"): "", ord("Ġ"): ""}
WRAPPED = [
    lambda text: text,
    lambda text: f"<think>\nYes, no.\n</think>\n\n{text}",
    lambda text: f"{text}<|eot_id|>",
    lambda text: f"  {text}\n",
    lambda text: f"<answer>{text}</answer>",
]


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
        ("No\nNo", False),
    ],
)
def test_yes_and_no_are_read(answer, says_yes):
    found = verdict(answer)
    assert found.yes is says_yes
    assert found.greedy


READ = [
    ("A: Yes", True), ("a: no", False), ("Answer: Yes", True), ("ANSWER = no.", False),
    ("The answer is no.", False), ("So, the final answer is: **Yes**", True), ("_No_", False),
    ("`Yes`", True), ("“No.”", False), ("'yes'", True), ("Yes 👍", True), ("✅ Yes", True),
    ('{"answer": "No"}', False), ('{"Answer": true}', True), ('{"talks": false}', False),
    ('{"reason": "no word of it", "answer": "yes"}', True), ('"Yes"', True), ('["No"]', False),
    ("{'answer': 'Yes'}", True), ("```json\n{\"answer\": \"no\"}\n```", False), ("True", True),
    ("false", False), ("```\nNo\n```", False), ("<think>Yes? No.</think>Yes", True),
    ("yes, no, hmm</think>\n\nNo", False), ("[THINK]no[/THINK] Yes.", True),
    ("<think/>Yes", True), ("<Thinking>No</THINKING>Yes", True),
    ("<|channel|>analysis<|message|>No?<|end|><|start|>assistant<|channel|>final<|message|>Yes",
     True),
    ("<answer>No</answer>", False), ("\\boxed{\\text{Yes}}", True), ("ĠYes", True), ("▁no", False),
    ("Ｎｏ", False), ("Yes</s>", True), ("No<|im_end|>\n<|im_start|>user\nYes", False),
    ("assistant: Yes", True), ("<start_of_turn>model\nNo<end_of_turn>", False),
    ("Yes\n\nQ: Does the Review: \"x\" talk about \"y\"? Answer in Yes/No A: No", True),
    ("It is about the fit. The answer is No.", False), ("Reasons: yes and no.\nAnswer: Yes", True),
    ("Yes, there is no mention of the price, but of its worth.", True),
    ("No, a yes vote is all it asks for.", False), ("No mention of it.", False),
    ("Yes because it does.", True), ("Yes, yes!", True),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "says_yes"), READ)
def test_a_verdict_is_read_in_any_wrapping(answer, says_yes):
    assert verdict(answer).yes is says_yes


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("Yes, it does.\n\nWait, no it doesn't.", "both"), ("No. Yes it does.", "both"),
     ("Yes it is, or rather no it isn't", "both"), ("No, I cannot help with that.", "refusal"),
     ('{"no": true}', "another form"), ('{"not_mentioned": true}', "another form"),
     ('{"explanation": "Yes, it could be"}', "another form"),
     ("No problem, it does", "neither Yes nor No"), ("No-brainer, it does", "neither Yes nor No"),
     ("No. 1 in its class", "neither Yes nor No"), ("No doubt it does", "neither Yes nor No"),
     ("Y", "neither Yes nor No"), ("n", "neither Yes nor No"), ('{"answer": "Y"}', "neither"),
     ('{"answer": 1}', "neither Yes nor No"), ('{"a": "Yes", "b": "No"}', "another form"),
     ("{}", "another form"), ('{"answer": null}', "another form"), ('{"answer": "Yes', "JSON"),
     ("<think>Yes, I", "unclosed think block"), ("I can't say", "refusal"),
     ("As a language model, I", "refusal"), ("It is Yes for the fit, No else", "neither")],
)  # fmt: skip
def test_what_says_neither_for_certain_is_no_answer(answer, reason):
    with pytest.raises(UnparsableError, match=reason):
        verdict(answer)


@given(st.sampled_from(READ), st.sampled_from(WRAPPED), st.sampled_from(WRAPPED[:2]))
def test_a_verdict_is_the_same_within_what_stands_around_it(read, wrap, outer):
    answer, says_yes = read
    if not any(turn in answer for turn in ("<|", "<answer>", "<start", "assistant:", "Q:")):
        assert verdict(outer(wrap(answer))).yes is says_yes


PARTS = ["yes ", "no, ", "a: ", "the ", "*", "\n", '"yes', 'Q: Does the Review: "', "{", "[", "1"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("parse", ["verdict", "chosen", "rated"])
def test_a_long_answer_takes_no_long_time(part, parse):
    started = time.process_time()
    with suppress(UnparsableError):
        globals()[parse](part * (100_000 // len(part)) + "x")
    assert time.process_time() - started < 3


def test_words_have_no_odds():
    assert math.isnan(verdict("Yes").odds)


@pytest.mark.parametrize(
    "answer",
    ["", " ", "Maybe", "Yesterday", "Nope", "None", "Not sure", "I think yes", "1"],
)
def test_what_does_not_begin_with_yes_or_no_is_unusable(answer):
    with pytest.raises(UnparsableError, match="neither Yes nor No"):
        verdict(answer)


@pytest.mark.parametrize(
    "answer",
    ["Yes/No", "yes / no", "Yes or No", "No or yes?", "No - yes", "Yes.\nNo.", "No, I mean yes.",
     "No doubt: yes", "Yes (no)", "Yes, the answer is no.", "No; yes", "yes:no", "A: Yes\nB: No",
     '{"answer": "No, yes"}', "Yes\n\nNo", "**Yes**|**No**"],
)  # fmt: skip
def test_both_words_as_answers_are_none(answer):
    with pytest.raises(UnparsableError, match="both Yes and No"):
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


def test_a_annotator_that_would_have_written_another_word_is_not_greedy():
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
    said = answer.translate(FULLWIDTH).casefold()
    assert any(word in said for word in (("yes", "true") if found.yes else ("no", "false")))


# Numbers


def chosen(answer, finish="stop", sentences=5):
    return parse_intruder({"text": answer, "finish": finish}, sentences)


def rated(answer, finish="stop"):
    return parse_rating({"text": answer, "finish": finish})


@pytest.mark.parametrize(
    "answer",
    ["3", " 3.\n", "3)", "**3**", '"3"', "Sentence 3", "review 3.", "Number: 3", "(3)", "03",
     "3\n\nIt talks about the sound.", "_3_", "A: 3", "Answer: 3", "The answer is **3**.",
     "The intruder is sentence 3", '{"answer": 3}', '{"intruder": "3"}', "<think>4?</think>3",
     "```\n3\n```", "\uff13", "3</s>"],
)  # fmt: skip
def test_the_number_of_the_intruder_is_read(answer):
    assert chosen(answer) == 2


NO_NUMBER = [
    "", " ", "three", "I think 3", "3rd", "3x", "-3", "+-3", "3.5",
    "3,5", ".5", "3 or 4", "3 and 4", "3/5", "3-4", "3, 4", "3 4", "3\n4", "1.\n2.\n3.",
    "1. Cheap shoes", "1. \"It is cheap\"\n2. \"It stinks\"", "3, because 4 is cheap",
    "3\nNo, it is 4", "\u0663", "\u00b3", "Yes", "3e0", "0x3", "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("answer", NO_NUMBER, ids=lambda text: repr(text[:20]))
def test_what_is_not_one_number_alone_is_no_intruder(answer):
    with pytest.raises(UnparsableError, match=r"^not one number alone$"):
        chosen(answer)


@pytest.mark.parametrize(
    "key",
    ["answer", "choice", "rating", "score", "intruder", "number", "sentence", "review", "response"],
)
def test_a_number_is_read_under_any_key_that_a_model_may_choose(key):
    assert chosen(json.dumps({key: 3})) == 2


@pytest.mark.parametrize("answer", ["0", "6", "9999", "00"])
def test_a_number_that_is_not_in_the_list_is_no_intruder(answer):
    with pytest.raises(UnparsableError, match="no such sentence"):
        chosen(answer)


@pytest.mark.parametrize(
    ("answer", "rating"),
    [("7", 7), ("0", 0), ("10", 10), ("10.0", 10), ("7.25", 7.25), ("7/10", 7), (" 7 / 10.", 7),
     ("7 out of 10", 7), ("Rating: 7", 7), ("**7**", 7), ("7.", 7), ("7\nIt fits.", 7),
     ("The rating is 7", 7), ('{"rating": 7.5}', 7.5), ("<think>9</think>\n\n7", 7), ("_7_", 7)],
)  # fmt: skip
def test_a_rating_is_read(answer, rating):
    assert rated(answer) == rating


@pytest.mark.parametrize(
    "answer",
    [
        *(text for text in NO_NUMBER if text != "3.5"),
        "7/100",
        "7/5",
        "7-8",
        "7.5.1",
        ".5",
        "7/10/10",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_not_one_number_alone_is_no_rating(answer):
    with pytest.raises(UnparsableError, match="not one number alone"):
        rated(answer)


@pytest.mark.parametrize("answer", ["11", "10.1", "9999"])
def test_a_rating_off_the_scale_is_unusable(answer):
    with pytest.raises(UnparsableError, match="not from 0 to 10"):
        rated(answer)


@pytest.mark.parametrize("parse", [chosen, rated])
def test_a_number_that_may_go_on_is_cut_off(parse):
    for answer in ("1", "Sentence 1", "1.", "", "The"):
        with pytest.raises(UnparsableError, match="cut off"):
            parse(answer, "length")
    assert parse("1\nIt talks about", "length") == (0 if parse is chosen else 1)


@pytest.mark.parametrize("parse", [chosen, rated])
def test_refusals_and_other_ends_are_named(parse):
    for answer, finish, reason in (
        ("I'm sorry, I cannot say 3", "stop", "refusal"),
        ("3", "content_filter", "refusal"),
        ("3", "tool_calls", "finish reason tool_calls"),
        ("3", None, "no text"),
    ):
        with pytest.raises(UnparsableError, match=f"^{reason}$"):
            parse(answer, finish)


@pytest.mark.parametrize("response", [*MALFORMED, {"yes": -0.1, "no": -2.0}])
def test_a_response_of_another_form_has_no_number(response):
    for parse in (parse_rating, lambda r: parse_intruder(r, 5)):
        with pytest.raises(UnparsableError, match="no text"):
            parse(response)


@given(
    st.text(alphabet="0123456789 ./,-or\nA\u0663", max_size=12), st.sampled_from(["stop", "length"])
)
def test_any_words_are_a_number_within_bounds_or_unusable(answer, finish):
    for parse, low, high in ((chosen, 0, 4), (rated, 0, 10)):
        try:
            found = parse(answer, finish)
        except UnparsableError:
            continue
        assert low <= found <= high
