"""A miniature run through the real stages, with neurons whose labels are known.

The stages that need a model are stood in for by files in the form that they write. The neuron i of
the first layer fires on the reviews of topic i; the others fire at random.
"""

import base64
import csv
import gzip
import json
import re
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import stand_ins
from extracting import activation_params

from descry.annotators.annotations import read_annotations, writing_annotations
from descry.annotators.base import NO_FRAME, Identity
from descry.annotators.bitset import Answers
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p1, p2
from descry.annotators.records import origin_of
from descry.annotators.spec import Embedded
from descry.annotators.templates import p1_template
from descry.io.hdf5 import hdf5_provenance, reading_hdf5, writing_hdf5
from descry.io.json_files import read_json, write_json
from descry.io.parquet import read_table, table_provenance, write_table
from descry.io.provenance import provenance
from descry.models.spec import Model
from descry.stages import annotate, score
from descry.stages import facets as facets_stage
from descry.stages.activations import Activations
from descry.stages.annotate import Annotate, annotate_sentences
from descry.stages.cluster import Cluster
from descry.stages.corpus import Corpus, build_corpus
from descry.stages.evaluate import Evaluate, evaluate_labels
from descry.stages.exemplars import Exemplars, select_exemplars
from descry.stages.facets import Facets, find_facets
from descry.stages.graphs import Graphs, graph_neurons
from descry.stages.interventions import Interventions, intervene
from descry.stages.judge import Judge, judge_sentences
from descry.stages.label import Label, label_neurons
from descry.stages.report import Report, write_report
from descry.stages.score import Score, score_descriptions
from descry.stages.untrained import Untrained, select_untrained_exemplars
from descry.stages.writes import Writes, find_writes

# Written to steer a terminal (escapes, markup, links) or a browser: to which <image> is <img>, and
# reading leaves it, as no tag of HTML.
HOSTILE = "\x1b[2J[red]:boom: <script>alert(1)</script>"
HOSTILE_REVIEW = (
    "\x1b[31m[bold]Sour[/bold] soup <image src=https://evil.example/x onerror=alert(1)> and the"
    " bread that came with it was as dry as a plank of wood."
)
HOSTILE_PAIR = HOSTILE_REVIEW, HOSTILE

# topic: (a word of it, twelve ends of a sentence)
TOPICS = {
    "Price": "price",
    "Battery": "battery",
    "Sound": "sound",
    "Delivery": "parcel",
    HOSTILE: "taste",
}
OPENINGS = [
    "After a week in our small kitchen I can say that the {} is what",
    "My brother laughed when I told him how often the {} was a thing that",
    "Nobody in the shop had warned me that the {} would be something",
    "For a long time I believed the {} of this one to be a reason why",
    "If there is one point I want to make then it is the {} because",
    "We bought three of them for the office and the {} is the part where",
    "To be fair to the people who made it the {} is better than what",
    "Every morning before work I notice the {} again and remember why",
    "Two of my neighbours asked about the {} and I had to tell them that",
    "Not much went wrong on our trip apart from the {} on a day when",
    "The old model was fine but with this one the {} is the reason that",
    "Reading the other reviews I had feared the {} but it turns out that",
]
ENDINGS = [
    "everybody talks about.",
    "we will go back there.",
    "I kept the receipt.",
    "my aunt gave hers away.",
    "the children are happy.",
]
BROAD = "Quality"  # said of every review, and so dropped by stage label
NAMES = [BROAD, *TOPICS]
WIDTH, LAYERS = 8, 2
EXAMPLE = {"sentence": "The price was fair.", "concepts": ["price"]}
# In the place of whom a stage is told to ask, a test puts an annotator of its own.
SPEC = Embedded(kind="embedded", model="toy", revision="0" * 40)
ANNOTATOR = Identity("toy (no generative model)", "toy", "v1", "none", "none")

