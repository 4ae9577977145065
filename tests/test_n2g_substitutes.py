"""Words for a gap: of a tiny masked language model, and of embeddings made by hand."""

import json

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from descry.errors import InputError
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.n2g.augment import Gap
from descry.n2g.substitutes import MaskedLanguageModel, NearestWords, speller, whole_words

TOKENIZERS = {
    "bert": tiny.word_pieces(),
    "gpt2": tiny.byte_pairs(),
    "t5": tiny.sentencepiece(),
}
every = pytest.mark.parametrize("name", TOKENIZERS)
GAPS = [
    Gap("I love this ", "price", " and it works"),
    Gap("", "Battery", ""),
    Gap("the ", "small", " battery is great and it works, small and cheap: love this"),
]


def saved(folder, name="bert"):
    return Checkpoint(str(tiny.make(name, folder)), contents_sha256(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make("bert", tmp_path_factory.mktemp("mlm"))


def loaded(folder, **changes):
    how = {"number": 5, "probability": 1e-5, "device": "cpu", "batch_tokens": 256} | changes
    return MaskedLanguageModel(Checkpoint(str(folder), contents_sha256(folder)), **how)


@pytest.fixture(scope="module")
def bert(folder):
    return loaded(folder)


def likely(folder, gap):
    """The probability of every token in a gap, of one text without padding."""
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = gap.before + tokenizer.mask_token + gap.after
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    place = ids[0].tolist().index(tokenizer.mask_token_id)
    with torch.inference_mode():
        return model(input_ids=ids).logits[0, place].softmax(-1).numpy()


# Words of a vocabulary


@every
def test_whole_words_are_alphabetic_and_carry_no_mark(name):
    words = whole_words(TOKENIZERS[name])
    assert all(word.isalpha() for word in words.values())
    assert {"price", "Battery", "works"} <= set(words.values())
    pieces = TOKENIZERS[name].convert_ids_to_tokens(list(words))
    assert not any(piece.startswith("##") for piece in pieces)


def test_a_token_that_goes_on_with_a_word_is_none():
    bert, gpt2 = whole_words(TOKENIZERS["bert"]), whole_words(TOKENIZERS["gpt2"])
    assert TOKENIZERS["bert"].convert_tokens_to_ids("##a") not in bert
    assert TOKENIZERS["gpt2"].convert_tokens_to_ids("price") not in gpt2
    assert gpt2[TOKENIZERS["gpt2"].convert_tokens_to_ids("Ġprice")] == "price"


@every
def test_special_tokens_are_no_words(name):
    assert not set(whole_words(TOKENIZERS[name])) & set(TOKENIZERS[name].all_special_ids)


# Spelling


@every
@pytest.mark.parametrize("text", ["great price", "great battery works", "cheap cheap"])
def test_a_word_is_spelled_as_the_tokenizer_does_in_a_text(name, text):
    tokenizer = TOKENIZERS[name]
    spell, words = speller(tokenizer), text.split()
    found = [*spell("", words[0]), *(token for word in words[1:] for token in spell(" ", word))]
    assert found == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_word_may_take_several_tokens():
    spell = speller(TOKENIZERS["bert"])
    assert TOKENIZERS["bert"].convert_ids_to_tokens(list(spell(" ", "abc"))) == ["a", "##b", "##c"]


def test_behind_a_sign_a_word_has_no_space_before_it():
    found = speller(TOKENIZERS["gpt2"])("(", "price")
    assert TOKENIZERS["gpt2"].convert_ids_to_tokens(list(found)) == ["price"]


def test_what_would_be_one_token_with_the_sign_before_it_cannot_be_spelled():
    made = Tokenizer(models.WordLevel({"<unk>": 0, "(price": 1, "great": 2}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")
    assert speller(tokenizer)("(", "price") == ()
    assert speller(tokenizer)(" ", "great") == (2,)


# A masked language model


def test_the_likeliest_whole_words_come_in_their_order(folder, bert):
    for gap, found in zip(GAPS, bert(GAPS), strict=True):
        chances = likely(folder, gap)
        best = {}
        for token in np.argsort(-chances, kind="stable").tolist():
            word = bert.words.get(token, gap.word)
            if word.casefold() != gap.word.casefold():
                best.setdefault(word.casefold(), word)
        assert [word.casefold() for word in found] == list(best)[:5]


def test_the_original_never_comes_back(folder):
    greedy = loaded(folder, number=1000)
    for gap, found in zip(GAPS, greedy(GAPS), strict=True):
        assert len(found) > 20
        assert gap.word.casefold() not in {word.casefold() for word in found}


def test_unlikely_words_are_left_out(folder, bert):
    chances = likely(folder, GAPS[0])
    least = float(np.sort(chances)[-8])
    found = loaded(folder, number=1000, probability=least)(GAPS[:1])[0]
    most = [bert.words[t] for t in np.flatnonzero(chances >= least * 0.999) if t in bert.words]
    wanted = {word.casefold() for word in most} - {"price"}
    assert {word.casefold() for word in found} == wanted
    assert loaded(folder, probability=1.1)(GAPS) == [[], [], []]


def test_a_gaps_words_do_not_depend_on_its_batch(folder, bert):
    assert loaded(folder, batch_tokens=1)(GAPS) == bert(GAPS) == bert(GAPS[::-1])[::-1]


def test_a_mask_that_somebody_wrote_is_not_the_gap(bert):
    mask = bert.tokenizer.mask_token
    for before in (f"{mask} is great ", mask):
        ids, place = bert._encoded(Gap(before, "price", ""))
        assert ids.count(bert.tokenizer.mask_token_id) == 1
        assert place == len(ids) - 2
    for after in (f" is great {mask}", mask):
        assert bert._encoded(Gap("", "price", after))[1] == 1


def test_a_gap_beyond_what_the_model_reads_has_no_words(bert):
    assert bert([Gap("price " * tiny.LIMIT, "small", "")]) == [[]]
    assert bert([]) == []


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_stands_around_a_gap_it_is_found(bert, before, after):
    ids, place = bert._encoded(Gap(before, "price", after))
    assert place is None or ids[place] == bert.tokenizer.mask_token_id
    assert place is not None or bert.tokenizer.mask_token_id not in ids


def test_a_model_of_another_kind_is_refused(tmp_path):
    checkpoint = saved(tmp_path, "roberta")
    with pytest.raises(
        InputError, match=r"no masked language model \(it has no weights for lm_head"
    ):
        MaskedLanguageModel(checkpoint, number=5, probability=0.1, device="cpu", batch_tokens=64)


def test_a_model_without_a_mask_in_its_tokenizer_is_refused(tmp_path):
    tiny.make("bert", tmp_path)
    told = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del told["mask_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="no mask in its tokenizer"):
        loaded(tmp_path)


def test_a_broken_model_is_refused(tmp_path):
    tiny.make("bert", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be loaded"):
        loaded(tmp_path)


# The nearest words


def embedded():
    """A vocabulary of five words with embeddings on a circle, and pieces."""
    angles = {"<unk>": 0, "tea": 0, "Tea": 1, "coffee": 10, "cocoa": 20, "brick": 180, "##s": 38}
    words = Tokenizer(models.WordPiece({w: i for i, w in enumerate(angles)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.decoder = decoders.WordPiece()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    radians = np.radians(list(angles.values()))
    lengths = np.array([1, 1, 1, 9, 1, 5, 1])[:, None]  # of the vectors: they do not matter
    circle = np.stack([np.cos(radians), np.sin(radians)], axis=1)
    return tokenizer, torch.tensor(circle * lengths)


def test_the_nearest_words_come_first_in_the_words_case():
    nearest = NearestWords(*embedded(), number=2)
    gaps = [Gap("", "tea", ""), Gap("", "Tea", ""), Gap("", "brick", "")]
    assert nearest(gaps) == [["coffee", "cocoa"], ["Coffee", "Cocoa"], ["cocoa", "coffee"]]


def test_an_unknown_word_is_near_none():
    assert NearestWords(*embedded(), number=2)([Gap("", "chocolate", "")]) == [[]]


def test_a_word_of_several_tokens_stands_where_their_mean_does():
    assert NearestWords(*embedded(), number=1)([Gap("", "teas", "")]) == [["cocoa"]]


def test_a_vector_without_a_direction_is_no_trouble():
    tokenizer, vectors = embedded()
    found = NearestWords(tokenizer, torch.zeros_like(vectors), number=9)([Gap("", "tea", "")])
    assert found == [["coffee", "cocoa", "brick"]]


def test_a_models_own_embeddings_serve(folder):
    model = AutoModelForMaskedLM.from_pretrained(folder)
    nearest = NearestWords(TOKENIZERS["bert"], model.get_input_embeddings().weight, number=5)
    for gap, found in zip(GAPS, nearest(GAPS), strict=True):
        assert len(found) == 5
        assert gap.word.casefold() not in {word.casefold() for word in found}
