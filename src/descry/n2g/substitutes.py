"""Sources of words for a gap: a masked language model, or the model's own embeddings."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from descry.errors import InputError
from descry.models.batching import in_parallel, plan_batches, quiet, within_memory
from descry.models.checkpoints import Checkpoint, loadable
from descry.models.devices import pick_device
from descry.models.hooked_model import HookedModel, around
from descry.models.special_tokens import special_as_text, vocabulary_size
from descry.n2g.augment import Augmenter, Gap, suitable
from descry.n2g.batching import Prompt
from descry.n2g.explain import Settings

if TYPE_CHECKING:
    import torch

Augment = str | dict[str, Any] | None  # as make_augmenter takes it
_WORD_START = ("Ġ", "▁")  # byte pairs' and sentencepiece's mark of a token that begins a word
_WORD_PIECE = "##"  # BERT's mark of one that does not


def whole_words(tokenizer: Any) -> dict[int, str]:
    """The tokens of a vocabulary that are alphabetic words, without the tokenizer's word marks."""
    pieces = tokenizer.convert_ids_to_tokens(list(range(vocabulary_size(tokenizer))))
    named = [piece or "" for piece in pieces]
    special = set(tokenizer.all_special_tokens)
    mark = next((m for m in _WORD_START if any(p.startswith(m) for p in named)), None)
    words = {}
    for token, piece in enumerate(named):
        begins = not piece.startswith(_WORD_PIECE) if mark is None else piece.startswith(mark)
        if begins and piece not in special:
            word = tokenizer.decode([token]).strip()
            if word.isalpha():
                words[token] = word
    return words


