"""The pipeline's steps as functions of one's own texts and arrays, without files or Snakemake.

All of them are attributes of the package: `descry.top_k` and so on. They call what the stages call:
on the same texts, with the same parameters, they give the same numbers as a run. The defaults are
those of the shipped params.yaml, which says what each is.

Whatever is wrong with an argument is an `InputError` that names it. A model is a name or a folder
as in params.yaml (all-MiniLM-L6-v2 comes with the package; of a model on the hub `name@commit` is
one version, and a name alone the present one), or a pair of a model and a tokenizer of the
transformers library that are in memory. Such a pair is used as it is: on its device, in its dtype,
with the hooks that it has. Nothing pins it: where it came from is yours to record.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from descry.activations.extraction import Block, extract
from descry.activations.store import transposed
from descry.activations.top_k import exemplar_sets, exemplar_size, leaders, never_changes
from descry.annotators.bitset import Answers
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.evaluation.alignment import Alignment, align
from descry.evaluation.chance import Chance, by_chance
from descry.evaluation.writes import Lens, layer_writes, writes_table
from descry.io.prefetch import cores, map_ahead
from descry.io.tree import Node
from descry.labels.assignment import Frequency, SetCounter, has_set
from descry.labels.clustering import Descriptor, cluster, describe
from descry.labels.compositional import Composer, iou
from descry.labels.enrichment import Enrichment
from descry.labels.enrichment import enrichment as test_enrichment
from descry.labels.matched import matched_enrichment
from descry.labels.random_labels import random_labels
from descry.labels.rules import Rule, RuleName
from descry.labels.strata import Matching, Strata
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.devices import pick_device
from descry.models.dictionaries.dictionary import Dictionary, dictionary_sha256
from descry.models.heads import Headed, headed_of, load_headed
from descry.models.hooked_model import HookedModel, Maxima, Position
from descry.models.neurons import Neurons
from descry.models.unembedding import read_unembedding, read_writers
from descry.n2g.build import firing_rows, make_records
from descry.n2g.explain import Settings
from descry.n2g.graph import Graph
from descry.n2g.layer_model import LayerNeurons
from descry.n2g.render import dot, summary, svg, tree
from descry.n2g.scoring import Score
from descry.n2g.substitutes import make_augmenter
from descry.n2g.texts import BLOCK, read
from descry.n2g.top_texts import leading_rows

if TYPE_CHECKING:
    import pyarrow

Model = str | Path | tuple[Any, Any]  # a name, a folder, or a model and its tokenizer
Descriptors = Sequence[str] | Sequence[Descriptor] | Mapping[str, Sequence[str]]

N2G_SETTINGS = Settings(
    texts=20,
    train=10,
    seed=0,
    keys=1.0,
    drop=0.5,
    step=1,
    until=None,
    following=5,
    substituted=0.8,
    substitutes=5,
    probability=1e-5,
    importance=0.75,
    activation=0.5,
    confirmed=False,
    firing=0.5,
    max_gap=3,
)

_BLOCK = 4096  # texts computed at a time: part of the last digits
_HELD = 2**26  # bytes of activations that a thread sorts at a time
_MIN_MASS = 0.1  # probability of Yes and No together: the embedded annotator's is 1


@dataclass(frozen=True, repr=False, eq=False)
class Activations:
    """The activations of texts, of neurons or of a dictionary's latents.

    `np.asarray` gives `values`; `activations["L5:50"]` is one neuron's, float32 [rows].

    Attributes:
        values: float32 [rows, layers, neurons], in the model's own units. A row is a text; at
            position `tokens` it is a token.
        layers: of the model, counted from 0.
        cut: int32 [texts], how many tokens of each text the model has not seen.
        start: int64 [texts + 1]: the rows of text i are `start[i]:start[i + 1]`.
        kind: what has them: neuron, latent or direction.
    """

    values: np.ndarray
    layers: tuple[int, ...]
    cut: np.ndarray
    start: np.ndarray
    kind: str = "neuron"

    @property
    def names(self) -> list[str]:
        """The neurons' names, such as L5:50, layer by layer: as `top_k` numbers them."""
        return self._neurons.names

    @property
    def _neurons(self) -> Neurons:
        return Neurons(self.layers, self.values.shape[2])

    def __getitem__(self, neuron: str) -> np.ndarray:
        return np.asarray(self.values[(slice(None), *self._neurons.find(neuron))])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        rows, layers, neurons = self.values.shape
        texts = "" if rows == len(self.cut) else f" of {len(self.cut)} texts"
        of = f"{layers} layer{'s' * (layers != 1)} of {neurons} {self.kind}s"
        return f"<Activations: {rows} rows{texts}, {of}>"


