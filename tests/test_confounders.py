"""What neurons follow: the correlations are scipy's, their chance that of shuffles."""

import h5py
import numpy as np
import pyarrow.compute as pc
import pytest
from scipy.stats import f_oneway, spearmanr

from descry.evaluation.confounders import by_layer, chance_level, confounders, rank_correlations
from descry.labels.strata import Matching
from descry.models.neurons import Neurons

SENTENCES = 400
RNG = np.random.default_rng(0)
WORDS = RNG.integers(10, 200, SENTENCES).astype(float)
RATING = RNG.integers(1, 6, SENTENCES).astype(float)
RATING[::9] = np.nan
CATEGORY = RNG.choice(["books", "music", "toys"], SENTENCES)
COVARIATES = {"words": WORDS, "overall": RATING, "category": CATEGORY}
ACTIVATIONS = RNG.normal(size=(SENTENCES, 6)).astype(np.float32)
ACTIVATIONS[:, 0] = np.sqrt(WORDS)
ACTIVATIONS[:, 1] += (CATEGORY == "toys") * 2
ACTIVATIONS[:, 2] = np.maximum(ACTIVATIONS[:, 2], 0)  # ties
ACTIVATIONS[:, 3] = 1
SETS = np.argsort(-ACTIVATIONS, axis=0, kind="stable")[:20].T


def table(data=ACTIVATIONS, sets=SETS):
    every = np.ones(SENTENCES, dtype=bool)
    strata = Matching(("words",), 10).strata(COVARIATES, np.arange(SENTENCES), every)
    told = Neurons((1, 4), 3), sets, strata, COVARIATES, 2**20
    if data is None:
        return confounders(None, *told)
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        cube = data.reshape(SENTENCES, 2, 3)
        return confounders(file.create_dataset("x", data=cube, chunks=(400, 1, 3)), *told)


def rows(found, covariate):
    return found.filter(pc.equal(found["covariate"], covariate)).to_pylist()


def test_the_correlation_with_a_number_is_spearmans():
    found = rank_correlations(ACTIVATIONS, COVARIATES)
    known = ~np.isnan(RATING)
    for neuron in (0, 1, 2, 4, 5):
        own = ACTIVATIONS[:, neuron]
        assert found["words"][neuron] == pytest.approx(spearmanr(own, WORDS)[0])
        wanted = spearmanr(own[known], RATING[known])[0]
        assert found["overall"][neuron] == pytest.approx(wanted)
    assert np.isnan(found["words"][3])


def test_the_correlation_with_texts_is_that_of_an_analysis_of_variance_of_ranks():
    from scipy.stats import rankdata

    found = rank_correlations(ACTIVATIONS, COVARIATES)["category"]
    for neuron in (0, 1, 2):
        ranks = rankdata(ACTIVATIONS[:, neuron])
        f = f_oneway(*(ranks[name == CATEGORY] for name in np.unique(CATEGORY)))[0]
        square = 2 * f / (2 * f + SENTENCES - 3)
        assert found[neuron] == pytest.approx(square**0.5)


@pytest.mark.parametrize("name", COVARIATES)
def test_one_neuron_in_twenty_is_above_chance_where_there_is_nothing(name):
    noise = np.random.default_rng(1).normal(size=(SENTENCES, 3000))
    found = np.abs(rank_correlations(noise, {name: COVARIATES[name]})[name])
    assert 0.04 < (found > chance_level(COVARIATES[name])).mean() < 0.06


def test_exemplars_stand_beside_sentences_of_their_strata_and_the_corpus():
    found = table()
    (longest, *_) = rows(found, "words")
    assert (longest["layer"], longest["neuron"]) == (1, 0)
    assert longest["rho"] == pytest.approx(1)
    assert longest["exemplars"] == np.median(np.sort(WORDS)[-20:])
    top = np.sort(WORDS)[-40:]  # its stratum
    assert top.min() <= longest["matched"] <= top.max()
    assert longest["corpus"] == np.median(WORDS)
    toys = rows(found, "category")[1]
    assert toys["value"] == "toys" and toys["exemplars"] > 0.9
    share = (CATEGORY == "toys").mean()
    assert toys["corpus"] == share and toys["matched"] == pytest.approx(share, abs=0.15)
    summary = by_layer(found)
    assert list(summary) == list(COVARIATES) and set(summary["words"]["layers"]) == {"1", "4"}


def test_where_activations_are_not_stored_exemplars_are_all_that_is_compared():
    found = table(None)
    assert found["rho"].null_count == len(found)
    assert found["exemplars"].null_count == 0
    assert by_layer(found)["words"]["exemplars"] > 0


def test_a_neuron_without_a_set_has_no_exemplars_to_compare():
    silent = np.where(np.arange(6)[:, None] == 4, -1, SETS)
    own = [
        one for one in table(sets=silent).to_pylist() if one["neuron"] == 1 and one["layer"] == 4
    ]
    assert [one["exemplars"] for one in own] == [None, None, None]
    assert [one["value"] for one in own] == [None, None, None]
    assert all(one["rho"] is not None for one in own)
