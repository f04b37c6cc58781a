"""GLAD (Whitehill, Ruvolo, Wu, Bergsma and Movellan 2009): annotators differ in ability and tasks in difficulty.

Annotator k is right about task t with probability sigmoid(alpha_k beta_t), beta_t > 0, and otherwise says one of the
other classes, all alike. Generalised expectation-maximisation: each round takes one Newton step (Gauss-Newton in
log beta) for all abilities and one for all difficulties. Priors: alpha ~ N(mean of the crowd, 1), log beta ~ N(0, 1);
the classes as the votes have them. A label that is its task's only one tells nothing of its annotator.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import expit

from custodes.feedback.labels.rounds import EmRound, class_odds, posterior, with_first
from custodes.feedback.labels.table import LabelTable
from custodes.registry import aggregator


@aggregator
def glad(table: LabelTable) -> Iterator[EmRound]:
    """One round of generalised expectation-maximisation after the other.

    Parameters: "ability" (K,), log-odds of being right on a task of ease 1, below 0 for inverters; "ease" (T,), above 0.
    """
    T, C, k, t = len(table.tasks), len(table.classes), table.annotator, table.task
    cell = t.astype(np.int64) * C + table.label
    ability, ease = np.ones(len(table.annotators)), np.ones(T)
    # by the votes: odds that follow the truth run away where some say one class out of habit
    odds = class_odds(table.shares)
    shares = table.votes / table.votes.sum(axis=1, keepdims=True)
    right = shares.ravel()[cell]
    while True:
        ability = ability + _step_ability(table, right, ability, ease)
        ease = ease * np.exp(_step_ease(table, right, ability, ease))
        # log P(said | it is true) - log P(said | another class is)
        evidence = ability[k] * ease[t] + np.log(max(C - 1, 1))
        total = np.bincount(cell, evidence, minlength=T * C).reshape(T, C).astype(np.float64, copy=False)
        truth = posterior(total[:, 1:] - total[:, :1] + odds)
        right = with_first(truth).ravel()[cell]
        yield EmRound(truth, {"ability": ability, "ease": ease})


def _step_ability(table: LabelTable, right: np.ndarray, ability: np.ndarray, ease: np.ndarray) -> np.ndarray:
    b = ease[table.task]
    p = expit(ability[table.annotator] * b)
    gradient = table.by_annotator(table.if_shared((right - p) * b)) - (ability - ability.mean())
    curvature = table.by_annotator(table.if_shared(p * (1 - p) * b * b)) + 1
    return np.clip(gradient / curvature, -1.0, 1.0)


def _step_ease(table: LabelTable, right: np.ndarray, ability: np.ndarray, ease: np.ndarray) -> np.ndarray:
    """Step in log beta."""
    u = ability[table.annotator] * ease[table.task]
    p = expit(u)
    gradient = table.by_task((right - p) * u) - np.log(ease)
    curvature = table.by_task(p * (1 - p) * u * u) + 1
    return np.clip(gradient / curvature, -1.0, 1.0)
