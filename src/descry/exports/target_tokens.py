"""The activations of neurons at each token of their exemplars, as the target computes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from descry.corpus.words import Span
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.sanitize import printable
from descry.io.yaml_files import read_yaml
from descry.models.batching import in_parallel, plan_batches, within_memory
from descry.models.checkpoints import Checkpoint
from descry.models.dictionaries.dictionary import Dictionary
from descry.models.hooked_model import HookedModel
from descry.provenance.audit.project import Project

_NOTHING = "\N{REPLACEMENT CHARACTER}"  # a byte of a character that another token shows
_KEPT = "\n\t"
DIGITS = 6  # of an activation: float32 has few more, and the last depend on the batch


@dataclass(frozen=True)
class TokenValues:
    """A text by token, and what one neuron has at each.

    Attributes:
        tokens: the text's own characters, each with the white space before it, so that they read as
            the text when joined; special tokens of the model stand by their names.
        values: the activations, as long, rounded to `DIGITS` digits.
        own: the places of the text's tokens that can be a peak (no special ones, no sinks).
    """

    tokens: list[str]
    values: list[float]
    own: range


def target_of(run: Project) -> HookedModel:
    """The run's target, to be read at every token.

    Raises:
        InputError: it cannot be loaded.
    """
    params = run.provenance("activations.h5")["params"]
    pinned, target = params.get("dictionary"), params["target"]
    names = ("site", "layers", "dtype", "device", "max_tokens", "sinks")
    return HookedModel(
        Checkpoint(**target | {"model": _place(run, target, "target", "model")}),
        position="tokens",
        dictionary=Dictionary(**pinned | {"path": _place(run, pinned, "dictionary", "path")})
        if pinned
        else None,
        **{name: params[name] for name in names},
    )


def _place(run: Project, recorded: JSON, section: str, key: str) -> str:
    """Where a model of the record is: records have no places of this machine, params.yaml does."""
    name = str(recorded[key])
    if (run.root / name).exists():
        return str(run.root / name)
    params = run.root / "params.yaml"
    if params.is_file():
        named = read_yaml(params)["activations"][section]
        if named and named["revision"] == recorded["revision"]:
            return str(named[key])
    return name


def token_values(
    target: HookedModel,
    texts: Mapping[int, str],
    wanted: Sequence[tuple[tuple[int, int], Sequence[int]]],
    batch_tokens: int,
) -> list[dict[int, TokenValues]]:
    """Read texts once each, and keep what is wanted of them.

    Args:
        texts: by number.
        wanted: neurons (row of the layer, index), each with the numbers of its texts.
        batch_tokens: padded tokens of a batch.

    Returns:
        Of each neuron wanted its texts by number.

    Raises:
        InputError: an activation is not finite, or memory is short.
    """
    numbers = sorted(texts)
    ids = dict(zip(numbers, target.tokenize([texts[n] for n in numbers]), strict=True))
    words = {n: _pieces(target, texts[n], ids[n]) for n in numbers}
    askers: dict[int, list[int]] = {n: [] for n in numbers}
    for place, (_, some) in enumerate(wanted):
        for number in some:
            askers[number].append(place)
    found: list[dict[int, TokenValues]] = [{} for _ in wanted]

    def compute(rows: np.ndarray) -> list[np.ndarray]:
        batch = [numbers[row] for row in rows.tolist()]
        values = target.activations([ids[number] for number in batch])
        parts = np.split(values, np.cumsum([len(ids[number]) for number in batch])[:-1])
        kept = []
        for number, part in zip(batch, parts, strict=True):
            neurons = np.array([wanted[place][0] for place in askers[number]]).reshape(-1, 2).T
            kept.append(part[:, neurons[0], neurons[1]])
        return kept

    plan = plan_batches([len(ids[number]) for number in numbers], batch_tokens)
    computed = in_parallel(compute, plan, target.device)
    with within_memory(target.name, f"halve activations.batch_tokens ({batch_tokens})"):
        for rows, parts in zip(plan, computed, strict=True):
            for row, part in zip(rows.tolist(), parts, strict=True):
                number = numbers[row]
                if not np.isfinite(part).all():
                    raise InputError(f"{target.name}: activations are not finite")
                for column, place in enumerate(askers[number]):
                    rounded = [float(f"{value:.{DIGITS}g}") for value in part[:, column].tolist()]
                    own = target.own_places(ids[number])
                    found[place][number] = TokenValues(words[number], rounded, own)
    return found


def _pieces(target: HookedModel, text: str, ids: Sequence[int]) -> list[str]:
    """What each token shows of a text."""
    tokenizer = target.tokenizer
    before, behind = target.before, target.behind
    room = len(ids) - len(before) - len(behind)
    if tokenizer.is_fast:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        shown = pieces(text, encoded["offset_mapping"][:room])
    else:
        own = list(ids[len(before) : len(ids) - len(behind)])
        shown = [harmless(token) for token in tokenizer.convert_ids_to_tokens(own)]
    ends = [tokenizer.convert_ids_to_tokens(list(around)) for around in (before, behind)]
    return [*ends[0], *shown, *ends[1]]


def pieces(text: str, spans: Sequence[Span]) -> list[str]:
    """The characters that tokens stand for, each with what stands between it and the one before."""
    found, end = [], 0
    for _, stop in spans:
        found.append(harmless(text[end:stop]))
        end = max(end, stop)
    return found


def harmless(text: str) -> str:
    """A token's text without characters that steer; one that shows nothing has a sign of it."""
    return "".join(c if c in _KEPT else printable(c) for c in text) or _NOTHING
