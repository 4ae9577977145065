"""The graphs of a target model's neurons, made of the sentences that excite them most."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from descry.activations.top_k import NOBODY
from descry.corpus.splits import sentence_id
from descry.models.hooked_model import HookedModel
from descry.n2g.augment import Augmenter
from descry.n2g.batching import Prompt
from descry.n2g.contexts import coded
from descry.n2g.explain import Sample, Settings, explain, halves, sample
from descry.n2g.graph import Graph
from descry.n2g.layer_model import LayerNeurons
from descry.n2g.scoring import graph_scores
from descry.n2g.tables import Record, Tokens
from descry.n2g.texts import Text
from descry.n2g.weighted import weighted_graphs

Place = tuple[int, int]  # of a neuron: its layer's row in the target's layers, its index
Known = list[tuple[Prompt, np.ndarray]]
_DIGITS = 3  # of an activation at a token: no colour shows more


def of_layers(target: HookedModel, layers: Sequence[int]) -> HookedModel:
    """The same model with these layers; nothing is loaded again."""
    other = copy(target)
    other.layers = list(layers)
    return other


def make_records(
    subject: LayerNeurons,
    leading: Mapping[int, np.ndarray],
    texts: Callable[[Sequence[int]], list[Text]],
    settings: Settings,
    augmenter: Augmenter | None,
) -> list[Record]:
    """The graphs of some neurons of a layer, scored on the texts that they are not made from.

    Where they fire in the corpus is not looked for: `fires` is empty.

    Args:
        leading: by neuron, rows of the sentences that excite it most; -1 is none.
        texts: reads the sentences of some rows.
    """
    parted = {
        neuron: halves(
            texts(rows[rows != NOBODY].tolist()), train=settings.train, seed=settings.seed
        )
        for neuron, rows in leading.items()
    }
    found = sample({neuron: [*one, *other] for neuron, (one, other) in parted.items()}, subject)
    train = {neuron: found[neuron][: len(one)] for neuron, (one, _) in parted.items()}
    held = {neuron: found[neuron][len(one) :] for neuron, (one, _) in parted.items()}
    return [
        _record(subject, graph, train[graph.neuron], held[graph.neuron], settings.firing)
        for graph in explain(train, subject, settings, augmenter)
    ]


def make_weighted(
    target: HookedModel,
    activations: Callable[[Sequence[Prompt]], np.ndarray],
    chosen: Sequence[Place],
    leading: np.ndarray,
    sampled: np.ndarray,
    texts: Callable[[Sequence[int]], list[Text]],
    settings: Settings,
    *,
    paths: int,
    both_sides: bool,
) -> list[Record]:
    """The weighted graphs of some neurons, scored on texts that they are not made from.

    A graph is made from the sampled texts and those of `settings.train`, without the neuron's held
    ones. Where they fire in the corpus is not looked for: `fires` is empty.

    Args:
        target: the model, of which the layers and the tokenizer are asked for.
        activations: of the neurons at all tokens of prompts, float32 [tokens, neurons].
        leading: int [neurons, any], rows of the texts that excite each most; -1 is none.
        sampled: rows of the texts that all graphs are made from.
        texts: reads the sentences of some rows.
        paths: of a graph, at most.
        both_sides: what follows a token can change its activation.
    """
    rows = np.union1d(sampled, leading[leading != NOBODY])
    read = texts(rows.tolist())
    prompts = [text.tokens for text in read]
    values = activations(prompts)
    each = np.split(values, np.cumsum([len(prompt) for prompt in prompts])[:-1])
    by_string = {text.string: place for place, text in enumerate(read)}
    used = np.repeat(np.isin(rows, sampled)[:, None], len(chosen), axis=1)
    parted: list[tuple[list[int], list[int]]] = []
    for k, own in enumerate(leading):
        some = [read[place] for place in np.flatnonzero(np.isin(rows, own)).tolist()]
        train, held = halves(some, train=settings.train, seed=settings.seed)
        parted.append(([by_string[t.string] for t in train], [by_string[t.string] for t in held]))
        used[parted[k][0], k], used[parted[k][1], k] = True, False
    graphs = weighted_graphs(
        [index for _, index in chosen],
        prompts,
        values,
        used,
        paths=paths,
        firing=settings.firing,
        both_sides=both_sides,
    )

    def samples(places: Iterable[int], k: int) -> list[Sample]:
        return [Sample(read[place], each[place][:, k]) for place in places if prompts[place]]

    found: list[Record] = []
    for k, ((row, _), graph) in enumerate(zip(chosen, graphs, strict=True)):
        told, asked = (samples(places, k) for places in parted[k])
        known = samples(np.flatnonzero(used[:, k]).tolist(), k)
        scores = graph_scores(graph, _known(known), _known(asked), firing=settings.firing)
        layer, words = target.layers[row], _words(graph, target.tokenizer)
        tokens = _tokens(told, graph, target.tokenizer)
        ids = _ids(told), _ids(asked)
        found.append(Record(layer, graph, words, *ids, len(known), tokens, scores, []))
    return found


def _record(
    subject: LayerNeurons,
    graph: Graph,
    train: Sequence[Sample],
    held: Sequence[Sample],
    firing: float,
) -> Record:
    [layer] = subject.target.layers
    words = _words(graph, subject.target.tokenizer)
    scores = graph_scores(graph, _known(train), _known(held), firing=firing)
    tokens = [] if subject.whole else _tokens(train, graph, subject.target.tokenizer)
    return Record(layer, graph, words, _ids(train), _ids(held), len(train), tokens, scores, [])


def _ids(samples: Sequence[Sample]) -> list[str]:
    return [sentence_id(one.text.string) for one in samples]


def _tokens(samples: Sequence[Sample], graph: Graph, tokenizer: Any) -> list[Tokens]:
    """The texts token by token, as far as they are read."""
    found = []
    for text, activations in samples:
        words = tokenizer.convert_ids_to_tokens(list(text.tokens))
        shares = graph.shares(activations).round(_DIGITS) + 0.0  # no -0.0
        found.append(Tokens(words, shares.tolist()))
    return found


def _words(graph: Graph, tokenizer: Any) -> dict[int, str]:
    """The vocabulary's string of every token in a graph."""
    keys = {key for key in graph.trie.keys if key >= 0} | {node.token for node in graph.drawn}
    tokens = sorted(keys)
    return dict(zip(tokens, tokenizer.convert_ids_to_tokens(tokens), strict=True))


