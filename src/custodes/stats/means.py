"""Means, paired differences and their tests, and statistics of any kind by the jackknife."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import scipy  # its parts are imported where they are first used: scipy.stats takes a second
from numpy.typing import ArrayLike, NDArray

from custodes.stats.base import (
    Interval,
    check_level,
    cluster_codes,
    effective_items,
    finite,
    normal_quantile,
    pair,
    pseudo_values,
    same_length,
    t_quantile,
)
from custodes.types import Floats

ENUMERATED = 16  # up to so many pairs all 2^n signs are gone through
GROUPS = 500  # of the jackknife
TURNS = 2000  # of the signs, where several means are judged at once
COUNTED = 10**7  # up to so many pairs times so large a sum of whole numbers the signs are counted exactly


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A two-sided test on paired items: which one, its p-value, and the number of pairs (clusters, where clustered)."""

    test: str
    p: float
    n: int

    @property
    def too_few(self) -> bool:
        """Whether no difference could have p below .05: the smallest possible is 2 / 2^n."""
        return 2 * 0.5**self.n > 0.05

    @property
    def note(self) -> str | None:
        """What to say of too few pairs, in one sentence."""
        if not self.too_few:
            return None
        return f"{self.n} pairs are too few for a test: the smallest possible p is {min(1.0, 2 * 0.5**self.n):.3g}."


def mean_interval(values: ArrayLike, clusters: Sequence[Hashable] | None = None, level: float = 0.95) -> Interval:
    """Interval of the mean of ``values`` (n,): Student's t, widened on the side to which the values are skewed.

    The hull of the t interval and of Hall's transformed one (Hall, JRSS B 1992, section 2: the skewness is taken off by a
    cubic). The t interval alone covers .80 to .90 of the time where few values are skewed. ``clusters`` (n,) is one id per
    value: items that share a prompt or an annotator are not independent. Then it is the interval of the clusters'
    pseudo-values, and ``Interval.n`` is their number G. Values that are all equal have no interval: for a rate use
    :func:`~custodes.stats.rates.rate`, which has.
    """
    x = finite("values", values, level)
    if clusters is not None and len(x):
        codes = cluster_codes(clusters, len(x))
        if (G := int(codes.max()) + 1) < 2:
            return Interval(float(x.mean()), -math.inf, math.inf, G)
        return _of_mean(pseudo_values(x, codes), float(x.mean()), level)
    return _of_mean(x, float(x.mean()) if len(x) else math.nan, level)


def paired_difference(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable] | None = None, level: float = 0.95
) -> Interval:
    """Interval of mean(a - b), where ``a[i]`` and ``b[i]`` (n,) are the same item under two treatments.

    Where all values are 0 or 1, the adjusted Wald interval of Bonett and Price (Statistics in Medicine 2012). One imaginary
    pair is added to each kind of disagreement, so that the width is not 0 where no pair differs. With ``clusters`` the pairs
    count as many as the clusters are worth (:func:`~custodes.stats.base.effective_items`). Otherwise the mean's
    interval (:func:`mean_interval`). Differences that are all equal get two imaginary pairs, one standard deviation of
    the values above and below. ``estimate`` is the plain difference.
    """
    x, y = pair(a, b, level)
    if np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all():
        return _of_rates(x - y, clusters, level)
    found = mean_interval(x - y, clusters, level)
    spread = float(np.concatenate([x, y]).std())
    if found.n > 1 and np.ptp(x - y) == 0 and spread > 0:
        half = t_quantile(level, found.n - 1) * spread * math.sqrt(2 / ((found.n + 1) * (found.n + 2)))
        return Interval(found.estimate, found.estimate - half, found.estimate + half, found.n)
    return found


