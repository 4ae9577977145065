"""Cascades: what is guaranteed holds, whatever the proxy; and every cell says who answered it."""

import csv
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import (
    ANNOTATIONS,
    ANNOTATOR,
    CACHE,
    CORPUS,
    DESCRIPTORS,
    EXEMPLARS,
    RESULTS,
    SCOPED,
    SPEC,
    TOPICS,
    Toy,
    applies,
    lines_of,
    run_evaluate,
    run_label,
    run_report,
)
from pydantic import ValidationError
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from stand_ins import Mute

from descry.annotators.annotations import read_annotations
from descry.annotators.cascade.asking import WantedError
from descry.annotators.cascade.bounds import left_out, within
from descry.annotators.cascade.decide import decide, foresee, lots
from descry.annotators.cascade.plan import logistic
from descry.annotators.cascade.search import FAILED, UNASKED, Goal, search
from descry.annotators.cascade.spec import Cascade
from descry.annotators.human.annotator import HumanAnnotator
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.sheet import read_sheet, write_cells
from descry.io.sharding import Shard
from descry.provenance.audit.chain import audit
from descry.provenance.audit.project import Project
from descry.provenance.audit.tree import tree
from descry.provenance.verify import contents
from descry.provenance.verify.cached_answers import CachedAnswers
from descry.stages import annotate
from descry.stages.annotate import Annotate, annotate_sentences

PROXY = {"kind": "words"}
SECTION = {
    "proxy": PROXY, "recall": 0.8, "precision": 0.8, "accuracy": None, "delta": 0.1,
    "over": "descriptor", "budget": None, "pilot": 10, "seed": 0
}  # fmt: skip
ANN = {"kind": "human", "model": "ann", "revision": "round-1"}
NO_GOAL = {"recall": None, "precision": None, "accuracy": None}


# Bounds


@given(st.integers(0, 60), st.sampled_from([0.01, 0.1, 0.5, 0.9]), st.sampled_from([0.013, 0.052]))
def test_the_bound_is_clopper_and_pearsons(drawn, rate, delta):
    """It is the largest number of which so few being drawn is no less likely than delta."""
    most = int(left_out(np.array(drawn), rate, delta))
    assert binom.cdf(drawn, drawn + most, rate) >= delta - 1e-9 or most == 0
    assert binom.cdf(drawn, drawn + most + 1, rate) <= delta + 1e-9
    for allowed in (most - 1, most - 0.5, most, most + 0.5, most + 7):
        if allowed >= 0:
            assert within(np.array(drawn), np.array(allowed), rate, delta) == (most <= allowed)


def test_a_stop_anywhere_is_covered_by_one_delta():
    """The sample is looked at from one end, and the best place of all is taken: exactly.

    Wrong is a place with more than 20 left out. It is taken where so few were drawn that the
    bound allows 20: with the probability that the bound promises, and hardly less.
    """
    rng, rate, delta, runs = np.random.default_rng(0), 0.3, 0.1, 20_000
    coins = rng.random((runs, 150)) < rate
    drawn, left = np.cumsum(coins, axis=1), np.cumsum(~coins, axis=1)
    taken = within(drawn, np.array(20), rate, delta)
    wrong = (taken & (left > 20)).any(axis=1).mean()
    chances = [binom.cdf(t, t + 21, rate) for t in range(20)]
    exact = max(chance for chance in chances if chance <= delta)
    assert wrong == pytest.approx(exact, abs=0.008)
    assert 0.05 < wrong <= delta


# Plans


@pytest.mark.parametrize("slope", [0.0, 1.0, 6.0, -2.0])
def test_the_regression_is_scikit_learns(slope):
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y = (rng.random(60) < 1 / (1 + np.exp(1 - slope * x))).astype(np.int8)
    theirs = LogisticRegression(C=100.0, tol=1e-12, max_iter=1000).fit(x[:, None], y)
    found = logistic(x, y)
    assert found == pytest.approx((theirs.intercept_[0], theirs.coef_[0, 0]), abs=1e-4)


def test_answers_that_a_proxy_orders_wholly_have_a_finite_slope():
    x = np.array([-1.0, -0.5, 0.5, 1.0])
    assert 1 < logistic(x, np.array([0, 0, 1, 1]))[1] < 10