def extract_activations(
    texts: Sequence[str],
    model: Model = MINILM,
    *,
    site: str = "ffn_output",
    position: Position = "cls",
    sinks: int | None = None,
    layers: Sequence[int] | None = None,
    dictionary: str | Path | None = None,
    dtype: str = "float32",
    device: str = "auto",
    max_tokens: int = 256,
    batch_tokens: int = 2048,
) -> Activations:
    """Send texts through a model, and keep what its neurons do.

    Memory: the result, 4 bytes a row and neuron (100,000 texts and 2,304 neurons: 0.9 GB), and the
    activations of about 4,096 texts more. On a CPU as many batches go at a time as torch has
    threads; the result does not depend on how many.

    Args:
        model: as the module says; a pair stays on its device, in its dtype.
        site: ffn_output, ffn_hidden, attention_output, residual, or a dotted path of modules in
            which `*` stands for a number, such as encoder.layer.*.output.dense.
        position: of the one activation that a text has: cls, last; mean, max over its tokens. At
            `tokens` each token has its own, special tokens around the text included.
        sinks: tokens at a text's beginning that mean and max leave out; None: 1 in decoders, where
            the first token sees nothing but itself, else 0.
        layers: None for all; with a dictionary, those that it says it is of.
        dictionary: whose latents take the place of neurons: a folder of SAELens or of sparsify, a
            safetensors file with a matrix [directions, width], or a folder with one of these for
            each layer (docs/dictionaries.md).
        dtype: of the model's arithmetic: float32, bfloat16, float16.
        device: auto (a GPU where there is one), cpu, cuda, cuda:1, mps.
        max_tokens: that the model sees of a text, special tokens included; what is beyond is cut.
        batch_tokens: padded tokens of a batch: part of the last digits.

    Raises:
        InputError: no texts, a model that cannot be loaded, a site or layer that it does not have,
            a dictionary of another one, no room in memory, or an activation that is not finite.

    Example:
        >>> import descry
        >>> texts = ["The battery lasts for days.", "Too expensive for what it is."]
        >>> activations = descry.extract_activations(texts)
        >>> activations
        <Activations: 2 rows, 6 layers of 384 neurons>
        >>> activations["L5:50"].round(3)
        array([-0.271, -0.148], dtype=float32)
    """
    told = _texts(texts)
    parts = [told[first : first + _BLOCK] for first in range(0, len(told), _BLOCK)]
    how = {"site": site, "layers": layers, "dtype": dtype, "device": device, "sinks": sinks}
    whose = _dictionary(dictionary)
    with _hooked(
        model, position=position, max_tokens=max_tokens, dictionary=whose, **how
    ) as hooked:

        def rows(tokens: Sequence[Sequence[int]]) -> list[int]:
            return [len(ids) if position == "tokens" else 1 for ids in tokens]

        def block(numbered: tuple[int, Sequence[str]]) -> Block:
            tokens, length = hooked.fit(numbered[1])
            start = np.cumsum([0, *rows(tokens)])
            return Block(numbered[0], tokens, start[:-1], int(start[-1]), np.empty(0), length)

        # Read twice where a token has a row, so that the result is never held twice.
        number = len(told)
        if position == "tokens":
            number = sum(sum(rows(hooked.fit(part)[0])) for part in parts)
        values = np.empty((number, len(hooked.layers), hooked.neurons), dtype=np.float32)
        cut, starts, done = [], [np.zeros(1, dtype=np.int64)], 0
        blocks = map_ahead(block, enumerate(parts), 1)
        budget = _at_least(1, batch_tokens=batch_tokens)
        for one, found in extract(hooked, blocks, budget, "float32"):
            values[done : done + one.rows] = found.value if isinstance(found, Maxima) else found
            cut.append(one.cut)
            starts.append(done + np.append(one.places[1:], one.rows))
            done += one.rows
        kind = hooked.kind
    return Activations(
        values, tuple(hooked.layers), np.concatenate(cut), np.concatenate(starts), kind
    )