def paired_test(a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable] | None = None) -> PairedTest:
    """Whether two treatments of the same n items differ.

    Exact McNemar (1947) where all values are 0 or 1. Otherwise, and for the sums of ``clusters``, the exact sign-flip test
    (Fisher, 1935): how often signs drawn at random give a sum as far from 0. Where the signs are too many to go through,
    the paired t test. Without a difference p is 1, and p is never below 2 / 2^n.
    """
    x, y = pair(a, b)
    difference = x - y
    if clusters is not None and len(x):
        difference = np.bincount(cluster_codes(clusters, len(x)), difference).astype(float)
    n = len(difference)
    binary = bool(np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all())
    name = "exact McNemar" if binary and clusters is None else "exact sign-flip"
    different = np.abs(difference[difference != 0])
    if not len(different):
        return PairedTest(name, 1.0, n)
    reached = abs(float(difference.sum()))
    if np.ptp(different) == 0:
        return PairedTest(name, _chance_of_signs(len(different), round(reached / float(different[0]))), n)
    if bool((different == np.round(different)).all()) and different.sum() * len(different) <= COUNTED:
        return PairedTest(name, _chance_of_whole_sum(different.astype(int), reached), n)
    if len(different) <= ENUMERATED:
        sums = np.abs(
            reduce(lambda all_of_it, d: np.concatenate([all_of_it + d, all_of_it - d]), different, np.zeros(1))
        )
        return PairedTest(name, float(np.mean(sums >= reached * (1 - 1e-9))), n)
    t = abs(float(difference.mean() / (difference.std(ddof=1) / math.sqrt(n)))) if np.ptp(difference) else math.inf
    p = 2 * float(scipy.special.stdtr(n - 1, -t))
    return PairedTest("paired t", max(p, 2 * 0.5 ** len(different)), n)


def simultaneous_means(values: ArrayLike, level: float = 0.95, seed: int = 0) -> list[tuple[Interval, float]]:
    """Intervals of the means of ``values`` (K, n) that hold all K at once, and two-sided p-values corrected for K.

    The max-t method (Westfall and Young, 1993): item i's K values keep together, and their signs are turned at random,
    which keeps the correlation of the K means. Where all values of a mean are equal its p-value is 1 at 0, else 2 / 2^n,
    and its interval is as wide as the widest of the others.
    """
    x = np.asarray(values, float)
    check_level(level)
    (K, n), mean = x.shape, x.mean(axis=1)
    varies = np.ptp(x, axis=1) > 0
    if n < 2 or not varies.any():
        return [(Interval(float(m), -math.inf, math.inf, n), 1.0) for m in mean]
    off = (x - mean[:, None])[varies]
    error = off.std(axis=1, ddof=1) / math.sqrt(n)
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (TURNS, n))
    turned = signs @ off.T / n  # (TURNS, K'), and its standard error below: that of the turned values
    errors = np.sqrt(np.maximum((off**2).mean(axis=1) - turned**2, 1e-300) / (n - 1))
    largest = np.abs(turned / errors).max(axis=1)
    half = np.full(K, float(np.quantile(largest, level, method="higher")) * error.max())
    half[varies] *= error / error.max()
    p = np.where(mean == 0, 1.0, min(1.0, 2 * 0.5**n))
    p[varies] = [(1 + (largest >= t).sum()) / (1 + TURNS) for t in np.abs(mean[varies]) / error]
    return [
        (Interval(float(m), float(m - h), float(m + h), n), float(q)) for m, h, q in zip(mean, half, p, strict=True)
    ]


def jackknife(
    statistic: Callable[..., float],
    *arrays: ArrayLike,
    imaginary: Sequence[ArrayLike] = (),
    bounds: tuple[float, float] = (-math.inf, math.inf),
    level: float = 0.95,
) -> Interval:
    """Interval of a smooth ``statistic(*arrays)`` (a kappa, a correlation; no median) of n items, arrays (n, ...).

    The interval of a mean, of the n pseudo-values (Miller, Biometrika 1974); of more than 500 items, in as many groups.
    ``imaginary``, an item for each array, is what was not seen but may happen (a disagreement where all agree): the
    interval reaches as far as that of the n + 1 items would. The bounds are cut to ``bounds``. Where the pseudo-values are
    all equal or cannot be computed, those are the interval.
    """
    data = [np.asarray(a) for a in arrays]
    n = same_length(*data)
    check_level(level)
    estimate = float(statistic(*data)) if n else math.nan
    found = Interval(estimate, *_jackknifed(statistic, data, level, skewed=True), n)
    if imaginary and not math.isnan(estimate):
        more = [np.concatenate([x, np.asarray(one)[None]]) for x, one in zip(data, imaginary, strict=True)]
        low, high = _jackknifed(statistic, more, level, skewed=False)  # the imaginary item is skew enough
        known = math.isfinite(found.low)
        found = Interval(
            estimate,
            min(found.low, low, estimate) if known else min(low, estimate),
            max(found.high, high, estimate) if known else max(high, estimate),
            n,
        )
    return found.within(*bounds)


