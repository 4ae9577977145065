"""How much each token of a prompt matters to the activation of each (Foote et al. 2023).

Token k is masked; what token j loses by that is the importance of k for j:
I[k, j] = 1 - a_j(k masked) / a_j.
"""

from typing import NamedTuple

import numpy as np

from descry.n2g.batching import Plan, Prompt


class Reading(NamedTuple):
    """The result of reading a prompt.

    Attributes:
        tokens: of the prompt.
        activations: float [tokens], or [1], as shares of the neuron's highest.
        importance: float [tokens, tokens], or [tokens, 1], of the row's token for the column's.
    """

    tokens: Prompt
    activations: np.ndarray
    importance: np.ndarray


def read_prompt(
    prompt: Prompt, activations: np.ndarray, *, unit: float, mask: int, upto: int
) -> Plan[Reading]:
    """Plan the reading of a prompt.

    Args:
        activations: float [tokens], or [1], as measured.
        unit: what they are multiplied by to be shares of the neuron's highest.
        mask: the token that a masked one is replaced by.
        upto: tokens from this one on are not masked, and matter to none.
    """
    found = yield [(*prompt[:k], mask, *prompt[k + 1 :]) for k in range(upto)]
    matters = importance(activations, np.array(found).reshape(upto, len(activations)))
    rest = np.zeros((len(prompt) - upto, len(activations)))
    return Reading(prompt, activations * unit, np.concatenate([matters, rest]))


def importance(activations: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """I[k, j] as float64; 0 where token j is not active (its activation is not above 0).

    Args:
        activations: float [columns] of the prompt.
        masked: float [tokens, columns], those with each token masked.
    """
    active = activations > 0
    found = np.zeros(masked.shape)
    found[:, active] = 1 - masked[:, active] / activations[active].astype(np.float64)
    return found


def last_active(activations: np.ndarray, *, unit: float, threshold: float) -> int:
    """The place behind the last token whose share of the highest activation is above a threshold.

    0 where there is none.
    """
    active = np.flatnonzero(activations * unit > threshold)
    return int(active[-1]) + 1 if len(active) else 0
