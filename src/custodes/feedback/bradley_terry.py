"""The numbers of the annotator model: Bradley-Terry with per-annotator reliability, position and length terms.

Letters: N comparisons, K annotators, I items, M the largest strength in use. One comparison n shows items i
(first) and j (second) to annotator k, whose leaning towards the first shown is

    u_n = a_k (q_i - q_j) + b_k + c_k x_n        x_n: log-length difference, standardised

and whose answer y in {-M..M} follows the symmetric cumulative logit

    P(y > m) = sigmoid(u - s_k t_m),   P(y < -m) = sigmoid(-u - s_k t_m),   0 <= t_0 < t_1 < ... < t_{M-1}.

Why this likelihood? With plain wins and losses it *is* Bradley-Terry. With ties it is the Rao-Kupper model; t_0 is the
tie threshold, 0 when nobody tied. With strengths it is the proportional-odds model, which reads them as ordered and not as
numbers. s_k is how sparingly annotator k uses strong answers. So somebody who says "slightly" to everything is not
mistaken for somebody who is often wrong.

Priors: q ~ N(0, 1) fixes the scale of u. a comes from a crowd whose width and shape are integrated out
(``reliability.py``), so whoever gave two answers is what the crowd is. b, c and log s are Gaussian with fitted variances.
c_k is a *deviation*: the length preference of the typical annotator is held at 0. A preference for length that all share
cannot be told from quality, and stays in the qualities. The sign is fixed by starting from "everybody is honest". The
majority must be honest; a_k < 0 says that annotator k inverts.

Fit: expectation propagation (Minka 2001). What is known of the qualities is one Gaussian, made of a Gaussian site for
every comparison (``qualities.py``). In a round, each comparison's own site is taken out of its difference of qualities;
what is left, N(m, v), is what everybody's other answers say. Given that, every answer has a likelihood in a_k, whose
product and the crowd make the posterior of a_k; and, averaged over that posterior, a likelihood in the difference,
whose slope and curvature at m are the new site. So the uncertainty of the annotators enters the qualities and that of the
qualities the annotators. Qualities are rescaled to unit variance after each round (parameter expansion, Liu, Rubin
and Wu 1998), which removes the slow direction.

Covariates (style control) add z_n . gamma to q_i - q_j, gamma ~ N(0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from custodes.feedback.ordinal import OrdinalAnswers, used_levels
from custodes.feedback.qualities import Belief, Items
from custodes.feedback.reliability import A, Annotators, Look, look_at_annotator, update
from custodes.types import Floats, Ints

LEAST = 1e-3  # share of its information that an answer leaves to the others at least, and other guards of divisions
CALM = 60  # rounds after which steps are halved: near certainty full ones can go in circles
STEP = 0.7  # share of the way that a site moves in a round
WIDER = 1.1
"""By how much intervals of reliability are wider than the posterior's: what simulated crowds show that the approximations
cost (``benchmarks/annotator_coverage.py``)."""
SUREST = 6.0
"""Largest root mean square of reliabilities, in units of one standard deviation of quality. Where everybody agrees about
everything the likelihood rises for ever; beyond this (one answer in 400 wrong at that distance) data say nothing."""


@dataclass(frozen=True, eq=False)
class Comparisons:
    """N comparisons as arrays. Ids are 0..I-1 and 0..K-1; ``strength`` is -3..3, 0 a tie, > 0 for the first.

    Only the order of strengths means something: they become places among those that somebody used (:func:`used_levels`).
    """

    first: Ints  # (N,) item shown first
    second: Ints  # (N,) item shown second
    annotator: Ints  # (N,)
    strength: Ints  # (N,)
    length: Floats  # (N,) log-length of the first minus that of the second, in standard deviations
    items: int
    annotators: int
    style: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # (N, F) covariates to control for, or none

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", used_levels(self.strength))


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted. The scale is that of the crowd: the root mean square of ``theta[:, A]`` is 1."""

    theta: Floats  # (K, 4): posterior means of a, b, c, log s
    se: Floats  # (K, 4) posterior standard deviations
    interval: Floats  # (K, 2) central 95 % of the reliability
    quality: Floats  # (I,)
    quality_sd: Floats  # (I,)
    difference: Floats  # (N,) fitted quality of the first minus the second
    difference_sd: Floats  # (N,)
    other: Floats  # (N,) the same as everybody's other answers have it
    other_sd: Floats  # (N,)
    precision: Floats  # (N,) of the Gaussian that stands for each answer in the qualities
    natural: Floats  # (N,) precision times its mean
    gamma: Floats  # (F,) coefficients of the covariates
    gamma_se: Floats  # (F,)
    thresholds: Floats  # (M,)
    unit: float  # how many units of this scale one standard deviation of quality is
    rounds: int
    converged: bool


