"""Dawid and Skene (1979): every annotator has a table of how often they say l where the truth is c.

Expectation-maximisation from the vote shares, with two priors. The crowd's table is drawn towards one in which all
mistakes are alike, and each annotator's towards the crowd's: somebody with three answers is not believed to be perfect,
and the same three answers cost the rest nothing. Annotators with few answers per class would still be judged by labels
that their own votes made. So their vote on a task is taken away from what says how reliable they are in that task
(collapsed variational Bayes to order 0: Asuncion, Welling, Smyth and Teh 2009).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from custodes.feedback.labels.rounds import PRIOR_RIGHT, EmRound, Errors, class_odds, posterior, with_first
from custodes.feedback.labels.table import LabelTable
from custodes.registry import aggregator
from custodes.types import Floats

OWN_PRIOR = 3.0
"""Answers per cell of a table that every annotator is taken to have given the way the crowd does."""
CROWD_PRIOR = 20.0
"""Answers per cell that the crowd is taken to have given with all mistakes alike: of 500 classes with few labels each,
nobody can tell which is taken for which."""
FEW = 30
"""Answers per annotator and class below which an annotator's own vote is taken away: above, nothing changes."""
LARGE = 100_000_000
"""Judgments by classes above which it is not, for want of memory."""


@aggregator
def dawid_skene(table: LabelTable) -> Iterator[EmRound]:
    """One round of expectation-maximisation after the other.

    Parameters: "confusion" (K, C, C), P(annotator k says l | the truth is c) at [k, c, l]; "prevalence" (C,).
    Raises InputError where the annotators' tables do not fit in memory.
    """
    T, C, K, errors = len(table.tasks), len(table.classes), len(table.annotators), Errors(table)
    few = len(table) < FEW * K * C and len(table) * C < LARGE
    truth = table.shares
    while True:
        said = errors.expected(truth)
        together = said.sum(axis=0)
        said += OWN_PRIOR * C * _crowd(together)
        odds = class_odds(truth)
        evidence = None
        if few:  # a vote counts once in its annotator's answers, and once in the crowd's
            times = 1 + OWN_PRIOR * C / (together.sum(axis=0) + CROWD_PRIOR * C)
            evidence = _without_own(table, said, times * with_first(truth))
        said /= said.sum(axis=1, keepdims=True)
        truth = posterior((errors.log_odds(np.log(said)) if evidence is None else evidence) + odds)
        rest = truth.sum(axis=0)
        prevalence = (np.append(T - rest.sum(), rest) + 1) / (T + C)
        yield EmRound(truth, {"confusion": said.transpose(0, 2, 1), "prevalence": prevalence})


def _crowd(said: Floats) -> Floats:  # (C, C) counts -> (C, C), columns sum to 1
    C = len(said)
    right = (np.trace(said) + 4 * (PRIOR_RIGHT + (1 - PRIOR_RIGHT) / C)) / (said.sum() + 4)
    alike = np.where(np.eye(C, dtype=bool), right, (1 - right) / max(C - 1, 1))
    crowd: Floats = said + CROWD_PRIOR * C * alike
    return crowd / crowd.sum(axis=0)


def _without_own(table: LabelTable, said: Floats, counted: Floats) -> Floats:  # -> (T, C - 1)
    """Log-odds of each class against class 0, each vote weighed by its annotator's other answers.

    ``said`` (K, C, C) are counts, ``counted`` (T, C) what a vote on a task added to them.
    """
    own = table.if_shared(counted[table.task])  # (N, C)
    log_said = np.log(said[table.annotator, table.label] - own) - np.log(said.sum(axis=1)[table.annotator] - own)
    return np.add.reduceat(log_said[:, 1:] - log_said[:, :1], table.start[:-1], axis=0)
