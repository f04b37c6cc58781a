"""What is known of the annotators: reliability integrated over a grid, the other three parameters along it.

Whoever gave two answers has a wide and skewed posterior, whoever gave two thousand a narrow one; a maximum with a
standard error is right for neither crowd. So the likelihood of each a_k is computed at ``NODES`` Chebyshev nodes of a range
that follows the annotator, interpolated (Lagrange), and integrated on a grid of ``POINTS``. Position, length and reserve
are where a 4 x 4 Newton step puts them at every a_k (the Laplace approximation nested in the grid, as in Rue, Martino and
Chopin 2009).

How much annotators differ in reliability is not known either. A crowd is Gaussian, or log-normal with a few or many of
another kind (random, inverting) in it, and more or less varied (``VARIATION``). These kinds of crowd are integrated
too, weighted by their evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from custodes.feedback.ordinal import TINY, OrdinalAnswers, Probability, probability, step_thresholds
from custodes.feedback.qualities import sums
from custodes.types import Floats

A, B, C, S = range(4)  # columns of ``theta``: reliability, position, length, log of the strength scale
START = np.array([1.0, 0.0, 0.0, 0.0])  # everybody is honest and unbiased
SPREAD = np.array([0.5, 0.5, 0.5, 0.3])  # and annotators differ by as much as this
MET = 2.0  # as if so many more annotators had been met, who are as at ``START`` and differ by ``SPREAD``
STEADY = 1.0  # largest step of a parameter in one round
ROWS = 20_000  # answers that are evaluated together: what stays in a processor's cache

VARIATION = np.array([0.12, 0.25, 0.4, 0.55, 0.75, 1.1])  # standard deviation of reliability over its mean
LOG_SD = np.sqrt(np.log1p(VARIATION**2))
STRANGERS = (0.0, 0.1, 0.4)  # shares of annotators of any kind in log-normal crowds
STRANGE = 0.6  # their reliability is N(0, STRANGE^2), in units of the median of the others
PRIOR = np.tile(
    -((np.log(VARIATION / 0.5) / 0.65) ** 2) / 2, 1 + len(STRANGERS)
)  # log; centred on what crowds are like
WIDE = 4  # a wide crowd: where the nodes of an annotator must reach whatever the crowd turns out to be
SQUARE = np.concatenate(  # mean square of reliability in each kind of crowd, in units of its centre
    [1 + VARIATION**2, *((np.exp(2 * LOG_SD**2) * (1 - w) + w * STRANGE**2) / (1 - w) ** 2 for w in STRANGERS)]
)
LOWEST, HIGHEST = -2.0, 4.5  # reliabilities that are looked at, in units of their root mean square
REACH = 5.0  # standard deviations to either side that the nodes cover

NODES, POINTS = 15, 91
CHEBYSHEV = -np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
GRID = np.linspace(-1, 1, POINTS)


def _lagrange() -> Floats:
    """(G, F) weights of a function's values at the nodes in its interpolation at the grid (barycentric formula)."""
    weight = (-1.0) ** np.arange(NODES) * np.sin(np.pi * (np.arange(NODES) + 0.5) / NODES)
    apart = GRID[:, None] - CHEBYSHEV
    apart[np.abs(apart) < 1e-12] = 1e-12  # at a node, its own value
    return np.asarray((weight / apart / (weight / apart).sum(axis=1, keepdims=True)).T)


LAGRANGE = _lagrange()


@dataclass(frozen=True, eq=False)
class Population:
    """The crowd. b, c and log s are Gaussian."""

    mean: Floats  # (4,) that of a unused
    spread: Floats  # (4,) standard deviations, 0 where all annotators are alike
    level: float  # root mean square of a
    share: Floats  # (H,) probability of each kind of crowd

    @property
    def centre(self) -> float:
        """The centre of ``_densities``."""
        return self.level / float(np.sqrt(self.share @ SQUARE))