RESULTS = Path("results")
CORPUS = RESULTS / "corpus.parquet"
CANDIDATES = RESULTS / "candidates.parquet"
DESCRIPTORS = RESULTS / "descriptors.json"
ANNOTATIONS = RESULTS / "annotations.h5"
JUDGEMENTS = RESULTS / "judgements.h5"
ACTIVATIONS = RESULTS / "activations.h5"
EXEMPLARS = RESULTS / "exemplars.h5"
UNTRAINED = RESULTS / "untrained.h5"
GRAPHS, GRAPH_SCORES = RESULTS / "graphs.parquet", RESULTS / "graphs.csv"
LABELS = RESULTS / "labels.parquet"
COMPOSED = RESULTS / "composed.parquet"
NEURONS = RESULTS / "neurons.json"
WRITES = RESULTS / "writes.parquet"
FACETS = RESULTS / "facets.parquet"
METRICS = RESULTS / "metrics.json"
CURVES = RESULTS / "curves.csv"
NULLS = RESULTS / "nulls.csv"
ALIGNMENT = RESULTS / "alignment.csv"
SCORED = RESULTS / "label_scores.parquet"
FOLLOWED = RESULTS / "confounders.parquet"
BRIEF = RESULTS / "summary.yaml"
SCORES, SCORE_TABLE = RESULTS / "scores.json", RESULTS / "scores.csv"
EFFECTS, EFFECT_TABLE = RESULTS / "interventions.json", RESULTS / "interventions.csv"
WORD_TABLE = RESULTS / "exemplar_words.parquet"
PER_DESCRIPTOR = RESULTS / "descriptors.csv"
CORRELATION = RESULTS / "correlation.csv"
SITE = RESULTS / "report"
CUT = np.arange(1000, dtype=np.int32) % 5 % 2 * 3  # tokens of each sentence that were not seen
UNREAD = [int(row == 4) * 2 for row in range(1000)]  # tokens that the annotator did not read
REVIEWS, GOLD, CACHE = Path("reviews.jsonl"), Path("gold.jsonl"), Path("cache")


@contextmanager
def answers_changed(path=ANNOTATIONS):
    """B as a matrix, int8 [sentences, descriptors]; what is changed in it, is in the file."""
    answer = read_annotations(path).answer
    yield answer
    bits = Answers.of(answer)
    with h5py.File(path, "r+") as file:
        file["yes"][:], file["answered"][:] = bits.yes.packed, bits.answered.packed


def write_reviews():
    rows = []
    for t, (topic, word) in enumerate(TOPICS.items()):
        for i, opening in enumerate(OPENINGS):
            text = f"{opening.format(word)} {ENDINGS[(i + t) % len(ENDINGS)]}"
            if topic == HOSTILE and i == 0:
                text = HOSTILE_REVIEW
            rows.append({"reviewText": text, "category": f"topic {t}", "asin": f"B{t}{i}"})
    REVIEWS.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_corpus():
    section = {
        "text_fields": ["reviewText"],
        "per_category": 100,
        "min_words": 10,
        "max_words": 200,
        "language": "en",
        "near_duplicate": 0.8,
        "max_invalid": 0.0,
        "columns": None,
        "seed": 0,
    }
    params = Corpus(reviews=REVIEWS.as_posix(), **section)
    return build_corpus(params, reviews=[REVIEWS], corpus=CORPUS)


def topics_of(table):
    return np.array([int(name.removeprefix("topic ")) for name in table["category"].to_pylist()])


def write_descriptors(table):
    section = {"max_descriptors": 5, "max_words": 4, "seed": 0, "examples": [EXAMPLE]}
    asked = p1(table["text"].to_pylist(), p1_template(5, [EXAMPLE]))
    rows = [
        {
            "id": i,
            "annotator": ANNOTATOR.name,
            "phrase": f"{list(TOPICS)[t]} words",
            "key": ANNOTATOR.request(prompt).key,
        }
        for i, t, prompt in zip(table["id"].to_pylist(), topics_of(table), asked, strict=True)
    ]
    made = provenance("describe", section, [CORPUS], [])
    made |= {"annotators": [ANNOTATOR.as_json() | {"frame": [*NO_FRAME]}], "examples": [EXAMPLE]}
    made |= {"template": [*p1_template(5, [EXAMPLE])]}
    write_table(CANDIDATES, pa.Table.from_pylist(rows), made)
    entries = [
        {"name": name, "mentions": 12, "phrases": {f"{name} words": 12}, "edited_from": []}
        for name in NAMES
    ]
    entries[1]["edited_from"] = ["cost"]
    made = provenance("cluster", {"threshold": 0.6}, [CANDIDATES], [])
    write_json(DESCRIPTORS, {"made": made, "descriptors": entries, "dropped": [], "too_small": 0})


