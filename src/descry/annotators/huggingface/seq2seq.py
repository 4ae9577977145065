"""p2 by an encoder-decoder (FLAN-T5): one encoder pass and one decoder step.

The log-probabilities of the two answer words are compared, as monoT5 does (Nogueira et al. 2020);
`generate` would run the decoder on to the end of the answer, for the same first word.
"""

from collections.abc import Collection, Iterator, Sequence

from descry.annotators.huggingface.model import Loaded, verdicts
from descry.annotators.prompts import Prompt
from descry.io.hashing import JSON
from descry.models.batching import in_parallel


class Seq2Seq:
    """Scores Yes and No with an encoder-decoder."""

    remark: str | None = None

    def __init__(self, loaded: Loaded, words: tuple[int, int]) -> None:
        self.loaded, self.words = loaded, words
        config = loaded.model.generation_config
        self.start = [config.decoder_start_token_id or loaded.model.config.decoder_start_token_id]
        if config.forced_bos_token_id is not None:
            self.start.append(config.forced_bos_token_id)

    def score(
        self, prompts: Sequence[Prompt], ids: list[list[int]], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, JSON]]]:
        """Responses to the wanted ones of the prompts, batch by batch."""

        def batch(rows: list[int]) -> list[tuple[int, JSON]]:
            return list(zip(rows, self._batch([ids[row] for row in rows]), strict=True))

        plan = self.loaded.plan([len(i) for i in ids], wanted)
        return in_parallel(batch, plan, self.loaded.device)

    def _batch(self, ids: list[list[int]]) -> list[JSON]:
        import torch

        model = self.loaded.model
        padded = self.loaded.pad(ids, "right")
        start = torch.tensor([self.start] * len(ids), device=model.device)
        logits = model(**padded, decoder_input_ids=start, use_cache=False).logits[:, -1]
        return verdicts(logits, self.words, self.loaded.tokenizer)
