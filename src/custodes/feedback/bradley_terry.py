"""The numbers of the annotator model: Bradley-Terry with per-annotator reliability, position and length terms.

Letters: N comparisons, K annotators, I items, M the largest strength in use. One comparison n shows items i
(first) and j (second) to annotator k, whose leaning towards the first shown is

    u_n = a_k (q_i - q_j) + b_k + c_k x_n        x_n: log-length difference, standardised

and whose answer y in {-M..M} follows the symmetric cumulative logit

    P(y > m) = sigmoid(u - s_k t_m),   P(y < -m) = sigmoid(-u - s_k t_m),   0 <= t_0 < t_1 < ... < t_{M-1}.

Why this likelihood: with plain wins and losses it *is* Bradley-Terry; with ties it is the Rao-Kupper model (t_0
is the tie threshold, 0 when nobody tied); with strengths it is the proportional-odds model, which reads them as
ordered and not as numbers. s_k is how sparingly annotator k uses strong answers, so that somebody who says
"slightly" to everything is not mistaken for somebody who is often wrong. Its logarithm is concave in u and its
derivatives are two sigmoids (:func:`log_likelihood`).

Priors: q ~ N(0, 1) fixes the scale of u; a, b, c and log s are drawn from Gaussians whose means and variances
are fitted (empirical Bayes), so an annotator with few judgments stays near the crowd. The sign is fixed by
starting from "everybody is honest": the majority must be; a_k < 0 says that annotator k inverts.

Fit. With few judgments per item the joint maximum over items and annotators is inconsistent (Neyman-Scott), so
annotators are fitted at the maximum of their posterior with the qualities integrated out, by variational
expectation-maximisation with Gaussian qualities. A round is: (1) a Newton step for the qualities, by conjugate
gradients on their sparse Laplacian, together with the length bias that all annotators share; (2) Newton for the
thresholds; (3) Newton for each annotator's 4 x 4 block, in which the variance v_ij of q_i - q_j enters as errors in
variables; (4) the Gaussians; (5) a rescaling after which the qualities have unit variance (parameter expansion,
Liu, Rubin and Wu 1998), which removes the slow direction.

Variances of qualities are exact, given the annotators, within groups of at most ``EXACT_GROUP`` connected items
(the episodes of a task). In larger groups v_ij comes from the 2 x 2 block of the Hessian, the other items held, and
the variance of q_i from the first two terms of the Neumann series, 1/D_i + sum_j W_ij^2 / (D_i^2 D_j): slight
underestimates, which vanish as items are compared with more others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, log_expit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

A, B, C, S = range(4)  # columns of ``theta``: reliability, position, length, log of the strength scale
EXACT_GROUP = 16  # connected items up to which the variances of their qualities are exact
START = np.array([1.0, 0.0, 0.0, 0.0])  # everybody is honest and unbiased
SPREAD = np.array([1.0, 0.5, 0.5, 0.3])  # and annotators differ by as much as this
CALM = 60  # rounds after which steps that do not shrink are halved: near certainty full ones can go in circles
GAP = 1e-3  # smallest distance between neighbouring thresholds
SUREST = 6.0
"""Largest root mean square of reliabilities, in units of one standard deviation of quality. Where everybody agrees about
everything the likelihood rises for ever; beyond this (one answer in 400 wrong at that distance) data say nothing."""


@dataclass(frozen=True, eq=False)
class Comparisons:
    """N comparisons as arrays. Ids are 0..I-1 and 0..K-1; ``strength`` is -3..3, 0 a tie, > 0 for the first."""

    first: Ints  # (N,) item shown first
    second: Ints  # (N,) item shown second
    annotator: Ints  # (N,)
    strength: Ints  # (N,)
    length: Floats  # (N,) log-length of the first minus that of the second, in standard deviations
    items: int
    annotators: int


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted. The scale is that of the crowd: the root mean square of ``theta[:, A]`` is 1."""

    theta: Floats  # (K, 4): a, b, c, log s
    covariance: Floats  # (K, 4, 4) Laplace, the qualities integrated out, other annotators and thresholds held
    quality: Floats  # (I,)
    quality_sd: Floats  # (I,)
    difference: Floats  # (N,) fitted quality of the first minus the second
    difference_sd: Floats  # (N,)
    thresholds: Floats  # (M,)
    residual: Floats  # (N,) derivative of the log-likelihood by u
    weight: Floats  # (N,) minus its second derivative
    unit: float  # how many units of this scale one standard deviation of quality is
    rounds: int
    converged: bool


