"""Prompts as token ids of a model: in its chat template, cut to its limit; and its two answers."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from descry.annotators.base import NO_FRAME, Frame
from descry.annotators.huggingface.chat_template import chat_frame
from descry.annotators.prompts import NO, YES, Prompt
from descry.errors import InputError
from descry.models.batching import quiet
from descry.models.checkpoints import Checkpoint, loadable
from descry.models.special_tokens import special_as_text


class PromptEncoder:
    """Token ids of prompts.

    Args:
        max_tokens: of a prompt, frame included; longer ones lose the end of their sentence.
        thinking: whether the model may think before it answers.
    """

    def __init__(self, checkpoint: Checkpoint, max_tokens: int, *, thinking: bool) -> None:
        self.checkpoint, self.max_tokens, self.thinking = checkpoint, max_tokens, thinking

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, which knows the special tokens of its chat template."""
        return self._new_tokenizer()

    @cached_property
    def frame(self) -> Frame:
        """What the tokenizer's chat template puts around a prompt; nothing where it has none."""
        return chat_frame(self.tokenizer, self.checkpoint.model, thinking=self.thinking)

    @cached_property
    def _reader(self) -> Any:
        """A copy of the tokenizer for untrusted texts: special tokens in a text are plain text."""
        reader = self._new_tokenizer()
        special_as_text(reader)
        return reader

    def _new_tokenizer(self) -> Any:
        quiet()
        from transformers import AutoTokenizer

        with loadable(self.checkpoint):
            tokenizer = AutoTokenizer.from_pretrained(
                self.checkpoint.folder, trust_remote_code=False
            )
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """The names of special tokens, in whatever case."""
        tokens = self.tokenizer.added_tokens_decoder.values()
        names = sorted({token.content for token in tokens if token.special and token.content})
        return re.compile("|".join(map(re.escape, names)) or r"(?!)", re.IGNORECASE)

    def render(self, prompt: Prompt) -> str:
        """A prompt in its frame."""
        return self.frame[0] + prompt.text + self.frame[1]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        # A chat template writes the special tokens itself.
        encoded = self.tokenizer(texts, add_special_tokens=self.frame == NO_FRAME)
        return list(encoded["input_ids"])

    def ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of prompts in their frame; special tokens in a prompt itself are text."""
        ids = self._tokens([self.render(prompt) for prompt in prompts])
        for i, prompt in enumerate(prompts):
            if self._special.search(prompt.text):
                ids[i] = self.apart(prompt)
        return ids

    def apart(self, prompt: Prompt) -> list[int]:
        """The frame's special tokens and the text between them, each by its own tokenizer.

        That is how the tokenizer parts a text itself: at special tokens, and nowhere else.
        """
        before, behind = self.frame
        first = max((found.end() for found in self._special.finditer(before)), default=0)
        last = next((found.start() for found in self._special.finditer(behind)), len(behind))
        text = before[first:] + prompt.text + behind[:last]
        plain = self.frame == NO_FRAME
        middle: list[int] = self._reader(text, add_special_tokens=plain)["input_ids"]
        if plain:
            return middle
        head, tail = self._tokens([before[:first], behind[last:]])
        return head + middle + tail

    def fitted(self, prompts: Sequence[Prompt]) -> tuple[list[list[int]], list[int]]:
        """Token ids within the limit, and by how many tokens each sentence was cut."""
        ids, cuts = self.ids(prompts), [0] * len(prompts)
        for i, prompt in enumerate(prompts):
            if len(ids[i]) > self.max_tokens:
                ids[i], cuts[i] = self._cut(prompt, len(ids[i]) - self.max_tokens)
        return ids, cuts

    def _cut(self, prompt: Prompt, excess: int) -> tuple[list[int], int]:
        """Shorten the sentence (of several the longest), never the question, until it fits."""
        encoded = self._reader(
            list(prompt.shown), add_special_tokens=False, return_offsets_mapping=True
        )
        ends = [[end for _, end in offsets] for offsets in encoded["offset_mapping"]]
        keep = sum(map(len, ends)) - excess
        while (most := _share_of(keep, [len(own) for own in ends])) > 0:
            lasts = [own[:most][-1] if own else 0 for own in ends]
            shorter = [text[:last] for text, last in zip(prompt.shown, lasts, strict=True)]
            (ids,) = self.ids([prompt.showing(shorter)])
            if len(ids) <= self.max_tokens:
                pairs = zip(ends, lasts, strict=True)
                return ids, sum(end > last for own, last in pairs for end in own)
            keep -= len(ids) - self.max_tokens
        raise InputError(
            f"{self.checkpoint.model}: max_tokens {self.max_tokens} leaves no room for a sentence"
            f" beside the question {prompt._replace(sentence='').text[:80]!r}"
        )

    def words(self, prompt: str) -> tuple[int, int]:
        """The tokens Yes and No as they would follow a prompt.

        Raises:
            InputError: one of them is not one token.
        """
        apart = self.frame == NO_FRAME and prompt[-1:].strip()
        space = " " if apart else ""
        before = self._tokens([prompt])[0] if prompt else []
        found = []
        for word in (YES, NO):
            ids = (
                self._tokens([prompt + space + word])[0]
                if prompt
                else self.tokenizer(word, add_special_tokens=False)["input_ids"]
            )
            if ids[:-1] != before or ids[-1:] == [self.tokenizer.unk_token_id]:
                raise InputError(
                    f"{self.checkpoint.model}: {word} is not one token of it: it cannot be scored"
                )
            found.append(ids[-1])
        return found[0], found[1]


def _share_of(whole: int, lengths: list[int]) -> int:
    """To how many tokens the longest are cut so that all have no more than the whole; 0 or less
    where that leaves nothing.
    """
    if len(lengths) == 1:
        return whole
    sizes = range(max(lengths), 0, -1)
    return next((n for n in sizes if sum(min(size, n) for size in lengths) <= whole), 0)
