"""How much each annotator moves the result: what would be learned without them, in closed form.

Nothing is fitted again. At the optimum the gradient of everybody's answers is 0, so taking an annotator's away leaves
minus their gradient, and one Newton step with the remaining curvature is what the fit would do next. For a last layer
(D weights) the remaining Hessian is inverted exactly; for the comparison model, whose qualities are many, the whole one
is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_matrix, identity
from scipy.sparse.linalg import splu
from scipy.special import expit, log_expit

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.feedback.selection import RewardBelief
from custodes.types import Floats, InputError, Ints


@dataclass(frozen=True, eq=False)
class QualityInfluence:
    """What the qualities of the comparison model owe to each annotator."""

    moved: Floats  # (K,) root mean square change of the compared differences without them, in standard deviations
    flipped: Floats  # (K,) share of the compared pairs of which the other episode would then be the better


@dataclass(frozen=True, eq=False)
class RewardInfluence:
    """What a reward's last layer owes to each annotator."""

    weights: Floats  # (D,) fitted to everybody's answers
    change: Floats  # (K, D) of the weights without them
    loss: Floats  # (K,) of the mean probe loss without them, nats per pair: below 0, the reward is better without
    flipped: Floats  # (K,) share of probe pairs whose preferred side changes without them


def influence_on_qualities(model: AnnotatorModel) -> QualityInfluence:
    """Closed form on the comparison model: an annotator's Gaussian sites taken out, all else held, to first order."""
    data, fit, K = model.comparisons, model.fit, len(model.annotators)
    N, items = len(data.first), data.items
    rows = np.tile(np.arange(N), 2)
    ends = np.concatenate([data.first, data.second])
    design = csc_matrix((np.concatenate([np.ones(N), -np.ones(N)]), (rows, ends)), shape=(N, items))
    precision = 1 / fit.unit**2
    hessian = design.T @ design.multiply(fit.precision[:, None]) + precision * identity(items)
    gradient = csc_matrix((fit.natural - fit.precision * fit.difference, (np.arange(N), data.annotator)), shape=(N, K))
    step = splu(csc_matrix(hessian)).solve(np.asarray((design.T @ gradient).todense()))  # (items, K)
    change = -(step[data.first] - step[data.second])  # (N, K)
    without = fit.difference[:, None] + change
    flipped = (np.sign(without) != np.sign(fit.difference)[:, None]).mean(axis=0)
    scale = np.sqrt(np.mean(fit.difference**2)) or 1.0
    return QualityInfluence(np.sqrt((change**2).mean(axis=0)) / scale, flipped)


def influence_on_reward(
    features: ArrayLike,
    label: ArrayLike,
    annotator: Ints,
    probe: ArrayLike,
    probe_label: ArrayLike,
    weight: ArrayLike | None = None,
    ridge: float = 1.0,
) -> RewardInfluence:
    """Last-layer influence on a Bradley-Terry reward w.x.

    ``features`` (N, D) are those of the first minus those of the second, a reward model's last hidden states say.
    ``label`` (N,) is the probability that the first is better, ``annotator`` (N,) numbers 0..K-1, ``weight`` (N,) that of
    the pairs, and ``ridge`` the precision of the prior on w. The loss is measured on ``probe`` (M, D) with ``probe_label``
    (M,): gold items, or pairs that a trusted few have judged. Raises InputError where the shapes do not fit.
    """
    x, y = np.asarray(features, float), np.asarray(label, float)
    z, t = np.asarray(probe, float), np.asarray(probe_label, float)
    c = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    if x.ndim != 2 or z.ndim != 2 or x.shape[1] != z.shape[1] or not len(x) == len(y) == len(annotator) == len(c):
        raise InputError(
            f"influence: features {x.shape}, labels {y.shape}, probe {z.shape}; give (N, D), (N,), (M, D)."
        )
    if len(z) != len(t) or not len(z):
        raise InputError(f"influence: {len(z)} probe pairs with {len(t)} labels; give one for each, and at least one.")
    w = RewardBelief.fit(x, y, ridge=ridge, weight=c).mean
    p = expit(x @ w)
    curvature = c * p * (1 - p)
    hessian = (x.T * curvature) @ x + ridge * np.eye(x.shape[1])
    K = int(np.max(annotator)) + 1
    change = np.empty((K, x.shape[1]))
    for k in range(K):
        own = annotator == k
        gradient = x[own].T @ (c[own] * (p[own] - y[own]))
        change[k] = np.linalg.solve(hessian - (x[own].T * curvature[own]) @ x[own], gradient)

    def loss(weights: Floats) -> Floats:  # (..., D) -> (...)
        u = weights @ z.T
        return -(t * log_expit(u) + (1 - t) * log_expit(-u)).mean(axis=-1)

    flipped = ((((w + change) @ z.T) > 0) != (w @ z.T > 0)).mean(axis=1)
    return RewardInfluence(w, change, loss(w + change) - loss(w), flipped)
