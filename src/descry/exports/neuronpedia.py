"""An export for Neuronpedia, in the two forms that it reads.

`v1/MODEL/LAYER-SET/` has the files of its own data sets (hijohnnylin/neuronpedia: what
utils/neuronpedia-utils writes, and apps/webapp/app/api/admin/import reads into its database): a row
of a table a line, all lines of a file with the same keys, since its importer takes the columns from
the first. `upload/LAYER-SET/` has the bodies of its upload API (apps/webapp/app/api/feature/
upload-batch), which its Python client sends.
"""

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from descry.exports.contents import Exemplar, Explained
from descry.exports.target_tokens import harmless
from descry.io.atomic import atomic, write_text
from descry.io.hashing import JSON, canonical, sha256_text

CREATOR = "clkht01d40000jv08hvalcvly"  # the account that its seed gives every database
_BATCH = 128  # features of a body of the upload API, at most
_TOKENS, _TEXT = 1024, 512  # tokens of an activation, and characters of an explanation, at most
_LOGITS = 20  # at most


@dataclass(frozen=True)
class Source:
    """What Neuronpedia calls the neurons.

    Attributes:
        model, name: of the model and of the set of sources (one source a layer).
        creator: the account that the rows belong to.
        title: of the release.
        owner, dataset: the model by its full name, and the corpus.
        sentences: of the corpus.
        max_tokens: of a sentence.
        layers, width: of the run.
    """

    model: str
    name: str
    creator: str
    title: str
    owner: str
    dataset: str
    sentences: int
    max_tokens: int
    layers: int
    width: int

    def id(self, layer: int) -> str:
        """The source of a layer."""
        return f"{layer}-{self.name}"