def top_k(
    activations: Activations | np.ndarray,
    k: int | None = None,
    *,
    top_percent: float = 6.0,
    min_size: int = 5,
    largest: bool = True,
) -> np.ndarray:
    """The exemplar set of every neuron: the sentences that excite it most.

    A set never holds some of several sentences that the neuron treats alike: one that would is cut
    down to those above them. A neuron that never changes, or for which too few sentences stand out,
    has no set.

    Args:
        activations: of sentences; or an array [sentences, layers, neurons] or [sentences, neurons],
            taken as float32.
        k: sentences of a set.
        top_percent: where k is None, the same in percent of the sentences, rounded up.
        min_size: sentences, below which a set says nothing.
        largest: False for the sentences with the lowest activation, lowest first.

    Returns:
        int32 [neurons, k], rows of the activations, highest first, ties by the lower row; -1 behind
        the end of a smaller set, and everywhere where there is none. Neurons stand layer by layer,
        as in `Activations.names`.

    Raises:
        InputError: an array of another shape, of one activation a token, or not finite; or k above
            the number of sentences or below min_size.

    Example:
        >>> import descry, numpy as np
        >>> descry.top_k(np.array([[0.1, 0], [0.9, 0], [0.5, 7], [0.5, 0]]), 2, min_size=1)
        array([[ 1, -1],
               [ 2, -1]], dtype=int32)
    """
    columns = _columns(activations)
    least = _at_least(1, min_size=min_size)
    if k is None and not 0 < top_percent <= 100:
        raise InputError(f"top_percent: {top_percent} is not above 0, up to 100")
    places = exemplar_size(len(columns), top_percent, 1) if k is None else _at_least(1, k=k)
    if not least <= places <= len(columns):
        raise InputError(
            f"{'top_percent' if k is None else 'k'}: a set of {places} is not between min_size"
            f" {least} and the number of sentences, {len(columns)}"
        )

    def select(some: slice) -> np.ndarray:
        neurons = transposed(columns[:, some])
        still = never_changes(neurons.min(axis=1), neurons.max(axis=1))
        found = leaders(neurons if largest else -neurons, places + 1)
        return exemplar_sets(*found, still, places, least)[0]

    width = max(1, _HELD // (4 * len(columns)))
    spans = (slice(first, first + width) for first in range(0, columns.shape[1], width))
    return np.concatenate(list(map_ahead(select, spans, cores())))


def key_phrases(
    texts: Sequence[str], n: int = 5, *, max_words: int = 4, model: str | Path = MINILM
) -> list[list[str]]:
    """What each text is about, by KeyBERT: the key phrases nearest to the whole text first.

    It is what stage describe gets from the annotator that has no generative model.

    Args:
        n: phrases of a text, at most.
        max_words: of a phrase; longer ones are left out.
        model: a name or folder, of the library sentence-transformers.

    Raises:
        InputError: no texts, or of a script without blanks between words.

    Example:
        >>> import descry
        >>> descry.key_phrases(["The battery lasts for days.", "Too expensive for what it is."])
        [['battery', 'days', 'lasts'], ['expensive']]
    """
    from descry.annotators.embedding.annotator import EmbeddedAnnotator
    from descry.annotators.parsing.topics import read_topics
    from descry.annotators.parsing.unwrap import UnparsableError
    from descry.annotators.prompts import p1
    from descry.annotators.templates import p1_template

    prompts = p1(_texts(texts), p1_template(_at_least(1, n=n)))
    found: list[list[str]] = [[] for _ in prompts]
    who = EmbeddedAnnotator(_checkpoint(model), n, None, None)
    for group in who.answer(prompts, range(len(prompts))):
        for row, answer in group:
            with suppress(UnparsableError):  # a text without a content word
                found[row] = read_topics(answer.response, n, max_words).phrases
    return found


def cluster_phrases(
    mentions: Mapping[str, int],
    *,
    method: Literal["community", "agglomerative"] = "community",
    threshold: float = 0.6,
    min_size: int = 3,
    min_mentions: int = 8,
    max_descriptors: int = 35,
    model: str | Path = MINILM,
) -> list[Descriptor]:
    """Descriptors: clusters of phrases that mean much the same.

    Args:
        mentions: how often each phrase was given, such as a Counter.
        method: fast community detection, or agglomerative with average linkage.
        threshold: cosine similarity within a cluster.
        min_size: different phrases of a cluster.
        min_mentions: mentions of a cluster, below which it is left out.
        max_descriptors: of the others the most mentioned are kept.
        model: a name or folder, of the library sentence-transformers.

    Returns:
        The most mentioned first, each with `name` (its most central phrase), `phrases` (pairs of a
        phrase and its mentions, the most frequent first) and `mentions`.

    Raises:
        InputError: no phrases, or too many for the method.

    Example:
        >>> import descry
        >>> mentions = {"price": 9, "prices": 4, "pricing": 2, "battery": 8, "batteries": 5}
        >>> for one in descry.cluster_phrases(mentions, min_size=2):
        ...     print(one.name, one.mentions, dict(one.phrases))
        price 15 {'price': 9, 'prices': 4, 'pricing': 2}
        battery 13 {'battery': 8, 'batteries': 5}
    """
    from descry.models.embedder import sentence_embedder

    phrases = _texts(sorted(mentions), "mentions")
    vectors = sentence_embedder(_checkpoint(model))(phrases)
    found = describe(phrases, mentions, vectors, cluster(vectors, method, threshold))
    large = [d for d in found if len(d.phrases) >= min_size and d.mentions >= min_mentions]
    return large[:max_descriptors]


class Annotation(NamedTuple):
    """Whether texts talk about descriptors.

    Attributes:
        yes: bool [texts, descriptors].
        odds: float32 [texts, descriptors], log-odds of Yes.
    """

    yes: np.ndarray
    odds: np.ndarray


def annotate(
    texts: Sequence[str], descriptors: Descriptors, *, model: str | Path = MINILM
) -> Annotation:
    """Ask the annotator without a generative model whether each text talks about each descriptor.

    It compares embeddings, and is fitted to all the texts at once: an answer depends on the other
    texts, and some hundreds are few. Answers of an LLM cost too much to be lost: the pipeline keeps
    them. The functions below take any array of Yes and No.

    Args:
        descriptors: names; or what `cluster_phrases` gave; or names with phrases of each, the most
            telling first.
        model: a name or folder, of the library sentence-transformers.

    Raises:
        InputError: no texts, no descriptors, or two of one name.

    Example:
        >>> import descry
        >>> texts = ["The battery lasts for days.", "Too expensive for what it is."]
        >>> texts += ["My son reads it every night.", "Arrived late, and the box was torn."]
        >>> descry.annotate(texts, ["battery life", "price"]).yes
        array([[ True, False],
               [False,  True],
               [False, False],
               [False, False]])
    """
    from descry.annotators.embedding.annotator import EmbeddedAnnotator
    from descry.annotators.parsing.answers import parse_verdict
    from descry.annotators.prompts import p2

    told, phrases = _texts(texts), _phrases(descriptors)
    prompts = p2(told, list(phrases))
    yes = np.zeros(len(prompts), dtype=bool)
    odds = np.zeros(len(prompts), dtype=np.float32)
    who = EmbeddedAnnotator(_checkpoint(model), None, phrases, told)
    for group in who.answer(prompts, range(len(prompts))):
        for place, answer in group:
            yes[place], odds[place], _ = parse_verdict(answer.response, _MIN_MASS)
    shape = len(told), len(phrases)
    return Annotation(yes.reshape(shape), odds.reshape(shape))


def enrichment(
    sets: np.ndarray,
    applies: np.ndarray,
    covariates: Mapping[str, np.ndarray] | None = None,
    *,
    parts: int = 30,
) -> Enrichment:
    """Test every pair of neuron and descriptor: is the descriptor over-represented in the set?

    The upper tail of the hypergeometric distribution, and over all pairs the false discovery rate
    of Benjamini and Hochberg, as an enrichment analysis of gene sets has them.

    With covariates each set is held against sentences that are alike in them. Neurons follow the
    length of a text, and so do answers about it: without `{"words": ...}` much of what is found
    is length. p is the mid-p of the exact test within strata (labels/matched.py).

    Args:
        sets: int [neurons, k], rows of `applies`, -1 behind the end of a smaller set.
        applies: bool [sentences, descriptors]; or integers: 1 Yes, 0 No, -1 no answer.
        covariates: by name, numbers or texts, [sentences]; several part sentences together.
        parts: strata of each number, at most; none has fewer than 8 sentences.

    Returns:
        `p` and `q`, float64 [neurons, descriptors]; NaN for a neuron without a set.

    Raises:
        InputError: arrays of other shapes or values.

    Example:
        >>> import descry, numpy as np
        >>> applies = np.zeros((100, 2), dtype=bool)
        >>> applies[:10, 0] = applies[::2, 1] = True
        >>> descry.enrichment(np.array([[0, 1, 2, 3, 4]]), applies).q
        array([[6.69433659e-06, 5.00000000e-01]])
        >>> words = np.where(np.arange(100) < 50, 80, 20)
        >>> descry.enrichment(np.array([[0, 1, 2, 3, 4]]), applies, {"words": words}).q.round(4)
        array([[1.000e-04, 3.372e-01]])
    """
    rows, answers = _rows_and_answers(sets, applies)
    number = answers.yes.sentences
    counter = SetCounter(answers, np.ones(number, dtype=bool))
    every = np.ones(number, dtype=bool)
    if covariates:
        return matched_enrichment(counter, [rows], _strata(covariates, number, parts), every)
    of = counter.tally([rows], every)
    return test_enrichment(of.count, of.answered, of.base_count, of.base_answered, within=True)


def _strata(covariates: Mapping[str, np.ndarray] | None, sentences: int, parts: int) -> Strata:
    found = {name: np.asarray(values) for name, values in (covariates or {}).items()}
    for name, values in found.items():
        if values.shape != (sentences,):
            raise InputError(
                f"covariates: {name!r} has the shape {values.shape}: expected is one value for each"
                f" of the {sentences:,} sentences of applies"
            )
        if values.dtype.kind not in "fiubUS":
            raise InputError(f"covariates: {name!r} must be numbers or texts, got {values.dtype}")
    every = np.ones(sentences, dtype=bool)
    matching = Matching(tuple(found), _at_least(1, parts=parts))
    return matching.strata(found, np.arange(sentences), every)


@dataclass(frozen=True, repr=False, eq=False)
class NeuronLabels:
    """The labels of neurons. Arrays are [neurons, descriptors]; NaN for a neuron without a set.

    Attributes:
        descriptors: names, without those that were dropped.
        columns: int [descriptors], where they stand in `applies`.
        dropped: names of the broad ones, with the share of neurons that each was on.
        f: float64, how frequent each descriptor is in the set, as `frequency` says.
        count: int32, sentences of the set that it applies to.
        base_rate: float64, f over all sentences.
        lift: float64, f / base_rate.
        expected: float64, what `count` would be for random sentences of the same strata.
        p, q: float64, of enrichment within strata, over the pairs of these descriptors.
        p_unmatched, q_unmatched: float64, as `enrichment` gives them without covariates.
        assigned: bool, which are labels.
        chance: how many labels random sets of sentences would get; None where there is no set.
    """

    descriptors: list[str]
    columns: np.ndarray
    dropped: dict[str, float]
    f: np.ndarray
    count: np.ndarray
    base_rate: np.ndarray
    lift: np.ndarray
    expected: np.ndarray
    p: np.ndarray
    q: np.ndarray
    p_unmatched: np.ndarray
    q_unmatched: np.ndarray
    assigned: np.ndarray
    chance: Chance | None

    def of(self, neuron: int) -> list[str]:
        """The labels of the neuron in a row of the sets, the most frequent first."""
        order = np.argsort(-self.f[neuron], kind="stable").tolist()
        return [self.descriptors[column] for column in order if self.assigned[neuron, column]]

    def __repr__(self) -> str:
        labelled = int(self.assigned.any(axis=1).sum())
        by_chance = f", {self.chance.random_labels:.0f} by chance" if self.chance else ""
        number = int(self.assigned.sum())
        return f"<NeuronLabels: {number} on {labelled} of {len(self.f)} neurons{by_chance}>"


def assign_labels(
    sets: np.ndarray,
    applies: np.ndarray,
    descriptors: Sequence[str] | Sequence[Descriptor],
    covariates: Mapping[str, np.ndarray] | None = None,
    *,
    rule: RuleName = "enrichment",
    frequency: Frequency = "occurrences",
    threshold: float = 0.12,
    fdr: float = 0.001,
    top_k: int | None = None,
    broad: float = 0.8,
    parts: int = 30,
) -> NeuronLabels:
    """Label neurons with the descriptors that are over-represented among their exemplars.

    What is no more frequent there than in all sentences is never a label.

    Args:
        sets: int [neurons, k], rows of `applies`, -1 behind the end of a smaller set.
        applies: bool [sentences, descriptors]; or integers: 1 Yes, 0 No, -1 no answer.
        descriptors: of its columns.
        covariates: what else may explain a label, such as the number of words: as `enrichment`
            takes them.
        rule: enrichment: over-represented at rate `fdr`, within strata of the covariates;
            composition: f > threshold, the paper's.
        frequency: f as a share of the `occurrences` of descriptors in the set, or of its answered
            `sentences`.
        threshold: of composition, from 0 to 1.
        fdr: false discovery rate of enrichment, from 0 to 1.
        top_k: labels of a neuron, at most; None for all.
        parts: strata of each number among the covariates, at most.
        broad: with composition, descriptors above the threshold on more than this share of the
            neurons are dropped. Of a few chosen neurons nearly every label is on most: take 1.

    Raises:
        InputError: arrays of other shapes or values, or every descriptor is broad.

    Example:
        >>> import descry, numpy as np
        >>> applies = np.zeros((100, 2), dtype=bool)
        >>> applies[:10, 0] = applies[::2, 1] = True
        >>> sets = np.array([[0, 1, 2, 3, 4], [90, 91, 92, 93, 94]])
        >>> labels = descry.assign_labels(sets, applies, ["music", "sleep"])
        >>> labels.of(0), labels.of(1)
        (['music'], [])
        >>> labels.lift[0].round(2)
        array([3.75, 0.45])
    """
    rows, answers = _rows_and_answers(sets, applies)
    names = _names(descriptors, answers)
    if rule not in ("composition", "enrichment"):
        raise InputError(f"rule: {rule!r} is neither composition nor enrichment")
    if frequency not in ("occurrences", "sentences"):
        raise InputError(f"frequency: {frequency!r} is neither occurrences nor sentences")
    cut = {"threshold": threshold} if rule == "composition" else {"fdr": fdr}
    how = Rule(rule, frequency, _share(**cut))
    most = None if top_k is None else _at_least(1, top_k=top_k)
    every = np.ones(answers.yes.sentences, dtype=bool)
    counts = SetCounter(answers, every).tally([rows], every)
    sized = has_set(rows)
    wide = dict(how.broad(counts, int((~sized).sum()), _share(broad=broad)))
    columns = [column for column in range(len(names)) if column not in wide]
    if not columns:
        raise InputError(
            f"broad: every descriptor has f > {threshold:g} on over {broad:.0%} of the neurons:"
            " raise threshold, or take rule='enrichment'"
        )
    counter = SetCounter(answers.keep(columns), every)
    strata = _strata(covariates, len(every), parts)
    matched = matched_enrichment(counter, [rows], strata, every)
    numbers = how.numbers(counts.keep(columns), matched, most, within=True)
    random = random_labels(rows[sized], counter, strata, every, how, most)
    chance = by_chance(numbers["assigned"][sized], numbers["q"][sized], random)
    dropped = {names[column]: share for column, share in wide.items()}
    kept = [names[column] for column in columns]
    return NeuronLabels(kept, np.array(columns), dropped, **numbers, chance=chance)


class ComposedLabel(NamedTuple):
    """A formula over descriptors, such as Price AND NOT Food, and its IoU with a neuron's set."""

    formula: str
    iou: float


def compose_labels(
    sets: np.ndarray,
    applies: np.ndarray,
    descriptors: Sequence[str] | Sequence[Descriptor],
    *,
    length: int = 3,
    beam: int = 10,
    penalty: float = 0.95,
) -> list[ComposedLabel | None]:
    """The formula over descriptors that fits each neuron's set best (Mu and Andreas 2020).

    Args:
        sets, applies, descriptors: as `assign_labels` takes them; no answer counts as No.
        length: the most descriptors in a formula.
        beam: formulas of each length that are extended.
        penalty: what IoU is multiplied by for each descriptor after the first, in the search.

    Returns:
        One a neuron; None where no descriptor applies to a sentence of its set.

    Raises:
        InputError: arrays of other shapes or values.

    Example:
        >>> import descry, numpy as np
        >>> applies = np.zeros((100, 2), dtype=bool)
        >>> applies[:10, 0] = applies[::2, 1] = True
        >>> descry.compose_labels(np.array([[1, 3, 5, 7, 9]]), applies, ["music", "sleep"])
        [ComposedLabel(formula='music AND NOT sleep', iou=1.0)]
    """
    rows, answers = _rows_and_answers(sets, applies)
    names, yes = _names(descriptors, answers), answers.yes
    numbers = {"length": _at_least(1, length=length), "beam": _at_least(1, beam=beam)}
    formulas = Composer(yes, penalty=_share(penalty=penalty), **numbers).compose(rows)
    return [
        ComposedLabel(formula.text(names), float(value)) if formula else None
        for formula, value in zip(formulas, iou(formulas, rows, yes), strict=True)
    ]


def score_labels(
    labels: NeuronLabels,
    activations: Activations | np.ndarray,
    sets: np.ndarray,
    applies: np.ndarray,
) -> Alignment:
    """How well each label predicts its neuron over all sentences, not only over its exemplars.

    On the sentences that chose the labels the scores are too high: take others.

    Args:
        labels: what `assign_labels` gave.
        activations, sets, applies: as `top_k` and `assign_labels` take them, of the same neurons
            and descriptors; of the same sentences, or of others.

    Returns:
        f1, iou, auroc, average_precision, pearson and cosine, each float64 [labels], in the order
        of `np.argwhere(labels.assigned)`; NaN where undefined.

    Raises:
        InputError: arrays of other shapes or values.

    Example:
        >>> import descry, numpy as np
        >>> applies = np.zeros((100, 2), dtype=bool)
        >>> applies[:10, 0] = applies[::2, 1] = True
        >>> activations = np.linspace(1, 0, 100)[:, None]
        >>> sets = descry.top_k(activations, 5)
        >>> labels = descry.assign_labels(sets, applies, ["music", "sleep"], broad=1)
        >>> descry.score_labels(labels, activations, sets, applies).auroc
        array([1.])
    """
    columns, (rows, answers) = _columns(activations), _rows_and_answers(sets, applies)
    if len(columns) != answers.yes.sentences:
        raise InputError(
            f"activations: of {len(columns)} sentences, and applies is of {answers.yes.sentences}"
        )
    if not columns.shape[1] == len(rows) == len(labels.assigned):
        raise InputError(
            f"activations: of {columns.shape[1]} neurons, and there are {len(rows)} sets and labels"
            f" of {len(labels.assigned)} neurons"
        )
    if max(labels.columns) >= len(answers.yes):
        raise InputError("applies: not of the descriptors that the labels are of")
    neurons, places = np.nonzero(labels.assigned)
    return align(transposed(columns), rows, answers.matrix, (neurons, labels.columns[places]))


def writes(
    model: Model,
    *,
    site: str = "ffn_hidden",
    layers: Sequence[int] | None = None,
    vectors: np.ndarray | Mapping[int, np.ndarray] | None = None,
    top: int = 10,
    draws: int = 5,
    fdr: float = 0.05,
    seed: int = 0,
    device: str = "auto",
) -> "pyarrow.Table":
    """The tokens that neurons, or directions of the residual stream, promote and suppress.

    By the logit lens, beside permutations of their weights and mixtures of a layer's directions
    (evaluation/writes.py says how). p is at least 1 / (directions of the layer x draws + 1): few
    directions want many draws.

    Args:
        model: as `extract_activations` takes it, with its language-model head; in memory, of
            AutoModelForCausalLM or AutoModelForMaskedLM.
        site: whose neurons; what goes into a linear layer that writes into the residual stream.
        layers: some, counted from 0; None for all.
        vectors: directions in the place of neurons, such as the decoder of a dictionary: float
            [directions, width], or such arrays by layer. `site` and `layers` are not looked at.
        top: tokens each way.
        draws: of each null, for every direction.
        fdr: the false discovery rate at which a direction is said to write.

    Returns:
        A row a direction: layer, neuron, writes, score, score_null, kurtosis, kurtosis_null, p, q,
        p_mixed, q_mixed, promoted_token, promoted_id, promoted_z, suppressed_token, ...; tokens are
        those beyond what 95% of the layer's permuted directions have.

    Raises:
        InputError: the model has no head, no such site or layer, or the vectors are of another
            width.

    Example:
        >>> import descry, tokenizers, torch, transformers
        >>> words = "the a cup of tea was cold and we all drank it hot with milk".split()
        >>> model = tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "a")
        >>> tokenizer = transformers.PreTrainedTokenizerFast(
        ...     tokenizer_object=tokenizers.Tokenizer(model))
        >>> sizes = {"vocab_size": len(words), "n_embd": 32, "n_layer": 1, "n_head": 2}
        >>> seeded = torch.manual_seed(0)
        >>> model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
        >>> tea = model.lm_head.weight[words.index("tea")].detach().numpy()
        >>> found = descry.writes((model.eval(), tokenizer), vectors=tea[None], draws=200)
        >>> found["promoted_token"][0].as_py(), found["p"][0].as_py() < 0.01
        (['tea'], True)
    """
    top, draws = _at_least(1, top=top), _at_least(1, draws=draws)
    headed = headed_of(*model) if isinstance(model, tuple) else _headed(model)
    if vectors is None:
        writers = read_writers(headed, site)
        unembedding = writers.unembedding
        every = dict(enumerate(writers.vectors))
        asked = list(every) if layers is None else sorted(set(layers))
        if absent := set(asked) - every.keys():
            raise InputError(f"layers: there is no layer {min(absent)}: 0 to {len(every) - 1}")
        chosen = {layer: every[layer] for layer in asked}
    else:
        unembedding = read_unembedding(headed)
        width = unembedding.matrix.shape[1]
        given = vectors if isinstance(vectors, Mapping) else {0: vectors}
        chosen = {layer: _vectors(one, width) for layer, one in given.items()}
    lens = Lens(unembedding.matrix, pick_device(device))
    found = {
        layer: layer_writes(one, lens, top=top, draws=draws, seed=[seed, layer])
        for layer, one in chosen.items()
    }
    return writes_table(found, unembedding, _share(fdr=fdr))


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """What excites one neuron, as a graph of tokens. `str` is the graph as a tree.

    Attributes:
        neuron: its name, such as L5:50.
        graph: activating tokens and their contexts; `graph.predict(token_ids)` is float64 [tokens],
            as a share of the neuron's highest activation.
        words: by token id, the vocabulary's string of each token in the graph.
        scores: by predictor (graph, and two look-up tables): precision, recall, F1, Pearson, R².
        train, held: texts that the graph was made from, and others that it was scored on.
        fires: rows of all texts in which the graph predicts the neuron to fire.
    """

    neuron: str
    graph: Graph
    words: dict[int, str]
    scores: dict[str, Score]
    train: list[str]
    held: list[str]
    fires: list[int]

    def to_dot(self) -> str:
        """The graph in graphviz's language DOT."""
        return dot(self.graph, self.words)

    def to_svg(self) -> str:
        """The graph as an SVG element.

        Raises:
            InputError: the program graphviz is not installed.
        """
        return svg(self.graph, self.words)

    def _repr_svg_(self) -> str | None:
        return self.to_svg() if which("dot") else None

    def __str__(self) -> str:
        return "\n".join([f"{self.neuron}: {summary(self.graph)}", *_lines(self._tree, "  ")])

    @property
    def _tree(self) -> list[Node]:
        return tree(self.graph, self.words)

    def __repr__(self) -> str:
        score = self.scores["graph"]
        return f"<Explanation of {self.neuron}: F1 {score.f1:.2f} on {len(self.held)} texts>"


def explain_neuron(
    texts: Sequence[str],
    neuron: str | tuple[int, int],
    model: Model = MINILM,
    *,
    site: str = "ffn_hidden",
    dictionary: str | Path | None = None,
    position: Position = "tokens",
    bos: bool = True,
    augment: Literal["embeddings"] | None = "embeddings",
    settings: Settings = N2G_SETTINGS,
    dtype: str = "float32",
    device: str = "auto",
    max_tokens: int = 256,
    batch_tokens: int = 2048,
) -> Explanation:
    """Explain one neuron by a graph of tokens (Neuron to Graph, Foote et al. 2023).

    The texts that excite it most are found, pruned, and probed token by token; the graph is scored
    on those of them that it was not made from. All texts go through the model once.

    Args:
        neuron: such as "L5:50", or (layer, index), both counted from 0.
        model, site, dictionary, dtype, device, max_tokens, batch_tokens: as `extract_activations`
            takes them.
        position: `tokens`, each of which has an activation; or where a text has its one.
        bos: put the start token before a text where the tokenizer puts none, as decoders want it.
        augment: try other words from the model's own embeddings; None for none.
        settings: the algorithm's numbers; `dataclasses.replace` changes some of N2G_SETTINGS.

    Raises:
        InputError: no texts, a model that cannot be loaded, a neuron or site that it does not have,
            or no room in memory.

    Example:
        >>> import descry
        >>> texts = [f"{what} was {how}." for how in ("good", "cheap", "late", "so loud", "broken")
        ...          for what in ("The battery", "This book", "My order", "The music", "A song")]
        >>> found = descry.explain_neuron(texts, "L5:50", site="ffn_output", position="cls")
        >>> found
        <Explanation of L5:50: F1 0.89 on 10 texts>
        >>> print(found)
        L5:50: highest activation 0.2161, 6 paths, 10 of 10 augmented prompts kept it up
          tunes  activation 1.11, importance 1.00, end
          musicians  activation 1.09, importance 1.00, end
          musician  activation 0.94, importance 1.00, end
          music  activation 0.92, importance 1.00, end
          songs  activation 0.87, importance 1.00, end
          song  activation 0.51, importance 1.00, end
    """
    told, (layer, index) = _texts(texts), _place(neuron)
    how = {"site": site, "layers": [layer], "dtype": dtype, "device": device}
    whose = _dictionary(dictionary)
    with _hooked(
        model, position=position, max_tokens=max_tokens, dictionary=whose, **how
    ) as hooked:
        if not 0 <= index < hooked.neurons:
            raise InputError(f"neuron: layer {layer} has neurons 0 to {hooked.neurons - 1}")
        subject = LayerNeurons(hooked, bos=bos, batch_tokens=batch_tokens)

        def prompts() -> Iterator[list[tuple[int, ...]]]:
            for first in range(0, len(told), BLOCK):
                part = told[first : first + BLOCK]
                some = read(part, hooked.tokenizer, limit=subject.limit)
                yield [text.tokens for text in some]

        around = subject.before, subject.behind
        size = settings.texts
        [leading] = leading_rows(
            hooked, prompts(), around, [(0, index)], size=size, batch_tokens=batch_tokens
        )
        augmenter = make_augmenter(augment, hooked, settings, batch_tokens)
        [record] = make_records(
            subject,
            {index: leading},
            lambda rows: read([told[r] for r in rows], hooked.tokenizer, limit=subject.limit),
            settings,
            augmenter,
        )
        [fires] = firing_rows([record.graph], prompts(), firing=settings.firing)
    by_id = {sentence_id(told[row]): told[row] for row in leading[leading >= 0].tolist()}
    train, held = ([by_id[one] for one in ids] for ids in (record.train, record.held))
    return Explanation(record.name, record.graph, record.words, record.scores, train, held, fires)


def _lines(nodes: Iterable[Node], indent: str) -> Iterator[str]:
    for node in nodes:
        yield indent + node.text
        yield from _lines(node.children, indent + "  ")


# Arguments


@contextmanager
def _hooked(model: Model, *, max_tokens: int, **how: Any) -> Iterator[HookedModel]:
    """The model with hooks; one that was in memory is left as it was."""
    most = _at_least(1, max_tokens=max_tokens)
    if not isinstance(model, tuple):
        yield HookedModel(_checkpoint(model), max_tokens=most, **how)
        return
    network, tokenizer = model
    named = ("site", "position", "layers", "sinks", "dictionary")
    told = {name: how[name] for name in named if name in how}
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        hooked = HookedModel.of(network, tokenizer, max_tokens=most, **told)
        try:
            yield hooked
        finally:
            hooked.remove_hooks()
    finally:
        for module, training in modes:
            module.training = training


def _headed(model: str | Path) -> Headed:
    return load_headed(_checkpoint(model), "float32", "cpu")


def _vectors(values: np.ndarray, width: int) -> np.ndarray:
    """Directions of the residual stream as float32 [directions, width]."""
    found = np.asarray(values)
    if found.ndim != 2 or not len(found) or found.shape[1] != width:
        raise InputError(f"vectors: of shape {found.shape}, not [directions, {width}]")
    if not np.issubdtype(found.dtype, np.floating) or not np.isfinite(found).all():
        raise InputError("vectors: not float, or NaN or infinite somewhere")
    return np.array(found, dtype=np.float32)


def _checkpoint(model: str | Path) -> Checkpoint:
    name, at, commit = str(model).partition("@")
    if name == MINILM and not at:
        return Checkpoint(MINILM, MINILM_COMMIT)
    if at and not Path(model).exists():
        return Checkpoint(name, commit)
    from descry.workflow.pinning import pinned

    return Checkpoint(**pinned({"model": str(model), "revision": "unpinned"}))


def _dictionary(place: str | Path | None) -> Dictionary | None:
    """The dictionary at a place, as it is now."""
    return None if place is None else Dictionary(str(place), dictionary_sha256(Path(place)))


def _texts(texts: Sequence[str], name: str = "texts") -> list[str]:
    if isinstance(texts, str):
        raise InputError(f"{name}: one text alone: put it into a list")
    found = list(texts)
    if not found:
        raise InputError(f"{name}: there is none")
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise InputError(f"{name}: number {row} is {type(text).__name__}, not a string")
    return found


def _columns(activations: Activations | np.ndarray) -> np.ndarray:
    """Activations of sentences as float32 [sentences, neurons]."""
    if isinstance(activations, Activations):
        if len(activations.values) != len(activations.cut):
            raise InputError("activations: of every token: a set wants one activation a sentence")
        activations = activations.values
    values = np.asarray(activations)
    if values.ndim not in (2, 3) or not values.size:
        raise InputError(
            f"activations: of shape {values.shape}, not [sentences, layers, neurons] or"
            " [sentences, neurons]"
        )
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"activations: {values.dtype}, not float")
    values = values.reshape(len(values), -1).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise InputError("activations: NaN or infinite somewhere")
    return values


def _rows_and_answers(sets: np.ndarray, applies: np.ndarray) -> tuple[np.ndarray, Answers]:
    """Sets as int32, and Yes and answers as bits."""
    rows, said = np.asarray(sets), np.asarray(applies)
    if said.ndim != 2 or not said.size:
        raise InputError(f"applies: of shape {said.shape}, not [sentences, descriptors]")
    if said.dtype != bool and not (
        np.issubdtype(said.dtype, np.integer) and np.isin(said, (-1, 0, 1)).all()
    ):
        raise InputError("applies: neither bool nor integers 1 (Yes), 0 (No) and -1 (no answer)")
    if rows.ndim != 2 or not rows.size or not np.issubdtype(rows.dtype, np.integer):
        raise InputError(f"sets: {rows.dtype} {rows.shape}, not integers [neurons, k]")
    if rows.min() < -1 or rows.max() >= len(said):
        raise InputError(f"sets: rows from {rows.min()} to {rows.max()} of {len(said)} sentences")
    taken = np.sort(rows, axis=1)
    if ((taken[:, 1:] == taken[:, :-1]) & (taken[:, 1:] >= 0)).any():
        raise InputError("sets: a sentence stands twice in one")
    return rows.astype(np.int32, copy=False), Answers.of(said.astype(np.int8))


def _names(descriptors: Sequence[str] | Sequence[Descriptor], answers: Answers) -> list[str]:
    names = list(_phrases(descriptors))
    if len(names) != len(answers.yes):
        raise InputError(
            f"descriptors: {len(names)} names, and applies has {len(answers.yes)} columns"
        )
    return names


def _phrases(descriptors: Descriptors) -> dict[str, dict[str, int]]:
    """Descriptors by name, each with how often its phrases are mentioned."""
    if isinstance(descriptors, str):
        raise InputError("descriptors: one name alone: put it into a list")
    if isinstance(descriptors, Mapping):
        given = [(name, _by_rank(phrases)) for name, phrases in descriptors.items()]
    else:
        given = [
            (one.name, dict(one.phrases)) if isinstance(one, Descriptor) else (one, {})
            for one in descriptors
        ]
    _texts([name for name, _ in given], "descriptors")
    found = dict(given)
    if len(found) < len(given):
        raise InputError("descriptors: two of one name")
    return found


def _by_rank(phrases: Sequence[str]) -> dict[str, int]:
    """Mentions that keep the order of phrases."""
    return {phrase: len(phrases) - place for place, phrase in enumerate(phrases)}


def _place(neuron: str | tuple[int, int]) -> tuple[int, int]:
    if isinstance(neuron, tuple):
        return neuron
    layer, colon, index = neuron.upper().removeprefix("L").partition(":")
    if not (colon and layer.isdecimal() and index.isdecimal()):
        raise InputError(f"neuron: {neuron!r} is none: write it as L5:50")
    return int(layer), int(index)


def _at_least(least: int, **named: int) -> int:
    ((name, value),) = named.items()
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: {value!r} is no whole number from {least} on")
    return int(value)


def _share(**named: float) -> float:
    ((name, value),) = named.items()
    if not 0 < value <= 1:
        raise InputError(f"{name}: {value!r} is not above 0, up to 1")
    return float(value)