def fit(data: Comparisons, rounds: int = 200, tolerance: float = 0.02, alike: bool = False) -> Fit:
    """Fits the model of this file to ``data``.

    Stops when no parameter of an annotator and no difference moves by more than ``tolerance`` standard deviations in a
    round.
    ``alike``: one reliability for all and no biases, plain Bradley-Terry.
    """
    order = np.argsort(data.annotator, kind="stable")
    style = data.style[order] if data.style.size else np.zeros((len(order), 0))
    items = Items(data.first[order], data.second[order], data.items, style)
    answers = OrdinalAnswers.of(data.annotator[order], data.annotators, data.strength[order], data.length[order])
    crowd = Annotators.begin(data.annotators, alike)
    precision, natural = np.zeros(len(order)), np.zeros(len(order))
    belief, moved, round_ = items.believe(precision, natural), np.inf, 0
    while round_ < rounds and moved > tolerance:
        round_, before = round_ + 1, crowd.theta
        mean, variance = _others(belief, precision, natural)
        seen = look_at_annotator(answers, crowd, mean, variance)
        step, (site, target) = STEP if round_ < CALM else STEP / 2, _sites(seen, mean, variance)
        precision, natural = precision + step * (site - precision), natural + step * (target - natural)
        crowd, thresholds = update(answers, crowd, seen, mean, variance)
        answers = replace(answers, thresholds=thresholds)
        tau = min(items.spread(belief), SUREST / max(crowd.typical, LEAST))
        precision, natural, crowd = precision * tau**2, natural * tau, crowd.rescaled(tau)
        shown, belief = belief.mean, items.believe(precision, natural)
        moved = float((np.abs(crowd.theta - before) / np.maximum(crowd.sd, LEAST)).max())
        moved = max(moved, float((np.abs(belief.mean - shown) / np.sqrt(belief.variance)).max()))
    mean, variance = _others(belief, precision, natural)
    seen = look_at_annotator(answers, crowd, mean, variance)
    unit, back = crowd.typical or 1.0, np.argsort(order)
    theta, se, interval = _of_typical(crowd, seen, unit, alike)
    return Fit(
        theta=theta,
        se=se,
        interval=interval,
        quality=belief.quality * unit,
        quality_sd=np.sqrt(items.item_variances(precision)) * unit,
        difference=belief.plain_mean[back] * unit,
        difference_sd=np.sqrt(belief.plain_variance)[back] * unit,
        other=mean[back] * unit,
        other_sd=np.sqrt(variance)[back] * unit,
        precision=precision[back] / unit**2,
        natural=natural[back] / unit,
        gamma=belief.gamma * unit,
        gamma_se=np.sqrt(np.diagonal(belief.gamma_covariance)) * unit,
        thresholds=answers.thresholds,
        unit=unit,
        rounds=round_,
        converged=bool(moved <= tolerance),
    )


def _others(belief: Belief, precision: Floats, natural: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of each difference without the comparison's own site."""
    left = np.maximum(1 - precision * belief.variance, LEAST)
    return (belief.mean - natural * belief.variance) / left, belief.variance / left


def _sites(seen: Look, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """The Gaussian with the slope and curvature of each answer's likelihood: precision, and precision times mean.

    Where the sign of an annotator is not known a likelihood may curve upwards; such a site is flat.
    """
    curve = np.clip(seen.curve, 0.0, (1 - LEAST) / variance)
    left = 1 - curve * variance
    return curve / left, (seen.pull + curve * mean) / left


def _of_typical(crowd: Annotators, seen: Look, unit: float, alike: bool) -> tuple[Floats, Floats, Floats]:
    """``theta``, standard errors and intervals in ``unit``, the root mean square of the estimates.

    The unit has an error of its own, which is counted (to first order, the annotators' posteriors taken as
    independent); with it goes what the root mean square of estimates lacks of that of the truths.
    """
    K = len(crowd.theta)
    units = np.array([1 / unit, 1.0, 1.0, 1.0])
    theta, se = crowd.theta * units, crowd.sd * units
    if alike:
        return theta, se, np.ones((K, 2))
    square, variance = theta[:, A] ** 2, se[:, A] ** 2
    blurred = float((square * variance + variance**2 / 2).sum()) / K**2  # variance of the logarithm of the unit
    blurred += (np.sqrt(1 + float(variance.mean())) - 1) ** 2
    wider = WIDER * np.sqrt(1 + square * blurred / np.maximum(variance, LEAST**2))
    se[:, A] *= wider
    middle = theta[:, A, None]
    return theta, se, middle + (seen.interval / unit - middle) * wider[:, None]
