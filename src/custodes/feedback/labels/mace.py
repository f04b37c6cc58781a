"""MACE (Hovy, Berg-Kirkpatrick, Vaswani and Hovy 2013): an annotator either knows the truth or answers out of habit.

Annotator k copies the truth with probability theta_k and otherwise says l with probability xi_k[l]: a table of errors
like Dawid and Skene's with C parameters instead of C (C - 1). Variational Bayes with xi ~ Dirichlet(10) as in the
paper, from the vote shares: with so few parameters per annotator one start finds what restarts find.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import digamma

from custodes.feedback.labels.rounds import Errors, Round, posterior
from custodes.feedback.labels.table import LabelTable

KNOWS, HABIT = 1.0, 10.0  # theta ~ Beta(1, 1): the paper's Beta(0.5, 0.5) is less accurate where judgments are few


def mace(table: LabelTable) -> Iterator[Round]:
    """One round of variational Bayes after the other.

    Parameters, posterior means: "knows" (K,), how often the annotator copies the truth; "habit" (K, C), what they say
    otherwise. Raises InputError where the annotators' tables do not fit in memory.
    """
    errors = Errors(table)
    C = len(table.classes)
    truth = table.shares
    share = np.full(errors.given.shape, 0.5)  # (K, C) P(knew | said l, and l is true)
    while True:
        right = np.diagonal(errors.expected(truth), axis1=1, axis2=2)  # (K, C)
        knew = right * share
        habit = np.maximum(errors.given - knew, 0.0)
        a, b, c = knew.sum(axis=1) + KNOWS, habit.sum(axis=1) + KNOWS, habit + HABIT
        log_guess = (digamma(b)[:, None] + digamma(c)) - (digamma(a + b) + digamma(c.sum(axis=1)))[:, None]
        log_knows = (digamma(a) - digamma(a + b))[:, None]
        log_right = np.logaddexp(log_knows, log_guess)
        share = np.exp(log_knows - log_right)
        log_said = np.repeat(log_guess[:, :, None], C, axis=2)  # [k, l, c]
        log_said[:, np.arange(C), np.arange(C)] = log_right
        truth = posterior(errors.log_odds(log_said))
        yield Round(truth, {"knows": a / (a + b), "habit": c / c.sum(axis=1, keepdims=True)})