def _jackknifed(
    statistic: Callable[..., float], data: Sequence[NDArray[np.generic]], level: float, skewed: bool
) -> tuple[float, float]:
    n = len(data[0])
    groups = min(n, GROUPS)
    estimate = float(statistic(*data)) if n else math.nan
    if n < 2 or math.isnan(estimate):
        return -math.inf, math.inf
    group = np.arange(n) % groups
    without = [float(statistic(*(x[group != g] for x in data))) for g in range(groups)]
    pseudo = groups * estimate - (groups - 1) * np.array(without)
    if not np.isfinite(pseudo).all():
        return -math.inf, math.inf
    found = _of_mean(pseudo, estimate, level, skewed)
    return found.low, found.high


def rank_correlation(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Spearman's rank correlation of a and b (n,), interval by Fisher's z with the variance of Bonett and Wright
    (2000, eq. 3): (1 + r^2 / 2) / (n - 3).

    Below n = 4 the interval is -1..1; where one side is constant the estimate is NaN too. A perfect ranking
    counts as half a step from perfect (a neighbour swap costs 12 / (n^3 - n)), so that its interval has a width.
    """
    x, y = pair(a, b, level)
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(math.nan, -1.0, 1.0, n)
    r = float(scipy.stats.spearmanr(x, y).statistic)
    if n < 4:
        return Interval(r, -1.0, 1.0, n)
    half_step = 6 / (n**3 - n)
    z = math.atanh(min(max(r, -1 + half_step), 1 - half_step))
    half = normal_quantile(level) * math.sqrt((1 + r * r / 2) / (n - 3))
    return Interval(r, min(math.tanh(z - half), r), max(math.tanh(z + half), r), n)


# ---------------------------------------------------------------- parts


def _of_mean(x: Floats, estimate: float, level: float, skewed: bool = True) -> Interval:
    """Of independent values (n,), around ``estimate``; without ``skewed`` the t interval alone."""
    n, s = len(x), float(x.std(ddof=1)) if len(x) > 1 else 0.0
    if s <= 1e-12 * float(np.abs(x).max(initial=0)):
        return Interval(estimate, -math.inf, math.inf, n)
    q = t_quantile(level, n - 1) / math.sqrt(n)
    low, high = estimate - s * q, estimate + s * q
    if not skewed:
        return Interval(estimate, low, high, n)
    skewness = n * float((((x - x.mean()) / s) ** 3).sum()) / ((n - 1) * (n - 2)) if n > 2 else 0.0
    if abs(skewness) > 1e-9:
        up, down = (
            3 / skewness * (math.copysign(abs(y) ** (1 / 3), y) - 1)
            for y in (1 + skewness * (u - skewness / (6 * n)) for u in (q, -q))
        )
        low, high = min(low, estimate - s * up), max(high, estimate - s * down)
    return Interval(estimate, low, high, n)


def _of_rates(difference: Floats, clusters: Sequence[Hashable] | None, level: float) -> Interval:
    """``difference`` (n,) in -1, 0, 1."""
    G = n = float(len(difference))
    if not n:
        return Interval(math.nan, -1.0, 1.0, 0)
    won, lost, estimate = float((difference > 0).mean()), float((difference < 0).mean()), float(difference.mean())
    if clusters is not None:
        codes = cluster_codes(clusters, len(difference))
        G = float(codes.max()) + 1
        n = effective_items(difference, codes, (won + lost - estimate**2), level)
    won, lost = (won * n + 1) / (n + 2), (lost * n + 1) / (n + 2)
    middle = won - lost
    half = normal_quantile(level) * math.sqrt((won + lost - middle**2) / (n + 2))
    return Interval(estimate, max(-1.0, middle - half), min(1.0, middle + half), int(G))


def _chance_of_signs(n: int, reached: int) -> float:
    """P(|sum of n signs| >= reached): the binomial distribution."""
    more = (n + reached) // 2
    return min(1.0, 2 * float(scipy.special.betainc(more, n - more + 1, 0.5))) if reached else 1.0


def _chance_of_whole_sum(sizes: NDArray[np.int64], reached: float) -> float:
    """P(|sum of ±size| >= reached) for whole numbers: the exact distribution, one number added after another."""
    total = int(sizes.sum())
    chance = np.zeros(2 * total + 1)  # of each sum, from -total
    chance[total] = 1
    for size in sizes.tolist():
        chance = (np.roll(chance, size) + np.roll(chance, -size)) / 2  # what would wrap round is 0 so far
    sums = np.abs(np.arange(-total, total + 1))
    return min(1.0, float(chance[sums >= reached].sum()))
