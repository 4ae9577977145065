"""An annotator that is a model of the transformers library, on this machine.

What all of them share: pinned files, the chat template, prompts cut to the model's limit, p2 by the
log-probabilities of Yes and No, the other prompts by greedy generation. How p2's are computed
differs between encoder-decoders (seq2seq.py) and causal models (causal.py).
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

from descry.annotators.base import Answer, Frame, Identity
from descry.annotators.huggingface.encoder import PromptEncoder
from descry.annotators.huggingface.model import Loaded, Scorer
from descry.annotators.own_model import OwnModel
from descry.annotators.prompts import Prompt, Task
from descry.annotators.templates import Template
from descry.annotators.thoughts import opens_thought
from descry.errors import InputError
from descry.io.hashing import JSON, canonical
from descry.models.batching import in_parallel, within_memory
from descry.models.checkpoints import Checkpoint, loadable
from descry.models.devices import pick_device
from descry.models.gguf import SUFFIX as GGUF


class GenerativeAnnotator(OwnModel):
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
        super().__init__(task, max_tokens, max_new_tokens, thinking)
        self.checkpoint = Checkpoint(model, revision, pickled)
        self.dtype, self.device = dtype, device
        self.batch_tokens = batch_tokens
        self.encoder = PromptEncoder(self.checkpoint, max_tokens, thinking=bool(thinking))
        self._scorers: dict[Template, Scorer] = {}

    @cached_property
    def identity(self) -> Identity:
        """Who answers, and how: greedily up to a number of tokens, or with one of two words."""
        name, revision = self.checkpoint.name, self.checkpoint.revision
        weights = ", dequantised" if name.endswith(GGUF) else ""
        shown = f"{name} ({self.dtype}{weights})"
        return Identity(shown, name, revision, self.dtype, canonical(self._how))

    @property
    def quantization(self) -> str | None:
        """The format that its weights were quantised to, in a GGUF file."""
        return self.checkpoint.quantization

    @property
    def frame(self) -> Frame:
        """The tokenizer's chat template around a prompt; nothing where it has none."""
        return self.encoder.frame

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, batch by batch."""
        if not wanted:
            return
        ids, cuts = self.encoder.fitted(prompts)
        work: Iterator[list[tuple[int, JSON, int]]]
        if self._scores:
            scorer = self._scorer(prompts[0].template)
            work = (
                [(i, response, 1) for i, response in group]
                for group in scorer.score(prompts, ids, wanted)
            )
        else:
            work = self._generated(ids, wanted)
        advice = f"halve batch_tokens ({self.batch_tokens}); what was answered is kept"
        with within_memory(self.checkpoint.model, advice):
            for group in work:
                remark = scorer.remark if self._scores else None
                yield [
                    (i, Answer(r, (len(ids[i]), n), cuts[i], _thought(r), remark))
                    for i, r, n in group
                ]

    @cached_property
    def _loaded(self) -> Loaded:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

        folder = self.checkpoint.folder
        with loadable(self.checkpoint):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        positions = getattr(config, "max_position_embeddings", None) or 2**31
        limit = int(min(positions, self.encoder.tokenizer.model_max_length))
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
        return Loaded(self.encoder.tokenizer, model, self.batch_tokens)

    def _scorer(self, template: Template) -> Scorer:
        """The tokens of Yes and No are those that follow such a question."""
        if template not in self._scorers:
            self._scorers[template] = self._new_scorer(template)
        return self._scorers[template]

    def _new_scorer(self, template: Template) -> Scorer:
        if self._loaded.model.config.is_encoder_decoder:
            from descry.annotators.huggingface.seq2seq import Seq2Seq

            return Seq2Seq(self._loaded, self.encoder.words(""))
        from descry.annotators.huggingface.causal import Causal

        question = Prompt("p2", template, "It works.", "Price")
        return Causal(self._loaded, self.encoder.words(self.encoder.render(question)))

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