def slug(text: str) -> str:
    """A name as Neuronpedia takes it: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write(neurons: Sequence[Explained], folder: Path, source: Source) -> None:
    """Write both forms, a folder a layer.

    The upload API takes no neuron without an activation: without sentences there is no `upload`.
    """
    for layer, group in groupby(neurons, key=lambda one: one.layer):
        own = list(group)
        place = folder / "v1" / source.model / source.id(layer)
        for name, row in _metadata(source, layer).items():
            write_text(_made(place / f"{name}.jsonl"), canonical(row) + "\n")
        for name, rows in (
            ("features", [_feature(one, source) for one in own]),
            ("activations", [row for one in own for row in _activations(one, source)]),
            ("explanations", [row for one in own for row in _explanations(one, source)]),
        ):
            if rows:
                _write_lines(_made(place / name / "batch-0.jsonl.gz"), rows)
        bodies = [one for one in own if any(of.tokens for of in one.exemplars)]
        for number in range(0, len(bodies), _BATCH):
            body = upload(bodies[number : number + _BATCH], source, layer)
            path = _made(folder / "upload" / source.id(layer) / f"batch-{number // _BATCH}.json")
            write_text(path, canonical(body) + "\n")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_lines(path: Path, rows: Iterable[JSON]) -> None:
    """Lines of JSON, packed without a time."""
    text = "".join(canonical(row) + "\n" for row in rows)
    with atomic(path) as part:
        part.write_bytes(gzip.compress(text.encode(), mtime=0))


# A row of each table of the database


def _metadata(source: Source, layer: int) -> dict[str, JSON]:
    owned = {"creatorId": source.creator, "visibility": "PUBLIC"}
    named = {"creatorName": "descry"}
    return {
        "release": owned
        | named
        | {
            "name": source.name,
            "description": source.title,
            "descriptionShort": source.title,
            "creatorNameShort": "descry",
            "urls": [],
        },
        "model": owned
        | {
            "id": source.model,
            "displayName": source.model,
            "displayNameShort": source.model,
            "layers": source.layers,
            "neuronsPerLayer": source.width,
            "owner": source.owner,
            "instruct": False,
            "inferenceEnabled": False,
        },
        "sourceset": owned
        | named
        | {
            "modelId": source.model,
            "name": source.name,
            "description": source.title,
            "type": "",
            "urls": [],
            "releaseName": source.name,
            "hasDashboards": True,
            "allowInferenceSearch": False,
        },
        "source": owned
        | {
            "id": source.id(layer),
            "modelId": source.model,
            "setName": source.name,
            "hasDashboards": True,
            "inferenceEnabled": False,
            "dataset": source.dataset,
            "num_prompts": source.sentences,
            "num_tokens_in_prompt": source.max_tokens,
        },
    }


def _place(one: Explained, source: Source) -> JSON:
    return {"modelId": source.model, "layer": source.id(one.layer), "index": str(one.index)}


def _feature(one: Explained, source: Source) -> JSON:
    most = [of.tokens.values for of in one.exemplars if of.tokens]
    return _place(one, source) | {
        "sourceSetName": source.name,
        "creatorId": source.creator,
        "maxActApprox": max(map(max, most), default=one.distribution["highest"]),
        "hasVector": False,
        "frac_nonzero": one.nonzero,
        "freq_hist_data_bar_heights": one.counts.tolist(),
        "freq_hist_data_bar_values": one.centres.tolist(),
        "pos_str": [harmless(token) for token, _ in one.promoted],
        "pos_values": [z for _, z in one.promoted],
        "neg_str": [harmless(token) for token, _ in one.suppressed],
        "neg_values": [z for _, z in one.suppressed],
    }


def _activations(one: Explained, source: Source) -> Iterator[JSON]:
    for of in one.exemplars:
        if of.tokens is None:
            continue
        values = of.tokens.values
        row = _place(one, source) | {
            "tokens": of.tokens.tokens,
            "values": values,
            "maxValue": max(values),
            "maxValueTokenIndex": values.index(max(values)),
            "minValue": min(values),
            "qualifyingTokenIndex": of.place,
            "dataIndex": of.id,
            "dataSource": source.dataset,
            "creatorId": source.creator,
        }
        yield row | {"id": _identity("activation", one, source, of.id)}


def _explanations(one: Explained, source: Source) -> Iterator[JSON]:
    for label in one.labels:
        yield _place(one, source) | {
            "id": _identity("explanation", one, source, label["descriptor"]),
            "description": label["descriptor"],
            "authorId": source.creator,
            "notes": _note(label),
        }


def _identity(kind: str, one: Explained, source: Source, what: str) -> str:
    """A row's key in the form of the others: the same export again adds nothing."""
    place = f"{kind}:{source.model}:{source.id(one.layer)}:{one.index}:{what}"
    return f"c{sha256_text(place)[:24]}"


def _note(label: JSON) -> str:
    """A label's numbers, as JSON in a text."""
    return canonical({key: None if value != value else value for key, value in label.items()})


# The upload API


def upload(neurons: Sequence[Explained], source: Source, layer: int) -> JSON:
    """A body of the upload API: some neurons of a layer, each with activations by token."""
    features = [
        {
            "index": one.index,
            "density": one.nonzero,
            "activations": [_uploaded(of) for of in one.exemplars if of.tokens is not None],
            "explanations": [
                {"text": label["descriptor"][:_TEXT], "methodName": None, "modelName": None}
                for label in one.labels
            ],
            "topLogits": _logits(one.promoted),
            "bottomLogits": _logits(one.suppressed),
        }
        for one in neurons
    ]
    return {"modelId": source.model, "source": source.id(layer), "features": features}


def _uploaded(of: Exemplar) -> JSON:
    assert of.tokens is not None
    return {
        "tokens": of.tokens.tokens[:_TOKENS],
        "values": of.tokens.values[:_TOKENS],
        "quantileMax": None,
        "quantileMin": None,
        "quantileFraction": None,
    }


def _logits(tokens: Sequence[tuple[str, float]]) -> JSON:
    return [{"token": harmless(token), "value": z} for token, z in tokens[:_LOGITS]] or None