def fit(data: Comparisons, rounds: int = 300, tolerance: float = 1e-3) -> Fit:
    """Fits the model of this file to ``data``.

    Stops when no parameter of an annotator moves by more than ``tolerance`` (logits) in one round.
    """
    pairs = _Pairs(data)
    answers = _Answers(data)
    theta = np.tile(START, (data.annotators, 1))
    population = _Population(START, SPREAD)
    quality, variance = np.zeros(data.items), np.full(len(data.first), 2.0)
    moved, round_ = np.inf, 0
    while round_ < rounds and moved > tolerance:
        round_, before = round_ + 1, theta
        at = answers.evaluate(theta, quality, variance)
        step, shared = pairs.newton_step(quality, at, data.length)
        quality, theta = quality + step, theta + np.array([0.0, 0.0, shared, 0.0])
        population = replace(population, mean=population.mean + np.array([0.0, 0.0, shared, 0.0]))
        variance = pairs.variances(at)
        at = answers.evaluate(theta, quality, variance)
        answers.step_thresholds(at, np.exp(theta[:, S]))
        theta, covariance = _annotator_step(data, theta, population, at, variance)
        theta[:, S] -= theta[:, S].mean()  # what the annotators share is in the thresholds
        population = _Population.of(theta, covariance)
        tau = pairs.spread(at.difference, variance)
        quality, variance = quality / tau, variance / tau**2
        tau = min(tau, SUREST / max(float(np.sqrt(np.mean(theta[:, A] ** 2))), 1e-9))
        theta[:, A], population = theta[:, A] * tau, population.rescaled(tau)
        if round_ > CALM and np.abs(theta - before).max() >= moved:
            theta = (theta + before) / 2
        moved = np.abs(theta - before).max()
    at = answers.evaluate(theta, quality, variance)
    variance = pairs.variances(at)  # of these very weights: no answer weighs more than all that is known of its pair
    unit = float(np.sqrt(np.mean(theta[:, A] ** 2))) or 1.0
    units = np.array([1 / unit, 1.0, 1.0, 1.0])
    return Fit(
        theta=theta * units,
        covariance=_covariance(data, population, at, variance) * np.outer(units, units),
        quality=quality * unit,
        quality_sd=np.sqrt(pairs.item_variances(at)) * unit,
        difference=at.difference * unit,
        difference_sd=np.sqrt(variance) * unit,
        unit=unit,
        thresholds=answers.thresholds,
        residual=at.residual,
        weight=at.weight,
        rounds=round_,
        converged=bool(moved <= tolerance),
    )


def log_likelihood(u: Floats, low: Floats, high: Floats) -> Floats:  # each (N,)
    """log P(low < u + noise < high) for standard logistic noise; ``high`` may be infinite.

    With x = u - low and y = u - high: log(sigmoid(x) - sigmoid(y)) = log sigmoid(x) + log sigmoid(-y) +
    log(1 - exp(low - high)), whose last term does not depend on u. So its derivative by u is
    sigmoid(-x) - sigmoid(y), and its second derivative is never positive.
    """
    return log_expit(u - low) + log_expit(high - u) + np.log(-np.expm1(low - high))


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
        p = weight * np.exp(log_likelihood(u, low, high))
        total += p
        better += p * (node > 0)
    return better / total


# ---------------------------------------------------------------- the answers and their thresholds