def _known(samples: Sequence[Sample]) -> Known:
    return [(one.text.tokens, one.activations) for one in samples]


def firing_rows(
    graphs: Sequence[Graph], blocks: Iterable[Sequence[Prompt]], *, firing: float
) -> list[list[int]]:
    """The texts in which each graph predicts its neuron to fire at any token.

    A text is compared with those graphs alone that have a path from one of its tokens.

    Args:
        blocks: the tokens of all texts, special ones left out.
        firing: share of a neuron's highest activation from which on it fires.

    Returns:
        Of each graph, ascending rows.
    """
    starting: dict[int, list[int]] = defaultdict(list)
    for place, graph in enumerate(graphs):
        if graph.bias is None:
            for token in graph.trie.children[0]:
                starting[token].append(place)
    weighted = [place for place, graph in enumerate(graphs) if graph.bias is not None]
    found: list[list[int]] = [[] for _ in graphs]
    first = 0
    for block in blocks:
        for row, tokens in enumerate(block, first):
            for place in {place for token in tokens for place in starting.get(token, ())}:
                if (graphs[place].predict(tokens) >= _cut(graphs[place], firing)).any():
                    found[place].append(row)
        if weighted:
            contexts = coded(block)
            row_of = np.repeat(np.arange(first, first + len(block)), [len(one) for one in block])
            for place in weighted:
                fires = graphs[place].sums(contexts) >= _cut(graphs[place], firing)
                found[place] += np.unique(row_of[fires]).tolist()
        first += len(block)
    return found


def _cut(graph: Graph, firing: float) -> float:
    return firing if graph.cut is None else graph.cut
