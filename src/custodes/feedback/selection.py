"""What to ask next: the pairs whose answers teach most, instead of any.

An annotator of reliability a answers about a difference of qualities d ~ N(m, v). The information that the answer carries
about d is the mutual information of the two (Houlsby et al. 2011, "BALD"). It is high where the answer is uncertain to us
and would be certain to somebody who knew d. What is known of d comes from the annotator model, in which every episode has a
quality of its own. Where answers have features, it comes from a reward's last layer, fitted with the annotators'
reliabilities: that carries what was learned of one task over to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.types import Floats, InputError

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(12)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
CANDIDATES = 1000
"""Pairs among which each next one is chosen."""


def _information(mean: ArrayLike, variance: ArrayLike, reliability: float = 1.0) -> Floats:
    """(n,) nats that one answer is expected to tell about differences N(mean, variance), each (n,)."""
    m, sd = np.asarray(mean, float), np.sqrt(np.maximum(np.asarray(variance, float), 0))
    p = expit(reliability * (m[:, None] + sd[:, None] * NODES))
    return np.maximum(_entropy(p @ WEIGHTS) - _entropy(p) @ WEIGHTS, 0.0)


@dataclass(frozen=True, eq=False)
class QualityBelief:
    """What the annotator model knows of episodes, in units of its prior; unjudged ones are N(0, 1).

    Of two episodes that were compared the difference is known better than either of them; of others, their variances
    are added.
    """

    quality: Mapping[str, float]
    variance: Mapping[str, float]
    compared: Mapping[tuple[str, str], tuple[float, float]]
    """Mean and variance of the difference, for pairs that were compared, in the order of their ids."""

    @classmethod
    def of(cls, model: AnnotatorModel) -> QualityBelief:
        unit, data, fit = model.fit.unit, model.comparisons, model.fit
        compared = {}
        differences = zip((fit.difference / unit).tolist(), ((fit.difference_sd / unit) ** 2).tolist(), strict=True)
        for first, second, (mean, variance) in zip(data.first, data.second, differences, strict=True):
            a, b = model.episodes[first], model.episodes[second]
            compared[min(a, b), max(a, b)] = (mean if a < b else -mean, variance)
        return cls(
            dict(zip(model.episodes, (model.quality / unit).tolist(), strict=True)),
            dict(zip(model.episodes, ((model.quality_se / unit) ** 2).tolist(), strict=True)),
            compared,
        )

    def differences(self, pairs: Sequence[tuple[str, str]]) -> tuple[Floats, Floats]:
        """Mean and variance (n,) of the first's quality minus the second's, for each pair of episode ids."""
        found = np.array([self._difference(a, b) for a, b in pairs], float).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _difference(self, a: str, b: str) -> tuple[float, float]:
        if (known := self.compared.get((min(a, b), max(a, b)))) is not None:
            return (known[0] if a < b else -known[0]), known[1]
        mean = self.quality.get(a, 0.0) - self.quality.get(b, 0.0)
        return mean, self.variance.get(a, 1.0) + self.variance.get(b, 1.0)

    def information(self, pairs: Sequence[tuple[str, str]], reliability: float = 1.0) -> Floats:
        """(n,) nats for each pair of episode ids."""
        return _information(*self.differences(pairs), reliability)


@dataclass(frozen=True, eq=False)
class RewardBelief:
    """A last layer w ~ N(mean, covariance): what the answers so far say of a reward that is linear in D features."""

    mean: Floats  # (D,)
    covariance: Floats  # (D, D)

    @classmethod
    def prior(cls, features: int, ridge: float = 1.0) -> RewardBelief:
        return cls(np.zeros(features), np.eye(features) / ridge)

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        preferred: ArrayLike,
        reliability: ArrayLike | None = None,
        ridge: float = 1.0,
        weight: ArrayLike | None = None,
    ) -> RewardBelief:
        """Laplace posterior from N answers, its mode by Newton's method with steps halved where they do not help.

        ``features`` (N, D) are of the first shown minus those of the second. ``preferred`` (N,) is 1 the first, 0 the
        second, 0.5 a tie. ``reliability`` (N,) is that of whoever answered: 1 typical, below 0 the answer is turned.
        ``weight`` (N,) is that of the answers; both are 1 where not given. ``ridge`` is the precision of the prior. Raises
        InputError where the shapes do not fit.
        """
        x, y = np.asarray(features, float), np.asarray(preferred, float)
        a, c = (np.ones(len(y)) if given is None else np.asarray(given, float) for given in (reliability, weight))
        if x.ndim != 2 or not len(x) == len(y) == len(a) == len(c):
            raise InputError(
                f"features {x.shape}, answers {y.shape}, reliability {a.shape}, weight {c.shape}; give one row for each answer."
            )
        x = x * a[:, None]

        def loss(at: Floats) -> float:
            u = x @ at
            return float(-(c * (y * log_expit(u) + (1 - y) * log_expit(-u))).sum() + ridge / 2 * at @ at)

        w = np.zeros(x.shape[1])
        for _ in range(100):
            p, size = expit(x @ w), 1.0
            hessian = (x.T * (c * p * (1 - p))) @ x + ridge * np.eye(len(w))
            step = np.linalg.solve(hessian, x.T @ (c * (p - y)) + ridge * w)
            while loss(w - size * step) > loss(w) and size > 1e-6:
                size /= 2
            w = w - size * step
            if np.abs(size * step).max() < 1e-10:
                break
        return cls(w, np.linalg.inv(hessian))

    def choose(
        self, features: ArrayLike, count: int, reliability: float = 1.0, seed: int = 0, candidates: int = CANDIDATES
    ) -> NDArray[np.int64]:
        """The ``count`` rows of ``features`` (P, D) to ask about next, one after the other.

        Each takes into account that those before it will be answered: their information is in the covariance, the
        answers themselves are not known yet. Chosen among ``candidates`` rows drawn at random.
        """
        x = np.asarray(features, float)
        rng = np.random.default_rng([seed, 17])
        at = rng.choice(len(x), min(len(x), candidates), replace=False)
        some, covariance = x[at], self.covariance
        mean = some @ self.mean
        through = some @ covariance  # (n, D)
        variance = np.einsum("nd,nd->n", through, some)
        open_, chosen = np.ones(len(at), bool), []
        for _ in range(min(count, len(at))):
            worth = np.where(open_, _information(mean, variance, reliability), -1.0)
            best = int(np.argmax(worth))
            open_[best] = False
            chosen.append(int(at[best]))
            p = expit(reliability * mean[best] / np.sqrt(1 + np.pi / 8 * reliability**2 * variance[best]))
            weight = reliability**2 * p * (1 - p)
            direction = through[best]
            shrink = weight / (1 + weight * variance[best])
            along = some @ direction
            through = through - shrink * along[:, None] * direction
            variance = np.maximum(variance - shrink * along**2, 1e-12)
        return np.array(chosen, dtype=np.int64)


def _entropy(p: Floats) -> Floats:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return -(p * np.log(p) + (1 - p) * np.log1p(-p))
