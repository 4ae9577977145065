"""How the labels change with k and t: the rows, and what cannot be tried."""

import pytest
import yaml
from miniature import PARAMS, ROOT
from planted import ACTIVATIONS, RESULTS, build

from descry.errors import InputError
from descry.workflow.params import load
from descry.workflow.sweep import Swept, sweep


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build()
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for dotted, value in PARAMS.items():
        section, key = dotted.split(".")
        values[section][key] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    return load(tmp_path / "params.yaml")


def rows(params, percents, cuts, clusterings=()):
    swept = Swept(list(percents), list(cuts), list(clusterings))
    return list(sweep(params, RESULTS, RESULTS / "cache", swept, 5, lambda *_: None))


def test_every_size_and_cut_has_a_row_for_each_score(params):
    found = rows(params, [20.0, 40.0], [0.2, 0.5])
    assert [(row["top_percent"], row["score"], row["at"]) for row in found] == [
        (percent, score, cut)
        for percent in (20.0, 40.0)
        for score in ("jaccard", "jaccard_by_descriptor")
        for cut in (0.2, 0.5)
    ]
    assert all(row["cluster_threshold"] is None for row in found)


def test_a_higher_threshold_gives_fewer_neurons_a_label(params):
    shares = [row["labelled"] for row in rows(params, [20.0], [0.1, 0.5, 0.9])[:3]]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_the_results_are_left_as_they_are(params):
    before = {path: path.read_bytes() for path in RESULTS.rglob("*") if path.is_file()}
    rows(params, [40.0], [0.2])
    assert {path: path.read_bytes() for path in RESULTS.rglob("*") if path.is_file()} == before
    assert ACTIVATIONS.is_file()


@pytest.mark.parametrize(("percents", "clusterings"), [([90.0], []), ([20.0], [1.5])])
def test_what_params_could_not_say_is_refused(params, percents, clusterings):
    with pytest.raises(InputError, match=r"--set: (exemplars\.top_percent|cluster\.threshold)"):
        rows(params, percents, [0.2], clusterings)