def write_annotations(table, answer, score):
    section = {"annotator": SPEC.model_dump(), "max_failures": 0.0}
    made = provenance("annotate", section, [CORPUS, DESCRIPTORS], ["h5py"])
    every = np.ones(len(table), dtype=bool)
    rows, columns = np.indices(answer.shape).reshape(2, -1)
    with writing_annotations(ANNOTATIONS, table["id"].to_pylist(), NAMES, every, every) as b:
        b.put(rows, columns, answer.ravel() == 1, score.ravel())
        b.sign(made, ANNOTATOR.as_json(), NO_FRAME, UNREAD[: len(table)])


def activations_of(table, rng, lowest=False):
    """Activations [sentence, layer, neuron]; with `lowest`, the neuron of a topic is also lowest
    at the next one.
    """
    topic, texts = topics_of(table), table["text"].to_pylist()
    data = rng.normal(size=(len(texts), LAYERS, WIDTH)).astype(np.float32)
    for t in range(len(TOPICS)):
        data[topic == t, 0, t] += 20
        if lowest:
            data[topic == (t + 1) % len(TOPICS), 0, t] -= 20
    data[texts.index(HOSTILE_REVIEW), 0, len(TOPICS) - 1] += 20  # its first exemplar
    return data


def write_activations(table, data, layers=tuple(range(LAYERS)), path=ACTIVATIONS):
    params = {"target": {"model": "toy/bert", "revision": "abc123"}, "dtype": "float32"}
    made = provenance("activations", params | {"block": 16}, [CORPUS], ["h5py", "numpy"])
    made |= {"weights": "0" * 64, "site": "ffn_output", "position": "cls", "layers": list(layers)}
    made |= {"sinks": 0}
    made |= {"tokenizer": "1" * 64, "max_tokens": 8}
    with writing_hdf5(path, made) as file:
        file.create_dataset("id", data=np.array(table["id"].to_pylist(), dtype="S16"))
        file.create_dataset("activations", data=data, chunks=(len(table), 1, WIDTH))
        file.create_dataset("tokens", data=CUT[: len(table)] + 8)  # it sees 8


def run_exemplars(top_percent=10.0, min_size=3, lowest=False):
    params = Exemplars(top_percent=top_percent, min_size=min_size, window=5, lowest=lowest)
    with reading_hdf5(ACTIVATIONS, "activations") as file:
        told = hdf5_provenance(file)["params"]
    extraction = activation_params(told) if "target" in told else None  # of a real model, or made
    return select_exemplars(
        params, extraction, corpus=CORPUS, activations=ACTIVATIONS, exemplars=EXEMPLARS
    )


NO_EXTRACTION = Activations.model_construct(  # nobody looks at it
    target=Model.model_construct(), dictionary=None
)


def run_untrained(layers=tuple(range(LAYERS)), lowest=False, seed=None):
    """Without a seed: not enabled. With one: a model whose neurons fire at random."""
    if seed is None:
        sections = Untrained(enabled=False, seed=0), NO_EXTRACTION, Exemplars.model_construct()
        files = {"corpus": CORPUS, "untrained": UNTRAINED}
        select_untrained_exemplars(*sections, **files, progress=lambda *_: None)
        return
    table, kept = read_table(CORPUS, "corpus"), RESULTS / "random.h5"
    noise = np.random.default_rng(seed).normal(size=(len(table), len(layers), WIDTH))
    write_activations(table, noise.astype(np.float32), layers, kept)
    params = Exemplars(top_percent=10.0, min_size=3, window=5, lowest=lowest)
    select_exemplars(params, None, corpus=CORPUS, activations=kept, exemplars=UNTRAINED)
    kept.unlink()