@dataclass(frozen=True, eq=False)
class _Point:
    """The likelihood at one setting of the parameters, u averaged over the uncertainty of the qualities.

    Arrays are (N,) except the cells, (K, M + 1): an annotator's answers of one strength, turned to favour the
    first shown. ``low`` and ``high`` are the answer's cuts times s_k.
    """

    difference: Floats  # q_i - q_j
    slope: Floats  # a_k
    residual: Floats  # derivative of the log-likelihood by u
    weight: Floats  # minus its second derivative
    mixed: Floats  # minus its derivative by u and log s_k
    cell_low: Floats
    cell_high: Floats  # 0 instead of infinity for the strongest answer: every product with it is 0
    cell_gap: Floats  # derivative of log(1 - exp(low - high)) by high - low
    cell_count: Floats
    cell_above: Floats  # sums over the cell of P(noise > u - low) and P(noise < u - high), and minus their derivatives
    cell_below: Floats
    cell_above_weight: Floats
    cell_below_weight: Floats

    @property
    def by_scale(self) -> Floats:
        """Derivative of the log-likelihood by each log s_k, (K,)."""
        width = (self.cell_high - self.cell_low) * self.cell_gap * self.cell_count
        return (self.cell_high * self.cell_below - self.cell_low * self.cell_above + width).sum(axis=1)

    @property
    def by_scale_twice(self) -> Floats:
        """Minus the second derivative by each log s_k, in its Gauss-Newton form, (K,)."""
        curve = self.cell_gap * (1 + self.cell_gap) * self.cell_count
        cuts = self.cell_low**2 * self.cell_above_weight + self.cell_high**2 * self.cell_below_weight
        return (cuts + (self.cell_high - self.cell_low) ** 2 * curve).sum(axis=1)


class _Answers:
    """The answers given and the thresholds between them."""

    def __init__(self, data: Comparisons) -> None:
        self.data = data
        level = np.abs(data.strength)
        self.sign = np.where(data.strength < 0, -1.0, 1.0)
        top = max(int(level.max(initial=1)), 1)
        self.cell = data.annotator * (top + 1) + level
        self.cells = (data.annotators, top + 1)
        self.count = self._per_cell(np.ones(len(level)))
        beyond = np.array([(level > m).mean() for m in range(top)])  # at u = 0: P(|y| > m) = 2 sigmoid(-t_m)
        beyond = np.clip(beyond, 1e-4, 1 - 1e-4) / 2
        self.thresholds = np.log1p(-beyond) - np.log(beyond) + GAP * np.arange(top)
        self.free = np.ones(top, dtype=bool)
        if not (level == 0).any():
            self.thresholds -= self.thresholds[0]
            self.free[0] = False

    def evaluate(self, theta: Floats, quality: Floats, variance: Floats) -> _Point:
        """``variance`` (N,) is that of q_i - q_j: E[sigmoid(N(m, v))] is taken as sigmoid(m / sqrt(1 + pi v / 8))."""
        data, k, cell = self.data, self.data.annotator, self.cell
        a, b, c, log_s = theta.T
        cuts = np.exp(log_s)[:, None, None] * np.stack(_cuts(self.thresholds))  # (K, 2, M + 1)
        low, high = cuts[:, 0], cuts[:, 1]
        with np.errstate(over="ignore"):
            gap = 1 / np.expm1(high - low)
        slope, difference = a[k], quality[data.first] - quality[data.second]
        u = self.sign * (slope * difference + b[k] + c[k] * data.length)
        shrink = 1 / np.sqrt(1 + (np.pi / 8 * a**2)[k] * variance)
        above, below = expit(shrink * (low.ravel()[cell] - u)), expit(shrink * (u - high.ravel()[cell]))
        above_weight, below_weight = shrink * above * (1 - above), shrink * below * (1 - below)
        high = np.where(np.isfinite(high), high, 0.0)
        return _Point(
            difference=difference,
            slope=slope,
            residual=self.sign * (above - below),
            weight=above_weight + below_weight,
            mixed=-self.sign * (low.ravel()[cell] * above_weight + high.ravel()[cell] * below_weight),
            cell_low=low,
            cell_high=high,
            cell_gap=gap,
            cell_count=self.count,
            cell_above=self._per_cell(above),
            cell_below=self._per_cell(below),
            cell_above_weight=self._per_cell(above_weight),
            cell_below_weight=self._per_cell(below_weight),
        )

    def step_thresholds(self, at: _Point, scale: Floats) -> None:
        """One Newton step for the thresholds, kept in order; ``scale`` (K,) is s_k at ``at``."""
        top = len(self.thresholds)
        once, twice = scale[:, None], scale[:, None] ** 2
        slack, curve = at.cell_gap * at.cell_count, at.cell_gap * (1 + at.cell_gap) * at.cell_count
        by_low = (-once * (at.cell_above + slack)).sum(axis=0)  # (M + 1,): derivatives by the answer's two cuts
        by_high = (once * (at.cell_below + slack)).sum(axis=0)
        low_low = (twice * (at.cell_above_weight + curve)).sum(axis=0)
        high_high = (twice * (at.cell_below_weight + curve)).sum(axis=0)
        low_high = -(twice * curve).sum(axis=0)
        gradient, hessian = by_low[1:].copy(), np.diag(low_low[1:])  # answer m lies between t_{m-1} and t_m
        gradient[1:] += by_high[1:-1]
        hessian += np.diag(np.append(0.0, high_high[1:-1]))
        hessian += np.diag(low_high[1:-1], 1) + np.diag(low_high[1:-1], -1)
        gradient[0] += by_high[0] - by_low[0]  # and a tie between -t_0 and t_0
        hessian[0, 0] += high_high[0] + low_low[0] - 2 * low_high[0]
        free = self.free
        step = np.zeros(top)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)] + 1e-6 * np.eye(free.sum()), gradient[free])
        spaced = self.thresholds + np.clip(step, -0.5, 0.5) - GAP * np.arange(top)
        spaced[0] = max(spaced[0], GAP * free[0])
        self.thresholds = np.maximum.accumulate(spaced) + GAP * np.arange(top)

    def _per_cell(self, value: Floats) -> Floats:
        return _sums(self.cell, value, self.cells[0] * self.cells[1]).reshape(self.cells)


