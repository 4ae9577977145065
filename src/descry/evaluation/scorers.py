"""How well neurons' descriptions were put to use: scores of an annotator's answers about them.

- detection (Paulo et al. 2024, "Automatically Interpreting Millions of Features in Large Language
  Models"): of sentences that excite the neuron and as many that do not, the annotator says for each
  whether the description applies. Scored by balanced accuracy, and by AUROC where the answers carry
  a score; by chance both are 0.5.
- detection_close: the same beside sentences that are most like those that excite the neuron and do
  not excite it (close_negatives.py), in place of others at random: a label that says only what all
  of these are about is as good as none.
- intruder (the same, after the word intrusion of Chang et al. 2009, "Reading Tea Leaves: How Humans
  Interpret Topic Models"): of n sentences that excite the neuron and one that does not, the
  annotator names the one. No description is shown: it says whether there is anything to describe.
  Scored by accuracy; by chance 1 / (n + 1).
- simulation (Bills et al. 2023, "Language models can explain neurons in language models"; there of
  tokens, here of sentences): the annotator rates from 0 to 10 how strongly a neuron with the
  description responds. Scored by the correlation of ratings and activations, Pearson's and
  Spearman's; by chance 0.

What is undefined is NaN. An answer that did not come is NaN, too, and left out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import mean
from descry.evaluation import agreement

NAN = float("nan")
LEAST = 3  # ratings: two points always lie on a line


class Found(NamedTuple):
    """A neuron's score.

    Attributes:
        value: balanced accuracy, accuracy or Pearson's correlation.
        null: the same with another neuron's description.
        ranked: by ranks alone: AUROC, none (NaN), or Spearman's correlation.
        ranked_null: the same with another neuron's description.
        answers: usable ones to the questions with its own description.
    """

    value: float = NAN
    null: float = NAN
    ranked: float = NAN
    ranked_null: float = NAN
    answers: int = 0


def detected(yes: np.ndarray, odds: np.ndarray, active: np.ndarray) -> Found:
    """The score of detection.

    Args:
        yes: float [sentences, descriptions], 1 Yes, 0 No, NaN no answer; of up to two descriptions,
            the neuron's own first.
        odds: float [sentences, descriptions], log-odds of Yes; NaN where an answer carries none.
        active: bool [sentences].
    """
    values = [balanced_accuracy(column, active) for column in yes.T]
    return _found(values, [auroc(column, active) for column in odds.T], yes)


def intruded(chosen: np.ndarray, right: np.ndarray) -> Found:
    """The score of intruder: float [questions], which sentence was named, and which is right."""
    return _found([accuracy(chosen, right)], [], chosen[:, None])


def simulated(ratings: np.ndarray, activations: np.ndarray) -> Found:
    """The score of simulation.

    Args:
        ratings: float [sentences, descriptions], 0 to 10, NaN no answer; of up to two descriptions,
            the neuron's own first.
        activations: float [sentences].
    """
    values = [pearson(column, activations) for column in ratings.T]
    return _found(values, [spearman(column, activations) for column in ratings.T], ratings)


def _found(values: list[float], ranked: list[float], answers: np.ndarray) -> Found:
    value, null = (*values, NAN, NAN)[:2]
    by_rank, by_rank_null = (*ranked, NAN, NAN)[:2]
    usable = int((~np.isnan(answers[:, 0])).sum()) if answers.size else 0
    return Found(value, null, by_rank, by_rank_null, usable)


def balanced_accuracy(yes: np.ndarray, active: np.ndarray) -> float:
    """Mean of the shares of right answers about active and about other sentences.

    NaN where there is no answer about one of the two kinds.
    """
    answered = ~np.isnan(yes)
    right = (yes == active)[answered]
    shares = [mean(right[active[answered] == kind]) for kind in (True, False)]
    return (shares[0] + shares[1]) / 2


def auroc(odds: np.ndarray, active: np.ndarray) -> float:
    """The probability that an active sentence has higher odds than another one; ties count half.

    NaN where there is no score of one of the two kinds.
    """
    scored = ~np.isnan(odds)
    return agreement.auroc(odds[scored], active[scored])


def accuracy(chosen: np.ndarray, right: np.ndarray) -> float:
    """Share of the answered questions whose intruder was named; NaN where none was answered."""
    answered = ~np.isnan(chosen)
    return mean((chosen == right)[answered])


def pearson(ratings: np.ndarray, activations: np.ndarray) -> float:
    """Pearson's correlation over the rated sentences.

    NaN for fewer than three of them, or where either does not vary.
    """
    rated = ~np.isnan(ratings)
    return _correlation(ratings[rated], activations[rated])


def spearman(ratings: np.ndarray, activations: np.ndarray) -> float:
    """Pearson's correlation of the ranks, equal ones sharing theirs; NaN as there."""
    from scipy.stats import rankdata

    rated = ~np.isnan(ratings)
    return _correlation(rankdata(ratings[rated]), rankdata(activations[rated]))


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return NAN
    return float(np.corrcoef(x, y)[0, 1])


def summary(found: Sequence[Found], names: Sequence[str], chance: float) -> dict[str, object]:
    """The mean of each score over neurons, beside the mean of its null and its value by chance.

    Args:
        names: what `value`, and `ranked` if there is one, are called.
    """
    table = np.array(found, dtype=np.float64).reshape(-1, len(Found._fields))
    return {
        name: {
            "value": mean(own),
            "null": mean(null),
            "chance": chance,
            "deviation": float(np.std(own[~np.isnan(own)])) if not np.isnan(own).all() else NAN,
            "defined": int((~np.isnan(own)).sum()),
        }
        for name, (own, null) in zip(names, (table.T[:2], table.T[2:4]), strict=False)
    }
