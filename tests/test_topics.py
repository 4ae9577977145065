"""The topics in an answer to p1, in every shape in which models give them."""

import json
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.annotators.parsing.topics import clean, clean_concept, parse_topics, read_topics
from descry.annotators.parsing.unwrap import UnparsableError

TABLE = [
    json.loads(line)
    for line in (Path(__file__).parent / "answers_p1.jsonl").read_text("utf-8").splitlines()
]


def topics(answer, max_descriptors=5, max_words=4, finish="stop"):
    return parse_topics({"text": answer, "finish": finish}, max_descriptors, max_words)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: repr(row["answer"][:40]))
def test_an_answer_of_a_known_shape_is_read_or_refused(row):
    if "right" in row:
        assert topics(row["answer"]) == row["right"]
    else:
        with pytest.raises(UnparsableError, match=f"^{row['fault']}$"):
            topics(row["answer"])


# Any list, in any known shape

WORDS = [
    "battery", "battery life", "shoe fit", "kids' toys", "non-stick", "größe", "电池", "बैटरी",
    "3d printing", "r&d", "ease of use", "c++", "50% off", "sound / noise", "thinking", "dr. who",
    "made in usa", "must have", "low price", "yes men", "no noise", "iphone 12", "2.0 version",
]  # fmt: skip
lists = st.lists(
    st.sampled_from(WORDS) | st.from_regex(r"[b-z]{3,8}( [b-hj-z]{4,8})?", fullmatch=True),
    min_size=2,
    max_size=6,
    unique=True,
).filter(lambda found: all(map(clean_concept, found)))
LETTERS, ROMAN = "abcdef", ["i", "ii", "iii", "iv", "v", "vi"]


def numbered(form, sep, marks="123456"):
    return lambda found: sep.join(
        form.format(mark, it) for mark, it in zip(marks, found, strict=False)
    )


SHAPES = {
    "commas": ", ".join,
    "commas and and": lambda found: ", ".join(found[:-1]) + ", and " + found[-1],
    "brackets": lambda found: f"[{', '.join(found)}]",
    "brackets with a stop": lambda found: f"[{', '.join(found)}].",
    "semicolons": "; ".join,
    "bars": " | ".join,
    "ideographic commas": "、".join,
    "fullwidth commas": "，".join,
    "lines": "\n".join,
    "lines apart": "\n\n".join,
    "quotes": lambda found: ", ".join(f'"{it}"' for it in found),
    "JSON list": json.dumps,
    "JSON object": lambda found: json.dumps({"topics": found}, ensure_ascii=False),
    "JSON of another name": lambda found: json.dumps({"x": found}, indent=2),
    "JSON objects": lambda found: json.dumps([{"topic": it, "why": "a, b"} for it in found]),
    "JSON lines": lambda found: "\n".join(json.dumps({"name": it}) for it in found),
    "JSON string": lambda found: json.dumps({"answer": ", ".join(found)}),
    "Python": lambda found: repr({"topics": found}),
    "JSON, numbered": lambda found: json.dumps([f"{i}. {it}" for i, it in enumerate(found, 1)]),
    "numbers": numbered("{}. {}", "\n"),
    "numbers, brackets": numbered("{}) {}", "\n"),
    "numbers, bold": numbered("**{}. {}**", "\n"),
    "numbers on one line": numbered("{}. {}", " "),
    "numbers on one line, brackets": numbered("({}) {}", " "),
    "circled": numbered("{} {}", " ", "①②③④⑤⑥"),
    "letters": numbered("{}) {}", "\n", LETTERS),
    "letters on one line": numbered("{}) {}", " ", LETTERS),
    "Roman": numbered("{}. {}", "\n", ROMAN),
    "Roman on one line": numbered("{}. {}", " ", ROMAN),
    "dashes": numbered("- {1}", "\n"),
    "stars": numbered("* {1}", "\n"),
    "stars, bold": numbered("* **{1}**", "\n"),
    "bullets": numbered("• {1}", "\n"),
    "bullets on one line": numbered("• {1}", " "),
    "headings": numbered("## {1}", "\n\n"),
    "bold lines": numbered("**{1}**", "\n\n"),
    "explained": numbered("{}. {}: it is said, somehow", "\n"),
    "in brackets": lambda found: ", ".join(f"{it} (positive)" for it in found),
    "HTML": lambda found: "<ul>" + "".join(f"<li>{it}</li>" for it in found) + "</ul>",
    "XML": lambda found: "".join(f"<topic>{it}</topic>" for it in found),
    "checkboxes": numbered("- [ ] {1}", "\n"),
}
INNER = {
    "bare": "{}",
    "label": "Topics: {}",
    "introduced": "Here are the most salient topics:\n\n{}",
    "polite": "Sure!\n{}",
    "heading": "## Salient topics\n{}",
    "bold label": "**Key Concepts:**\n{}",
}
OUTER = {
    "bare": "{}",
    "thoughts": "<think>\nOkay, topics: a, b.\n</think>\n\n{}",
    "empty thoughts": "<think></think>{}",
    "thoughts without a beginning": "Hmm, topics.\n- a\n</think>\n{}",
    "other thoughts": "[THINK]a, b[/THINK]{}",
    "channels": "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final"
    "<|message|>{}<|return|>",
    "fence": "```\n{}\n```",
    "fence of a language": "```text\n{}\n```\nHope this helps, really.",
    "end mark": "{}</s>",
    "next turn": "{}<|im_end|>\n<|im_start|>user\nmore, please",
    "role": "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
    "named role": "Assistant: {}",
    "tags": "<answer>{}</answer>",
    "next question": "{}\n\nSentence: It is cheap, and small.",
}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(found=lists, inner=st.sampled_from(sorted(INNER)), outer=st.sampled_from(sorted(OUTER)))
def test_any_list_comes_back_from_any_shape(shape, found, inner, outer):
    answer = OUTER[outer].format(INNER[inner].format(SHAPES[shape](found)))
    assert topics(answer, 6) == found


