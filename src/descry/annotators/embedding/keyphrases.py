"""Key phrases of sentences by KeyBERT (Grootendorst 2020), in place of a generated list."""

import re
from collections.abc import Sequence

import numpy as np
from keybert import KeyBERT
from keybert.backend import BaseEmbedder
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from descry.errors import InputError
from descry.models.embedder import Embed

DIVERSITY = 0.6  # of maximal marginal relevance: else all phrases name the product
_WORD = re.compile(r"[^\W\d_]{3,}")
_ANY = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ´`′＇", "'"))
# Domains without those that are English words: of "great.it works" nothing goes.
_DOMAINS = "com|net|org|edu|gov|info|biz|io|co|uk|de|fr|eu|ca|au|jp|cn|html?|php|jpe?g|png|pdf"
_NO_PROSE = re.compile(  # with bounds, so that no text takes long
    r"[^\s@]{1,64}@[^\s@]{1,255}\.\w+"  # e-mail addresses
    r"|(?:https?|ftp)://\S+|\bwww\.\S+"
    rf"|\b[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{0,4}}\.(?:{_DOMAINS})\b(?:/\S*)?"
    r"|<[a-z/!|][^<>]*>|&#?\w+;|\[\[[^\[\]]*\]\]"  # markup
)
_CONTRACTION = re.compile(r".*(?:n't|'(?:ll|ve|re|d|m|t))")
_CONTRACTED = (  # without their apostrophe, or what is left before it
    "aint arent couldnt didnt doesnt dont hadnt hasnt havent isnt mustnt neednt shouldnt wasnt"
    " werent wont wouldnt cant ive youve weve theyve youre theyre youll theyll youd theyd thats"
    " theres whats whos lets shes hes"
    " ain aren couldn didn doesn don hadn hasn isn mustn needn shouldn wasn weren wouldn"
)
_PIECES = "amp com href htm html http https nbsp quot videoid www"  # of addresses and markup
_NO_TOPICS = ENGLISH_STOP_WORDS.union(_CONTRACTED.split(), _PIECES.split())
_WITHOUT_BLANKS = re.compile(  # scripts: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese
    "[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class _Embedder(BaseEmbedder):  # type: ignore[misc]
    """Our sentence embedder in KeyBERT's terms."""

    def __init__(self, embed: Embed) -> None:
        super().__init__()
        self._embed = embed

    def embed(self, documents: Sequence[str], verbose: bool = False) -> np.ndarray:
        return self._embed(documents)


def candidate_words(sentence: str) -> list[str]:
    """The content words of a sentence, lower case.

    Words alone: pairs of them are mostly accidents of one sentence, which no other shares, and
    cost five times as much to embed (measured on the sample). Contractions, addresses and markup
    are none, nor is what belongs to a script without blanks between words. A possessive counts as
    its noun.
    """
    text = _NO_PROSE.sub(" ", sentence.lower().translate(_APOSTROPHES))
    return [word for word in map(_content, _ANY.findall(text)) if word]


def _content(word: str) -> str:
    """A word as a topic; "" if it is none."""
    noun = word.removesuffix("'s")
    if {noun, word.replace("'", "")} & _NO_TOPICS or _CONTRACTION.fullmatch(word):
        return ""
    return noun if _WORD.fullmatch(noun) and not _WITHOUT_BLANKS.search(noun) else ""


def _has_no_blanks(sentence: str) -> bool:
    """Whether most letters are of a script that does not part words by blanks."""
    return 2 * len(_WITHOUT_BLANKS.findall(sentence)) > sum(map(str.isalpha, sentence))


def key_phrases(sentences: list[str], embed: Embed, top_n: int) -> list[list[str]]:
    """Return up to `top_n` phrases of each sentence, the nearest to the whole sentence first.

    Raises:
        InputError: most of the sentences are of a script without blanks between words.
    """
    if 2 * sum(map(_has_no_blanks, sentences)) > len(sentences):
        raise InputError(
            "the embedded annotator takes its topics from words between blanks, and these sentences"
            " have none: use an annotator of kind transformers or openai in describe.annotators"
        )
    if not any(candidate_words(sentence) for sentence in sentences):
        return [[] for _ in sentences]  # KeyBERT fails where there is no word at all
    found = KeyBERT(_Embedder(embed)).extract_keywords(
        # KeyBERT answers one document with a flat list: a blank one keeps the shape.
        [*sentences, ""],
        vectorizer=CountVectorizer(analyzer=candidate_words),
        top_n=top_n,
        use_mmr=True,
        diversity=DIVERSITY,
    )
    return [[phrase for phrase, _ in phrases] for phrases in found[: len(sentences)]]
