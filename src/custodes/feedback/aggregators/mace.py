"""MACE (Hovy, Berg-Kirkpatrick, Vaswani and Hovy 2013): an annotator either knows the truth or answers out of habit.

Annotator k copies the truth with probability theta_k and otherwise says l with probability xi_k[l]: a table of errors
like Dawid and Skene's with C parameters instead of C (C - 1). Variational Bayes with xi ~ Dirichlet(10) as in the
paper, from the vote shares: ten random restarts on each of 66 simulated crowds never found a higher bound. Not as in the
paper, classes differ in how frequent they are: with all alike, a rare one is given to tasks where those who said it seem
to know. Frequencies are half way between the votes' and those found, which alone run away where a whole crowd misses a
class.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import digamma

from custodes.feedback.labels.rounds import EmRound, Errors, class_odds, posterior, with_first
from custodes.feedback.labels.table import LabelTable
from custodes.registry import aggregator
from custodes.types import Floats

KNOWS, HABIT = 1.0, 10.0  # theta ~ Beta(1, 1): the paper's Beta(0.5, 0.5) is less accurate where judgments are few


@aggregator
def mace(table: LabelTable) -> Iterator[EmRound]:
    """One round of variational Bayes after the other.

    Parameters, posterior means: "knows" (K,), how often the annotator copies the truth; "habit" (K, C), what they say
    otherwise. A label that is its task's only one tells nothing of its annotator.
    """
    votes = _Votes(table)
    given = votes.given
    truth = table.shares
    share = np.full(given.shape, 0.5)  # (K, C) P(knew | said l, and l is true)
    while True:
        knew = votes.right(truth) * share
        habit = np.maximum(given - knew, 0.0)
        a, b, c = knew.sum(axis=1) + KNOWS, habit.sum(axis=1) + KNOWS, habit + HABIT
        log_guess = (digamma(b)[:, None] + digamma(c)) - (digamma(a + b) + digamma(c.sum(axis=1)))[:, None]
        log_knows = (digamma(a) - digamma(a + b))[:, None]
        log_right = np.logaddexp(log_knows, log_guess)
        share = np.exp(log_knows - log_right)
        odds = votes.log_odds(log_right - log_guess) + class_odds((truth + table.shares) / 2)
        truth = posterior(odds)
        yield EmRound(truth, {"knows": a / (a + b), "habit": c / c.sum(axis=1, keepdims=True)})


class _Votes:
    """Sums over judgments: two classes by sparse products, which read ten million in order, more by counting."""

    def __init__(self, table: LabelTable) -> None:
        self.table, self.C = table, len(table.classes)
        if self.C == 2:
            self.errors = Errors(table)
            self.given = self.errors.given
        else:
            self.cell = table.task.astype(np.int64) * self.C + table.label
            self.given = table.by_saying(table.if_shared(np.ones(len(table))))  # (K, C) how often k said l

    def right(self, truth: Floats) -> Floats:  # (T, C - 1) -> (K, C)
        """[k, l]: expected times that annotator k said l where it is true."""
        if self.C == 2:
            return np.diagonal(self.errors.expected(truth), axis1=1, axis2=2)
        return self.table.by_saying(self.table.if_shared(with_first(truth).ravel()[self.cell]))

    def log_odds(self, evidence: Floats) -> Floats:  # (K, C) -> (T, C - 1)
        """Sum over a task's judgments; ``evidence`` of the class that was said against every other."""
        T, C = len(self.table.tasks), self.C
        if C == 2:
            odds: Floats = np.asarray(self.errors.matrix @ (evidence * [-1.0, 1.0]).reshape(-1, 1))
            return odds
        total = np.bincount(self.cell, evidence.ravel()[self.table.said], minlength=T * C).reshape(T, C)
        return np.asarray(total[:, 1:] - total[:, :1], np.float64)
