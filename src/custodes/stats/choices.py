"""What a choice between two things depends on: coefficients of a paired logistic model.

Letters: n choices, K properties, G clusters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from custodes.stats.base import Interval, cluster_codes, finite, t_quantile
from custodes.types import InputError


def choice_coefficients(
    differences: ArrayLike,
    chosen: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    prior: float = 5.0,
    level: float = 0.95,
) -> list[Interval]:
    """(K,) log-odds of choosing the first thing for each unit by which a property of it exceeds the second's.

    P(first) = sigmoid(sum_k w_k x_k) without a constant: swapping the two things changes nothing. Each coefficient has a
    normal prior of mean 0 and deviation ``prior``, so choices that a property separates perfectly leave it finite.
    The variance is the sandwich H^-1 S H^-1 whose S sums over clusters (Liang and Zeger, Biometrika 1986), multiplied by
    G / (G - 1); intervals are Student's with G - K degrees of freedom.

    Args:
        differences: (n, K) property of the first thing minus that of the second.
        chosen: (n,) probability that the first is chosen, 0 to 1; 1/2 is a tie.
        clusters: (n,) what each choice belongs to; each by itself where none are given.

    Raises InputError for numbers that are not finite and lengths that differ.
    """
    x = np.asarray(differences, float)
    y = finite("chosen", chosen, level)
    if x.ndim != 2 or len(x) != len(y) or not np.isfinite(x).all():
        raise InputError(
            f"differences of {len(y)} choices must be {len(y)} rows of finite numbers; their shape is {x.shape}."
        )
    n, K = x.shape
    codes = cluster_codes(clusters, n) if clusters is not None else np.arange(n)
    G, penalty = (int(codes.max()) + 1 if n else 0), 1 / prior**2

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = x @ w
        nats = -(y * log_expit(z) + (1 - y) * log_expit(-z)).sum() + penalty * (w @ w) / 2
        return float(nats), x.T @ (expit(z) - y) + penalty * w

    w = minimize(loss, np.zeros(K), jac=True, method="L-BFGS-B", options={"gtol": 1e-8}).x
    if G <= K:
        return [Interval(float(m), -np.inf, np.inf, G) for m in w]
    p = expit(x @ w)
    inverse = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x + penalty * np.eye(K))
    scores = np.zeros((G, K))
    np.add.at(scores, codes, x * (y - p)[:, None])
    variance = inverse @ (scores.T @ scores * G / (G - 1) + penalty * np.eye(K)) @ inverse
    reach = t_quantile(level, G - K) * np.sqrt(np.diag(variance))
    return [Interval(float(m), float(m - r), float(m + r), G) for m, r in zip(w, reach, strict=True)]