# Searches


def cells(kind, number, share, rng):
    """What an oracle says, and a proxy's log-odds."""
    truth = rng.random(number) < share
    noise = rng.normal(size=number)
    odds = {
        "good": noise + 3 * truth,
        "useless": noise,
        "inverted": noise - 2 * truth,
        "ties": np.round(noise + 2 * truth),
        "constant": np.zeros(number),
        "trap": np.where(truth & (rng.random(number) < 0.2), -9.0, noise + 3 * truth),
        "false head": np.where(rng.random(number) < 0.03, 9.0, noise + 3 * truth),
    }[kind]
    return truth, odds - 1.5


def played(goal, odds, said, drawn):
    """The decision, and B."""
    running = search(goal, odds, drawn)
    try:
        wanted = next(running)
        while True:
            assert len(np.unique(wanted)) == len(wanted)
            wanted = running.send(said[wanted])
    except StopIteration as end:
        decision = end.value
    yes = np.where(decision.by_proxy, odds > decision.cut, decision.known == 1)
    return decision, yes


def goal_of(number=10**9, delta=0.1, pilot=24, **goals):
    return Goal(**NO_GOAL | goals, delta=delta, most=number, pilot=pilot)


def scores(yes, truth):
    both = (yes & truth).sum()
    return {
        "recall": both / max(1, truth.sum()),
        "precision": both / yes.sum() if yes.any() else 1.0,
        "accuracy": (yes == truth).mean(),
    }


