"""People asked about labels: intervals that cover, agreement, sheets drawn and read again."""

import csv
import json
import sys

import numpy as np
import pytest
from planted import RESULTS, TOPICS
from sklearn.metrics import cohen_kappa_score

from descry.annotators.annotations import read_annotations, writing_annotations
from descry.cli import app as cli
from descry.errors import InputError
from descry.evaluation.people import design, verdict
from descry.evaluation.prediction_powered import estimate, probabilities
from descry.evaluation.raters import agreed, alpha
from descry.labels.results import Labels, SplitLabels
from descry.labels.strata import Strata
from descry.models.neurons import Neurons
from descry.run import Run
from descry.workflow.people import Drawn, read_people, write_design

# Means


def test_probabilities_have_the_sum_that_is_asked_for():
    importance = np.array([1.0, 1, 2, 100])
    found = probabilities(importance, 2)
    assert found.sum() == pytest.approx(2)
    assert found[3] == 1
    assert found[2] == pytest.approx(2 * found[0])
    assert probabilities(importance, 9).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("rate", "wrong", "widest"),
    [(0.5, 0.1, 0.7), (0.5, 0.5, 1.1), (0.9, 0.05, 0.9), (0.1, 0.05, 0.9), (1.0, 0.0, 1.01)],
)
def test_the_interval_covers_and_predictions_narrow_it(rate, wrong, widest):
    """Also where the annotator is worth nothing, and where it is always right."""
    rng, number, runs, covered = np.random.default_rng(0), 108, 300, 0
    widths = {True: [], False: []}
    weight = np.full(number, 1 / number)
    for _ in range(runs):
        truth = (rng.random(number) < rate).astype(float)
        said = np.where(rng.random(number) < wrong, 1 - truth, truth)
        chance = probabilities(np.where(said != truth, 0.6, 0.3) * rng.uniform(1, 2, number), 20)
        drawn = np.flatnonzero(rng.random(number) < chance)
        for used in (True, False):
            own = said if used else np.zeros(number)
            low, high = estimate(own, weight, drawn, truth[drawn], chance[drawn]).interval()
            widths[used].append(high - low)
            covered += used and low <= truth.mean() <= high
    assert covered / runs > 0.92
    assert np.mean(widths[True]) < widest * np.mean(widths[False])


def test_all_that_are_asked_are_counted():
    truth = np.array([1.0, 0, 1, 1])
    drawn, weight = np.arange(4), np.full(4, 0.25)
    found = estimate(np.zeros(4), weight, drawn, truth, np.ones(4))
    assert (found.value, found.variance) == (0.75, 0)


def test_it_is_the_estimator_of_ppi_python():
    """With a simple random sample beside very many others."""
    ppi = pytest.importorskip("ppi_py")
    rng, number, asked = np.random.default_rng(0), 200_000, 400
    truth = (rng.random(number) < 0.3).astype(float)
    said = np.clip(truth * 0.8 + rng.random(number) * 0.3, 0, 1)
    drawn = rng.choice(number, asked, replace=False)
    theirs = ppi.ppi_mean_ci(truth[drawn], said[drawn], said, alpha=0.05)
    chance = np.full(asked, asked / number)
    ours = estimate(said, np.full(number, 1 / number), drawn, truth[drawn], chance)
    low, high = ours.interval()
    assert (low + high) / 2 == pytest.approx(np.mean(theirs), abs=0.01)
    assert high - low == pytest.approx(theirs[1][0] - theirs[0][0], rel=0.15)


# Raters


def test_agreement_is_that_of_the_libraries():
    rng = np.random.default_rng(0)
    truth = rng.random(200) < 0.3
    answers = np.stack([np.where(rng.random(200) < 0.15, ~truth, truth) for _ in range(3)])
    answers = answers.astype(np.int8)
    answers[2, :120] = -1
    found = agreed(answers)
    assert found.kappas[0, 1].value == pytest.approx(cohen_kappa_score(answers[0], answers[1]))
    assert found.questions == 200
    krippendorff = pytest.importorskip("krippendorff")
    with_gaps = np.where(answers < 0, np.nan, answers)
    expected = krippendorff.alpha(with_gaps, level_of_measurement="nominal")
    assert found.alpha.value == pytest.approx(expected)
    assert found.alpha.low < expected < found.alpha.high