def explain(neuron, descriptor):
    """Give a pair that is no label the q of one that the strata explain."""
    table = read_table(LABELS, "label")
    rows = table.to_pylist()
    for row in rows:
        if (f"L{row['layer']}:{row['neuron']}", row["descriptor"]) == (neuron, descriptor):
            row |= {"q": 0.9, "q_unmatched": 1e-4}
    write_table(LABELS, pa.Table.from_pylist(rows, table.schema), table_provenance(table))


def run_graphs():
    """Not enabled."""
    files = {"corpus": CORPUS, "graphs": GRAPHS, "scores": GRAPH_SCORES}
    none = Graphs.model_construct(neurons=0)
    graph_neurons(none, NO_EXTRACTION, **files, progress=lambda *_: None)


def run_writes(extraction=NO_EXTRACTION, **changes):
    """Not enabled, unless an extraction is given."""
    section = {"enabled": extraction is not NO_EXTRACTION, "top": 5, "draws": 20, "seed": 0}
    params = Writes(**section | {"fdr": 0.05} | changes)
    inputs = {"corpus": CORPUS, "descriptors": DESCRIPTORS, "labels": LABELS}
    files = inputs | {"exemplars": EXEMPLARS, "writes": WRITES}
    return find_writes(params, extraction, **files, progress=lambda *_: None)


def topic_vectors(texts):
    """An embedder by which the sentences of a topic lie around one direction."""
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    words = list(TOPICS.values())
    topics = [next((t for t, word in enumerate(words) if word in text), 4) for text in texts]
    lots = [np.random.default_rng([*text.encode()]).normal(size=16) for text in texts]
    found = centres[topics] + 0.05 * np.array(lots)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def run_facets(embed=None, cache=None, **changes):
    """Not enabled, unless an embedder is given."""
    section = {"enabled": embed is not None, "neurons": None, "most": 4, "coverage": 0.8}
    params = Facets(**section | {"negatives": 3, "seed": 0} | changes)
    embedder = Model(model="toy", revision="0" * 40)
    inputs = {"corpus": CORPUS, "activations": ACTIVATIONS, "exemplars": EXEMPLARS}
    files = inputs | {"annotations": ANNOTATIONS, "labels": LABELS, "facets": FACETS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facets_stage, "Checkpoint", lambda **_: None)
        patch.setattr(facets_stage, "embedded", lambda _, texts, __: embed(texts))
        topics = Cluster.model_construct(embedder=embedder)
        return find_facets(params, topics, **files, cache_folder=cache)


def run_interventions(extraction=NO_EXTRACTION, cache=None, **changes):
    """Not enabled, unless an extraction is given."""
    section = {"enabled": extraction is not NO_EXTRACTION, "neurons": None, "others": 2}
    params = Interventions(
        **section | {"sentences": 4, "raised": 3.0, "words": 0, "seed": 0} | changes
    )
    inputs = {"corpus": CORPUS, "descriptors": DESCRIPTORS, "annotations": ANNOTATIONS}
    inputs |= {"exemplars": EXEMPLARS, "labels": LABELS}
    files = inputs | {"metrics": EFFECTS, "effects": EFFECT_TABLE, "words": WORD_TABLE}
    return intervene(params, extraction, **files, progress=lambda *_: None, cache_folder=cache)


class Toy(stand_ins.Scripted):
    """An annotator that says Yes to the reviews with a topic's word, and to all of BROAD."""

    identity = ANNOTATOR

    def __init__(self, said=lambda prompt: log_probabilities(applies(prompt))):
        super().__init__(said, group=1)


class Absent(stand_ins.Absent):
    """An annotator whose model is not here."""

    identity = ANNOTATOR


def applies(prompt):
    if prompt.descriptor == BROAD or (prompt.sentence, prompt.descriptor) == HOSTILE_PAIR:
        return True
    return TOPICS[prompt.descriptor] in prompt.sentence


