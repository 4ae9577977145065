"""Texts as tokens: characters, sentences, limits, and special tokens that somebody wrote."""

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.models.special_tokens import special_as_text
from descry.n2g.texts import make_text, read

TOKENIZERS = {
    "bert": tiny.word_pieces(),
    "gpt2": tiny.byte_pairs(),
    "t5": tiny.sentencepiece(),
    "llama": tiny.byte_pairs(name="llama"),
}
for tokenizer in TOKENIZERS.values():
    special_as_text(tokenizer)
every = pytest.mark.parametrize("name", TOKENIZERS)


def pieces(text):
    return [text.string[first:last] for first, last in text.spans]


@every
def test_a_token_stands_for_its_characters_without_white_space(name):
    [text] = read(["great  price and small"], TOKENIZERS[name], limit=20)
    found = [piece for piece in pieces(text) if piece.strip()]
    assert "".join(found) == "greatpriceandsmall"
    assert all(piece == piece.strip() for piece in found)


@every
@given(strings=st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_any_string_is_read(name, strings):
    tokenizer = TOKENIZERS[name]
    for text, string in zip(read(strings, tokenizer, limit=9), strings, strict=True):
        assert text.string == string
        assert len(text.tokens) == len(text.spans) == len(text.sentences) <= 9
        assert all(0 <= first <= last <= len(string) for first, last in text.spans)
        assert list(text.sentences) == sorted(text.sentences)


@every
def test_no_special_token_is_put_around_a_text(name):
    tokenizer = TOKENIZERS[name]
    [text] = read(["great price"], tokenizer, limit=20)
    assert list(text.tokens) == tokenizer("great price", add_special_tokens=False)["input_ids"]


@every
def test_special_tokens_that_somebody_wrote_are_text(name):
    tokenizer = TOKENIZERS[name]
    written = [f"great {token} price" for token in tokenizer.all_special_tokens]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for text, string in zip(read(written, tokenizer, limit=20), written, strict=True):
        assert "".join(pieces(text)).replace(" ", "") == string.replace(" ", "")
        assert not set(text.tokens) & special


def test_what_the_tokenizer_does_not_know_is_a_token_all_the_same():
    tokenizer = TOKENIZERS["bert"]
    [text] = read(["great 電 price"], tokenizer, limit=20)
    assert text.tokens[1] == tokenizer.unk_token_id
    assert pieces(text) == ["great", "電", "price"]


def test_a_text_beyond_the_limit_is_cut():
    whole, cut = (read(["great price " * 40], TOKENIZERS["bert"], limit=n)[0] for n in (99, 5))
    assert len(whole.tokens) == 80
    assert cut.tokens == whole.tokens[:5]
    assert cut.string == whole.string
    assert (whole.cut, cut.cut) == (0, 75)


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast, name_or_path = False, "old/model"

    with pytest.raises(InputError, match="old/model has no fast tokenizer"):
        read(["great"], Slow(), limit=5)


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("So good. It is.", [0, 0, 1, 1]),
        ("So good! Is it? It is", [0, 0, 1, 1, 2, 2]),
        ("It is 3.5 inch", [0, 0, 0, 0]),
        ('He said "no." She left', [0, 0, 0, 1, 1]),
        ("So it is\nand on\n\nit is", [0, 0, 0, 1, 1, 2, 2]),
        ("Well… it is", [0, 1, 1]),
        ("no end", [0, 0]),
    ],
)
def test_sentences_end_with_a_stop_or_a_line(string, expected):
    spans, end = [], 0
    for word in string.split():
        first = string.index(word, end)
        end = first + len(word)
        spans.append((first, end))
    assert list(make_text(string, range(len(spans)), spans).sentences) == expected


def test_a_full_stop_belongs_to_the_sentence_that_it_ends():
    assert make_text("so . it", range(3), [(0, 2), (2, 4), (4, 7)]).sentences == (0, 0, 1)
