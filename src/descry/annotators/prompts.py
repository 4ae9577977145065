"""The prompts, rendered for any annotator; topics.py and answers.py parse what is answered.

The paper's two, with texts of templates.py: p1 (Figure 3) asks for the topics of a sentence, with
one example; p2 (Figure 4) asks whether a sentence talks about a descriptor. And two that try a
neuron out: `intruder` asks which of several sentences does not belong, `simulation` how strongly a
neuron with a description responds to a sentence.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

from descry.annotators.templates import P2, Template

YES, NO = "Yes", "No"
Task = Literal["p1", "p2", "intruder", "simulation"]
HIGHEST_RATING = 10
WORDS = 8  # new tokens of an answer of one word or number: "Yes.", and a blank before it


class Prompt(NamedTuple):
    """A prompt as its parts: an annotator may cut the sentence, share it, or not read at all.

    Attributes:
        descriptor: or a description, which is one descriptor or a list of several.
        several: the sentences of the corpus where it shows more than one; `sentence` is then their
            numbered list.
    """

    task: Task
    template: Template
    sentence: str
    descriptor: str = ""
    several: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The rendered prompt."""
        head, middle, tail = self.template
        return f"{head}{self.sentence}{middle}{self.descriptor}{tail}"

    @property
    def shown(self) -> tuple[str, ...]:
        """The sentences of the corpus that it shows."""
        return self.several or (self.sentence,)

    def showing(self, sentences: Sequence[str]) -> "Prompt":
        """Return this prompt with other sentences, as many as before."""
        if not self.several:
            return self._replace(sentence=sentences[0])
        return self._replace(sentence=numbered(sentences), several=tuple(sentences))


class Prompts(Sequence[Prompt]):
    """Every sentence with every descriptor, sentence by sentence; each made when it is taken.

    A paper-size study has 2.26 million prompts: as texts they would not fit into memory.
    """

    def __init__(
        self, task: Task, template: Template, sentences: Sequence[str], descriptors: list[str]
    ) -> None:
        self.task, self.template = task, template
        self.sentences, self.descriptors = sentences, descriptors

    def __len__(self) -> int:
        return len(self.sentences) * len(self.descriptors)

    def __getitem__(self, index: Any) -> Any:
        row, column = divmod(index, len(self.descriptors))
        return Prompt(self.task, self.template, self.sentences[row], self.descriptors[column])


def p1(sentences: Sequence[str], template: Template) -> Prompts:
    """Prompt p1 about every sentence."""
    return Prompts("p1", template, sentences, [""])


def p2(sentences: Sequence[str], descriptors: list[str], template: Template = P2) -> Prompts:
    """Prompt p2: whether each sentence talks about each descriptor, to be answered Yes or No."""
    return Prompts("p2", template, sentences, descriptors)


INTRUDER: Template = (
    "Q: All but one of these reviews have something in common. Which one is the intruder?\n",
    "\nAnswer with its number alone A:",
    "",
)
SIMULATION: Template = (
    'Q: A neuron responds to some reviews. How strongly does it respond to the Review: "',
    '" if it looks for "',
    '"? Answer with a number from 0 (not at all) to 10 (most strongly) A:',
)


def intruder(sentences: Sequence[str]) -> Prompt:
    """Which of the numbered sentences does not belong to the others."""
    return Prompt("intruder", INTRUDER, numbered(sentences), several=tuple(sentences))


def numbered(sentences: Sequence[str]) -> str:
    """Sentences as a list, a line each: a line break within one would feign another."""
    lines = (f'{i}. "{" ".join(text.split())}"' for i, text in enumerate(sentences, 1))
    return "\n".join(lines)


def simulation(sentence: str, description: str) -> Prompt:
    """How strongly a neuron with this description responds to a sentence, from 0 to 10."""
    return Prompt("simulation", SIMULATION, sentence, description)


def detection(sentence: str, description: str) -> Prompt:
    """Prompt p2 with a description in the descriptor's place: where it is one, p2 itself."""
    return Prompt("p2", P2, sentence, description)


_AND = ", "


def described(descriptors: Sequence[str]) -> str:
    """Descriptors as one description."""
    return _AND.join(descriptors)


def descriptors_of(description: str, known: Collection[str]) -> list[str]:
    """The descriptors that make up a description; none where it is not made of known ones.

    A descriptor may itself have a comma in it: the longest at the beginning goes first.
    """
    if description in known:
        return [description]
    parts = description.split(_AND)
    for size in range(len(parts) - 1, 0, -1):
        if (first := _AND.join(parts[:size])) in known:
            rest = descriptors_of(_AND.join(parts[size:]), known)
            if rest:
                return [first, *rest]
    return []
