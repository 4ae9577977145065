from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.annotators.prompts import detection, intruder, numbered, p1, p2, simulation
from descry.annotators.templates import p1_template
from descry.workflow.params import load

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
    template = p1_template(describe.max_descriptors, describe.model_dump()["examples"])
    (prompt,) = p1(["< Sentence inserted here >"], template)
    assert prompt.text == FIGURE_3


def test_p1_without_an_example_asks_zero_shot():
    first, *_, last_but_one, last = FIGURE_3.splitlines()
    (prompt,) = p1(["< Sentence inserted here >"], p1_template(5))
    assert prompt.text.splitlines() == [first, last_but_one, last]


def test_p2_is_figure_4():
    (prompt,) = p2([COMFORTABLE], ["Flexibility"])
    assert prompt.text == FIGURE_4


@given(st.text(), st.text())
def test_a_prompt_keeps_what_it_was_rendered_from(sentence, descriptor):
    asked = p1([sentence], p1_template(3))[0]
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
    prompts = p1(sentences, p1_template(5))
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


# Trying a description out


def test_detection_by_one_descriptor_is_p2_itself():
    assert detection(COMFORTABLE, "Flexibility") == p2([COMFORTABLE], ["Flexibility"])[0]
    assert '" talk about "Size, Fit"?' in detection(COMFORTABLE, "Size, Fit").text


def test_simulation_shows_sentence_description_and_scale():
    prompt = simulation(COMFORTABLE, "Size, Fit")
    assert (prompt.task, prompt.sentence, prompt.descriptor) == (
        "simulation",
        COMFORTABLE,
        "Size, Fit",
    )
    for part in (COMFORTABLE, "Size, Fit", "0 (not at all) to 10"):
        assert part in prompt.text


def test_the_sentences_of_a_lineup_are_numbered_and_known_apart():
    prompt = intruder(["It is cheap.", "It stinks.", "A bargain."])
    assert prompt.shown == prompt.several == ("It is cheap.", "It stinks.", "A bargain.")
    assert prompt.sentence in prompt.text
    lines = prompt.text.splitlines()
    assert lines[1:4] == ['1. "It is cheap."', '2. "It stinks."', '3. "A bargain."']
    other = prompt.showing(["a", "b", "c"])
    assert (other.several, other.sentence) == (("a", "b", "c"), numbered(["a", "b", "c"]))
    single = detection("long text", "Size")
    assert single.shown == ("long text",)
    assert single.showing(["long"]) == detection("long", "Size")


@given(st.lists(st.text(), min_size=2, max_size=6))
def test_no_sentence_feigns_another_line_of_a_lineup(sentences):
    lines = numbered(sentences).split("\n")
    assert len(lines) == len(sentences)
    assert all(line.startswith(f'{i}. "') for i, line in enumerate(lines, 1))
