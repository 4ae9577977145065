"""Planted neurons of tokens are found: directions that read a word, or a word after another, in an
encoder with real weights, and in a decoder.
"""

import json
import re
import threading

import numpy as np
import pytest
from extracting import activation_params, sentences, write_corpus
from miniature import ROOT
from safetensors.numpy import save_file
from tiny import make

from descry.activations.exemplar_files import read_exemplars
from descry.io.parquet import read_table, write_table
from descry.models import hooked_model
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256
from descry.models.dictionaries.dictionary import dictionary_sha256
from descry.models.hooked_model import HookedModel
from descry.models.spec import Pinned
from descry.stages.activations import extract_activations
from descry.stages.exemplars import Exemplars, select_exemplars
from descry.stages.tokens import Tokens, find_tokens

LAYER, RIDGE = 0, 1.0  # of the mean variance
COMMON = {
    "peaks": 1, "seed": 0, "sinks": None, "dtype": "float32", "device": "cpu", "max_tokens": 64,
    "batch_tokens": 2048, "block": 1024, "store_dtype": "float32",
}  # fmt: skip
RIGHT = 0.75  # of the positions of a planted direction are what was planted, at least


def probes(hidden, flags):
    """Directions [flags, width] that tell flagged tokens from others, by ridge regression."""
    x = hidden - hidden.mean(axis=0)
    gram = x.T @ x
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    found = np.linalg.solve(gram, x.T @ (flags - flags.mean(axis=0))).T
    return np.ascontiguousarray(found, dtype=np.float32)  # safetensors writes bytes as they lie


def fitted(root, target, texts, flag):
    """The file of directions that tell flagged tokens of some sentences, pinned."""
    how = {"site": "residual", "position": "tokens", "layers": [LAYER], "dtype": "float32"}
    model = HookedModel(Checkpoint(**target), **how, device="cpu", max_tokens=64)
    ids = model.tokenize(texts)
    hidden = np.concatenate([model.activations([one])[:, 0] for one in ids])
    pieces = [model.tokenizer.convert_ids_to_tokens(one) for one in ids]
    flags = [flag(own, k) for own in pieces for k in range(len(own))]
    directions = root / "directions.safetensors"
    save_file({"directions": probes(hidden, np.array(flags, dtype=float))}, directions)
    return Pinned(path=str(directions), revision=dictionary_sha256(directions))