# Any text

FRAGMENTS = r"""
<think> </think> [THINK] ``` ** ## # - * 1. 2) a) • , ; | / : - ( ) [ ] { } " ' <b> </s> <|im_end|>
<|channel|>final<|message|> \boxed{ } &lt; &amp; Topics: Sentence: Sure! None and Ġ ▁ ① no topics is
it battery price İ ǅ ﬁ Ａ {"topics": ["a"]} \ud800 \n 1️⃣ 、 « » “ ” – — → = + % $ ~ ^ _ __ none 10
"""
ODD = FRAGMENTS.split()
ODD += ["\n", "\n\n", "\x00", "\ud800", "\u200b", "None.", "no topics", '{"topics": ["a"]}', "\t"]
odd = st.lists(st.sampled_from(ODD) | st.text(max_size=4), max_size=12).map(" ".join)
MARKUP = re.compile(r"[<>{}\[\]`*#|\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@given(st.text() | odd, st.integers(1, 5), st.integers(1, 4))
def test_any_text_gives_clean_topics_or_none_or_is_refused(answer, max_descriptors, max_words):
    with suppress(UnparsableError):
        found = topics(answer, max_descriptors, max_words)
        assert len(found) == len(set(found)) <= max_descriptors
        for phrase in found:
            assert 1 <= len(phrase.split()) <= max_words
            assert phrase == " ".join(phrase.lower().split())
            assert not MARKUP.search(phrase)
            assert clean(phrase) == phrase
        again = topics(json.dumps(found), max_descriptors, max_words)
        assert again == found


PARTS = [
    "a,", "1. a ", "(1) ", "<", "[", "{", "'", " ", "\n", "a\n", "a: ", "<think>", "</think>", "|",
    "#", "#a", "- a\n", "*a ", "**", "_", "a ", "no topics ", "none ", "sure! ", "Sentence: ",
    "topics: ", "topics\n", "\\boxed{", "<a ", "```", "i. ", '"a", ', '["a", ', "topic are ",
    "&amp;", "a-", "x\n \n", "1", ".", "<|", "<|channel|>", "{'a':", "the topics ", "-", "!", "(",
    "topics of ", "x topics, ", "[,", "• ", "a. b ", "Ġ", "##a ", " ##", "\\u12", "there are no ",
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_long_answer_takes_no_long_time(part):
    started = time.process_time()
    with suppress(UnparsableError):
        topics(part * (30_000 // len(part)) + "x")
    assert time.process_time() - started < 2


# Phrases


def test_hyphens_and_apostrophes_within_a_topic_stay():
    found = ["non-stick", "kids' toys", "men's wear"]
    assert topics("[Non-stick, Kids' toys, Men's wear]") == found


def test_a_pair_of_words_with_and_is_one_topic_where_no_comma_is():
    assert topics("salt and pepper") == ["salt and pepper"]
    assert topics("[price, salt and pepper]") == ["price", "salt and pepper"]
    assert topics("taste, price and size") == ["taste", "price", "size"]


def test_a_topic_is_given_once():
    assert topics("Size, fit, SIZE, 'size'") == ["size", "fit"]


def test_topics_of_too_many_words_are_left_out_and_counted():
    answer = {"text": "size, the look and feel of the shoe, fit of the shoe", "finish": "stop"}
    assert read_topics(answer, 5, 4) == (["size", "fit of the shoe"], 1)
    assert read_topics({"text": "- running shoes\n- fit", "finish": "stop"}, 5, 1) == (["fit"], 1)


def test_more_phrases_too_long_than_not_are_prose():
    with pytest.raises(UnparsableError, match="prose"):
        topics("size, the look and feel of the shoe")


def test_the_first_topics_are_kept():
    assert topics("e, d, c, b, a", max_descriptors=3) == ["e", "d", "c"]


def test_numbers_and_signs_are_no_topics():
    assert topics("5, 3/4, size, ---, 100%, 5 stars") == ["size", "5 stars"]


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


def test_thoughts_cut_off_are_named_as_such():
    with pytest.raises(UnparsableError, match=r"^unclosed think block$"):
        topics("<think>Size, sho", finish="length")


@pytest.mark.parametrize(
    "response", [{}, None, [], "text", 3, {"text": "a"}, {"text": None, "finish": "stop"}]
)
def test_a_response_of_another_form_has_no_topics(response):
    with pytest.raises(UnparsableError, match="no text"):
        parse_topics(response, 5, 4)


@pytest.mark.parametrize("concept", ["Size", "Shoe fit", "R&D", "Kids' toys", "größe", "电池"])
def test_a_clean_concept_may_stand_in_the_example(concept):
    assert clean_concept(concept)


@pytest.mark.parametrize(
    "concept", ["", " ", "a, b", "<think>", "**Size**", "1. Size", "[Size]", "None", "5", "a\x00b"]
)
def test_a_concept_with_markup_may_not(concept):
    assert not clean_concept(concept)
