"""What every iterative method yields, round after round, and the two sums that all tables of errors share.

Probabilities and log-odds of the truth are kept for classes 1 to C - 1, against class 0: with two classes, the usual
case, that halves all work.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from custodes.feedback.labels.table import LARGEST, LabelTable
from custodes.types import Floats, InputError

PRIOR_RIGHT = 0.5
"""How often an annotator of whom nothing is known knows the truth; otherwise the label is any of the classes."""


class EmRound(NamedTuple):
    """``truth`` (T, C - 1): the probability of each class but the first after this round; parameters by name."""

    truth: Floats
    parameters: Mapping[str, Floats]


def posterior(log_odds: Floats) -> Floats:  # (T, C - 1) -> (T, C - 1)
    """Probabilities from log-odds against class 0. Classes are few and tasks many, so it goes class by class."""
    if log_odds.shape[1] == 1:
        p: Floats = expit(log_odds)
        return p
    top = reduce(np.maximum, log_odds.T, np.zeros(len(log_odds)))
    weight = np.exp(log_odds - top[:, None])
    weight /= (np.exp(-top) + weight @ np.ones(weight.shape[1]))[:, None]
    return weight


def with_first(truth: Floats) -> Floats:  # (T, C - 1) -> (T, C)
    """The probabilities with that of class 0, which is what the others leave."""
    whole = np.empty((len(truth), truth.shape[1] + 1))
    whole[:, 1:] = truth
    others = truth[:, 0] if truth.shape[1] == 1 else truth @ np.ones(truth.shape[1])
    np.maximum(1.0 - others, 0.0, out=whole[:, 0])
    return whole


def class_odds(truth: Floats) -> Floats:  # (T, C - 1) -> (C - 1,)
    """Log-odds of each class against class 0 by how often each is true, as if one more task of each had been seen."""
    rest = truth.sum(axis=0)
    odds: Floats = np.log((rest + 1) / (len(truth) - rest.sum() + 1))
    return odds


class Errors:
    """Sums over judgments for methods that give every annotator a table of how often they say l where c is true.

    A label that is its task's only one tells nothing of its annotator and is left out of what they said.
    """

    def __init__(self, table: LabelTable) -> None:
        K, C = len(table.annotators), len(table.classes)
        if K * C * C > LARGEST:
            raise InputError(
                f"{K:,} annotators with a table of {C:,} by {C:,} classes each are too many to hold; use glad."
            )
        self.shape = (K, C, C)  # ``given`` (K, C): how often k said l
        self.matrix, self.transposed = table.matrix, table.matrix.T
        if table.shared is not None:
            matrix = table.matrix.copy()
            matrix.data = table.shared
            self.transposed = matrix.T
        self.given = np.bincount(table.said, table.shared, minlength=K * C).reshape(K, C).astype(float)

    def expected(self, truth: Floats) -> Floats:  # (T, C - 1) -> (K, C, C)
        """[k, l, c]: expected times that annotator k said l where the truth is c."""
        K, C, _ = self.shape
        counts = np.empty(self.shape)
        counts[:, :, 1:] = np.asarray(self.transposed @ truth).reshape(K, C, C - 1)
        counts[:, :, 0] = np.maximum(self.given - counts[:, :, 1:].sum(axis=2), 0.0)
        return counts

    def log_odds(self, log_said: Floats) -> Floats:  # (K, C, C) -> (T, C - 1)
        """Sum over a task's judgments of log P(said | c) - log P(said | 0); ``log_said`` is [k, l, c]."""
        K, C, _ = self.shape
        against = np.ascontiguousarray((log_said[:, :, 1:] - log_said[:, :, :1]).reshape(K * C, C - 1))
        return np.asarray(self.matrix @ against)
