"""An annotator that CTranslate2 runs in this process: FLAN-T5 and other encoder-decoders.

Its weights are converted once, to the number of bits that params.yaml names, and kept beside other
conversions (models/conversion.py). With a byte a weight it is faster on a CPU, and answers a
little otherwise.
"""

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from descry.annotators.engine import EngineAnnotator, NextToken, Written
from descry.annotators.huggingface.encoder import PromptEncoder
from descry.annotators.prompts import Prompt, Task
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.prefetch import cores
from descry.models.checkpoints import loadable
from descry.models.conversion import kept

_PROBE = "It works well. Is that good?"
_APART = 0.1  # of slope and correlation: a byte a weight makes less


class CTranslate2Annotator(EngineAnnotator):
    """Answers p2 by the log-probabilities of the answer's first token, the rest greedily."""

    package = "ctranslate2"
    group = 512

    def __init__(self, task: Task, *, compute: str, batch_tokens: int, **how: Any) -> None:
        super().__init__(task, **how)
        self.compute, self.batch_tokens = compute, batch_tokens

    @property
    def dtype(self) -> str:
        """The number type of the weights and the products."""
        return self.compute

    @property
    def quantization(self) -> str | None:
        """The type of the converted weights, where it has fewer bits than the model's."""
        return None if self.compute == "float32" else self.compute

    def _new_encoder(self) -> PromptEncoder:
        return PromptEncoder(self.checkpoint, self.max_tokens, thinking=False)

    def _words(self, prompt: Prompt) -> tuple[int, int]:
        """The answer begins a text of its own."""
        return self.encoder.words("")

    @cached_property
    def _translator(self) -> Any:
        made_of = self.checkpoint.weights, self.package, self.version, self.compute
        folder = kept(" ".join(made_of), self._convert)
        with loadable(self.checkpoint):
            return self._opened(folder)

    def _opened(self, folder: Path) -> Any:
        import ctranslate2

        how = {"compute_type": self.compute, "intra_threads": cores()}
        return ctranslate2.Translator(str(folder), device="auto", **how)

    def _convert(self, folder: Path) -> JSON:
        from ctranslate2.converters import TransformersConverter

        class Converter(TransformersConverter):  # type: ignore[misc]
            def load_model(self, *given: Any, **named: Any) -> Any:
                model = super().load_model(*given, **named)
                # Since transformers 5 all T5 say that they are tied: whether outputs are scaled,
                # which CTranslate2 takes that for, stands elsewhere. FLAN-T5's are not.
                config = model.config
                tied = getattr(config, "tie_word_embeddings", None)
                config.tie_word_embeddings = getattr(config, "scale_decoder_outputs", tied)
                return model

        with loadable(self.checkpoint):
            model = self._original()
            print(f"{self.checkpoint.model}: is converted for CTranslate2, once", file=sys.stderr)
            source = Converter(str(self.checkpoint.folder))
            source.convert(str(folder), quantization=self.compute, force=True)
            self._check(folder, model)
        return {"weights": self.checkpoint.weights, "compute": self.compute}

    def _original(self) -> Any:
        """The model, by the transformers library.

        Raises:
            InputError: it is no encoder-decoder.
        """
        import torch
        from transformers import AutoConfig, AutoModelForSeq2SeqLM

        folder = str(self.checkpoint.folder)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if not config.is_encoder_decoder:
            raise InputError(
                f"{self.checkpoint.model}: no encoder-decoder, which kind ctranslate2 is for: take"
                " kind transformers, llama_cpp or vllm"
            )
        how = {"dtype": torch.float32, "trust_remote_code": False}
        return AutoModelForSeq2SeqLM.from_pretrained(folder, **how).eval()

    def _check(self, folder: Path, model: Any) -> None:
        """Hold the conversion's first token against the model's own.

        Raises:
            InputError: it says something else.
        """
        import torch

        ids: list[int] = self.encoder.tokenizer(_PROBE)["input_ids"]
        start = torch.tensor([[model.config.decoder_start_token_id]])
        with torch.inference_mode():
            own = model(input_ids=torch.tensor([ids]), decoder_input_ids=start).logits[0, -1]
        (found,) = self._first_tokens(self._opened(folder), [ids])
        one, two = (of[: len(own)] - of[: len(own)].mean() for of in (own.numpy(), found))
        slope = float(one @ two / (one @ one))
        if abs(slope - 1) > _APART or np.corrcoef(one, two)[0, 1] < 1 - _APART:
            raise InputError(
                f"{self.checkpoint.model}: CTranslate2 {self.version} makes another model of it"
                f" (its logits are {slope:.2f} times as far apart): take kind transformers"
            )

    def _translated(self, translator: Any, prompts: Sequence[list[int]], **how: Any) -> list[Any]:
        name = self.encoder.tokenizer.convert_ids_to_tokens
        how |= {"batch_type": "tokens", "max_batch_size": self.batch_tokens}
        # An answer may be empty: at least one token is the library's default.
        how |= {"beam_size": 1, "min_decoding_length": 0}
        found: list[Any] = translator.translate_batch([name(ids) for ids in prompts], **how)
        return found

    def _first_tokens(self, translator: Any, prompts: Sequence[list[int]]) -> list[np.ndarray]:
        """The logits of the answers' first tokens: float [vocabulary] each."""
        how = {"max_decoding_length": 1, "return_logits_vocab": True}
        found = self._translated(translator, prompts, **how)
        return [np.asarray(one.logits[0][0]).ravel() for one in found]

    def _next(self, prompts: Sequence[list[int]], words: tuple[int, int]) -> list[NextToken | str]:
        every = self._first_tokens(self._translator, prompts)
        return [self._first(logits, words) for logits in every]

    def _first(self, logits: np.ndarray, words: tuple[int, int]) -> NextToken:
        logits = logits.astype(np.float64)
        highest = int(logits.argmax())
        shares = logits - logits[highest]
        shares -= np.log(np.exp(shares).sum())
        yes, no = (float(shares[word]) for word in words)
        return NextToken(yes, no, highest, self.encoder.tokenizer.decode([highest]))

    def _write(self, prompts: Sequence[list[int]], budget: int) -> list[Written | str]:
        how = {"max_decoding_length": budget, "return_end_token": True}
        found = self._translated(self._translator, prompts, **how)
        return [self._written(one.hypotheses[0]) for one in found]

    def _written(self, tokens: list[str]) -> Written:
        tokenizer = self.encoder.tokenizer
        ended = tokens[-1:] == [tokenizer.eos_token]
        text = tokenizer.decode(tokenizer.convert_tokens_to_ids(tokens), skip_special_tokens=True)
        return Written(text, "stop" if ended else "length", len(tokens))