class Study:
    """Neurons, or directions that were fitted on some sentences, and their positions in others."""

    def __init__(self, root, target, texts, flag=None):
        directions = None if flag is None else fitted(root, target, texts[::2], flag)
        self.files = {"corpus": root / "corpus.parquet", "activations": root / "a.h5"}
        table = read_table(write_corpus(self.files["corpus"], texts[1::2]), "corpus")
        made = {"stage": "corpus", "params": {"language": "en"}}
        write_table(self.files["corpus"], table.replace_schema_metadata(None), made)
        told = {"target": target, "unit": "token", "position": "tokens", "store": "exemplars"}
        told |= {"site": "residual", "layers": [LAYER], "sample": 200, "keep": 40}
        params = activation_params(COMMON | told | {"dictionary": directions})
        extract_activations(params, **self.files, progress=lambda *_: None)
        out = {"exemplars": root / "e.h5", "positions": root / "p.parquet"}
        chosen = Exemplars(top_percent=12.0, min_size=3, window=6, lowest=False)
        select_exemplars(chosen, params, **self.files, **out)
        rest = {"corpus": self.files["corpus"], **out, "tokens": root / "t.parquet"}
        find_tokens(Tokens(min_count=3, fdr=0.01), **rest)
        table = read_table(out["positions"], "corpus").to_pylist()
        sets = read_exemplars(out["exemplars"], "all")[0]
        self.positions = [[table[row] for row in own if row >= 0] for own in sets]
        self.texts = texts[1::2]
        self.sample = [row for row in table if row["sampled"]]
        self.tokens = read_table(rest["tokens"], "tokens").to_pylist()

    def words(self, direction):
        """The words that a direction surely peaks at, in the whole corpus."""
        return [
            row["word"]
            for row in self.tokens
            if (row["split"], row["neuron"]) == ("all", direction) and row["assigned"]
        ]

    def share(self, direction, is_planted):
        return np.mean([is_planted(one) for one in self.positions[direction]])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """MiniLM on the sample: the word `my`, and whatever word stands behind it."""
    files = sorted((ROOT / "data/sample").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [json.loads(line)["reviewText"] for line in lines]
    texts = list(dict.fromkeys(text for text in texts if 10 <= len(text.split()) <= 40))[:500]

    def flag(pieces, k):
        return pieces[k] == "my", k > 0 and pieces[k - 1] == "my" and pieces[k].isalpha()

    target = {"model": MINILM, "revision": MINILM_COMMIT}
    return Study(tmp_path_factory.mktemp("encoder"), target, texts, flag)


def test_a_direction_that_reads_a_word_peaks_at_it(encoder):
    assert encoder.share(0, lambda one: one["word"].lower() == "my") >= RIGHT
    assert encoder.words(0)[:1] == ["my"]


def test_a_direction_that_reads_a_word_after_another_peaks_behind_it(encoder):
    behind = re.compile(r"\bmy «", re.IGNORECASE)
    found = encoder.share(1, lambda one: bool(behind.search(one["text"])))
    by_lot = np.mean([bool(behind.search(one["text"])) for one in encoder.sample])
    assert found >= 0.5 and found > 10 * by_lot
    assert len({one["word"] for one in encoder.positions[1] if behind.search(one["text"])}) > 2


def test_a_decoders_directions_peak_at_their_words(tmp_path):
    folder = make("gpt_neox", tmp_path / "model")
    target = {"model": str(folder), "revision": contents_sha256(folder)}

    def flag(pieces, k):
        return "battery" in pieces[k].lower(), "price" in pieces[k].lower()

    study = Study(tmp_path, target, sentences(240, most=8, seed=5), flag)
    for direction, word in enumerate(("battery", "price")):
        assert study.share(direction, lambda one, w=word: one["word"] == w) >= RIGHT
        assert word in study.words(direction)


NEURON = 3  # that is planted


def plant(monkeypatch, word, sentences):
    """Let a neuron of the layer fire at a word in some sentences alone, in whatever batch."""
    load, seen = hooked_model._load, threading.local()

    def planted(*given):
        tokenizer, model = load(*given)
        known = {tuple(ids) for ids in tokenizer(sentences)["input_ids"]}
        (wanted,) = tokenizer(word, add_special_tokens=False)["input_ids"]

        def look(_, args, named):
            seen.ids, seen.mask = named["input_ids"], named["attention_mask"].bool()

        def fire(_, args, output):
            for row, (ids, real) in enumerate(zip(seen.ids, seen.mask, strict=True)):
                own = output[0] if isinstance(output, tuple) else output
                there = tuple(ids[real].tolist()) in known
                own[row, :, NEURON] = 5.0 * ((ids == wanted) & there) + 0.01 * own[row, :, NEURON]
            return output

        model.register_forward_pre_hook(look, with_kwargs=True)
        model.encoder.layer[LAYER].register_forward_hook(fire)
        return tokenizer, model

    monkeypatch.setattr(hooked_model, "_load", planted)


def test_a_neuron_of_a_word_in_one_category_alone_peaks_at_it_there(tmp_path, monkeypatch):
    folder = make("bert", tmp_path / "model")
    # The tiny tokenizer has no numbers: short sentences are alike to the model.
    texts = [text for text in sentences(900, most=9, seed=6) if len(text.split()) > 6]
    category = {text: "Baby" if row % 8 < 4 else "Tools" for row, text in enumerate(texts)}
    plant(monkeypatch, "battery", [text for text in texts if category[text] == "Baby"])
    target = {"model": str(folder), "revision": contents_sha256(folder)}
    study = Study(tmp_path, target, texts)
    assert "battery" in study.words(NEURON)

    def there(one):
        return category[study.texts[one["sentence"]]] == "Baby"

    assert study.share(NEURON, lambda one: one["word"] == "battery" and there(one)) == 1
    others = [n for n in range(len(study.positions)) if n != NEURON and study.positions[n]]
    assert np.mean([study.share(n, there) for n in others]) < 0.65  # by lot: 0.5
