"""An annotator that is a model of the transformers library, on this machine.

What all of them share: pinned files, the chat template, prompts cut to the model's limit, p2 by the
log-probabilities of Yes and No, the other prompts by greedy generation. How p2's are computed
differs between encoder-decoders (seq2seq.py) and causal models (causal.py).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from descry.annotators.base import NO_FRAME, Answer, Frame, Identity
from descry.annotators.huggingface.model import Loaded, Scorer
from descry.annotators.openai_server.schema import opens_thought
from descry.annotators.prompts import NO, P2, WORDS, YES, Prompt, Task
from descry.errors import InputError
from descry.io.hashing import JSON, canonical
from descry.models.batching import in_parallel, quiet, within_memory
from descry.models.checkpoints import Checkpoint, loadable
from descry.models.devices import pick_device
from descry.models.special_tokens import special_as_text

if TYPE_CHECKING:
    pass

_HOLE = "<<the prompt>>"  # stands for it while a chat template is rendered
_TODAY = date(2024, 7, 26)  # for templates that write the date: a prompt must not change overnight
# Takes the place of the function that gives templates the date; a function cannot be handed in.
_CLOCK = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f"|replace('%{code}','{_TODAY.strftime('%' + code)}')" for code in "aAbBdmyYjHMS")
    + f"|replace('%-d','{_TODAY.day}')|replace('%-m','{_TODAY.month}')"
    + " }}{%- endmacro %}\n"
)
_OPEN_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>\s*$")  # by the template itself


class GenerativeAnnotator:
    """Answers p2 by the log-probabilities of the next word and the rest by greedy generation."""

    server = None
    price = None
    packages = ("tokenizers", "torch", "transformers")

    def __init__(
        self,
        task: Task,
        *,
        model: str,
        revision: str,
        dtype: str,
        device: str,
        max_tokens: int,
        max_new_tokens: int,
        batch_tokens: int,
        pickled: bool = False,
        thinking: int | None = None,
    ) -> None:
        self.task: Task = task
        self.checkpoint = Checkpoint(model, revision, pickled)
        self.dtype, self.device = dtype, device
        self.max_tokens, self.max_new_tokens = max_tokens, max_new_tokens
        self.batch_tokens = batch_tokens
        self.thinking = thinking
        self._scores = task == "p2" and not thinking

    @cached_property
    def identity(self) -> Identity:
        """Who answers, and how: greedily so many tokens, or with one of two words."""
        how: dict[str, Any] = {"max_tokens": self.max_tokens}
        if self.task == "p2":
            how |= {"answers": [YES, NO]}
        if not self._scores:
            how |= {"do_sample": False, "max_new_tokens": self._budget}
        if self.thinking:
            how |= {"thinking": self.thinking}
        name, revision = self.checkpoint.name, self.checkpoint.revision
        return Identity(f"{name} ({self.dtype})", name, revision, self.dtype, canonical(how))

    @property
    def _budget(self) -> int:
        """New tokens of an answer, at most: p2's is not written, but behind thoughts."""
        if self._scores:
            return 0
        return (self.max_new_tokens if self.task == "p1" else WORDS) + (self.thinking or 0)

    @cached_property
    def frame(self) -> Frame:
        """The tokenizer's chat template around a prompt; nothing where it has none."""
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            return NO_FRAME
        try:
            text = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": _HOLE}],
                chat_template=_CLOCK + self._tokenizer.get_chat_template(),
                tokenize=False,
                add_generation_prompt=True,
                # Else the answer comes first, not behind a monologue.
                enable_thinking=bool(self.thinking),  # Qwen and others
                thinking=bool(self.thinking),  # DeepSeek, Granite
                date_string=_TODAY.strftime("%d %b %Y"),
            )
        except TemplateError as error:
            raise InputError(
                f"{self.checkpoint.model}: its chat template fails: {error}"
            ) from error
        before, *behind = text.split(_HOLE)
        if len(behind) != 1:
            fault = "repeats the prompt" if behind else "leaves the prompt out"
            raise InputError(f"{self.checkpoint.model}: its chat template {fault}")
        opened = _OPEN_THOUGHT.search(behind[0])
        closed = f"</{opened[1]}>\n\n" if opened and not self.thinking else ""
        return before, behind[0] + closed

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, batch by batch."""
        ids, cuts = self._fitted(prompts)
        work: Iterator[list[tuple[int, JSON, int]]]
        if self._scores:
            work = (
                [(i, response, 1) for i, response in group]
                for group in self._scorer.score(prompts, ids, wanted)
            )
        else:
            work = self._generated(ids, wanted)
        advice = f"halve batch_tokens ({self.batch_tokens}); what was answered is kept"
        with within_memory(self.checkpoint.model, advice):
            for group in work:
                remark = self._scorer.remark if self._scores else None
                yield [
                    (i, Answer(r, (len(ids[i]), n), cuts[i], _thought(r), remark))
                    for i, r, n in group
                ]

    @cached_property
    def _tokenizer(self) -> Any:
        """The model's tokenizer, which knows the special tokens of its chat template."""
        return self._new_tokenizer()

    @cached_property
    def _reader(self) -> Any:
        """The same for texts of strangers, in which special tokens are text like any other."""
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
        tokens = self._tokenizer.added_tokens_decoder.values()
        names = sorted({token.content for token in tokens if token.special and token.content})
        return re.compile("|".join(map(re.escape, names)) or r"(?!)", re.IGNORECASE)

    @cached_property
    def _loaded(self) -> Loaded:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

        folder = self.checkpoint.folder
        with loadable(self.checkpoint):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        limit = _limit(config, self._tokenizer)
        if self.max_tokens > limit:
            raise InputError(
                f"{self.checkpoint.model}: max_tokens {self.max_tokens} is more than its {limit}"
            )
        written = 0 if config.is_encoder_decoder else self._budget
        if self.max_tokens + written > limit:
            raise InputError(
                f"{self.checkpoint.model}: max_tokens {self.max_tokens} and max_new_tokens"
                f" {written} together are more than its {limit}"
            )
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        # Several GPUs share one model by accelerate's map.
        where = {"device_map": "auto"} if self.device == "map" else {}
        with loadable(self.checkpoint):
            model = kind.from_pretrained(
                folder,
                dtype=getattr(torch, self.dtype),
                trust_remote_code=False,
                use_safetensors=self.checkpoint.safetensors,
                **where,
            ).eval()
            if not where:
                model.to(pick_device(self.device))
        return Loaded(self._tokenizer, model, self.batch_tokens)

    @cached_property
    def _scorer(self) -> Scorer:
        if self._loaded.model.config.is_encoder_decoder:
            from descry.annotators.huggingface.seq2seq import Seq2Seq

            return Seq2Seq(self._loaded, self._words(""))
        from descry.annotators.huggingface.causal import Causal

        question = Prompt("p2", P2, "It works.", "Price")
        return Causal(self._loaded, self._words(self._render(question)))

    # Prompts to tokens

    def _render(self, prompt: Prompt) -> str:
        return self.frame[0] + prompt.text + self.frame[1]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        # A chat template writes the special tokens itself.
        encoded = self._tokenizer(texts, add_special_tokens=self.frame == NO_FRAME)
        return list(encoded["input_ids"])

    def _ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of prompts in their frame; special tokens in a prompt itself are text."""
        ids = self._tokens([self._render(prompt) for prompt in prompts])
        for i, prompt in enumerate(prompts):
            if self._special.search(prompt.text):
                ids[i] = self._apart(prompt)
        return ids

    def _apart(self, prompt: Prompt) -> list[int]:
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

    def _fitted(self, prompts: Sequence[Prompt]) -> tuple[list[list[int]], list[int]]:
        """Token ids within the limit, and by how many tokens each sentence was cut."""
        ids, cuts = self._ids(prompts), [0] * len(prompts)
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
            (ids,) = self._ids([prompt.showing(shorter)])
            if len(ids) <= self.max_tokens:
                pairs = zip(ends, lasts, strict=True)
                return ids, sum(end > last for own, last in pairs for end in own)
            keep -= len(ids) - self.max_tokens
        raise InputError(
            f"{self.checkpoint.model}: max_tokens {self.max_tokens} leaves no room for a sentence"
            f" beside the question {prompt._replace(sentence='').text[:80]!r}"
        )

    def _words(self, prompt: str) -> tuple[int, int]:
        """The tokens Yes and No as they would follow a prompt.

        Raises:
            InputError: one of them is not one token.
        """
        space = " " if prompt and self.frame == NO_FRAME else ""
        before = self._tokens([prompt])[0] if prompt else []
        found = []
        for word in (YES, NO):
            ids = (
                self._tokens([prompt + space + word])[0]
                if prompt
                else self._tokenizer(word, add_special_tokens=False)["input_ids"]
            )
            if ids[:-1] != before or ids[-1:] == [self._tokenizer.unk_token_id]:
                raise InputError(
                    f"{self.checkpoint.model}: {word} is not one token of it: it cannot be scored"
                )
            found.append(ids[-1])
        return found[0], found[1]

    # Answers in words

    def _generated(
        self, ids: list[list[int]], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, JSON, int]]]:
        """Greedy answers with their number of tokens."""
        from transformers import GenerationConfig

        loaded = self._loaded
        model, tokenizer = loaded.model, loaded.tokenizer
        both_sides = model.config.is_encoder_decoder
        # BART's: it would make an answer that is cut off seem whole.
        model.config.forced_eos_token_id = model.generation_config.forced_eos_token_id = None
        config = GenerationConfig.from_model_config(model.config)
        config.update(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._budget,
            max_length=None,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=model.generation_config.eos_token_id or tokenizer.eos_token_id,
        )
        ends = config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends}

        def batch(rows: list[int]) -> list[tuple[int, JSON, int]]:
            padded = loaded.pad([ids[row] for row in rows], "right" if both_sides else "left")
            out = model.generate(**padded, generation_config=config)
            start = 1 if both_sides else padded["input_ids"].shape[1]
            return [
                (row, *_written(tokenizer, line[start:].tolist(), ends))
                for row, line in zip(rows, out, strict=True)
            ]

        lengths = [len(i) + self._budget for i in ids]
        return in_parallel(batch, loaded.plan(lengths, wanted), loaded.device)


def _share_of(whole: int, lengths: list[int]) -> int:
    """To how many tokens the longest are cut so that all have no more than the whole; 0 or less
    where that leaves nothing.
    """
    if len(lengths) == 1:
        return whole
    return next((n for n in range(max(lengths), 0, -1) if _sum_to(n, lengths) <= whole), 0)


def _sum_to(most: int, lengths: list[int]) -> int:
    return sum(min(length, most) for length in lengths)


def _written(tokenizer: Any, tokens: list[int], ends: set[int]) -> tuple[JSON, int]:
    """The text up to its end, why it ended, and its number of tokens."""
    size = next((i for i, token in enumerate(tokens) if token in ends), None)
    finish = "length" if size is None else "stop"
    text = tokenizer.decode(tokens[:size], skip_special_tokens=True).strip()
    return {"text": text, "finish": finish}, len(tokens) if size is None else size + 1


def _thought(response: JSON) -> str | None:
    """Why a score is no answer, where the model would begin with thoughts."""
    thinks = opens_thought(response.get("instead", ""))
    return "thinks before it answers (write `thinking: 1024` below its model)" if thinks else None


def _limit(config: Any, tokenizer: Any) -> int:
    """Tokens that a model takes at most."""
    positions = getattr(config, "max_position_embeddings", None) or 2**31
    return int(min(positions, tokenizer.model_max_length))