def test_alpha_is_that_of_krippendorffs_example():
    """Computing Krippendorff's alpha-reliability (2011), B: two observers, two values."""
    first = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    second = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    assert alpha(np.stack([first, second]).astype(np.int8)) == pytest.approx(0.095, abs=0.0005)


def test_agreement_is_undefined_where_nothing_is_shared():
    assert np.isnan(alpha(np.array([[1, 0, -1], [-1, -1, 1]], dtype=np.int8)))
    assert np.isnan(alpha(np.array([[1, 1], [1, 1]], dtype=np.int8)))
    assert np.isnan(agreed(np.zeros((1, 0), dtype=np.int8)).alpha.value)


# Labels

SENTENCES, NEURONS, NAMES = 400, 60, ["a", "b", "c"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Labels, half of which people bear out; and what people would say of everything."""
    rng = np.random.default_rng(0)
    truth = rng.random((SENTENCES, 3)) < 0.25
    said = np.where(rng.random(truth.shape) < 0.1, ~truth, truth)
    sets = np.stack([rng.choice(SENTENCES, 40, replace=False) for _ in range(NEURONS)])
    for neuron in range(0, NEURONS, 2):  # its exemplars talk about the label
        yes = np.flatnonzero(truth[:, neuron % 3])
        sets[neuron, :20] = rng.choice(np.setdiff1d(yes, sets[neuron, 20:]), 20, replace=False)
    assigned = np.zeros((1, NEURONS, 3), dtype=bool)
    assigned[0, np.arange(NEURONS), np.arange(NEURONS) % 3] = True
    q = np.where(assigned, 10.0 ** -rng.uniform(3, 20, assigned.shape), 1)
    rest = {name: np.zeros(assigned.shape) for name in SplitLabels.__dataclass_fields__}
    p = np.where(np.arange(NEURONS)[None, :, None] % 2 == 0, 0.001, rng.random(assigned.shape))
    split = SplitLabels(**rest | {"assigned": assigned, "q": q, "p": p})
    splits = dict.fromkeys(("all", "calibration", "validation"), split)
    labels = Labels(NAMES, Neurons((0,), NEURONS), splits, {})
    path = tmp_path_factory.mktemp("people") / "annotations.h5"
    every, ids = np.ones(SENTENCES, dtype=bool), [f"{i:016x}" for i in range(SENTENCES)]
    row, column = np.divmod(np.arange(said.size), 3)
    who = {"name": "m", "model": "m", "revision": "1", "dtype": "n", "decoding": "n"}
    with writing_annotations(path, ids, NAMES, every, every) as b:
        odds = np.where(said, 1, -1) * rng.uniform(0.1, 5, said.shape)
        b.put(row, column, said.ravel(), odds.ravel())
        b.sign({"stage": "annotate", "params": {}}, who, ["", ""])
    strata = Strata(rng.integers(0, 4, SENTENCES).astype(np.int32), ("a", "b", "c", "d"))
    return labels, sets[None], read_annotations(path), strata, truth


def asked(world, seed, number=25, each=12):
    labels, sets, b, strata, truth = world
    found = design(labels, sets, b, strata, number, each, seed)
    return found, {cell: float(truth[cell[0], NAMES.index(cell[1])]) for cell in found.cells}


def test_a_design_has_what_was_asked_for_and_depends_on_the_seed_alone(world):
    found, _ = asked(world, 0)
    assert 15 <= len(found.asked) <= 35
    drawn = [len(one.exemplars.drawn) for one in found.asked]
    assert 9 < np.mean(drawn) < 15
    assert asked(world, 0)[0].cells == found.cells
    assert asked(world, 1)[0].cells != found.cells
    for one in found.asked:
        assert not set(one.exemplars.rows) & set(one.others.rows)
        assert one.others.weight.sum() == pytest.approx(1)
        strata = world[3].of
        own = np.bincount(strata[one.exemplars.rows], minlength=4) / len(one.exemplars.rows)
        other = np.bincount(strata[one.others.rows], one.others.weight, minlength=4)
        np.testing.assert_allclose(own, other, atol=1e-9)


def test_what_people_say_of_all_labels_is_covered(world):
    """f(c) of all labels and of each; and the share that such sheets support, over many sheets."""
    _, sets, _, _, truth = world
    real = np.array([truth[sets[0, i], i % 3].mean() for i in range(NEURONS)])
    covered = {"f": 0, "each": [], "supported": 0}
    found = [asked(world, seed) for seed in range(20)]
    verdicts = [verdict(*one) for one in found]
    held = np.zeros((2, NEURONS))
    for one in verdicts:
        for label in one.labels:
            held[:, label.asked.place] += label.supported, 1
    share = (held[0] / held[1]).mean()
    for one in verdicts:
        low, high = one.f.interval()
        covered["f"] += low <= real.mean() <= high
        low, high = one.supported.interval()
        covered["supported"] += low <= share <= high
        for label in one.labels:
            low, high = label.share.interval()
            covered["each"].append(low <= real[label.asked.place] <= high)
    assert covered["f"] >= 17
    assert covered["supported"] >= 17
    assert np.mean(covered["each"]) > 0.93
    assert 0.4 < share < 0.65


def test_questions_that_nobody_answered_count_as_not_drawn(world):
    found, said = asked(world, 3)
    some = dict(list(said.items())[::2])
    whole, half = verdict(found, said), verdict(found, some)
    assert half.f.interval()[0] < whole.f.value < half.f.interval()[1]
    assert sum(one.share.drawn for one in half.labels) < sum(
        one.share.drawn for one in whole.labels
    )
    nobody = verdict(found, {})
    assert (nobody.labels, nobody.f.drawn) == ([], 0)


# Sheets


def fill(sheet, answer):
    lines = list(csv.DictReader(sheet.read_text(encoding="utf-8-sig").splitlines()))
    for i, line in enumerate(lines):
        line["answer"] = answer(i, line)
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def right(_, line):
    return "yes" if TOPICS.get(line["descriptor"], "") in line["sentence"] else "no"


def test_sheets_of_several_raters_are_read_together(run):
    how = Drawn(4, 6, 0)
    sheets = [run / f"{name}.csv" for name in ("ann", "bob")]
    for sheet in sheets:
        assert write_design(Run(RESULTS), sheet, how)["labels"] > 0
    assert sheets[0].read_bytes() == sheets[1].read_bytes()
    fill(sheets[0], right)
    fill(sheets[1], lambda i, line: "" if i % 5 == 0 else right(i, line))
    found = read_people(Run(RESULTS), sheets, how)
    assert found.agreed.alpha.value == 1
    assert found.unanswered == 0
    assert found.verdict.labels
    with pytest.raises(InputError, match="not the sheet that --labels 5"):
        read_people(Run(RESULTS), sheets, Drawn(5, 6, 1))


def command(capsys, *arguments):
    """What the command line prints."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(sys, "argv", ["descry", *map(str, arguments)])
        cli.main()
    out, err = capsys.readouterr()
    return (left.value.code or 0), out, err


def test_the_command_line_draws_reads_and_tells(run, capsys):
    where = "--results", RESULTS
    options = "--labels", 4, "--each", 6, *where
    assert command(capsys, "annotate-sheet", "ann.csv", *options)[0] == 0
    fill(run / "ann.csv", right)
    status, out, _ = command(capsys, "people", "ann.csv", *options)
    assert status == 0
    assert "what people say of the labels" in out
    assert "supported" in out
    found = json.loads(command(capsys, "people", "ann.csv", *options, "--json")[1])
    assert 0 <= found["supported"]["value"] <= 1
    assert {"neuron", "descriptor", "f", "low", "high"} <= found["labels"][0].keys()
    fill(run / "ann.csv", lambda i, _: "perhaps" if i == 2 else "yes")
    status, _, err = command(capsys, "people", "ann.csv", *options)
    assert (status, err.count("\n")) == (2, 1)
    assert "write Yes or No" in err
    status, _, err = command(capsys, "annotate-sheet", "b.csv", "--cascade", *where)
    assert (status, err.count("\n")) == (2, 1)
