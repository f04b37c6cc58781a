"""Do stated probabilities come true? For rewards (which of two is better) and for policies (their own tokens).

The order in which a pair is shown is arbitrary, so pairs are folded: the confidence of a reward is
max(p, 1 - p), from 0.5 to 1, and it was right when the more probable one was preferred. The error and the
reliability diagram themselves are :func:`custodes.stats.calibration_error` and ``calibration_curve``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Array = NDArray[np.float64]
BINS = 8  # of a reliability diagram: 256 held-out pairs give 32 to a bin


def confidence(margin: ArrayLike, temperature: float = 1.0) -> Array:
    """Probability (B,) that a reward gives to the answer that it prefers, from ``margin`` (first minus second)."""
    return np.asarray(expit(np.abs(np.asarray(margin, float)) / temperature))


def agrees(margin: ArrayLike, better: ArrayLike) -> Array:
    """1 where the sign of ``margin`` (B,) is that of ``better`` (B,), 0 where not; a margin of exactly 0 is half right."""
    margin, better = np.asarray(margin, float), np.asarray(better, float)
    return np.where(margin == 0, 0.5, np.sign(margin) == np.sign(better)).astype(float)


def policy_confidence(logprobs: Sequence[NDArray[np.floating]]) -> Array:
    """How sure the policy was of each episode (B,): the geometric mean probability of its action tokens, from
    their log-probabilities (nats). An episode without actions has 1."""
    return np.array([float(np.exp(np.mean(x))) if np.size(x) else 1.0 for x in logprobs])
