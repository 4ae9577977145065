"""A whole run whose neurons are the latents of a dictionary, by the real tools."""

import json
import re

import dictionaries
import pytest
import yaml
from miniature import SNAKEMAKE, check_out

from descry.models.checkpoints import MINILM
from descry.models.dictionaries.dictionary import dictionary_sha256
from descry.provenance.diff.files import unpacked

pytestmark = pytest.mark.slow


def test_a_run_of_latents_from_params_to_the_page(tmp_path):
    """Pinned, computed, labelled and shown as latents; verified and audited like neurons."""
    repo = check_out(tmp_path / "repo")
    every = dictionaries.weights(width=384, latents=768)
    every["W_enc"] /= 20
    hook = {"metadata": {"hook_name": "blocks.3.hook_resid_post", "model_name": MINILM}}
    how = {"d_in": 384, "d_sae": 768, "k": 16}
    place = dictionaries.write_saelens(repo.path / "models/sae", "topk", every, **how, **hook)
    params = repo.path / "params.yaml"
    text = params.read_text()
    assert text.count("  dictionary: null\n") == 1  # as the miniature writes it
    named = "  dictionary:\n    path: models/sae\n    revision: unpinned\n"
    params.write_text(text.replace("  dictionary: null\n", named))
    repo.set(
        **{
            "activations.site": "residual",
            "activations.position": "max",
            "activations.layers": None,
        }
    )
    assert "is unpinned: run `descry pin`" in repo.sh(SNAKEMAKE, status=2)
    repo.sh("descry pin")
    pinned = yaml.safe_load(params.read_text())["activations"]["dictionary"]
    assert pinned == {"path": "models/sae", "revision": dictionary_sha256(place)}
    repo.sh(SNAKEMAKE)
    said = re.sub(r"\s+", " ", repo.sh("descry show"))
    assert "latents of the dictionary sae (SAELens topk, sha256 " in said
    assert re.search(r"of 768 latents have a label", said)
    assert "L3:5: a latent of sae (SAELens topk" in repo.sh("descry show L3:5")
    assert "L3:5 of the latents of sae (SAELens topk" in repo.sh("descry audit L3:5 --rows 1")
    _, page = unpacked(repo.path / "results/report/data/run.js")
    assert '"kind":"latent"' in page and "What the latents of all-MiniLM-L6-v2" in page
    repo.sh("descry verify")
    made = json.loads((repo.path / "results/metrics.json").read_text())
    assert made["headline"]["layers"].keys() == {"3"}
