"""What an annotator copies out of the examples of p1 is told from what it says of a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.annotators.copied import Copied

SHOTS = [
    {"sentence": "The shoes are true to size, I think.", "concepts": ["Size", "Shoe fit"]},
    {"sentence": "Late.", "concepts": ["delivery"]},
]
PHRASES = ["size", "shoe fit", "delivery", "price", "fit"]


@given(st.lists(st.sampled_from(PHRASES), unique=True), st.sets(st.sampled_from(PHRASES)))
def test_a_phrase_is_copied_if_an_example_has_it_and_the_sentence_has_not(said, own):
    found = Copied(SHOTS)
    sentence = ". ".join(sorted(own)).upper()
    found.add(sentence, said)
    number = len({"size", "shoe fit", "delivery"} & {*said} - own)
    assert found.counts() == {"asked": 1, "answers": int(number > 0), "phrases": number}


def test_other_forms_of_a_word_in_the_sentence_are_its_own():
    found = Copied(SHOTS)
    found.add("All sizes ran small; a shoe-fit disaster.", ["size", "shoe fit"])
    assert found.phrases == 0


def test_without_examples_nothing_is_copied():
    found = Copied([])
    found.add("Nice.", PHRASES)
    assert found.counts() == {"asked": 1, "answers": 0, "phrases": 0}
    assert not found.repeats("The shoes are true to size")


@pytest.mark.parametrize(
    ("answer", "repeats"),
    [
        ("Yes: the SHOES are true to size, and wide.", True),
        ("are true to size I", True),
        ("The shoes are true.", False),
        ("Late.", False),  # too short to tell
    ],
)
def test_an_answer_that_tells_an_example_again_is_known(answer, repeats):
    assert Copied(SHOTS).repeats(answer) == repeats


@pytest.mark.parametrize(("copies", "warned"), [(6, False), (7, True)])
def test_a_warning_begins_above_three_tenths_and_names_what_to_try(copies, warned):
    found = Copied(SHOTS)
    for row in range(20):
        found.add("Nice.", ["delivery"] if row < copies else ["nice"])
    words = found.warning("toy")
    assert (words is not None) == warned
    if words:
        assert words.startswith("toy copies: 35% of its answers to p1") and "examples: 3" in words