BOTH = {"recall": 0.8, "precision": 0.8}
KINDS = ["good", "useless", "inverted", "ties", "constant", "trap", "false head"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("goals", [BOTH, {"recall": 0.8}, {"precision": 0.8}, {"accuracy": 0.9}])
def test_the_goals_hold_whatever_the_proxy(kind, goals):
    """benchmarks/cascade.py has a thousand runs of each; here are so many as a test bears."""
    rng, runs, missed = np.random.default_rng(0), 12, 0
    truth, odds = cells(kind, 400, 0.15, rng)
    for _ in range(runs):
        decision, yes = played(goal_of(**goals), odds, truth.astype(np.int8), rng.random(400))
        found = scores(yes, truth)
        assert decision.reached
        missed += any(found[name] < goal for name, goal in goals.items())
    assert missed <= binom.ppf(0.999, runs, 0.1)


def test_a_good_proxy_saves_questions_and_a_useless_one_costs_none_more_than_all():
    rng = np.random.default_rng(0)
    cost = {}
    for kind in ("good", "constant"):
        truth, odds = cells(kind, 4000, 0.2, rng)
        goal = goal_of(recall=0.9, precision=0.9, pilot=64)
        decision, _ = played(goal, odds, truth.astype(np.int8), rng.random(4000))
        cost[kind] = (~decision.by_proxy).mean()
    assert cost["good"] < 0.4
    assert cost["constant"] == 1


def test_what_is_no_answer_is_neither_yes_nor_asked_again():
    rng = np.random.default_rng(0)
    truth, odds = cells("good", 400, 0.2, rng)
    said = np.where(rng.random(400) < 0.1, FAILED, truth).astype(np.int8)
    odds[:7] = np.nan  # of these the proxy says nothing: the oracle is asked
    decision, yes = played(goal_of(recall=0.8, precision=0.8), odds, said, rng.random(400))
    assert (decision.known[:7] == said[:7]).all()
    known = decision.known != UNASKED
    assert (decision.known[known] == said[known]).all()
    assert (yes & (said == 1)).sum() / (said == 1).sum() >= 0.8


@pytest.mark.parametrize("goals", [{"recall": 0.95, "precision": 0.95}, {"accuracy": 0.99}, {}])
def test_a_budget_is_kept(goals):
    rng = np.random.default_rng(0)
    truth, odds = cells("useless", 500, 0.2, rng)
    goal = goal_of(number=100, **goals)
    decision, _ = played(goal, odds, truth.astype(np.int8), rng.random(500))
    assert 90 <= (~decision.by_proxy).sum() <= 100
    assert decision.reached == (not goals)


def test_a_budget_alone_mends_what_is_least_sure():
    rng = np.random.default_rng(0)
    truth, odds = cells("good", 2000, 0.2, rng)
    _, yes = played(goal_of(number=300), odds, truth.astype(np.int8), rng.random(2000))
    assert (yes == truth).mean() > 0.97 > ((odds > 0) == truth).mean()


# All of B


def section(**changes):
    return Cascade.model_validate(SECTION | changes)


def table(rng, shape=(300, 3)):
    truth = rng.random(shape) < 0.2
    return truth, (rng.normal(size=shape) + 3 * truth - 1.5).astype(np.float32)


def asking(truth):
    """An oracle, and the rounds in which it was asked."""
    rounds = []

    def oracle(wanted):
        assert (np.diff(wanted) > 0).all()
        rounds.append(wanted)
        return truth.ravel()[wanted].astype(np.int8)

    return oracle, rounds


@pytest.mark.parametrize("over", ["descriptor", "all"])
def test_descriptors_are_asked_in_the_same_rounds(over):
    truth, odds = table(np.random.default_rng(0))
    names = ["a", "b", "c"]
    drawn = lots([f"{i}" for i in range(300)], names, 0)
    oracle, rounds = asking(truth)
    decided = decide(section(over=over), odds, drawn, oracle)
    assert decided.rounds == len(rounds)
    asked = np.concatenate(rounds)
    assert len(np.unique(asked)) == len(asked) == (~decided.by_proxy).sum()
    assert (len(set(decided.cut)) == 1) is (over == "all")
    again = decide(section(over=over), odds, drawn, asking(truth)[0])
    np.testing.assert_array_equal(again.known, decided.known)
    if over == "descriptor":  # one more descriptor changes nothing for the others
        alone = decide(section(), odds[:, :2], drawn[:, :2], asking(truth[:, :2])[0])
        np.testing.assert_array_equal(alone.known, decided.known[:, :2])


def test_lots_are_uniform_and_of_sentence_descriptor_and_seed():
    one = lots([f"{i}" for i in range(400)], ["a", "b"], 0)
    assert abs(one.mean() - 0.5) < 0.03
    assert one.min() < 0.01 < 0.99 < one.max()
    np.testing.assert_array_equal(lots(["7"], ["b"], 0)[0, 0], one[7, 1])
    assert lots(["7"], ["b"], 1)[0, 0] != one[7, 1]


def test_what_will_be_asked_is_foreseen():
    truth, odds = table(np.random.default_rng(0), (1500, 2))
    drawn = lots([f"{i}" for i in range(1500)], ["a", "b"], 0)
    decided = decide(section(), odds, drawn, asking(truth)[0])
    asked = int((~decided.by_proxy).sum())
    nothing = lambda wanted: np.full(len(wanted), UNASKED, dtype=np.int8)  # noqa: E731
    found, sure = foresee(section(), odds, drawn, nothing)
    assert not sure
    assert 0.5 * asked < len(found) < 3 * asked
    found, sure = foresee(section(), odds, drawn, asking(truth)[0])
    assert sure
    np.testing.assert_array_equal(found, np.flatnonzero(~decided.by_proxy.ravel()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracy": 0.9}, "accuracy goes with neither"),
        (NO_GOAL, "no goal"),
        ({"proxy": {"kind": "human", "model": "ann", "revision": "1"}}, "cannot answer every cell"),
    ],
)
def test_sections_that_cannot_work_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        section(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"centre": "sentence"}, "set annotate.centre to null"),
        ({"threshold": "fitted"}, "annotate.threshold to 0"),
        ({"annotator": PROXY}, "is annotate.annotator"),
    ],
)
def test_what_goes_with_no_cascade_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        Annotate(**SCOPED | {"annotator": SPEC, "cascade": SECTION} | changes)


# The stage

CHEAP = replace(ANNOTATOR, name="cheap", model="toy/cheap")


class Cheap(Toy):
    """A proxy that is right of most, and not sure of anything."""

    identity = CHEAP

    def __init__(self):
        super().__init__(lambda p: near(applies(p) != (len(p.sentence) % 11 == 0), p))


def near(yes, prompt):
    odds = (1 if yes else -1) * (0.5 + (len(prompt.sentence) * 7 + len(prompt.descriptor)) % 13 / 9)
    return {"yes": -np.log1p(np.exp(-odds)), "no": -np.log1p(np.exp(odds))}