@dataclass(frozen=True, eq=False)
class Annotators:
    """The K posteriors."""

    theta: Floats  # (K, 4) means: a, b, c, log s
    ridge: Floats  # (K, 4) derivative of the four by a
    covariance: Floats  # (K, 4, 4)
    middle: Floats  # (K,) of the range of the nodes
    reach: Floats  # (K,) half of its width
    population: Population

    @classmethod
    def begin(cls, count: int, alike: bool) -> Annotators:
        """``alike``: all have the same reliability and no bias (plain Bradley-Terry)."""
        spread = SPREAD * (not alike)
        share = np.exp(PRIOR) / np.exp(PRIOR).sum()
        ridge = np.zeros((count, 4))
        ridge[:, A] = 1.0
        return cls(
            theta=np.tile(START, (count, 1)),
            ridge=ridge,
            covariance=np.tile(np.diag(spread**2), (count, 1, 1)),
            middle=np.full(count, START[A] if alike else (HIGHEST + LOWEST) / 2),
            reach=np.full(count, 0.0 if alike else (HIGHEST - LOWEST) / 2),
            population=Population(START, spread, START[A], share),
        )

    @property
    def nodes(self) -> Floats:
        """(K, G) values of a."""
        return self.middle[:, None] + self.reach[:, None] * CHEBYSHEV

    @property
    def typical(self) -> float:
        """The root mean square of the estimated reliabilities."""
        return float(np.sqrt(np.mean(self.theta[:, A] ** 2)))

    @property
    def sd(self) -> Floats:
        """(K, 4) posterior standard deviations."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    def rescaled(self, tau: float) -> Annotators:
        """The same with reliabilities ``tau`` times as large."""
        by, p = np.array([tau, 1.0, 1.0, 1.0]), self.population
        return replace(
            self,
            theta=self.theta * by,
            ridge=self.ridge * by / tau,
            covariance=self.covariance * np.outer(by, by),
            middle=self.middle * tau,
            reach=self.reach * tau,
            population=replace(p, level=p.level * tau),
        )


@dataclass(frozen=True, eq=False)
class Look:
    """What one look at all answers gives."""

    pull: (
        Floats  # (N,) derivative by the mean difference of each answer's log-probability, its annotator integrated out
    )
    curve: Floats  # (N,) minus its second derivative
    evidence: Floats  # (H,) log-probability of all answers in each kind of crowd
    centre: Floats  # (K,) posterior mean of each a
    variance: Floats  # (K,)
    wide_centre: Floats  # (K,) the same in a wide crowd
    wide_sd: Floats  # (K,)
    interval: Floats  # (K, 2) central 95 %


def look_at_annotator(answers: OrdinalAnswers, crowd: Annotators, mean: Floats, variance: Floats) -> Look:
    """All answers at all nodes, given what everybody's *other* answers say of each difference: mean, variance (N,)."""
    K, N, bounds = len(crowd.theta), len(mean), answers.bounds
    pull, curve, evidence = np.empty(N), np.empty(N), np.zeros(len(PRIOR))
    summary = np.empty((K, 6))
    start = 0
    while start < K:
        stop = max(int(np.searchsorted(bounds, bounds[start] + ROWS, "right")) - 1, start + 1)
        rows, some = slice(bounds[start], bounds[stop]), slice(start, stop)
        u, slope, log_scale = _leaning(answers, crowd, rows, mean)
        found = probability(answers, rows, u, slope, log_scale, variance[rows, None])
        log = _per_annotator(answers, rows, some, np.log(found.value)) - _occam(answers, crowd, rows, some, found)
        posterior = _Posterior.of(crowd, log, some)
        evidence += posterior.evidence
        summary[some] = posterior.summary()
        p = (posterior.p @ LAGRANGE.T)[answers.annotator[rows] - start]  # weights of the nodes
        by = found.by_u * slope
        pull[rows] = np.einsum("ng,ng->n", p, by)
        curve[rows] = pull[rows] ** 2 - np.einsum("ng,ng->n", p, found.by_u_twice * slope**2)
        start = stop
    centre, spread, wide_centre, wide_sd = summary[:, :4].T
    return Look(pull, curve, evidence, centre, spread, wide_centre, wide_sd, summary[:, 4:])


