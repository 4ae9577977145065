"""Exemplar sets counted in a matrix of answers."""

import numpy as np

from descry.annotators.bitset import Answers
from descry.labels.assignment import SetCounter


def tally_of(exemplars, answers, asked=None, sampled=None):
    """Sets int [neurons, size] of rows of B, int8 [sentences, descriptors]; None is all of them."""
    every = np.ones(len(answers), dtype=bool)
    asked, sampled = (every if flags is None else flags for flags in (asked, sampled))
    return SetCounter(Answers.of(answers), asked).tally([exemplars], sampled)