def speller(tokenizer: Any) -> Callable[[str, str], Prompt]:
    """A function that says a word's tokens as it stands behind a character, or behind none.

    No tokens where that character would be in a token with the word's first.
    """

    def spell(behind: str, word: str) -> Prompt:
        # White space stands behind something, or some tokenizers would drop it.
        stem = "a " if behind.isspace() else behind
        encoded = tokenizer(stem + word, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        inside = [(token, span) for token, span in pairs if span[1] > len(stem)]
        if not inside or inside[0][1][0] < len(stem.rstrip()):
            return ()
        return tuple(token for token, _ in inside)

    return spell


class MaskedLanguageModel:
    """A masked language model, such as BERT, that says which words a gap could have."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        number: int,
        probability: float,
        device: str,
        batch_tokens: int,
    ) -> None:
        """Load the model.

        Args:
            number: words for a gap, at most.
            probability: what that of each is at least.
            batch_tokens: padded tokens of a batch, each of which costs a number for every word of
                the vocabulary.

        Raises:
            InputError: the checkpoint cannot be loaded, or is no masked language model.
        """
        self.name, self.number, self.probability = checkpoint.model, number, probability
        self.device, self.batch_tokens = pick_device(device), batch_tokens
        self.tokenizer, self.model = _load(checkpoint, self.device)
        special_as_text(self.tokenizer)
        self.before, self.behind = around(self.tokenizer)
        self.words = whole_words(self.tokenizer)

    def __call__(self, gaps: Sequence[Gap]) -> list[list[str]]:
        """The likeliest words of each gap; none where it is beyond what the model reads."""
        encoded = [self._encoded(gap) for gap in gaps]
        known = [row for row, (_, place) in enumerate(encoded) if place is not None]
        lengths = [len(encoded[row][0]) for row in known]
        plan = [[known[k] for k in rows] for rows in plan_batches(lengths, self.batch_tokens)]
        batches = ([encoded[row] for row in rows] for rows in plan)
        found: list[list[str]] = [[] for _ in gaps]
        ranked = in_parallel(self._ranked, batches, self.device)
        advice = f"halve activations.batch_tokens ({self.batch_tokens})"
        with within_memory(self.name, advice):
            for rows, words in zip(plan, ranked, strict=True):
                for row, likely in zip(rows, words, strict=True):
                    found[row] = suitable(gaps[row].word, likely, number=self.number)
        return found

    def _encoded(self, gap: Gap) -> tuple[list[int], int | None]:
        """Token ids with a mask in the gap, and its place, if the model reads as far."""
        token = self.tokenizer.mask_token_id
        mask = self.tokenizer.added_tokens_decoder[token]
        before = gap.before.rstrip() if mask.lstrip else gap.before
        after = gap.after.lstrip() if mask.rstrip else gap.after
        first, last = self.tokenizer([before, after], add_special_tokens=False)["input_ids"]
        room = self.tokenizer.model_max_length - len(self.before) - len(self.behind)
        ids = [*self.before, *[*first, token, *last][:room], *self.behind]
        return ids, len(self.before) + len(first) if len(first) < room else None

    def _ranked(self, batch: Sequence[tuple[list[int], int | None]]) -> list[Iterator[str]]:
        """The words for the gaps of a batch, the likeliest first."""
        import torch

        longest = max(len(ids) for ids, _ in batch)
        padding = self.tokenizer.pad_token_id or 0
        rows = [ids + [padding] * (longest - len(ids)) for ids, _ in batch]
        real = [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch]
        given = (torch.tensor(numbers, device=self.device) for numbers in (rows, real))
        logits = self.model(**dict(zip(("input_ids", "attention_mask"), given, strict=True))).logits
        places = torch.tensor([place for _, place in batch], device=self.device)
        chances = logits[torch.arange(len(batch), device=self.device), places].float().softmax(-1)
        return [self._likely(row) for row in chances.cpu().numpy()]

    def _likely(self, chances: np.ndarray) -> Iterator[str]:
        tokens = np.flatnonzero(chances >= self.probability)
        order = tokens[np.argsort(-chances[tokens], kind="stable")]
        return (self.words[token] for token in order.tolist() if token in self.words)


def _load(checkpoint: Checkpoint, device: str) -> tuple[Any, Any]:
    quiet()
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = str(checkpoint.folder)
    with loadable(checkpoint):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loaded = AutoModelForMaskedLM.from_pretrained(
            folder, trust_remote_code=False, output_loading_info=True
        )
        model.to(device)
    if absent := loaded["missing_keys"]:  # the library would draw them at random
        raise InputError(
            f"{checkpoint.model}: no masked language model (it has no weights for {min(absent)})"
        )
    if tokenizer.mask_token_id is None or not tokenizer.is_fast:
        raise InputError(f"{checkpoint.model}: no masked language model (no mask in its tokenizer)")
    return tokenizer, model.eval()


class NearestWords:
    """The words whose embeddings are nearest to a word's own in a model's input matrix (cosine).

    Needs no other model. What stands around a word plays no part.
    """

    def __init__(self, tokenizer: Any, embeddings: "torch.Tensor", *, number: int) -> None:
        """Take the embeddings of the tokens that are words.

        Args:
            tokenizer: the model's.
            embeddings: float [tokens, dimension].
            number: words for a gap.
        """
        words = whole_words(tokenizer)
        self.words, self.number = list(words.values()), number
        self.spell, self.unknown = speller(tokenizer), tokenizer.unk_token_id
        self.matrix = embeddings.detach().float().cpu().numpy()
        self.vectors = _unit(self.matrix[list(words)])

    def __call__(self, gaps: Sequence[Gap]) -> list[list[str]]:
        """The nearest words of each gap's word; of one in several tokens, of their mean.

        One that the tokenizer does not know has none.
        """
        return [self._nearest(gap) for gap in gaps]

    def _nearest(self, gap: Gap) -> list[str]:
        tokens = self.spell(" ", gap.word)
        if not tokens or self.unknown in tokens:
            return []
        closeness = self.vectors @ _unit(self.matrix[list(tokens)].mean(axis=0))
        order = np.argsort(-closeness, kind="stable")
        return suitable(gap.word, (self.words[k] for k in order.tolist()), number=self.number)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny))


def make_augmenter(
    augment: Augment, target: HookedModel, settings: Settings, batch_tokens: int
) -> Augmenter | None:
    """Make the source of words for a target model's prompts.

    Args:
        augment: None for nowhere, `embeddings` for the target's own, or a masked language model as
            the fields of its Checkpoint.
        batch_tokens: padded tokens of a batch of that model.

    Raises:
        InputError: as `MaskedLanguageModel`.
    """
    if augment is None:
        return None
    propose: NearestWords | MaskedLanguageModel
    if isinstance(augment, dict):
        propose = MaskedLanguageModel(
            Checkpoint(**augment),
            number=settings.substitutes,
            probability=settings.probability,
            device=target.device,
            batch_tokens=batch_tokens,
        )
    else:
        matrix = target.model.get_input_embeddings().weight
        propose = NearestWords(target.tokenizer, matrix, number=settings.substitutes)
    return Augmenter(propose, speller(target.tokenizer))