def _cuts(thresholds: Floats) -> tuple[Floats, Floats]:
    """Lower and upper cut, each (M + 1,), of the answers 0 (tie), 1, ..., M."""
    tie = max(thresholds[0], GAP / 2)  # where nobody tied, a width that is never used but divides
    return np.append(-tie, thresholds), np.append([tie, *thresholds[1:]], np.inf)


# ---------------------------------------------------------------- the annotators


@dataclass(frozen=True, eq=False)
class _Population:
    """The Gaussians from which a, b, c and log s are drawn."""

    mean: Floats  # (4,)
    spread: Floats  # (4,) standard deviations

    @classmethod
    def of(cls, theta: Floats, covariance: Floats) -> _Population:
        """Given the annotators' posteriors, and as if two more had been met: at ``START``, as different as ``SPREAD``."""
        n, prior = len(theta), 2
        mean = (theta.sum(axis=0) + prior * START) / (n + prior)
        squares = (theta - mean) ** 2 + np.diagonal(covariance, axis1=1, axis2=2)
        return cls(mean, np.sqrt((squares.sum(axis=0) + prior * SPREAD**2) / (n + prior)))

    def rescaled(self, tau: float) -> _Population:
        by = np.array([tau, 1.0, 1.0, 1.0])
        return _Population(self.mean * by, self.spread * by)


def _annotator_step(
    data: Comparisons, theta: Floats, population: _Population, at: _Point, variance: Floats
) -> tuple[Floats, Floats]:
    """One Newton step for all annotators, and the inverse of each one's Hessian: (K, 4), (K, 4, 4)."""

    def total(value: Floats) -> Floats:
        return _sums(data.annotator, value, data.annotators)

    r, w, d = at.residual, at.weight, at.difference
    # Stein's lemma, E[r (q_i - q_j)] = E[r] d - w a v: without it qualities would be taken as known
    by_slope = r * d - w * at.slope * variance
    gradient = np.stack([total(by_slope), total(r), total(r * data.length), at.by_scale], axis=1)
    gradient -= (theta - population.mean) / population.spread**2
    hessian = _hessian(data, d, d**2 + variance, w, at.mixed, at.by_scale_twice)
    covariance = np.linalg.inv(hessian + np.diag(population.spread**-2)).astype(np.float64)
    step = np.einsum("kpq,kq->kp", covariance, gradient)
    return theta + np.clip(step, -1.0, 1.0), covariance