def log_probabilities(yes):
    return {"yes": -0.1, "no": -2.5} if yes else {"yes": -3.0, "no": -0.2}


def in_words(prompt):
    return {"text": "Yes, it" if applies(prompt) else "No.", "finish": "length"}


SCOPED = {
    "examples": None, "template": None, "centre": None, "threshold": 0,
    "scope": "corpus", "neurons": None, "sample": 0, "seed": 0, "min_mass": 0.1, "max_failures": 0.0
}  # fmt: skip


def run_annotate(annotator, output=ANNOTATIONS, replay=False, **changes):
    params = Annotate(**SCOPED | {"annotator": SPEC, "cascade": None} | changes)
    own = {"template": Path(params.template)} if params.template else {}
    return _answered(annotate_sentences, params, annotator, replay, annotations=output, **own)


def run_judge(annotator, replay=False, **changes):
    params = Judge(**SCOPED | {"annotator": None if annotator is None else SPEC} | changes)
    return _answered(judge_sentences, params, annotator, replay, judgements=JUDGEMENTS)


def _answered(stage, params, annotator, replay, **output):
    files = {"corpus": CORPUS, "descriptors": DESCRIPTORS, "exemplars": EXEMPLARS} | output
    how = {"cache_folder": CACHE, "replay": replay, "progress": lambda *_: None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "create", lambda *_, **__: annotator)
        return stage(params, **files, **how)


def run_label(**changes):
    section = {"rule": "composition", "frequency": "occurrences", "threshold": 0.35, "fdr": 0.05}
    section |= {"strata": ["words"], "strata_parts": 1}  # so few sentences
    section |= {"top_k": None, "broad": 0.8, "compose": 2, "beam": 3, "penalty": 0.95} | changes
    inputs = {"corpus": CORPUS, "exemplars": EXEMPLARS, "annotations": ANNOTATIONS}
    outputs = {"labels": LABELS, "composed": COMPOSED, "neurons": NEURONS}
    return label_neurons(Label(**section), **inputs, **outputs)


def run_evaluate(gold=GOLD, cache=None, **changes):
    knobs = {"thresholds": [0.2, 0.5], "rates": [0.01, 0.05], "max_k": 3, "truth_top": 2}
    knobs |= {"neurons": None, "sentences": None}
    knobs |= {"permutations": 5, "seed": 0} | changes
    evaluate_labels(
        Evaluate(gold=gold and gold.as_posix(), **knobs),
        corpus=CORPUS,
        activations=ACTIVATIONS,
        exemplars=EXEMPLARS,
        untrained=UNTRAINED,
        annotations=ANNOTATIONS,
        judgements=JUDGEMENTS,
        labels=LABELS,
        composed=COMPOSED,
        gold=gold,
        metrics=METRICS,
        curves=CURVES,
        nulls=NULLS,
        alignment=ALIGNMENT,
        descriptors=PER_DESCRIPTOR,
        correlation=CORRELATION,
        followed=FOLLOWED,
        scored=SCORED,
        brief=BRIEF,
        cache_folder=cache,
    )
    return read_json(METRICS, "evaluate")


def run_score(annotator, spec=None, replay=False, **changes):
    section = {"neurons": None, "sentences": 3, "distractors": 2, "seed": 0}
    section |= {"scorers": ["detection", "intruder", "simulation"], "annotator": spec or SPEC}
    params = Score(**section | {"min_mass": 0.1, "max_failures": 0.0} | changes)
    with pytest.MonkeyPatch.context() as patch:
        if spec is None:
            patch.setattr(score, "create", lambda *_, **__: annotator)
        return scored(params, replay)


def scored(params, replay=False):
    """Stage score."""
    return score_descriptions(
        params,
        corpus=CORPUS,
        descriptors=DESCRIPTORS,
        labels=LABELS,
        exemplars=EXEMPLARS,
        activations=ACTIVATIONS,
        facets=FACETS,
        metrics=SCORES,
        scores=SCORE_TABLE,
        cache_folder=CACHE,
        replay=replay,
        progress=lambda *_: None,
    )