def _leaning(answers: OrdinalAnswers, crowd: Annotators, rows: slice, mean: Floats) -> tuple[Floats, Floats, Floats]:
    """u, a and log s of each answer at each node, (n, G)."""
    k, nodes = answers.annotator[rows], crowd.nodes
    along = nodes - crowd.theta[:, A, None]
    b, c, log_s = (crowd.theta[:, p, None] + crowd.ridge[:, p, None] * along for p in (B, C, S))
    slope = nodes[k]
    u = slope * mean[rows, None] + b[k]
    if answers.lengths:
        u += c[k] * answers.length[rows, None]
    return u, slope, log_s[k]


def _occam(answers: OrdinalAnswers, crowd: Annotators, rows: slice, some: slice, found: Probability) -> Floats:
    """(K, G) what the freedom of b and c costs at each node: half the log-determinant of Laplace's approximation."""
    spread, weight = crowd.population.spread, found.by_u**2 - found.by_u_twice
    cost = np.log1p(spread[B] ** 2 * np.maximum(_per_annotator(answers, rows, some, weight), 0)) / 2
    if answers.lengths:
        weight *= answers.length[rows, None] ** 2
        cost += np.log1p(spread[C] ** 2 * np.maximum(_per_annotator(answers, rows, some, weight), 0)) / 2
    return cost


def _per_annotator(answers: OrdinalAnswers, rows: slice, some: slice, value: Floats) -> Floats:
    """(k, G) sums of ``value`` (n, G) over the answers of each of ``some`` annotators."""
    starts = answers.bounds[some]
    filled = answers.bounds[some.start + 1 : some.stop + 1] > starts
    total = np.zeros((len(starts), value.shape[1]))
    total[filled] = np.add.reduceat(value, starts[filled] - rows.start, axis=0)
    return total


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Of k annotators' reliability, on their points."""

    points: Floats  # (k, F)
    p: Floats  # (k, F)
    wide: Floats  # (k, F) in a wide crowd
    evidence: Floats  # (H,)

    @classmethod
    def of(cls, crowd: Annotators, log: Floats, some: slice) -> _Posterior:
        """``log`` (k, G) is the log-likelihood at the nodes."""
        population, reach = crowd.population, crowd.reach[some]
        points = crowd.middle[some, None] + reach[:, None] * GRID
        if not population.spread[A]:
            p = np.full(points.shape, 1 / POINTS)
            return cls(points, p, p, np.zeros(len(PRIOR)))
        rest = log @ LAGRANGE
        along = points - crowd.theta[some, A, None]
        for q in (B, C, S):
            at = crowd.theta[some, q, None] + crowd.ridge[some, q, None] * along
            rest -= ((at - population.mean[q]) / population.spread[q]) ** 2 / 2
        largest = rest.max(axis=1, keepdims=True)
        weight = np.exp(rest - largest)
        whole = reach > (HIGHEST - LOWEST) / 2 * population.level * (1 - 1e-9)  # who share one range share densities
        total, p, wide = np.empty((len(PRIOR), len(points))), np.empty_like(points), np.empty_like(points)
        for which, at in (
            (whole, ((LOWEST + HIGHEST) / 2 + (HIGHEST - LOWEST) / 2 * GRID) * population.level),
            (~whole, points[~whole]),
        ):
            if not which.any():
                continue
            density = _densities(at, population.centre)
            w = weight[which]
            if at.ndim == 1:
                total[:, which] = density @ w.T + TINY
                mixed = (population.share[:, None] / total[:, which]).T @ density
            else:
                total[:, which] = np.einsum("kf,hkf->hk", w, density) + TINY
                mixed = np.einsum("hk,hkf->kf", population.share[:, None] / total[:, which], density)
            p[which], wide[which] = w * mixed, w * density[WIDE] / total[WIDE, which][:, None]
        evidence = (np.log(total * reach) + largest[:, 0]).sum(axis=1)
        return cls(points, p, wide, evidence)

    def summary(self) -> Floats:
        """(k, 6): mean and variance; mean and standard deviation in a wide crowd; the 95 % interval."""
        columns = []
        for p in (self.p, self.wide):
            mean = (p * self.points).sum(axis=1)
            columns += [mean, (p * (self.points - mean[:, None]) ** 2).sum(axis=1)]
        below = np.cumsum(self.p, axis=1) - self.p / 2
        rows = np.arange(len(below))
        for q in (0.025, 0.975):
            right = np.clip((below < q).sum(axis=1), 1, POINTS - 1)
            low, high = below[rows, right - 1], below[rows, right]
            share = np.clip((q - low) / np.maximum(high - low, TINY), 0, 1)
            columns.append(
                self.points[rows, right - 1] + share * (self.points[rows, right] - self.points[rows, right - 1])
            )
        columns[3] = np.sqrt(columns[3])
        return np.stack(columns, axis=1)


