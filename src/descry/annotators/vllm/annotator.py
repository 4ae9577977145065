"""An annotator that vLLM runs in this process, offline (PyPI: vllm).

Prompts go to it as token ids, some hundreds at a time, which it batches itself; it keeps what they
share (prefix caching). Not run where this was written, which has no GPU: its calls are tested
against the signatures of vLLM's own.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from descry.annotators.engine import EngineAnnotator, NextToken, Written
from descry.annotators.huggingface.encoder import PromptEncoder
from descry.annotators.prompts import Task
from descry.models.checkpoints import loadable


class VllmAnnotator(EngineAnnotator):
    """Answers p2 by the log-probabilities of the next token and the rest by greedy generation."""

    package = "vllm"
    group = 512

    def __init__(self, task: Task, *, dtype: str, memory: float, **how: Any) -> None:
        super().__init__(task, **how)
        self._dtype, self.memory = dtype, memory

    @property
    def dtype(self) -> str:
        """The number type of the weights and the arithmetic."""
        return self._dtype

    @property
    def quantization(self) -> str | None:
        """None: what its weights were quantised to, a checkpoint's own config says."""
        return None

    def _new_encoder(self) -> PromptEncoder:
        return PromptEncoder(self.checkpoint, self.max_tokens, thinking=bool(self.thinking))

    @cached_property
    def _model(self) -> Any:
        from vllm import LLM

        with loadable(self.checkpoint):
            return LLM(**self._options())

    def _options(self) -> dict[str, Any]:
        """What vLLM's LLM is made with."""
        folder = str(self.checkpoint.folder)
        return {
            "model": folder,
            "tokenizer": folder,
            "trust_remote_code": False,
            "dtype": self._dtype,
            "seed": 0,
            "max_model_len": self.max_tokens + self._budget + 1,
            "gpu_memory_utilization": self.memory,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
        }

    def _generate(self, prompts: Sequence[list[int]], **how: Any) -> list[Any]:
        from vllm import SamplingParams

        asked = [{"prompt_token_ids": ids} for ids in prompts]
        sampling = SamplingParams(temperature=0.0, **how)
        found = self._model.generate(asked, sampling, use_tqdm=False)
        return [one.outputs[0] for one in found]

    def _next(self, prompts: Sequence[list[int]], words: tuple[int, int]) -> list[NextToken | str]:
        found = self._generate(prompts, max_tokens=1, logprob_token_ids=list(words))
        return [next_token(one.logprobs[0], words) for one in found]

    def _write(self, prompts: Sequence[list[int]], budget: int) -> list[Written | str]:
        found = self._generate(prompts, max_tokens=budget)
        ends = ["length" if one.finish_reason == "length" else "stop" for one in found]
        return [
            Written(one.text, end, len(one.token_ids)) for one, end in zip(found, ends, strict=True)
        ]


def next_token(told: Mapping[int, Any], words: tuple[int, int]) -> NextToken | str:
    """What comes next, by vLLM's log-probabilities of the two words and of the likeliest token.

    Args:
        told: by token, objects with `logprob` and `decoded_token`.
    """
    if not all(word in told for word in words):
        return "no log-probability of Yes or No"
    yes, no = (float(told[word].logprob) for word in words)
    first = max(told, key=lambda token: float(told[token].logprob))
    return NextToken(yes, no, first, str(told[first].decoded_token or ""))
