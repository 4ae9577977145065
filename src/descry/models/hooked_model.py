"""The model whose neurons are explained: what its modules put out while texts go through.

A layer is a call of a site's module, in the order of calls: a model that shares one module among
its layers (ALBERT) has as many layers as it makes calls. Some tokens go through first, which shows
the calls, their width and the order of their axes. A forward pass ends at the last call that is
asked for: no later layer, no pooler and no head is computed.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from descry.errors import InputError
from descry.io.hashing import canonical, sha256_text
from descry.models.batching import quiet
from descry.models.checkpoints import Checkpoint, load_tokenizer, loadable
from descry.models.devices import pick_device
from descry.models.dictionaries.coder import Coder
from descry.models.dictionaries.dictionary import Dictionary, load_encoders
from descry.models.hookpoints import find_site
from descry.models.kinship import made_from
from descry.models.special_tokens import special_as_text

if TYPE_CHECKING:
    import torch

Position = Literal["cls", "last", "mean", "max", "tokens"]
Reduce = Callable[["torch.Tensor"], "torch.Tensor"]
Pool = Callable[["torch.Tensor"], Reduce]  # from the tokens that count, bool [texts, tokens]
Keep = Callable[["torch.Tensor", int], Any]  # what of the value of a call, by its number
Kept = TypeVar("Kept")
PROBE = 3, 11  # texts and tokens that go through first: numbers by which axes are told apart
_LATENTS = 2**21  # values of latents at a time: how many texts an encoder takes together
_NOISE = 1e-2  # of the largest value: less is another order of additions, in bfloat16 too


class Peaks(NamedTuple):
    """The strongest tokens of texts, and the activations of single tokens.

    Attributes:
        highest: float32 [texts, number, layers, neurons], the highest first; -inf where a text has
            fewer tokens that count.
        highest_at: int32 of the same shape, the places of those tokens among the text's.
        lowest, lowest_at: as above, the lowest first; inf where there are fewer.
        single: float32 [tokens, layers, neurons].
    """

    highest: np.ndarray
    highest_at: np.ndarray
    lowest: np.ndarray
    lowest_at: np.ndarray
    single: np.ndarray


class TokenFirings(NamedTuple):
    """The latents above 0 at the tokens of texts, text by text, and token by token within a layer.

    Attributes:
        text: int32 [firings], the text's place in the batch.
        token: int32 [firings], the token's place among the text's.
        neuron: int32 [firings], over all layers.
        value: float32 [firings].
    """

    text: np.ndarray
    token: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


class Maxima(NamedTuple):
    """The highest activations of texts over their tokens, and where they are.

    Attributes:
        value: float32 [texts, layers, neurons].
        token: int32 of the same shape, places among a text's tokens; of equal ones the first.
    """

    value: np.ndarray
    token: np.ndarray


class Tokens(NamedTuple):
    """Where the tokens of a padded batch are.

    Attributes:
        real: bool [texts, tokens], false for padding.
        lengths: int64 [texts].
    """

    real: "torch.Tensor"
    lengths: "torch.Tensor"


class _Done(Exception):
    """The last call that is asked for was made."""


class _Capture:
    """What is kept of one forward pass."""

    def __init__(self, wanted: Sequence[int] | None, keep: Keep) -> None:
        self.wanted, self.keep = wanted, keep
        self.calls = 0
        self.kept: list[Any] = []

    def take(self, value: "torch.Tensor") -> None:
        """Take the value of the next call; raises _Done after the last."""
        call = self.calls
        self.calls += 1
        if self.wanted is None or call in self.wanted:
            self.kept.append(self.keep(value, call))
        if self.wanted is not None and call == self.wanted[-1]:
            raise _Done


# The pass that the present thread is in: batches go through one model in several threads.
_CAPTURE: ContextVar[_Capture | None] = ContextVar("capture", default=None)


class HookedModel:
    """A model's neurons at one site and position.

    Attributes:
        found_site: the modules that are hooked.
        tokens_first: whether their values have tokens before texts, as in XLNet.
        sinks: tokens at the beginning of a text that mean and max leave out.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        site: str,
        position: Position,
        layers: Sequence[int] | None,
        dtype: str,
        device: str,
        max_tokens: int,
        sinks: int | None = None,
        untrained: int | None = None,
        dictionary: Dictionary | None = None,
    ) -> None:
        """Load the model.

        Args:
            dictionary: whose latents take the place of neurons, in its own order.
            sinks: tokens at the beginning of a text that mean and max leave out; None: 1 where a
                token sees only those before it, else 0.
            untrained: the seed of random weights in place of the trained ones.
        """
        self.name, self.position, self.dtype = checkpoint.model, position, dtype
        self.device = pick_device(device)
        loaded = _load(checkpoint, dtype, self.device, untrained)
        self._names = [checkpoint.model, *made_from(checkpoint.folder)]
        self._prepare(*loaded, site, layers, max_tokens, sinks, dictionary)

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        site: str,
        position: Position,
        layers: Sequence[int] | None,
        max_tokens: int,
        sinks: int | None = None,
        dictionary: Dictionary | None = None,
    ) -> "HookedModel":
        """Hook a model of the transformers library that is in memory.

        The model stays on its device, in its dtype; its hooks stay until `remove_hooks`. A copy of
        the tokenizer is used, and the model without its head, or the encoder of an encoder-decoder.
        """
        hooked = cls.__new__(cls)
        hooked.name = getattr(model, "name_or_path", "") or type(model).__name__
        hooked._names = [hooked.name]
        hooked.position, hooked.dtype = position, str(model.dtype).removeprefix("torch.")
        hooked.device = str(model.device)
        model = getattr(model, "base_model", model)
        if hasattr(model, "encoder") and hasattr(model, "decoder"):
            model = model.get_encoder()
        hooked._prepare(deepcopy(tokenizer), model, site, layers, max_tokens, sinks, dictionary)
        return hooked

    def _prepare(
        self,
        tokenizer: Any,
        model: Any,
        site: str,
        layers: Sequence[int] | None,
        max_tokens: int,
        sinks: int | None,
        dictionary: Dictionary | None,
    ) -> None:
        """Hook the model, and see how it numbers, pads and lays out tokens."""
        self.tokenizer, self.model = tokenizer, model
        self.tokenizer_sha256 = _tokenizer_sha256(self.tokenizer)
        special_as_text(self.tokenizer)
        self.before, self.behind = around(self.tokenizer)
        self.max_tokens = min(max_tokens, _positions(self.model, max_tokens))
        self.padding = _padding(self.model.config, self.tokenizer)
        self._check_cls()
        self._hook(site)
        try:
            widths = self._probe()
            self.coders = self._coders(dictionary, layers, widths)
            self.layers = _chosen(list(self.coders) or layers, widths, self.name)
            self._encoders = load_encoders(self.coders, self.device)
            # The first token of a decoder sees itself alone: it says nothing of its text, and many
            # models park attention on it, with values of thousands (Xiao et al. 2024).
            self.sinks = sinks if sinks is not None else int(self._causal)
        except BaseException:
            self.remove_hooks()
            raise
        first = self.layers[0]
        self.neurons = self.coders[first].latents if self.coders else widths[first]

    def _coders(
        self, dictionary: Dictionary | None, layers: Sequence[int] | None, widths: Sequence[int]
    ) -> dict[int, Coder]:
        """The encoders of the layers meant; none without a dictionary."""
        if dictionary is None:
            return {}
        if layers is not None:
            _chosen(layers, widths, self.name)
        return dictionary.fitted(
            layers,
            site=self._site,
            found=self.found_site,
            paths=[path for path, _ in self.model.named_modules() if path],
            widths=widths,
            names=self._names,
        )

    @property
    def sparse(self) -> bool:
        """Whether activations are 0 for most texts, and never below."""
        return any(coder.sparse for coder in self.coders.values())

    @property
    def kind(self) -> str:
        """The kind of its activations: of a neuron, latent or direction."""
        return next((coder.kind for coder in self.coders.values()), "neuron")

    def remove_hooks(self) -> None:
        """Remove all hooks; nothing can be computed afterwards."""
        for hook in self._hooks:
            hook.remove()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, cut at `max_tokens`, the special tokens around a text included.

        Raises:
            InputError: a text has no token.
        """
        return self.fit(texts)[0]

    def fit(self, texts: Sequence[str]) -> tuple[list[list[int]], np.ndarray]:
        """Token ids as `tokenize`, and how many tokens each text has uncut: int32 [texts].

        Raises:
            InputError: a text has no token, or none has room.
        """
        around = len(self.before) + len(self.behind)
        room = self.max_tokens - around
        if room < 1:
            raise InputError(f"{self.name}: max_tokens {self.max_tokens} leaves no token of a text")
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        whole: list[list[int]] = encoded["input_ids"]
        ids = [[*self.before, *tokens[:room], *self.behind] for tokens in whole]
        if not all(ids):
            text = texts[next(row for row, tokens in enumerate(ids) if not tokens)]
            raise InputError(f"{self.name}: no token in the text {text[:80]!r}")
        return ids, np.array([len(tokens) + around for tokens in whole], dtype=np.int32)

    def activations(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        """Activations of a batch of token ids: float32 [texts, layers, neurons].

        At every token (position `tokens`): float32 [tokens of all texts, layers, neurons].
        """
        if not self._padding_counts:
            return self._computed(batch)
        found: dict[int, np.ndarray] = {}
        for rows in self._groups(batch):
            values = self._computed([batch[row] for row in rows])
            found.update(zip(rows, np.split(values, len(rows)), strict=True))
        return np.concatenate([found[row] for row in range(len(batch))])

    def maxima(self, batch: Sequence[Sequence[int]]) -> Maxima:
        """As `activations` with position `max`, and at which tokens they are."""
        import torch

        parts: list[tuple[np.ndarray, np.ndarray]] = []

        def keep(
            value: torch.Tensor, layer: int, tokens: Tokens
        ) -> tuple[torch.Tensor, torch.Tensor]:
            counted, encode = _counted(tokens, self.sinks), self._encoders.get(layer)
            size = max(1, _LATENTS // (value.shape[1] * self.neurons)) if encode else len(value)
            found = [
                (some if encode is None else encode(some))
                .float()
                .masked_fill(~own[:, :, None], float("-inf"))
                .max(dim=1)
                for some, own in zip(
                    torch.split(value, size), torch.split(counted, size), strict=True
                )
            ]
            return torch.cat([one.values for one in found]), torch.cat(
                [one.indices for one in found]
            )

        groups = self._groups(batch)
        for rows in groups:
            layers = self._through([batch[row] for row in rows], keep)
            values, places = (
                torch.stack(of, dim=1).cpu().numpy() for of in zip(*layers, strict=True)
            )
            parts.append((values, places.astype(np.int32)))
        order = np.argsort(np.concatenate(groups), kind="stable")
        return Maxima(*(np.concatenate(of)[order] for of in zip(*parts, strict=True)))

    def by_token(self, tokens: Sequence[int]) -> np.ndarray:
        """Activations at each token of one text, whatever the position.

        float32 [tokens, layers, neurons].
        """
        return self._computed([tokens], lambda _: lambda value: value[0].float())

    def firings(self, batch: Sequence[Sequence[int]]) -> TokenFirings:
        """The latents above 0 at the tokens of a batch of token ids, those of `own_places`."""
        import torch

        parts: list[tuple[np.ndarray, ...]] = []
        size = max(1, _LATENTS // self.neurons)

        def keep(value: torch.Tensor, layer: int, tokens: Tokens) -> tuple[torch.Tensor, ...]:
            own = self._own(tokens)
            text, token = own.int().nonzero(as_tuple=True)
            given = value[own]
            found = [self._encoders[layer].firings(part) for part in torch.split(given, size)]
            starts = range(0, len(given), size)
            row = torch.cat([one[0] + first for first, one in zip(starts, found, strict=True)])
            latent, fired = (torch.cat([one[field] for one in found]) for field in (1, 2))
            return text[row], token[row], latent + self.layers.index(layer) * self.neurons, fired

        for rows in self._groups(batch):
            for layer in self._through([batch[row] for row in rows], keep):
                text, token, neuron, fired = (field.cpu().numpy() for field in layer)
                parts.append((np.array(rows)[text], token, neuron, fired))
        text, token, neuron, value = map(np.concatenate, zip(*parts, strict=True))
        text, token, neuron = (of.astype(np.int32) for of in (text, token, neuron))
        return TokenFirings(text, token, neuron, value)

    def _groups(self, batch: Sequence[Sequence[int]]) -> list[list[int]]:
        """The rows of a batch that go through together: of one length where padding counts."""
        if not self._padding_counts:
            return [list(range(len(batch)))]
        lengths = np.array([len(ids) for ids in batch])
        return [np.flatnonzero(lengths == one).tolist() for one in np.unique(lengths)]

    def peaks(
        self, batch: Sequence[Sequence[int]], number: int, single: Sequence[np.ndarray]
    ) -> Peaks:
        """The strongest tokens of a batch of token ids, those of `own_places`.

        Args:
            number: tokens of a text and end.
            single: of each text, int: places of further tokens whose activations are wanted.
        """
        sizes = [number] * 4
        fields: list[list[np.ndarray]] = [[] for _ in sizes]
        alone = [np.empty(0)] * len(batch)
        groups = self._groups(batch)
        for rows in groups:
            places = [(text, token) for text, row in enumerate(rows) for token in single[row]]
            found = self._computed([batch[row] for row in rows], _strongest(number, places))
            parts = np.split(found, np.cumsum([len(rows) * size for size in sizes]))
            for size, part, field in zip(sizes, parts, fields, strict=False):
                field.append(part.reshape(len(rows), size, *found.shape[1:]))
            ends = np.cumsum([len(single[row]) for row in rows])[:-1]
            for row, own in zip(rows, np.split(parts[-1], ends), strict=True):
                alone[row] = own
        order = np.argsort(np.concatenate(groups), kind="stable")
        high, high_at, low, low_at = (np.concatenate(field)[order] for field in fields)
        at = high_at.astype(np.int32), low_at.astype(np.int32)
        return Peaks(high, at[0], low, at[1], np.concatenate(alone))

    def _computed(self, batch: Sequence[Sequence[int]], pool: Pool | None = None) -> np.ndarray:
        import torch

        def keep(value: torch.Tensor, layer: int, tokens: Tokens) -> torch.Tensor:
            if pool is None:
                return self._rows(value, layer, tokens)
            encode = self._encoders.get(layer)
            return pool(self._own(tokens))(value if encode is None else encode(value))

        return np.asarray(torch.stack(self._through(batch, keep), dim=1).cpu().numpy())

    def _through(
        self,
        batch: Sequence[Sequence[int]],
        keep: "Callable[[torch.Tensor, int, Tokens], Kept]",
    ) -> "list[Kept]":
        """What is kept of each layer of a forward pass, of its values [texts, tokens, width]."""
        import torch

        lengths = torch.tensor([len(ids) for ids in batch])
        shape = len(batch), int(lengths.max())
        ids = torch.full(shape, self.padding)
        real = torch.arange(shape[1]) < lengths[:, None]
        ids[real] = torch.tensor([token for row in batch for token in row])
        ids, real, lengths = (tensor.to(self.device) for tensor in (ids, real, lengths))
        tokens = Tokens(real, lengths)
        capture = _Capture(
            self.layers, lambda value, layer: keep(self._by_token(value, shape), layer, tokens)
        )
        self._forward(ids, real, capture)
        return capture.kept

    def own_places(self, tokens: Sequence[int]) -> range:
        """The places of a text's tokens that can be a peak: no special tokens, and no sinks.

        Sinks count where a text has nothing else.
        """
        first, stop = len(self.before), len(tokens) - len(self.behind)
        return range(self.sinks if first < self.sinks < stop else first, stop)

    def _own(self, tokens: "Tokens") -> "torch.Tensor":
        """The tokens of `own_places`: bool [texts, tokens]."""
        import torch

        real, lengths = tokens

        place = torch.arange(real.shape[1], device=real.device)
        first, stop = len(self.before), (lengths - len(self.behind))[:, None]
        sinks = torch.where((stop > self.sinks), max(first, self.sinks), first)
        return real & (place >= sinks) & (place < stop)

    def _rows(self, value: "torch.Tensor", layer: int, tokens: "Tokens") -> "torch.Tensor":
        """Values [texts, tokens, width] as float32 [rows, neurons], or latents of them."""
        import torch

        encode = self._encoders.get(layer)
        if encode is None or self.position in ("cls", "last"):  # one token of a text: no other is
            kept = _pool(self.position, tokens, self.sinks)(value)
            return kept if encode is None else encode(kept)
        counted = tokens.real if self.position == "tokens" else _counted(tokens, self.sinks)
        size = max(1, _LATENTS // (value.shape[1] * self.neurons))
        found: list[torch.Tensor] = []
        for start in range(0, len(value), size):
            some = slice(start, start + size)
            latents = encode(value[some][counted[some]])
            if self.position == "tokens":
                found.append(latents)
                continue
            for own in torch.split(latents, counted[some].sum(1).tolist()):
                found.append(own.mean(0) if self.position == "mean" else own.amax(0))
        return torch.cat(found) if self.position == "tokens" else torch.stack(found)

    def _forward(self, ids: "torch.Tensor", real: "torch.Tensor", capture: _Capture) -> None:
        import torch

        token = _CAPTURE.set(capture)
        try:
            with torch.inference_mode():
                self.model(input_ids=ids, attention_mask=real.long())
        except _Done:
            pass
        finally:
            _CAPTURE.reset(token)

    def _by_token(self, value: "torch.Tensor", shape: tuple[int, int]) -> "torch.Tensor":
        """Values as [texts, tokens, neurons].

        Raises:
            InputError: they are not one row a token.
        """
        if self.tokens_first:
            value = value.transpose(0, 1)
        # OPT lays the tokens of all texts in one row.
        if value.shape[:2] != shape and value.shape[:-1] != (shape[0] * shape[1],):
            raise InputError(
                f"activations.site {self._site}: in {self.name} it has no row for every token"
            )
        return value.reshape(*shape, -1)

    def _hook(self, site: str) -> None:
        modules = dict(self.model.named_modules())
        self.found_site = found = find_site(list(filter(None, modules)), site)
        self._site, self._hooks = site, []
        for path in found.paths:
            if found.input:
                hook = modules[path].register_forward_pre_hook(
                    lambda _, given, named: _take(given or tuple(named.values())), with_kwargs=True
                )
            else:
                hook = modules[path].register_forward_hook(lambda _, __, output: _take(output))
            self._hooks.append(hook)

    def _probe(self) -> list[int]:
        """How many neurons each call has.

        Sees whether tokens come before texts, as in XLNet, whether padding counts in spite of its
        mask, as where MobileBERT reads a token's neighbours, and whether a token sees those behind.
        """
        import torch

        capture = _Capture(None, lambda value, _: value.clone())
        ids = torch.full(PROBE, self.padding, device=self.device)
        real = torch.ones_like(ids, dtype=torch.bool)
        real[:, -3:] = False
        other = int(not self.padding)
        ids[1, -3:] = other  # differs from the first in nothing but its padding
        ids[2, -4] = other  # differs in the last token
        self._forward(ids, real, capture)
        if not capture.kept:
            raise InputError(f"activations.site {self._site}: {self.name} has it, never runs it")
        self.tokens_first = capture.kept[0].shape[:2] == PROBE[::-1]
        values = [self._by_token(value, PROBE)[:, :-3] for value in capture.kept]
        self._padding_counts = any(_differ(one, two) for one, two, _ in values)
        self._causal = not any(_differ(one[:-1], two[:-1]) for one, _, two in values)
        return [value.shape[-1] for value in values]

    def _check_cls(self) -> None:
        if self.position != "cls":
            return
        cls = self.tokenizer.cls_token_id
        if cls is None or self.before[:1] != (cls,):
            raise InputError(
                f"activations.position cls: {self.name} has no [CLS] token at the start of a text:"
                " take last, mean or max"
            )


def _take(value: Any) -> None:
    capture = _CAPTURE.get()
    if capture is not None:
        capture.take(value if hasattr(value, "shape") else value[0])


def _differ(one: "torch.Tensor", two: "torch.Tensor") -> bool:
    """Whether values differ by more than arithmetic does."""
    return bool((one - two).abs().max() > _NOISE * one.abs().max())


def _pool(position: Position, tokens: Tokens, sinks: int) -> Reduce:
    """From values [texts, tokens, neurons] to float32 [rows, neurons]; padding never counts.

    Args:
        sinks: tokens at the beginning that mean and max leave out, where a text has more.
    """
    import torch

    real, lengths = tokens
    rows = torch.arange(len(lengths), device=lengths.device)
    counted = _counted(tokens, sinks)
    left_out, number = ~counted[:, :, None], counted.sum(1)[:, None]
    reduce: dict[str, Reduce] = {
        "cls": lambda value: value[:, 0].clone(),  # no view: Falcon adds to what it put out
        "last": lambda value: value[rows, lengths - 1],
        "mean": lambda value: value.float().masked_fill(left_out, 0).sum(1) / number,
        "max": lambda value: value.masked_fill(left_out, float("-inf")).amax(1),
        "tokens": lambda value: value[real],
    }
    keep = reduce[position]
    return lambda value: keep(value).float()


def _counted(tokens: Tokens, sinks: int) -> "torch.Tensor":
    """The tokens that mean and max are of: bool [texts, tokens]; `sinks` as `_pool` takes it."""
    import torch

    real, lengths = tokens

    first = torch.where(lengths > sinks, sinks, 0)
    return real & (torch.arange(real.shape[1], device=real.device) >= first[:, None])


def _strongest(number: int, single: Sequence[tuple[int, int]]) -> Pool:
    """The strongest tokens of each text, and single ones, as rows of one tensor.

    The rows are those of the fields of `Peaks`, one field after the other, text by text.

    Args:
        number: of the highest, and of the lowest tokens of a text.
        single: text and place of each single token.
    """
    import torch

    texts, tokens = torch.tensor(single, dtype=torch.long).reshape(-1, 2).T

    def pool(counted: "torch.Tensor") -> Reduce:
        left_out = ~counted[:, :, None]

        def extreme(value: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
            value = value.masked_fill(left_out, float("-inf"))
            if number == 1:  # of equal ones the first
                return value.max(dim=1, keepdim=True)
            lacking = max(0, number - value.shape[1])
            value = torch.nn.functional.pad(value, (0, 0, 0, lacking), value=float("-inf"))
            top, at = value.sort(dim=1, descending=True, stable=True)
            return top[:, :number], at[:, :number]

        def keep(value: "torch.Tensor") -> "torch.Tensor":
            value = value.float()
            (high, high_at), (low, low_at) = extreme(value), extreme(-value)
            parts = high, high_at.float(), -low, low_at.float()
            rows = [part.flatten(0, 1) for part in parts]
            return torch.cat([*rows, value[texts.to(value.device), tokens.to(value.device)]])

        return keep

    return pool


def _load(
    checkpoint: Checkpoint, dtype: str, device: str, untrained: int | None
) -> tuple[Any, Any]:
    """Tokenizer and model without a head; of an encoder-decoder the encoder."""
    quiet()
    import torch
    from transformers import AutoModel

    folder = str(checkpoint.folder)
    tokenizer = load_tokenizer(checkpoint)
    with loadable(checkpoint):
        model, loaded = AutoModel.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=checkpoint.safetensors,
            output_loading_info=True,
        )
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise InputError(f"{checkpoint.model}: cannot be loaded (no tokenizer's vocabulary in it)")
    if untrained is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(untrained)
            model = AutoModel.from_config(model.config, dtype=getattr(torch, dtype))
    unused = ["pooler"]
    if hasattr(model, "encoder") and hasattr(model, "decoder"):
        model = model.get_encoder()
        unused += ["decoder"]
    # The library would draw them at random.
    if absent := [key for key in loaded["missing_keys"] if key.split(".")[0] not in unused]:
        raise InputError(
            f"{checkpoint.model}: cannot be loaded (it has no weights for {len(absent)} of the"
            f" model's, such as {min(absent)})"
        )
    model.config.use_cache = False
    with loadable(checkpoint):
        model.to(device)
    return tokenizer, model.eval()


def _tokenizer_sha256(tokenizer: Any) -> str:
    """sha256 of what the tokenizer does, whatever files it came in."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    return sha256_text(fast.to_str() if fast else canonical(tokenizer.get_vocab()))