def _densities(a: Floats, centre: float) -> Floats:
    """(H, ...) of reliabilities in each kind of crowd.

    ``centre`` is the mean of the Gaussian, and the median of the log-normal's honest times their share: what answers
    determine well, and nearly alike whatever the kind.
    """
    spread, log_sd = (v.reshape(-1, *(1 for _ in a.shape)) for v in (VARIATION * centre, LOG_SD))
    kinds = [np.exp(-(((a - centre) / spread) ** 2) / 2) / spread]
    positive = np.maximum(a, 1e-9 * centre)
    logs = np.log(positive / centre)
    for share in STRANGERS:
        strange = centre / (1 - share) * STRANGE
        honest = np.exp(-(((logs + np.log1p(-share)) / log_sd) ** 2) / 2) / (positive * log_sd)
        kinds.append((1 - share) * np.where(a > 0, honest, 0.0) + share * np.exp(-((a / strange) ** 2) / 2) / strange)
    return np.concatenate(kinds)


# ---------------------------------------------------------------- one round of the annotators


def update(
    answers: OrdinalAnswers, crowd: Annotators, seen: Look, mean: Floats, variance: Floats
) -> tuple[Annotators, Floats]:
    """The posteriors after a look, and new thresholds: the nodes follow, the other parameters take a step."""
    population, theta = crowd.population, crowd.theta.copy()
    share = population.share
    if population.spread[A]:
        share = np.exp(PRIOR + seen.evidence - (PRIOR + seen.evidence).max())
        share /= share.sum()
    gradient, hessian, thresholds = _at_means(answers, crowd, mean, variance)
    tight = np.where(population.spread > 0, population.spread, 1e-6)
    gradient -= (theta - population.mean) / tight**2
    hessian += np.diag(tight**-2)
    inverse = np.linalg.inv(hessian[:, 1:, 1:])
    ridge = np.ones_like(theta)
    ridge[:, 1:] = -np.einsum("kpq,kq->kp", inverse, hessian[:, 1:, A])
    shift = np.clip(seen.centre - theta[:, A], -STEADY, STEADY)
    theta[:, A] = seen.centre if population.spread[A] else theta[:, A]
    step = np.einsum("kpq,kq->kp", inverse, gradient[:, 1:]) + ridge[:, 1:] * shift[:, None]
    theta[:, 1:] += np.clip(step, -STEADY, STEADY) * (population.spread[1:] > 0)
    theta[:, S] -= theta[:, S].mean()  # what the annotators share is in the thresholds
    if answers.lengths:
        theta[:, C] -= theta[:, A] * _shared(theta)
    covariance = np.zeros_like(hessian)
    covariance[:, 1:, 1:] = inverse
    covariance += seen.variance[:, None, None] * ridge[:, :, None] * ridge[:, None, :]
    met = _met(population, theta, covariance, share)
    after = replace(crowd, theta=theta, ridge=ridge, covariance=covariance, population=met)
    return (_following(after, seen) if population.spread[A] else after), thresholds