def run_cascade(oracle, proxy=None, output=ANNOTATIONS, shard=None, parts=(), **changes):
    replay = changes.pop("replay", False)
    params = Annotate(**SCOPED | {"annotator": SPEC, "cascade": SECTION | changes})
    files = {"corpus": CORPUS, "descriptors": DESCRIPTORS, "exemplars": EXEMPLARS}
    how = {"cache_folder": CACHE, "replay": replay, "progress": lambda *_: None, "parts": parts}
    how |= {"shard": shard} if shard else {}
    found = proxy or Cheap()

    def create(spec, *_, **__):
        return found if spec == PROXY else oracle

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "create", create)
        return annotate_sentences(params, **files, annotations=output, **how)


def fresh():
    for file in sorted(CACHE.rglob("*")):
        file.unlink()


def test_every_cell_says_who_answered_it(run):
    fresh()
    oracle = Toy()
    told = run_cascade(oracle)
    b = read_annotations(ANNOTATIONS)
    cells = by_proxy(b)
    assert told["answered by the oracle"] == f"{(~cells).sum()} of {cells.size}"
    assert 0 < cells.sum() < cells.size
    assert len(oracle.asked) == (~cells).sum()
    assert (b.annotator["name"], b.proxy.annotator["name"]) == (ANNOTATOR.name, "cheap")
    asked = {(prompt.sentence, prompt.descriptor) for prompt in oracle.asked}
    texts = Project(RESULTS, CACHE).corpus["text"].to_pylist()
    for row, column in np.argwhere(~cells):
        assert (texts[row], b.descriptors[column]) in asked
        assert b.answer[row, column] == applies(
            oracle.asked[0]._replace(sentence=texts[row], descriptor=b.descriptors[column])
        )
    odds = b.score
    assert (b.answer[cells] == (odds > b.proxy.cut)[cells]).all()
    kept = b.only(b.descriptors[1:3])
    np.testing.assert_array_equal(kept.proxy.cells.column(0), b.proxy.cells.column(1))
    assert b.made["cascade"]["asked"] == (~cells).sum()


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(run):
    fresh()
    run_cascade(Toy())
    whole = ANNOTATIONS.read_bytes()
    ANNOTATIONS.unlink()
    fresh()

    class Dying(Toy):
        def answer(self, prompts, wanted):
            for i, group in enumerate(super().answer(prompts, wanted)):
                if i == 30:
                    raise KeyboardInterrupt
                yield group

    with pytest.raises(KeyboardInterrupt):
        run_cascade(Dying())
    assert not ANNOTATIONS.exists()
    rest = Toy()
    run_cascade(rest)
    assert ANNOTATIONS.read_bytes() == whole
    assert len(rest.asked) > 0
    run_cascade(Mute(identity=ANNOTATOR), Mute(identity=CHEAP), replay=True)
    assert ANNOTATIONS.read_bytes() == whole


def test_answers_of_a_plain_run_are_the_oracles(run):
    """One cache: what the annotator was asked without a cascade is not asked again."""
    run_cascade(Toy())
    whole = ANNOTATIONS.read_bytes()
    oracle = Mute(identity=ANNOTATOR)
    run_cascade(oracle)
    assert ANNOTATIONS.read_bytes() == whole


def test_shards_ask_the_proxy_alone(run):
    fresh()
    run_cascade(Toy())
    whole = ANNOTATIONS.read_bytes()
    fresh()
    for part in range(2):
        run_cascade(Mute(identity=ANNOTATOR), output=run / "shard.json", shard=Shard(part, 2))
    run_cascade(Toy(), Mute(identity=CHEAP), parts=[run / "shard.json"])
    assert ANNOTATIONS.read_bytes() == whole


def test_people_are_told_what_is_wanted_next(run):
    fresh()
    ann = HumanAnnotator("ann", "round-1")
    with pytest.raises(WantedError, match=r"54 answers of ann, round-1 .*--cascade"):
        run_cascade(ann)


def test_a_budget_that_is_too_small_is_said(run):
    fresh()
    told = run_cascade(Toy(), recall=0.99, budget=0.3)
    assert any("budget is too small" in words for words in told["warnings"])


