"""An annotator against the truth: as scikit-learn has it, how sure, and over the corpus."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest
from sklearn import metrics

from descry.evaluation.agreement import (
    Table,
    agreement,
    doubt,
    kappa,
    kappa_within,
    over_corpus,
    summary,
    table,
)

NAN = float("nan")


@st.composite
def answers_of_two(draw):
    """An annotator's answers and scores, and the answers of people."""
    size = draw(st.integers(1, 25))
    judged = hnp.arrays(np.int8, size, elements=st.integers(-1, 1))
    score = hnp.arrays(np.float64, size, elements=st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0]))
    return draw(judged), draw(score), draw(judged)


def sklearn_scores(answer, score, gold):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where scikit-learn warns it gives NaN
        return {
            "precision": metrics.precision_score(gold, answer, zero_division=np.nan),
            "recall": metrics.recall_score(gold, answer, zero_division=np.nan),
            "f1": metrics.f1_score(gold, answer, zero_division=np.nan),
            "kappa": metrics.cohen_kappa_score(gold, answer),
            "auroc": metrics.roc_auc_score(gold, score),
        }


def values(found):
    """The scores without their intervals."""
    names = ("precision", "recall", "f1", "kappa", "auroc")
    return {name: np.ravel(getattr(found, name))[0] for name in names}


@given(answers_of_two())
def test_agreement_is_scikit_learns_and_undefined_where_that_is(case):
    answer, score, gold = case
    both = (answer >= 0) & (gold >= 0)
    found = agreement(answer, score, gold)
    assert found.sentences == both.sum()
    if both.any():
        expected = sklearn_scores(answer[both], score[both], gold[both])
        assert values(found) == pytest.approx(expected, nan_ok=True)


def test_agreement_counts_the_sentences_that_both_have_answered():
    answer, gold = np.array([1, 1, 0, -1, 1]), np.array([1, 0, 1, 1, -1])
    found = agreement(answer, np.zeros(5), gold)
    assert (found.sentences, found.truth_yes, found.annotator_yes) == (3, 2, 2)
    assert table(answer, gold) == Table(yes_yes=1, yes_no=1, no_yes=1, no_no=0)


@given(answers_of_two(), answers_of_two())
def test_tables_add_up_to_that_of_all_sentences(one, other):
    whole = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    answer, _, gold = whole
    assert table(one[0], one[2]) + table(other[0], other[2]) == table(answer, gold)


def test_agreement_over_no_sentence_is_undefined():
    found = agreement(np.array([-1, 1]), np.array([NAN, 1.0]), np.array([1, -1]))
    numbers = [*found.precision, *found.recall, found.f1, *found.kappa, found.auroc]
    assert found.sentences == 0
    assert np.isnan(numbers).all()


def test_missing_scores_do_not_spoil_the_auroc():
    found = agreement(np.array([1, 0, -1]), np.array([2.0, -1.0, NAN]), np.array([1, 0, 1]))
    assert found.auroc == 1.0


def test_answers_in_words_have_no_auroc_but_every_other_score():
    answer, gold = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    found = values(agreement(answer, np.array([2.0, NAN, NAN, NAN]), gold))
    assert np.isnan(found.pop("auroc"))
    assert found == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "kappa": 0.0}


# intervals


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_precision_and_recall_have_wilsons_interval(both, wrong, missed):
    found = summary(Table(both, wrong, missed, 3))
    for interval, rest in ((found.precision, wrong), (found.recall, missed)):
        if both + rest:
            expected = binomtest(both, both + rest).proportion_ci(method="wilson")
            assert interval[1:] == pytest.approx((expected.low, expected.high))
        else:
            assert np.isnan(interval).all()


@given(st.tuples(*[st.integers(0, 30)] * 4))
def test_kappa_is_undefined_or_within_its_interval(counts):
    found = kappa(Table(*counts))
    undefined = np.isnan(found)
    assert undefined.all() or not undefined.any()
    assert undefined.any() or found.low <= found.value <= found.high
    assert found == pytest.approx(kappa(Table(*counts)), nan_ok=True)  # by no chance


def test_raters_who_never_differ_have_a_kappa_of_1_and_those_of_one_word_none():
    assert kappa(Table(5, 0, 0, 5)) == (1.0, 1.0, 1.0)
    assert np.isnan(kappa(Table(9, 0, 0, 0))).all()
    assert kappa(Table(0, 9, 0, 0)).value == 0.0


def test_the_interval_of_kappa_covers_the_truth_about_as_often_as_it_says():
    cells = np.array([0.25, 0.1, 0.15, 0.5])
    agreed, first, second = 0.75, 0.35, 0.4
    chance = first * second + (1 - first) * (1 - second)
    true = (agreed - chance) / (1 - chance)
    tables = np.random.default_rng(0).multinomial(150, cells, size=400)
    intervals = [kappa(Table(*counts.tolist())) for counts in tables]
    covered = np.mean([found.low <= true <= found.high for found in intervals])
    assert 0.91 <= covered <= 0.985


# over the corpus