def _shared(theta: Floats) -> float:
    """The preference for length, per unit of quality, that the typical annotator has: weighted median of c_k / a_k.

    Nothing tells it from quality, so it stays in the qualities. A median: a few who are biased do not make the others
    look biased the other way.
    """
    weight, ratio = np.abs(theta[:, A]), theta[:, C] / np.where(theta[:, A] == 0, 1.0, theta[:, A])
    order = np.argsort(ratio)
    below = np.cumsum(weight[order]) - weight[order] / 2
    return float(np.interp(weight.sum() / 2, below, ratio[order]))


def _following(crowd: Annotators, seen: Look) -> Annotators:
    """Nodes where a posterior would be in a wide crowd, and in this one; of all reliabilities where that is most of them."""
    level, half = crowd.population.level, (HIGHEST - LOWEST) / 2 * crowd.population.level
    reach = np.abs(seen.wide_centre - seen.centre) + REACH * np.maximum(seen.wide_sd, 1e-6 * level)
    reach = np.where(reach > 0.9 * half, half, reach)
    return replace(crowd, reach=reach, middle=np.clip(seen.centre, LOWEST * level + reach, HIGHEST * level - reach))


def _met(population: Population, theta: Floats, covariance: Floats, share: Floats) -> Population:
    """The crowd, as if ``MET`` more had been met.

    MacKay's (1992) fixed point for a variance: squares over the number of parameters that the answers determine. Where
    answers are few it needs tens of rounds in place of the hundreds of expectation-maximisation.
    """
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    mean = np.where([False, True, False, False], theta.sum(axis=0) / (len(theta) + MET), START)
    before = np.maximum(population.spread, 1e-9) ** 2
    known = np.clip(1 - variance / before, 0.0, 1.0).sum(axis=0)
    spread = np.sqrt((((theta - mean) ** 2).sum(axis=0) + MET * SPREAD**2) / (known + MET))
    spread = np.where(population.spread > 0, spread, 0.0)
    squares = float((theta[:, A] ** 2 + variance[:, A]).sum())
    level = np.sqrt((squares + MET * START[A] ** 2) / (len(theta) + MET)) if population.spread[A] else theta[0, A]
    return Population(mean, spread, float(level), share)


def _at_means(
    answers: OrdinalAnswers, crowd: Annotators, mean: Floats, variance: Floats
) -> tuple[Floats, Floats, Floats]:
    """Gradient (K, 4) and Hessian (K, 4, 4) of minus the log-likelihood at the posterior means; new thresholds."""
    k, x, K = answers.annotator, answers.length, len(crowd.theta)
    a, b, c, log_s = crowd.theta.T
    u = a[k] * mean + b[k] + c[k] * x
    found = probability(answers, slice(None), u, a[k], log_s[k], variance)
    r, w = found.by_u, found.by_u**2 - found.by_u_twice
    by_scale, mixed, by_scale_twice = found.by_log_scale()

    def total(value: Floats) -> Floats:
        return sums(k, value, K)

    gradient = np.stack([total(r * mean), total(r), total(r * x), total(by_scale)], axis=1)
    hessian = np.empty((K, 4, 4))
    for p, q, value in (
        (A, A, w * mean**2), (A, B, w * mean), (A, C, w * mean * x), (A, S, mixed * mean), (S, S, by_scale_twice),
        (B, B, w), (B, C, w * x), (B, S, mixed), (C, C, w * x**2), (C, S, mixed * x),
    ):  # fmt: skip
        hessian[:, p, q] = hessian[:, q, p] = total(value)
    return gradient, hessian, step_thresholds(answers, found, np.exp(log_s)[k])
