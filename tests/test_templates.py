"""Templates of prompts: the paper's to the letter, with examples, or a user's file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.annotators.prompts import p1, p2
from descry.annotators.templates import P1_TEXT, P2, P2_TEXT, p1_template, p2_template
from descry.errors import InputError

SHOTS = [
    {"sentence": "Broke. {sentence}", "descriptor": "Strength", "answer": "yes"},
    {"sentence": "For my {examples}", "descriptor": "{descriptor}", "answer": "no"},
]


def one_shot(limit, sentence, concepts):
    """The text of p1 as it was rendered before there were several examples: keys depend on it."""
    lines = [f"Identify at most {limit} salient topics being discussed in a sentence."]
    lines.append(f"For example, {sentence}")
    lines.append(f"Expected Concepts: [{', '.join(concepts)}].")
    return "\n".join([*lines, "Sentence:", ""])


@given(st.integers(1, 99), st.text(), st.lists(st.text(), min_size=1), st.text())
def test_p1_with_one_example_is_to_the_letter_what_it_was(limit, sentence, concepts, asked):
    template = p1_template(limit, [{"sentence": sentence, "concepts": concepts}])
    assert template == (one_shot(limit, sentence, concepts), "", "")
    (prompt,) = p1([asked], template)
    assert prompt.text == one_shot(limit, sentence, concepts) + asked


def test_examples_of_p1_follow_each_other_in_one_form():
    shots = [{"sentence": f"S{i}.", "concepts": [f"c{i}", "d"]} for i in range(3)]
    (prompt,) = p1(["Asked."], p1_template(5, shots))
    assert prompt.text.split("\n")[1:] == [
        "For example, S0.",
        "Expected Concepts: [c0, d].",
        "For example, S1.",
        "Expected Concepts: [c1, d].",
        "For example, S2.",
        "Expected Concepts: [c2, d].",
        "Sentence:",
        "Asked.",
    ]


def test_examples_of_p2_are_asked_in_the_words_of_the_question():
    (prompt,) = p2(["Asked."], ["Price"], p2_template(SHOTS))
    assert prompt.text.split("\n") == [
        'Q: Does the Review: "Broke. {sentence}" talk about "Strength"? Answer in Yes/No A: Yes',
        'Q: Does the Review: "For my {examples}" talk about "{descriptor}"? Answer in Yes/No A: No',
        'Q: Does the Review: "Asked." talk about "Price"? Answer in Yes/No A:',
    ]
    assert p2_template() == P2


@given(st.text(), st.text())
def test_braces_of_a_review_are_text(sentence, descriptor):
    (prompt,) = p2([sentence + "{descriptor}{0}"], [descriptor + "{sentence}"], p2_template(SHOTS))
    asked = f'"{sentence}{{descriptor}}{{0}}" talk about "{descriptor}{{sentence}}"?'
    assert prompt.text.endswith(f"Q: Does the Review: {asked} Answer in Yes/No A:")


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "template.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_with_the_papers_text_is_the_papers_prompt(written, end):
    shot = {"sentence": "S.", "concepts": ["c"]}
    assert p1_template(5, [shot], written(P1_TEXT + end)) == p1_template(5, [shot])
    assert p2_template(SHOTS, written(P2_TEXT + end)) == p2_template(SHOTS)


def test_a_file_may_say_anything_around_the_places(written):
    file = written(
        '{"task": 1}\n{examples}\nText: {sentence} { }\nIs it {descriptor}?\nAnswer:\n\n'
    )
    assert p2_template(SHOTS[:1], file) == (
        '{"task": 1}\nText: Broke. {sentence} { }\nIs it Strength?\nAnswer:\nYes\nText: ',
        " { }\nIs it ",
        "?\nAnswer:\n",
    )
    file = written("{max_descriptors} of {max_descriptors} topics of {sentence}, please")
    assert p1_template(7, (), file) == ("7 of 7 topics of ", ", please", "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{sentence} {descripter}", r"no place is called \{descripter\}: there are \{sentence\}, "),
        ("{max_descriptors} {sentence} {descriptor}", r"no place is called \{max_descriptors\}"),
        ("{sentence}", r"\{descriptor\} must stand in it once, not 0 times"),
        ("{sentence} {sentence} {descriptor}", r"\{sentence\} must stand in it once, not 2 times"),
        (
            "{examples}{descriptor} in {sentence}?",
            r"\{sentence\} must stand before \{descriptor\}: a model",
        ),
        ("{examples}{examples}{sentence}{descriptor}", r"\{examples\} must stand in it once"),
        ("{sentence} {examples} {descriptor}", r"\{examples\} must stand before \{sentence\}"),
        ("{sentence} {descriptor}", r"has no \{examples\}, where the 2 examples would stand"),
        ("", r"\{sentence\} must stand in it once, not 0 times"),
        (b"\xff{sentence}", r"not UTF-8 text \(byte 0\)"),
        ("{\x1b[31mred} {sentence}", r"\{descriptor\} must stand"),
    ],
)
def test_a_place_that_is_unknown_or_missing_is_one_clear_line(written, text, fault):
    file = written(text)
    with pytest.raises(InputError, match=rf"template\.txt: {fault}") as caught:
        p2_template(SHOTS, file)
    assert str(caught.value).isprintable()


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt: no such file"):
        p1_template(5, (), tmp_path / "gone.txt")
