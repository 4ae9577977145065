"""An annotator that is a GGUF file, run by llama.cpp in this process (PyPI: xllamacpp).

Its weights are not converted: llama.cpp computes with them as they are quantised. Prompts go to it
as token ids of the file's own tokenizer, one at a time: it keeps what a prompt shares with the one
before, which for p2 is the sentence.
"""

import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from descry.annotators.engine import EngineAnnotator, NextToken, Written
from descry.annotators.huggingface.encoder import PromptEncoder
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.prefetch import cores
from descry.io.sanitize import printable
from descry.models.checkpoints import loadable
from descry.models.gguf import gguf_quantization, gguf_tokenizer

_TOP = 64  # tokens listed at first: both words are nearly always among them
_SHOWN = 200


class LlamaCppAnnotator(EngineAnnotator):
    """Answers p2 by the log-probabilities of the next token and the rest by greedy generation."""

    package = "xllamacpp"
    dtype = "gguf"  # as quantised, which the file's hash says

    @property
    def quantization(self) -> str | None:
        """The format of most of its weights."""
        return gguf_quantization(self.checkpoint.gguf)

    def _new_encoder(self) -> PromptEncoder:
        return _GgufEncoder(self.checkpoint, self.max_tokens, thinking=bool(self.thinking))

    @cached_property
    def _server(self) -> Any:
        """llama.cpp's server, which is asked by calls.

        It listens on this machine alone, and to nobody without a key that is thrown away.
        """
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(self.checkpoint.gguf)
        params.hostnames, params.api_keys = ["127.0.0.1"], [secrets.token_hex()]
        params.n_ctx = self.max_tokens + self._budget + 1
        params.n_parallel, params.warmup, params.verbosity = 1, False, -1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = cores()
        with loadable(self.checkpoint):
            return xllamacpp.Server(params)

    def _complete(self, ids: list[int], **how: Any) -> JSON:
        asked = {"prompt": ids, "temperature": 0.0, "cache_prompt": True, **how}
        found: JSON = self._server.handle_completions(asked)
        if isinstance(found, dict) and isinstance(found.get("choices"), list):
            return found
        fault = found.get("error", found) if isinstance(found, dict) else found
        told = fault.get("message", fault) if isinstance(fault, dict) else fault
        raise _RefusedError(printable(str(told))[:_SHOWN])

    def _next(self, prompts: Sequence[list[int]], words: tuple[int, int]) -> list[NextToken | str]:
        return [self._next_of(ids, words) for ids in prompts]

    def _next_of(self, ids: list[int], words: tuple[int, int]) -> NextToken | str:
        """The next token's log-probabilities: of all tokens where one of the words is unlikely."""
        for most in (_TOP, len(self.encoder.tokenizer)):
            try:
                found = self._complete(ids, max_tokens=1, n_probs=most)
            except _RefusedError as error:
                return str(error)
            tokens = found["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            of = {one["id"]: float(one["logprob"]) for one in tokens}
            if words[0] in of and words[1] in of:
                yes, no = (of[word] for word in words)
                return NextToken(yes, no, tokens[0]["id"], tokens[0]["token"])
        return "its probabilities leave out Yes or No"

    def _write(self, prompts: Sequence[list[int]], budget: int) -> list[Written | str]:
        return [self._written(ids, budget) for ids in prompts]

    def _written(self, ids: list[int], budget: int) -> Written | str:
        try:
            found = self._complete(ids, max_tokens=budget)
        except _RefusedError as error:
            return str(error)
        choice = found["choices"][0]
        finish = "length" if choice["finish_reason"] == "length" else "stop"
        return Written(choice["text"], finish, int(found["usage"]["completion_tokens"]))


class _RefusedError(Exception):
    """llama.cpp gave no answer to a prompt, and said why."""


class _GgufEncoder(PromptEncoder):
    """Token ids by the tokenizer of a GGUF file."""

    def _new_tokenizer(self) -> Any:
        with loadable(self.checkpoint):
            tokenizer = gguf_tokenizer(self.checkpoint.gguf)
        if not tokenizer.is_fast:
            raise InputError(f"{self.checkpoint.model}: its tokenizer has no fast form")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer
