"""The steps of the pipeline as functions of your own texts and arrays, without files or Snakemake.

Each function is an attribute of the package, such as `descry.top_k`, and calls the code of its
stage: the same texts and parameters give the same numbers as a run. The defaults are the values of
the shipped params.yaml, which explains each.

A wrong argument raises an `InputError` that names the argument. A model is a name or a folder, as
in params.yaml, or a pair of a model and a tokenizer of the transformers library in memory.
all-MiniLM-L6-v2 comes with the package; `name@commit` is one version of a model on the hub, and a
name without a commit the present version. descry uses a pair as it is: on its device, in its dtype,
with its hooks. Nothing pins a pair: record yourself where it came from.
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
    """The activations of neurons, or of a dictionary's latents, for each text.

    `np.asarray` returns `values`; `activations["L5:50"]` is float32 [rows], one neuron.

    Attributes:
        values: float32 [rows, layers, neurons], in the model's own units. A row is a text; at
            position `tokens` it is a token.
        layers: numbers of the layers in the model, counted from 0.
        cut: int32 [texts], how many tokens of each text the model has not seen.
        start: int64 [texts + 1]: the rows of text i are `start[i]:start[i + 1]`.
        kind: neuron, latent or direction.
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
    """Send texts through a model and return the activations of its neurons.

    Memory: the result, 4 bytes per row and neuron (100,000 texts and 2,304 neurons: 0.9 GB), and
    the activations of about 4,096 further texts. On a CPU torch's threads each compute a batch; the
    result does not depend on their number.

    Args:
        texts: texts of any length; the model sees up to `max_tokens` of each.
        model: name, folder, or a pair of a model and its tokenizer in memory; a pair stays on its
            device, in its dtype.
        site: ffn_output, ffn_hidden, attention_output, residual, or a dotted path of modules in
            which `*` stands for a number, such as encoder.layer.*.output.dense.
        position: which activation stands for a text: of the `cls` or `last` token, or the `mean` or
            `max` over its tokens. At `tokens` each token has its own, special tokens included.
        sinks: tokens at a text's beginning that mean and max leave out; None: 1 in decoders, where
            the first token sees only itself, else 0.
        layers: layers to read; None for all, or with a dictionary for the layers that it names.
        dictionary: SAE or directions in place of neurons: a folder of SAELens or of sparsify, a
            safetensors file with a matrix [directions, width], or a folder with one of these for
            each layer (docs/dictionaries.md).
        dtype: the model's arithmetic: float32, bfloat16, float16.
        device: auto (a GPU, where there is one), cpu, cuda, cuda:1, mps.
        max_tokens: tokens of a text that the model sees, special tokens included; the rest is cut.
        batch_tokens: padded tokens of a batch; changes the last digits.

    Raises:
        InputError: no texts; a model that cannot be loaded; a site or layer that the model does not
            have; a dictionary of another model; too little memory; or an activation that is not
            finite.

    Examples:
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

    A set takes all sentences with the same activation, or none of them: where only some would fit,
    the set ends before them. A neuron whose activation never changes has no set, nor has a neuron
    for which fewer than `min_size` sentences stand out.

    Args:
        activations: result of `extract_activations`, or an array [sentences, layers, neurons] or
            [sentences, neurons], which is converted to float32.
        k: sentences of a set.
        top_percent: size of a set in percent of the sentences, rounded up, where k is None.
        min_size: sentences of a set, at least.
        largest: False for the sentences with the lowest activation, lowest first.

    Returns:
        int32 [neurons, k]: rows of the activations, highest first, ties by the lower row. -1 fills
        the end of a smaller set, and the whole row of a neuron without a set. Neurons are in the
        order of `Activations.names`.

    Raises:
        InputError: an array of another shape, with one activation a token, or not finite; or k
            above the number of sentences or below min_size.

    Examples:
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
    """Find the key phrases of each text with KeyBERT, the nearest to the whole text first.

    Stage describe gets the same phrases from the annotator without a generative model.

    Args:
        texts: texts in a language with blanks between words.
        n: phrases of a text, at most.
        max_words: words of a phrase, at most; longer phrases are left out.
        model: name or folder of a model of the library sentence-transformers.

    Raises:
        InputError: no texts, or of a script without blanks between words.

    Examples:
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
    """Cluster phrases with similar meanings into descriptors.

    Args:
        mentions: how often each phrase was given, such as a Counter.
        method: fast community detection, or agglomerative clustering with average linkage.
        threshold: cosine similarity within a cluster.
        min_size: different phrases of a cluster, at least.
        min_mentions: mentions of a cluster, at least.
        max_descriptors: descriptors, at most; the most mentioned are kept.
        model: name or folder of a model of the library sentence-transformers.

    Returns:
        The most mentioned first, each with `name` (its most central phrase), `phrases` (pairs of a
        phrase and its mentions, the most frequent first) and `mentions`.

    Raises:
        InputError: no phrases, or too many for the method.

    Examples:
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

    The annotator compares embeddings and is fitted to all texts at once: an answer depends on the
    other texts, and a few hundred texts are few. For answers of an LLM use the pipeline, which
    stores them. `assign_labels` takes any array of Yes and No.

    Args:
        texts: texts to ask about.
        descriptors: names; or the result of `cluster_phrases`; or a mapping from each name to its
            phrases, the most telling first.
        model: name or folder of a model of the library sentence-transformers.

    Raises:
        InputError: no texts, no descriptors, or two of one name.

    Examples:
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

    p is the upper tail of the hypergeometric distribution, q the false discovery rate of Benjamini
    and Hochberg over all pairs, as in an enrichment analysis of gene sets.

    With covariates the test compares each set with sentences that have similar covariates. Neurons
    follow the length of a text, and so do answers about it: without `{"words": ...}` much of what
    the test finds is length. p is then the mid-p of the exact test within strata
    (labels/matched.py).

    Args:
        sets: int [neurons, k], rows of `applies`; -1 fills the end of a smaller set.
        applies: bool [sentences, descriptors]; or integers: 1 Yes, 0 No, -1 no answer.
        covariates: by name, numbers or texts [sentences]; strata are made of all of them together.
        parts: strata of each number, at most; each has 8 sentences or more.

    Returns:
        `p` and `q`, float64 [neurons, descriptors]; NaN for a neuron without a set.

    Raises:
        InputError: arrays of other shapes or values.

    Examples:
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
        descriptors: names of the descriptors that were not dropped.
        columns: int [descriptors], their columns in `applies`.
        dropped: descriptors dropped for being broad, with the share of neurons that each was on.
        f: float64, frequency of each descriptor in the set, as `frequency` says.
        count: int32, sentences of the set to which the descriptor applies.
        base_rate: float64, f over all sentences.
        lift: float64, f / base_rate.
        expected: float64, `count` of random sentences of the same strata, on average.
        p: float64, of enrichment within strata.
        q: float64, false discovery rate of p, over all pairs of neuron and kept descriptor.
        p_unmatched: float64, p of `enrichment` without covariates.
        q_unmatched: float64, q of `enrichment` without covariates.
        assigned: bool, whether the descriptor is a label.
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
        """Return the labels of the neuron in a row of the sets, the most frequent first."""
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

    A descriptor that is no more frequent among the exemplars than in all sentences is never a
    label.

    Args:
        sets: int [neurons, k], rows of `applies`; -1 fills the end of a smaller set.
        applies: bool [sentences, descriptors]; or integers: 1 Yes, 0 No, -1 no answer.
        descriptors: names of the columns of `applies`.
        covariates: what else may explain a label, such as the number of words: as in `enrichment`.
        rule: enrichment: over-represented at rate `fdr`, within strata of the covariates;
            composition: f above `threshold`, as in the paper.
        frequency: f as a share of the `occurrences` of descriptors in the set, or of its answered
            `sentences`.
        threshold: rule composition: f above which a descriptor is a label, from 0 to 1.
        fdr: rule enrichment: false discovery rate, from 0 to 1.
        top_k: labels of a neuron, at most; None for all.
        broad: rule composition: a descriptor above the threshold on more than this share of the
            neurons is dropped. With a few chosen neurons nearly every label is on most: give 1.
        parts: strata of each number among the covariates, at most.

    Raises:
        InputError: arrays of other shapes or values, or every descriptor is broad.

    Examples:
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
    random = random_labels(lambda: [rows[sized]], counter, strata, every, how, most)
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
    """Find the formula over descriptors that fits each neuron's set best (Mu and Andreas 2020).

    Args:
        sets: as in `assign_labels`.
        applies: as in `assign_labels`; no answer counts as No.
        descriptors: as in `assign_labels`.
        length: descriptors in a formula, at most.
        beam: formulas of each length that the search extends.
        penalty: factor on IoU for each descriptor after the first, in the search.

    Returns:
        A label for each neuron; None where no descriptor applies to a sentence of its set.

    Raises:
        InputError: arrays of other shapes or values.

    Examples:
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
    """Score how well each label predicts its neuron over all sentences, not only its exemplars.

    On the sentences that chose the labels the scores are too high: give other sentences.

    Args:
        labels: result of `assign_labels`.
        activations: as in `top_k`, of the same neurons; of the same sentences or of others.
        sets: result of `top_k` for these activations.
        applies: as in `assign_labels`, of the same descriptors and of these sentences.

    Returns:
        f1, iou, auroc, average_precision, pearson and cosine, each float64 [labels], in the order
        of `np.argwhere(labels.assigned)`; NaN where undefined.

    Raises:
        InputError: arrays of other shapes or values.

    Examples:
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
        raise InputError("applies: other descriptors than those of the labels")
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
    """Find the tokens that neurons, or directions of the residual stream, promote and suppress.

    The logit lens gives the tokens; the nulls are permutations of the weights and mixtures of a
    layer's directions (evaluation/writes.py). p is at least
    1 / (directions of the layer x draws + 1): few directions need many draws.

    Args:
        model: as in `extract_activations`, with its language-model head; a model in memory must be
            an AutoModelForCausalLM or AutoModelForMaskedLM.
        site: site of the neurons: the input of a linear layer that writes into the residual stream.
        layers: layers, counted from 0; None for all.
        vectors: directions in place of neurons, such as the decoder of a dictionary: float
            [directions, width], or such an array for each layer. `site` and `layers` then have no
            effect.
        top: tokens each way.
        draws: draws of each null, for every direction.
        fdr: false discovery rate at which a direction counts as writing.
        seed: draws the nulls.
        device: as in `extract_activations`.

    Returns:
        A row for each direction: layer, neuron, writes, score, score_null, kurtosis, kurtosis_null,
        p, q, p_mixed, q_mixed, promoted_token, promoted_id, promoted_z, suppressed_token, ...; only
        tokens beyond 95% of the layer's permuted directions are named.

    Raises:
        InputError: the model has no head, no such site or no such layer; or the vectors have
            another width.

    Examples:
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
        neuron: name of the neuron, such as L5:50.
        graph: activating tokens and their contexts; `graph.predict(token_ids)` is float64 [tokens],
            as a share of the neuron's highest activation.
        words: the vocabulary's string of each token in the graph, by token id.
        scores: precision, recall, F1, Pearson and R² of each predictor: the graph, and two look-up
            tables.
        train: texts that the graph was made from.
        held: other texts, which the graph was scored on.
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

    All texts go through the model once. The texts that excite the neuron most are pruned and probed
    token by token; some of them make the graph, and the others score it.

    Args:
        texts: texts among which to look for the most exciting ones.
        neuron: name such as "L5:50", or (layer, index), both counted from 0.
        model: as in `extract_activations`.
        site: as in `extract_activations`.
        dictionary: as in `extract_activations`.
        position: `tokens`: each token has an activation; or the place of a text's one activation.
        bos: whether a start token goes before a text where the tokenizer puts none; decoders need
            it.
        augment: `embeddings`: try other words, from the model's own embeddings; None: do not.
        settings: the algorithm's numbers; `dataclasses.replace` changes some of N2G_SETTINGS.
        dtype: as in `extract_activations`.
        device: as in `extract_activations`.
        max_tokens: as in `extract_activations`.
        batch_tokens: as in `extract_activations`.

    Raises:
        InputError: no texts; a model that cannot be loaded; a neuron or site that the model does
            not have; or too little memory.

    Examples:
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
        raise InputError(f"{name}: a single text: put it into a list")
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
            raise InputError("activations: of every token: a set needs one activation per sentence")
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
        raise InputError("descriptors: a single name: put it into a list")
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
