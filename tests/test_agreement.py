"""An annotator against the truth: as scikit-learn has it, how sure, and what it says of shares."""

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
    corrected,
    kappa,
    reliability,
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


# shares freed of the annotator's errors


def test_a_sheet_of_as_many_tagged_as_not_counts_each_by_its_share():
    # Of 15 tagged sentences 12 are true, of 15 others 3; a tenth of all sentences are tagged.
    found = reliability(Table(yes_yes=12, yes_no=3, no_yes=3, no_no=12), 0.1)
    true = 0.1 * 0.8 + 0.9 * 0.2
    assert found.sensitivity == pytest.approx(0.1 * 0.8 / true)
    assert found.specificity == pytest.approx(0.9 * 0.8 / (1 - true))


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.9, 0.95), (0.6, 0.8)])
def test_sensitivity_and_specificity_come_back_from_many_such_sheets(sensitivity, specificity):
    rng, prevalence = np.random.default_rng(1), 0.2
    yes_share = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    right = prevalence * sensitivity / yes_share
    missed = prevalence * (1 - sensitivity) / (1 - yes_share)
    whole = Table(0, 0, 0, 0)
    for tagged, passed in zip(*rng.binomial(15, [[right], [missed]], (2, 4000)), strict=True):
        whole += Table(int(tagged), 15 - int(tagged), int(passed), 15 - int(passed))
    found = reliability(whole, yes_share)
    assert found.sensitivity == pytest.approx(sensitivity, abs=0.02)
    assert found.specificity == pytest.approx(specificity, abs=0.02)


def test_a_annotator_who_says_one_word_alone_has_no_known_errors():
    for counts in (Table(4, 2, 0, 0), Table(0, 0, 4, 2), Table(0, 0, 0, 0)):
        found = reliability(counts, 0.5)
        assert np.isnan([found.sensitivity, found.specificity]).all()
        assert np.isnan(corrected(np.array([3]), np.array([9]), found).value).all()


def test_a_larger_sheet_makes_surer():
    spreads = [np.diag(reliability(Table(9 * n, n, 2 * n, 8 * n), 0.5).covariance) for n in (1, 10)]
    assert (spreads[1] < spreads[0]).all()


def test_the_corrected_share_is_rogan_and_gladens():
    # Sensitivity 0.8 and specificity 0.9: (0.45 + 0.9 - 1) / (0.8 + 0.9 - 1) = 0.5.
    perfect = reliability(Table(800, 100, 200, 900), 0.45)
    assert (perfect.sensitivity, perfect.specificity) == pytest.approx((0.8, 0.9))
    found = corrected(np.array([45, 5, 90]), np.array([100, 100, 100]), perfect)
    np.testing.assert_allclose(found.value, [0.5, 0.0, 1.0], atol=1e-9)
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()
    assert (found.low >= 0).all()
    assert (found.high <= 1).all()


def test_of_a_faultless_annotator_it_is_the_share_with_agresti_and_coulls_interval():
    yes, faultless = np.array([0, 3, 10]), reliability(Table(10**6, 0, 0, 10**6), 0.5)
    found = corrected(yes, np.array([10, 10, 10]), faultless)
    np.testing.assert_allclose(found.value, [0, 0.3, 1])
    centre = (yes + 2) / 14
    reach = 1.96 * np.sqrt(centre * (1 - centre) / 14)
    np.testing.assert_allclose(found.low, np.clip(centre - reach, 0, 1), atol=1e-3)
    np.testing.assert_allclose(found.high, np.clip(centre + reach, 0, 1), atol=1e-3)


@pytest.mark.parametrize("counts", [Table(5, 5, 5, 5), Table(2, 8, 8, 2)])
def test_a_annotator_no_better_than_chance_leaves_the_share_undefined(counts):
    found = corrected(np.array([3, 4]), np.array([10, 10]), reliability(counts, 0.5))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_a_share_of_nothing_answered_is_undefined():
    found = corrected(np.array([0, 2]), np.array([0, 4]), reliability(Table(9, 1, 1, 9), 0.5))
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()
    assert np.isfinite([found.value[1], found.low[1], found.high[1]]).all()


@pytest.mark.parametrize("share", [0.15, 0.4, 0.7])
def test_the_interval_of_a_corrected_share_covers_it_about_as_often_as_it_says(share):
    rng = np.random.default_rng(2)
    prevalence, sensitivity, specificity = 0.3, 0.85, 0.9
    yes_share = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    right = prevalence * sensitivity / yes_share
    missed = prevalence * (1 - sensitivity) / (1 - yes_share)
    says = share * sensitivity + (1 - share) * (1 - specificity)
    covered = []
    for _ in range(400):
        tagged, passed = (int(n) for n in rng.binomial(60, [right, missed]))
        known = reliability(Table(tagged, 60 - tagged, passed, 60 - passed), yes_share)
        found = corrected(rng.binomial(80, says, 1), np.array([80]), known)
        covered.append(found.low[0] <= share <= found.high[0])
    assert 0.9 <= np.mean(covered) <= 0.99