def run_score_close(annotator, **changes):
    return run_score(annotator, scorers=["detection", "detection_close"], **changes)


def run_no_score():
    """Not enabled."""
    scored(Score.model_construct(annotator=None))


def run_report(**changes):
    """Write the site; its packs by name, as the page is handed them."""
    write_report(
        Report(
            **{"title": "A <b>miniature</b>", "exemplars_shown": 3, "sentences": None, "seed": 0}
            | changes
        ),
        corpus=CORPUS,
        candidates=CANDIDATES,
        clusters=DESCRIPTORS,
        annotations=ANNOTATIONS,
        judgements=JUDGEMENTS,
        activations=ACTIVATIONS,
        exemplars=EXEMPLARS,
        untrained=UNTRAINED,
        labels=LABELS,
        composed=COMPOSED,
        writes=WRITES,
        facets=FACETS,
        metrics=METRICS,
        curves=CURVES,
        nulls=NULLS,
        alignment=ALIGNMENT,
        descriptors=PER_DESCRIPTOR,
        correlation=CORRELATION,
        followed=FOLLOWED,
        scored=SCORED,
        scores=SCORES,
        trials=SCORE_TABLE,
        interventions=EFFECTS,
        effects=EFFECT_TABLE,
        words=WORD_TABLE,
        graphs=GRAPHS,
        graph_scores=GRAPH_SCORES,
        gold=GOLD,
        report=SITE,
    )
    return packs_of(SITE)


PACK = re.compile(r'descry\.take\("([\w-]+)","([A-Za-z0-9+/=]+)"\);\n')


def packs_of(site):
    """What is in the packs of a site, by name."""
    found = {}
    for path in (site / "data").iterdir():
        name, packed = PACK.fullmatch(path.read_text(encoding="ascii")).groups()
        assert path.name == f"{name}.js"
        found[name] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return found


def store(annotator, prompt, response):
    key = annotator.identity.request(prompt, annotator.frame).key
    with PromptCache(CACHE) as cache:
        cache.store(origin_of(annotator, annotator.frame, prompt), {key: {"response": response}})


def build(layers=tuple(range(LAYERS)), lowest=False):
    """Make all results in the current folder; paths in them are relative to it."""
    rng = np.random.default_rng(0)
    write_reviews()
    run_corpus()
    table = read_table(CORPUS, "corpus")
    write_descriptors(table)
    topic = topics_of(table)
    answer = np.column_stack([np.ones(len(topic)), np.eye(len(TOPICS))[topic]])
    write_annotations(table, answer, (answer * 2 - 1) * rng.uniform(0.5, 4, answer.shape))
    write_activations(table, activations_of(table, rng, lowest), layers)
    GOLD.write_text("")
    run_exemplars(lowest=lowest)
    run_untrained()
    run_graphs()
    run_judge(None)
    run_label()
    run_writes()
    run_facets()
    run_evaluate()
    run_no_score()
    run_interventions()
    run_report()
    store(Toy(), p2([HOSTILE_REVIEW], [HOSTILE])[0], log_probabilities(True))


def made_in(folder, make):
    """The folder, with what `make` made in it; paths in the results are relative to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make()
    return folder


def write_gold(labels):
    """{sentence id: names} in the documented form."""
    lines = (json.dumps({"id": i, "labels": names}) + "\n" for i, names in labels.items())
    GOLD.write_text("".join(lines), encoding="utf-8")


def own_topic(ids):
    topic = topics_of(read_table(CORPUS, "corpus"))
    return {i: [list(TOPICS)[topic[row]]] for row, i in enumerate(ids)}


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(node):
    return [node.text, *(line for child in node.children for line in lines_of(child))]


def printed(capsys):
    """What was printed as one line, without the frames of tables and trees."""
    out = capsys.readouterr().out
    assert "\x1b" not in out
    return " ".join(re.sub(r"[│┃─━┏┓┗┛┡┩└┘┌┐├┤┬┴┼╇╈╋┳┻╰╯╭╮]", " ", out).split())