def _covariance(data: Comparisons, population: _Population, at: _Point, variance: Floats) -> Floats:
    """Laplace covariance of each annotator's a, b, c, log s with the qualities integrated out, (K, 4, 4).

    The Schur complement of the quality difference, whose variance is ``variance``, takes from every answer what
    the answer had to spend on locating the qualities: w becomes w (1 - w a^2 v).
    """
    spent = at.slope**2 * variance
    kept = np.clip(1 - at.weight * spent, 0.0, 1.0)
    d = at.difference
    scale_scale = at.by_scale_twice - _sums(data.annotator, at.mixed**2 * spent, data.annotators)
    hessian = _hessian(data, d, d**2, at.weight * kept, at.mixed * kept, scale_scale)
    covariance = np.linalg.inv(hessian + np.diag(population.spread**-2)).astype(np.float64)
    return covariance


def _hessian(data: Comparisons, d: Floats, d2: Floats, w: Floats, mixed: Floats, scale_scale: Floats) -> Floats:
    """Each annotator's Hessian of minus the log-likelihood, (K, 4, 4); ``d2`` (N,) stands for the square of d."""
    x = data.length
    hessian = np.empty((data.annotators, 4, 4))
    hessian[:, S, S] = scale_scale
    for p, q, value in (
        (A, A, w * d2), (A, B, w * d), (A, C, w * d * x), (A, S, mixed * d),
        (B, B, w), (B, C, w * x), (B, S, mixed), (C, C, w * x**2), (C, S, mixed * x),
    ):  # fmt: skip
        hessian[:, p, q] = hessian[:, q, p] = _sums(data.annotator, value, data.annotators)
    return hessian


# ---------------------------------------------------------------- the items