def sheets(rng, prevalence, sensitivity, specificity, size):
    """Balanced sheets of some descriptors: tables, with the share of Yes in the corpus."""
    says = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    right, missed = prevalence * sensitivity / says, prevalence * (1 - sensitivity) / (1 - says)
    tagged, passed = rng.binomial(size, right), rng.binomial(size, missed)
    pairs = zip(tagged.tolist(), passed.tolist(), says.tolist(), strict=True)
    return [(Table(t, size - t, p, size - p), share) for t, p, share in pairs]


def test_a_sheet_of_as_many_tagged_as_not_counts_each_by_its_share():
    # Of 15 tagged sentences 12 are true, of 15 others 3; a tenth of all sentences are tagged.
    found = over_corpus([(Table(yes_yes=12, yes_no=3, no_yes=3, no_no=12), 0.1)])
    assert found.precision.value == pytest.approx(0.8)
    assert found.recall.value == pytest.approx(0.08 / (0.08 + 0.18))
    assert summary(Table(12, 3, 3, 12)).recall.value == pytest.approx(0.8)  # of the sheet


@given(st.lists(st.tuples(*[st.integers(1, 30)] * 3), min_size=1, max_size=4))
def test_of_a_corpus_judged_as_a_whole_the_agreement_is_that_of_what_was_judged(counts):
    tables = [Table(*three, 100 - sum(three)) for three in counts]
    expected = summary(sum(tables[1:], tables[0]))
    found = over_corpus([(own, (own.yes_yes + own.yes_no) / 100) for own in tables])
    for name in ("precision", "recall", "kappa"):
        assert getattr(found, name).value == pytest.approx(getattr(expected, name).value)


def test_intervals_over_the_corpus_cover_the_truth_about_as_often_as_they_say():
    rng, descriptors = np.random.default_rng(1), 18
    prevalence = rng.uniform(0.03, 0.2, descriptors)
    sensitivity, specificity = rng.uniform(0.3, 0.6, descriptors), rng.uniform(0.94, 0.98, 18)
    true = [prevalence * sensitivity, prevalence * (1 - sensitivity)]
    false = (1 - prevalence) * (1 - specificity)
    both, missed, said = true[0].mean(), true[1].mean(), (true[0] + false).mean()
    level = (both + missed) * said + (1 - both - missed) * (1 - said)
    kappa_of_all = (1 - missed - (said - both) - level) / (1 - level)
    truth = np.array([both / said, both / (both + missed), kappa_of_all])
    drawn = [over_corpus(sheets(rng, prevalence, sensitivity, specificity, 15)) for _ in range(800)]
    values, low, high = np.array(drawn).transpose(2, 1, 0)
    np.testing.assert_allclose(values.mean(axis=1), truth, atol=0.015)
    covered = ((low <= truth[:, None]) & (truth[:, None] <= high)).mean(axis=1)
    assert (covered >= 0.925).all()
    assert (covered <= 0.975).all()


@pytest.mark.parametrize(
    "counts", [Table(4, 2, 0, 0), Table(0, 0, 4, 2), Table(0, 0, 0, 0), Table(1, 0, 5, 5)]
)
def test_of_one_kind_of_sentence_alone_nothing_over_the_corpus_is_known(counts):
    assert np.isnan(over_corpus([(counts, 0.2)])).all()
    both = over_corpus([(counts, 0.2), (Table(3, 1, 1, 5), 0.3)])
    assert both == over_corpus([(Table(3, 1, 1, 5), 0.3)])


def test_without_a_missed_one_recall_is_1_and_how_sure_that_is_unknown():
    found = over_corpus([(Table(5, 5, 0, 10), 0.2)])
    assert found.recall.value == 1.0
    assert np.isnan(found.recall[1:]).all()
    none = over_corpus([(Table(0, 5, 0, 10), 0.2)])
    assert none.precision.value == 0.0
    assert np.isnan([*none.recall, *none.kappa]).all()


# Whether an annotator is to be believed at all


@given(answers_of_two())
def test_within_one_descriptor_kappa_is_kappa(case):
    counts = table(case[0], case[2])
    assert kappa_within([counts]).value == pytest.approx(kappa(counts).value, nan_ok=True)
    assert kappa_within([counts, Table(0, 0, 0, 0)]) == kappa_within([counts])


def test_to_know_which_descriptors_are_frequent_is_no_agreement_within_them():
    # Yes to nearly every sentence of the frequent one and to hardly any of the rare, by lot.
    frequent, rare = Table(640, 160, 160, 40), Table(10, 90, 90, 810)
    assert kappa(frequent + rare).low > 0.4
    assert kappa_within([frequent, rare]).value == pytest.approx(0, abs=1e-12)
    words = doubt("a model", "gold labels", kappa_within([frequent, rare]), 2000, 0.45)
    assert words.startswith("a model agrees with gold labels no better than chance: kappa 0.00")
    assert "over 2,000 answers, Yes to 45% of all: labels by it are not to be trusted" in words


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (Table(290, 210, 210, 290), "only slightly"),
        (Table(26, 24, 24, 26), "no better than chance"),
        (Table(20, 30, 30, 20), "no better than chance"),
        (Table(450, 50, 50, 450), ""),
        (Table(0, 0, 0, 9), ""),  # undefined: that it says No to everything is a warning of its own
    ],
)
def test_who_agrees_hardly_better_than_chance_is_not_to_be_trusted(counts, said):
    words = doubt("a model", "gold labels", kappa_within([counts]), 100, 0.5)
    assert (said in words) if said else words is None
