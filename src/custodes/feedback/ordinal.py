"""The likelihood of one answer: symmetric cumulative logit, integrated over what is not known of the qualities.

Letters as in ``bradley_terry.py``: N comparisons, K annotators, M the largest strength in use. An answer of strength m
towards the first shown means that u + logistic noise lies between two cuts, s t_{m-1} and s t_m; a tie lies between
-s t_0 and s t_0. Answers for the second shown are turned, so that every answer favours the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import log_expit

from custodes.types import Floats, Ints

GAP = 1e-3  # smallest distance between neighbouring thresholds
CUBIC = 0.01695  # see ``blurred``
FAR = 30.0  # leanings beyond which a sigmoid is 0 or 1
TINY = 1e-12  # smallest probability


def used_levels(strength: Ints) -> Ints:
    """(N,) strengths as places among the levels in use: of ties and strengths 2 and -2 alone, the latter become 1 and -1.

    A level that nobody used says nothing of the threshold at its end, which would go on growing and take everything along.
    """
    level = np.abs(strength)
    in_use = np.unique(level[level > 0])
    return np.sign(strength) * (np.searchsorted(in_use, level) + 1) * (level > 0)


def _log_likelihood(u: Floats, low: Floats, high: Floats) -> Floats:  # each (N,)
    """log P(low < u + noise < high) for standard logistic noise; ``high`` may be infinite.

    With x = u - low and y = u - high: log(sigmoid(x) - sigmoid(y)) = log sigmoid(x) + log sigmoid(-y) +
    log(1 - exp(low - high)), whose last term does not depend on u. So its derivative by u is
    sigmoid(-x) - sigmoid(y), and its second derivative is never positive.
    """
    return log_expit(u - low) + log_expit(high - u) + np.log(-np.expm1(low - high))


def _cuts(thresholds: Floats) -> tuple[Floats, Floats]:
    """Lower and upper cut, each (M + 1,), of the answers 0 (tie), 1, ..., M."""
    tie = max(thresholds[0], GAP / 2)  # where nobody tied, a width that is never used but divides
    return np.append(-tie, thresholds), np.append([tie, *thresholds[1:]], np.inf)


def label_from_one(strength: Ints, thresholds: Floats, leaning: Floats, slope: Floats, scale: Floats) -> Floats:
    """P(first truly better | this one answer, its annotator known), (N,).

    The difference of qualities is N(0, 2) before the answer, in the units in which qualities have unit variance.
    ``leaning`` (N,) is u between equals, ``slope`` (N,) the reliability in those units, ``scale`` (N,) is s_k.
    """
    level, sign = np.abs(strength), np.where(strength < 0, -1.0, 1.0)
    low, high = (scale * cut[level] for cut in _cuts(thresholds))
    better, total = np.zeros(len(leaning)), np.zeros(len(leaning))
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # even: symmetric, and 0 is not a node
    for node, weight in zip(nodes * np.sqrt(2.0), weights, strict=True):
        u = sign * (leaning + slope * node)
        p = weight * np.exp(_log_likelihood(u, low, high))
        total += p
        better += p * (node > 0)
    return better / total


@dataclass(frozen=True, eq=False)
class OrdinalAnswers:
    """N answers, sorted by annotator, and the thresholds between them."""

    annotator: Ints  # (N,)
    bounds: Ints  # (K + 1,) where each annotator's answers begin
    level: Ints  # (N,) 0 a tie, else how strong
    sign: Floats  # (N,) -1 where the second was favoured
    length: Floats  # (N,)
    thresholds: Floats  # (M,)
    ties: bool

    @classmethod
    def of(cls, annotator: Ints, annotators: int, strength: Ints, length: Floats) -> OrdinalAnswers:
        """Thresholds begin where they would be if nobody saw any difference: P(|y| > m) = 2 sigmoid(-t_m)."""
        level = np.abs(strength)
        top = max(int(level.max(initial=1)), 1)
        beyond = np.clip([(level > m).mean() for m in range(top)], 1e-4, 1 - 1e-4) / 2
        thresholds = np.log1p(-beyond) - np.log(beyond) + GAP * np.arange(top)
        ties = bool((level == 0).any())
        if not ties:
            thresholds -= thresholds[0]
        bounds = np.searchsorted(annotator, np.arange(annotators + 1))
        return cls(annotator, bounds, level, np.where(strength < 0, -1.0, 1.0), length, thresholds, ties)

    @property
    def open(self) -> bool:
        """Whether no answer has an upper cut: wins and losses alone."""
        return len(self.thresholds) == 1 and not self.ties

    @cached_property
    def lengths(self) -> bool:
        """Whether lengths were given."""
        return bool(self.length.any())


@dataclass(frozen=True, eq=False)
class Probability:
    """Probabilities of answers, each array of one shape: value, and derivatives of its logarithm.

    ``by_u_twice`` is the second derivative of the *value* by u over the value; minus the second derivative of the
    logarithm is by_u^2 - by_u_twice. ``low`` and ``high`` are the turned answer's cuts (0 for no cut).
    """

    value: Floats
    by_u: Floats
    by_u_twice: Floats
    sign: Floats
    low: Floats
    high: Floats
    by_low: Floats
    by_high: Floats
    low_low: Floats  # minus second derivatives of the logarithm by the cuts
    high_high: Floats

    @property
    def low_high(self) -> Floats:
        return self.by_low * self.by_high

    def by_log_scale(self) -> tuple[Floats, Floats, Floats]:
        """Derivative by log s; minus the one by u and log s; minus the second by log s, without its residual term."""
        low, high, cross = self.low, self.high, self.low_high
        mixed = -self.sign * (low * (self.low_low + cross) + high * (self.high_high + cross))
        twice = low**2 * self.low_low + high**2 * self.high_high + 2 * low * high * cross
        return low * self.by_low + high * self.by_high, mixed, twice


def probability(
    answers: OrdinalAnswers, rows: slice, u: Floats, slope: Floats, log_scale: Floats, variance: Floats
) -> Probability:
    """Of the answers in ``rows``, at leanings ``u`` towards the first shown, (n,) or (n, G).

    The difference of qualities has the mean that is in ``u`` and ``variance``; ``slope`` is the reliability,
    ``log_scale`` log s.
    """
    more = (slice(None), None) if u.ndim == 2 else (slice(None),)
    sign, level = answers.sign[rows][more], answers.level[rows]
    turned, blur = sign * u, slope**2 * variance
    zero = np.zeros(1)
    if answers.open:
        value, by, twice = _blurred(turned, blur)
        value = np.maximum(value, TINY)
        ratio, second = by / value, twice / value
        return Probability(value, sign * ratio, second, sign, zero, zero, -ratio, zero, ratio**2 - second, zero)
    lows, highs = _cuts(answers.thresholds)
    scale, bounded = np.exp(log_scale), np.isfinite(highs)
    low, high = scale * lows[level][more], scale * np.where(bounded, highs, 0.0)[level][more]
    value, by, twice = _blurred(turned - low, blur)
    upper, by_upper, twice_upper = (bounded[level][more] * part for part in _blurred(turned - high, blur))
    value = np.maximum(value - upper, TINY)
    by_low, by_high = -by / value, by_upper / value
    low_low, high_high = by_low**2 - twice / value, by_high**2 + twice_upper / value
    by_u, second = -sign * (by_low + by_high), (twice - twice_upper) / value
    return Probability(value, by_u, second, sign, low, high, by_low, by_high, low_low, high_high)


def _blurred(u: Floats, variance: Floats) -> tuple[Floats, Floats, Floats]:
    """E[sigmoid(x)] for x ~ N(u, ``variance``), and its first two derivatives by u; one shape.

    MacKay's (1992) sigmoid(k u), k = 1 / sqrt(1 + pi V / 8), has tails as heavy as a logistic's where the Gaussian
    rules; a cubic term that grows with V gives them their weight. Against quadrature for V up to 400 it is off by 0.005
    at most (0.018 without the term), and where the value is 1e-4 by half of it (25 times without the term).
    """
    k2 = 1 / (1 + (np.pi / 8) * variance)
    k, cubic = np.sqrt(k2), CUBIC * (1 - k2) ** 1.5
    x = np.clip(k * u, -FAR, FAR)
    bend = cubic * x * x
    p = 1 / (1 + np.exp(-x * (1 + bend)))
    flank = p * (1 - p)
    steep = 1 + 3 * bend
    return p, k * flank * steep, k2 * flank * ((1 - 2 * p) * steep**2 + 6 * cubic * x)


def step_thresholds(answers: OrdinalAnswers, found: Probability, scale: Floats) -> Floats:
    """(M,) the thresholds after one Newton step, kept in order; ``scale`` (N,) is each annotator's s."""
    top, thresholds = len(answers.thresholds), answers.thresholds
    if answers.open:
        return thresholds

    def total(value: Floats) -> Floats:
        return np.bincount(answers.level, value, minlength=top + 1).astype(np.float64, copy=False)

    by_low, by_high = total(scale * found.by_low), total(scale * found.by_high)
    low_low, high_high, low_high = (
        total(scale**2 * value) for value in (found.low_low, found.high_high, found.low_high)
    )
    gradient, hessian = by_low[1:].copy(), np.diag(low_low[1:])  # answer m lies between t_{m-1} and t_m
    gradient[1:] += by_high[1:-1]
    hessian += np.diag(np.append(0.0, high_high[1:-1]))
    hessian += np.diag(low_high[1:-1], 1) + np.diag(low_high[1:-1], -1)
    gradient[0] += by_high[0] - by_low[0]  # and a tie between -t_0 and t_0
    hessian[0, 0] += high_high[0] + low_low[0] - 2 * low_high[0]
    free = np.ones(top, dtype=bool)
    free[0] = answers.ties
    step = np.zeros(top)
    step[free] = np.linalg.solve(hessian[np.ix_(free, free)] + 1e-6 * np.eye(free.sum()), gradient[free])
    spaced = thresholds + np.clip(step, -0.5, 0.5) - GAP * np.arange(top)
    spaced[0] = max(spaced[0], GAP * free[0])
    return np.asarray(np.maximum.accumulate(spaced) + GAP * np.arange(top))