def test_an_audit_names_who_gave_each_answer(run):
    fresh()
    run_cascade(Toy(), **NO_GOAL | {"accuracy": 0.7})
    run_label()
    found = audit(Project(RESULTS, CACHE), "L0:2", 100, 2)
    who = {it.answer.annotator["name"] for label in found.labels for it in label.exemplars}
    assert who == {"cheap", ANNOTATOR.name}
    for label in found.labels:
        for it in label.exemplars:
            assert it.answer.in_cache
            assert it.answer.follows
            assert it.answer.agrees
    text = "\n".join(lines_of(tree(found)))
    assert "the proxy's (Yes above" in text


def held():
    """What verify says of B by the cached answers."""
    project = Project(RESULTS, CACHE)
    answers = CachedAnswers(project)
    with PromptCache(CACHE) as cache:
        answers.go_through(cache, [])
    return contents.annotations(project, project.annotations, answers, "annotate").fault


def test_verify_finds_every_answer_under_its_own_annotator(run):
    fresh()
    run_cascade(Toy())
    assert held() is None


def turned(file):
    """An answer of the proxy that is turned."""
    place = np.flatnonzero(file["by_proxy"][0])[0]
    bit = file["by_proxy"][0, place]
    file["yes"][0, place] = file["yes"][0, place] ^ (bit & (~bit + 1))


def passed_off(file):
    """An answer of the oracle that is said to be the proxy's."""
    file["by_proxy"][0] = file["answered"][0]


def shifted(file):
    """Another cut."""
    file["proxy_cut"][0] = file["proxy_cut"][0] - 0.01


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (turned, "the cache"),
        (passed_off, "whom its cascade asked does not follow"),
        (shifted, "whom its cascade asked does not follow"),
    ],
)
def test_verify_finds_what_does_not_follow_from_the_cascade(run, spoil, words):
    fresh()
    run_cascade(Toy(), **NO_GOAL | {"accuracy": 0.7})
    with h5py.File(ANNOTATIONS, "r+") as file:
        spoil(file)
    assert words in held()


# People


def fill(sheet):
    """Answer every question of a sheet."""
    lines = list(csv.DictReader(sheet.read_text(encoding="utf-8-sig").splitlines()))
    for line in lines:
        line["answer"] = "yes" if TOPICS.get(line["descriptor"], "") in line["sentence"] else "no"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def test_people_answer_round_by_round(run):
    fresh()
    ANNOTATIONS.unlink()
    ann, rounds = HumanAnnotator("ann", "round-1"), 0
    params = Annotate(**SCOPED | {"annotator": ANN, "cascade": SECTION})
    files = {"corpus": CORPUS, "descriptors": DESCRIPTORS, "exemplars": EXEMPLARS}

    def create(spec, *_, **__):
        return Cheap() if spec == PROXY else ann

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "create", create)
        how = {"cache_folder": CACHE, "progress": lambda *_: None}
        while cells := annotate.wanted_next(params, **files, **how):
            rounds += 1
            sheet = run / f"{rounds}.csv"
            write_cells(CORPUS, sheet, cells, 0)
            fill(sheet)
            with PromptCache(CACHE) as cache:
                found = read_sheet(sheet, CORPUS, ANNOTATIONS, cache, ann)
            assert found["new"] == len(cells)
    run_cascade(ann)
    b = read_annotations(ANNOTATIONS)
    assert b.annotator["dtype"] == "human"
    assert b.made["cascade"]["rounds"] == rounds > 2


# What is shown


def test_the_explorer_marks_who_answered(run):
    fresh()
    run_cascade(Toy(), **NO_GOAL | {"accuracy": 0.7})
    run_label()
    run_evaluate()
    found, b = run_report(), read_annotations(ANNOTATIONS)
    names = [one["name"] for one in found["run"]["descriptors"]]
    assert found["run"]["proxy"]["name"] == "cheap"
    assert found["run"]["cascade"]["asked"] == (~by_proxy(b)).sum()
    column = b.descriptors.index(names[0])
    marked = [0 in record["by_oracle"] for record in found["sentences-0"]]
    np.testing.assert_array_equal(marked, ~by_proxy(b)[:, column])


def by_proxy(b):
    return np.stack([b.proxy.cells.column(i) for i in range(len(b.descriptors))], axis=1)
