"""Special tokens in a text of the corpus are text, not control."""

import json
from typing import Any


def special_as_text(tokenizer: Any) -> None:
    """Let a tokenizer of the transformers library read special tokens in a text as plain text.

    A review that holds `</s>` or `[MASK]` must not end a text or hide a word of it. The special
    tokens that the tokenizer itself puts around a text stay, and so do added tokens that are not
    special. Texts without special tokens have the same ids as before.
    """
    tokenizer.split_special_tokens = True
    specials = {
        str(token): i for i, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    specials.pop(tokenizer.unk_token, None)  # any unknown letter is one: it controls nothing
    left = {name for name, i in specials.items() if len(name) > 1 and _reaches(tokenizer, name, i)}
    if left:  # sentencepiece's are pieces of its vocabulary, too: T5, XLM-R, ALBERT
        _forget(tokenizer.backend_tokenizer, left)


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the highest id of a tokenizer's tokens."""
    return 1 + int(max(tokenizer.get_vocab().values()))


def _reaches(tokenizer: Any, name: str, token: int) -> bool:
    """Whether a token's name within a text still becomes the token."""
    found = tokenizer([name, f"a {name} a"], add_special_tokens=False)["input_ids"]
    return any(token in ids for ids in found)


def _forget(backend: Any, pieces: set[str]) -> None:
    """Take pieces out of the vocabulary in which a fast tokenizer looks up a text's words."""
    whole = json.loads(backend.to_str())
    vocabulary = whole["model"]["vocab"]
    if isinstance(vocabulary, list):  # its places are the ids; no text holds an empty piece
        kept: Any = [["" if piece in pieces else piece, score] for piece, score in vocabulary]
    else:
        kept = {piece: i for piece, i in vocabulary.items() if piece not in pieces}
    alone = {"model": whole["model"] | {"vocab": kept}, "added_tokens": [], "post_processor": None}
    backend.model = type(backend).from_str(json.dumps(whole | alone)).model
