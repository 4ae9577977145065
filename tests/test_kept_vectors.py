"""Vectors that stay for a later stage: the bytes of embedding anew, or none."""

import numpy as np
import pytest

from descry.io.kept import Kept
from descry.models import embedder as module
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.kept_vectors import LEAST, KeptVectors

TEXTS = [f"text {i}" for i in range(LEAST)]
VECTORS = np.random.default_rng(0).normal(size=(LEAST, 3)).astype(np.float32)


def test_a_list_has_its_vectors_and_no_other_has_them(tmp_path):
    kept = KeptVectors(Kept(tmp_path, [], {"model": "a"}))
    assert kept.get(TEXTS) is None
    kept.put(TEXTS, VECTORS)
    np.testing.assert_array_equal(kept.get(TEXTS), VECTORS)
    joined = [TEXTS[0] + TEXTS[1], "", *TEXTS[2:]]
    for other in (TEXTS[::-1], [*TEXTS[:-1], "another"], [*TEXTS, "more"], joined):
        assert kept.get(other) is None
    assert KeptVectors(Kept(tmp_path, [], {"model": "b"})).get(TEXTS) is None


def test_few_texts_do_not_stay(tmp_path):
    kept = KeptVectors(Kept(tmp_path, []))
    kept.put(TEXTS[1:], VECTORS[1:])
    assert kept.get(TEXTS[1:]) is None and not [*tmp_path.iterdir()]


def test_what_reading_kept_is_what_embedding_gives(tmp_path, monkeypatch):
    checkpoint = Checkpoint(MINILM, MINILM_COMMIT)
    texts = [f"It works {'very ' * (i % 5)}well." for i in range(12)]
    monkeypatch.setattr("descry.models.kept_vectors.LEAST", 2)
    embed = module.sentence_embedder(checkpoint, module.kept_vectors(checkpoint, tmp_path))
    anew = module.sentence_embedder(checkpoint)(texts)
    for _ in embed.read(texts):
        pass
    monkeypatch.setattr(module, "sentence_embedder", lambda *_: pytest.fail("embedded again"))
    np.testing.assert_array_equal(module.embedded(checkpoint, texts, tmp_path), anew)
