"""Neurons whose trigger is known, over a language of whole words.

A rule says from a prompt's words where its tokens, or the whole of it, fire; a masked word is none.
"""

import re

import numpy as np

from descry.n2g.explain import Settings, explain, sample
from descry.n2g.paths import IGNORE, TURN
from descry.n2g.texts import make_text

FILLER = [
    "the",
    "a",
    "was",
    "it",
    "we",
    "so",
    "very",
    "and",
    "on",
    "for",
    "my",
    "had",
    "one",
    "of",
    "this",
    "is",
]
TRIGGERS = [
    "coffee",
    "tea",
    "cocoa",
    "brick",
    "not",
    "good",
    "river",
    "bank",
    "hot",
    "water",
    "cheap",
    "broken",
]
WORDS = ["[mask]", ".", *FILLER, *TRIGGERS]
IDS = {word: token for token, word in enumerate(WORDS)}
QUIET = -0.25  # of a token that does not fire: negative, as many real ones are
SHOWN = {IGNORE: "*", TURN: ">"}

PAPER = {
    "texts": 20,
    "train": 10,
    "seed": 0,
    "keys": 1.0,
    "drop": 0.5,
    "step": 1,
    "until": None,
    "following": 5,
    "substituted": 0.8,
    "substitutes": 5,
    "probability": 1e-5,
    "importance": 0.75,
    "activation": 0.5,
    "confirmed": False,
    "firing": 0.5,
    "max_gap": 3,
}


def settings(**changes):
    return Settings(**PAPER | changes)


def text_of(string):
    """A text whose tokens are its words and full stops, in small letters."""
    found = list(re.finditer(r"\w+|\.", string))
    tokens = [IDS[one.group().lower()] for one in found]
    return make_text(string, tokens, [one.span() for one in found])


def tokens_of(string):
    return text_of(string).tokens


def spell(before, word):
    return (IDS[word.lower()],)


# Rules: of words, the places that fire.


def a_word(words):
    return [k for k, word in enumerate(words) if word == "coffee"]


def bigram_with_gap(words):
    return [k for k in range(2, len(words)) if (words[k - 2], words[k]) == ("not", "good")]


def either_word(words):
    return [k for k, word in enumerate(words) if word in ("tea", "cocoa")]


def after_another(words):
    """`bank` with `river` among the three words before it."""
    return [k for k, w in enumerate(words) if w == "bank" and "river" in words[max(0, k - 3) : k]]


def before_another(words):
    """`hot` with `water` among the two words behind it."""
    return [k for k, w in enumerate(words) if w == "hot" and "water" in words[k + 1 : k + 3]]


def between(words):
    """`hot` with `river` right before it and `water` right behind it."""
    middles = range(1, len(words) - 1)
    return [k for k in middles if words[k - 1 : k + 2] == ["river", "hot", "water"]]


def pair(words):
    """Of a whole text: `cheap`, and `broken` at most four words on."""
    return [k for k, w in enumerate(words) if w == "cheap" and "broken" in words[k : k + 5]]


def nothing(words):
    return []


RULES = {
    0: a_word,
    1: bigram_with_gap,
    2: either_word,
    3: after_another,
    4: before_another,
    5: between,
    6: nothing,
}


class Neurons:
    """An interface to neurons with rules; keeps what it was asked.

    Attributes:
        rules: of each neuron; one may also say the activations themselves, [tokens] or [1].
    """

    mask = IDS["[mask]"]

    def __init__(self, rules=RULES, both_sides=True, whole=False, limit=64):
        self.rules, self.both_sides, self.whole, self.limit = rules, both_sides, whole, limit
        self.rounds = []

    def __call__(self, prompts, neurons):
        assert len(set(prompts)) == len(prompts) == len(neurons)
        assert all(0 < len(prompt) <= self.limit for prompt in prompts)
        self.rounds.append(list(prompts))
        return [
            np.stack([self.excited(neuron, prompt) for neuron in some], axis=1)
            for prompt, some in zip(prompts, neurons, strict=True)
        ]

    def excited(self, neuron, prompt):
        words = [WORDS[token] for token in prompt]
        found = self.rules[neuron](words)
        if isinstance(found, np.ndarray):
            return found
        values = np.full(len(words), QUIET, dtype=np.float32)
        values[found] = 2.0
        return values.max(keepdims=True) if self.whole else values

    @property
    def asked(self):
        """All prompts, as strings."""
        return [" ".join(WORDS[t] for t in prompt) for some in self.rounds for prompt in some]


def samples_of(neurons, strings, neuron=0):
    return sample({neuron: [text_of(string) for string in strings]}, neurons)


def explained(neurons, strings, neuron=0, augmenter=None, **changes):
    """The graph of a neuron made from some strings."""
    samples = samples_of(neurons, strings, neuron)
    [graph] = explain(samples, neurons, settings(**changes), augmenter)
    return graph


def shown(trie, node=0):
    """A trie as nested dictionaries: words, `*` for a place passed over, `>` for a turn, END."""
    found = {
        SHOWN.get(key) or WORDS[key]: shown(trie, child)
        for key, child in trie.children[node].items()
    }
    end = trie.ends[node]
    return found if end is None else found | {"END": round(end, 3)}


def random_strings(rng, number, words, length=20):
    """Texts of filler in which about a third of the words is of some."""
    lots = rng.random((number, length)) < 0.35
    texts = [[str(rng.choice(words if lot else FILLER)) for lot in row] for row in lots]
    return [" ".join(text) for text in texts]