class _Pairs:
    """The P distinct pairs that were compared, and the items' Hessian over them: D - W, prior precision 1."""

    def __init__(self, data: Comparisons) -> None:
        self.items = data.items
        low, high = np.minimum(data.first, data.second), np.maximum(data.first, data.second)
        code, self.example, self.of = np.unique(low * data.items + high, return_index=True, return_inverse=True)
        self.low, self.high = code // data.items, code % data.items  # (P,)
        self.turn = np.where(data.first == low, 1.0, -1.0)
        rows, columns = np.concatenate([self.low, self.high]), np.concatenate([self.high, self.low])
        self.matrix = csr_matrix((np.arange(1.0, len(rows) + 1), (rows, columns)), shape=(data.items, data.items))
        self.order = self.matrix.data.astype(np.int64) - 1
        self.groups = list(_small_groups(self.matrix, self.low, self.high))

    def newton_step(self, quality: Floats, at: _Point, length: Floats) -> tuple[Floats, float]:
        """Step for the qualities and for what all annotators share of c, which long good answers confound.

        Inexact Newton: conjugate gradients until the residual has fallen by 50; the next round makes it good.
        """
        precision, diagonal = self._hessian(at)
        slope = self.turn * at.slope
        gradient = self._sum(_sums(self.of, slope * at.residual, len(self.low)), -1.0) - quality
        across = self._sum(_sums(self.of, slope * at.weight * length, len(self.low)), -1.0)  # quality with c
        shared = float(at.weight @ length**2) + 1e-9
        self.matrix.data = np.concatenate([precision, precision])[self.order]

        def hessian(x: Floats) -> Floats:
            by_quality = diagonal * x[:-1] - self.matrix @ x[:-1] + across * x[-1]
            return np.append(by_quality, across @ x[:-1] + shared * x[-1])

        scale, shape = np.append(diagonal, shared), (self.items + 1, self.items + 1)
        step, _ = cg(
            LinearOperator(shape, matvec=hessian, dtype=np.float64),
            np.append(gradient, at.residual @ length),
            M=LinearOperator(shape, matvec=lambda x: x / scale, dtype=np.float64),
            rtol=0.02,
            maxiter=100,
        )
        step = np.clip(step, -2.0, 2.0)
        return step[:-1], float(step[-1])

    def variances(self, at: _Point) -> Floats:
        """Variance of q_i - q_j for each comparison, (N,)."""
        precision, diagonal = self._hessian(at)
        one, other = diagonal[self.low], diagonal[self.high]
        variance = (one + other - 2 * precision) / (one * other - precision**2)
        for group in self.groups:
            inverse = group.inverse(precision, diagonal)
            g, i, j = group.number, group.low, group.high
            variance[group.pairs] = inverse[g, i, i] + inverse[g, j, j] - 2 * inverse[g, i, j]
        return variance[self.of]

    def spread(self, difference: Floats, variance: Floats) -> float:
        """Standard deviation of a quality, from the differences over distinct pairs."""
        return float(np.sqrt(np.mean((difference**2 + variance)[self.example]) / 2))

    def item_variances(self, at: _Point) -> Floats:
        """Variance of each quality, (I,): the diagonal of the inverse Hessian."""
        precision, diagonal = self._hessian(at)
        around = _sums(self.low, precision**2 / diagonal[self.high], self.items)
        around += _sums(self.high, precision**2 / diagonal[self.low], self.items)
        variance = 1 / diagonal + around / diagonal**2
        for group in self.groups:
            inverse = group.inverse(precision, diagonal)
            variance[group.items] = np.diagonal(inverse, axis1=1, axis2=2)
        return variance

    def _hessian(self, at: _Point) -> tuple[Floats, Floats]:
        """Precision that each pair's answers give its difference, W (P,), and the diagonal D (I,)."""
        precision = _sums(self.of, at.weight * at.slope**2, len(self.low))
        return precision, 1.0 + self._sum(precision, 1.0)

    def _sum(self, value: Floats, turn: float) -> Floats:
        """Per item, the values of its pairs; times ``turn`` where the item is the pair's higher one."""
        return _sums(self.low, value, self.items) + turn * _sums(self.high, value, self.items)


@dataclass(frozen=True, eq=False)
class _Groups:
    """The G groups of n connected items, for one n: here the Hessian is inverted exactly."""

    items: Ints  # (G, n)
    pairs: Ints  # which pairs lie in these groups
    number: Ints  # of each of these pairs: its group
    low: Ints  # and the places of its two items in the group
    high: Ints

    def inverse(self, precision: Floats, diagonal: Floats) -> Floats:
        """(G, n, n)"""
        blocks = np.zeros((*self.items.shape, self.items.shape[1]))
        places = np.arange(self.items.shape[1])
        blocks[:, places, places] = diagonal[self.items]
        blocks[self.number, self.low, self.high] = blocks[self.number, self.high, self.low] = -precision[self.pairs]
        return np.linalg.inv(blocks)


def _small_groups(matrix: csr_matrix, low: Ints, high: Ints) -> Iterator[_Groups]:
    _, group = connected_components(matrix, directed=False)
    size = np.bincount(group)
    order = np.argsort(group, kind="stable")
    start = np.cumsum(size) - size
    place = np.empty(len(group), dtype=np.int64)
    place[order] = np.arange(len(group)) - np.repeat(start, size)
    for n in np.unique(size[size <= EXACT_GROUP]):
        chosen = np.flatnonzero(size == n)
        number = np.full(len(size), -1)
        number[chosen] = np.arange(len(chosen))
        pairs = np.flatnonzero(size[group[low]] == n)
        items = order[start[chosen, None] + np.arange(n)]
        yield _Groups(items, pairs, number[group[low[pairs]]], place[low[pairs]], place[high[pairs]])


def _sums(index: Ints, value: Floats, n: int) -> Floats:
    """(n,) sums of ``value`` over equal ``index``."""
    return np.bincount(index, value, minlength=n).astype(np.float64, copy=False)