def around(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that a tokenizer puts before and behind a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    own = [place for place, flag in enumerate(special) if not flag]
    return tuple(ids[: own[0]]), tuple(ids[own[-1] + 1 :])


def position_tokenizer(checkpoint: Checkpoint) -> tuple[Any, int]:
    """A checkpoint's tokenizer as its neurons see texts, and the special tokens before a text."""
    tokenizer = load_tokenizer(checkpoint)
    special_as_text(tokenizer)
    return tokenizer, len(around(tokenizer)[0])


def _padding(config: Any, tokenizer: Any) -> int:
    """A token that the model knows; its own padding where it has one: RoBERTa counts from it."""
    named = getattr(config, "pad_token_id", None), tokenizer.pad_token_id
    return next((i for i in named if i is not None and 0 <= i < config.vocab_size), 0)


def _positions(model: "torch.nn.Module", otherwise: int) -> int:
    """How many tokens a model can number; RoBERTa starts after its padding index."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    taken = 0 if padding is None else int(padding) + 1
    numbered = getattr(model.config, "max_position_embeddings", None) or otherwise + taken
    return int(numbered) - taken if numbered > 0 else otherwise


def _chosen(layers: Sequence[int] | None, widths: Sequence[int], name: str) -> list[int]:
    """The layers meant, in ascending order; all have one width.

    Raises:
        InputError: there is no such layer, or their widths differ.
    """
    chosen = sorted(set(range(len(widths)) if layers is None else layers))
    for layer in chosen:
        if not 0 <= layer < len(widths):
            raise InputError(
                f"activations.layers: {name} has no layer {layer}: its layers are 0 to"
                f" {len(widths) - 1}"
            )
    if len({widths[layer] for layer in chosen}) > 1:
        shown = ", ".join(f"{layer}: {widths[layer]}" for layer in chosen)
        raise InputError(f"activations.layers: not of one width ({shown}): name those of one width")
    return chosen
