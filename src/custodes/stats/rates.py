"""The rate of a 0/1 quantity: one mechanism, for outcomes, for counts, and where items repeat."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import scipy  # its parts are imported where they are first used: scipy.stats takes a second
from numpy.typing import ArrayLike

from custodes.stats.base import (
    Interval,
    check_level,
    cluster_codes,
    effective_items,
    finite,
    normal_quantile,
)
from custodes.types import InputError


def rate(outcomes: ArrayLike, clusters: Sequence[Hashable] | None = None, level: float = 0.95) -> Interval:
    """Interval of the rate at which ``outcomes`` (n,) are 1: :func:`wilson`, which is never of width 0.

    Outcomes lie in 0..1; halves and other shares count as parts of an event, which is on the safe side. With
    ``clusters`` (n,), one id per outcome (plays of one variant, critiques of one function), the interval is that of as many
    independent items as the clusters are worth (:func:`~custodes.stats.base.effective_items`), and ``Interval.n`` is
    their number G.
    """
    x = finite("a rate", outcomes, level)
    if len(x) and not (x.min() >= 0 and x.max() <= 1):
        raise InputError(f"a rate of outcomes from {x.min():g} to {x.max():g}; they must lie in 0..1.")
    if clusters is None or not len(x):
        return wilson(float(x.sum()), len(x), level)
    codes = cluster_codes(clusters, len(x))
    p = min(float(x.mean()), 1.0)
    low, high = _score(p, effective_items(x, codes, p * (1 - p), level), level)
    return Interval(p, low, high, int(codes.max()) + 1)


def wilson(k: float, n: int, level: float = 0.95) -> Interval:
    """Interval of the rate k/n of independent items; ``k`` may hold halves. Never of width 0, also at k = 0 and k = n.

    Wilson's score interval (JASA 1927). Its bounds near 0 and 1, where it covers too rarely, are widened to the exact
    one-sided ones, after Brown, Cai and DasGupta (Statistical Science 2001, section 4.1).
    """
    _check_counts(k, n, level)
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    return Interval(k / n, *_score(k / n, n, level), int(n))


def clopper_pearson(k: float, n: int, level: float = 0.95) -> Interval:
    """Exact interval of the rate k/n (Clopper and Pearson, 1934): covers at least ``level``, wider than Wilson's."""
    _check_counts(k, n, level)
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    return Interval(k / n, _exact_low(k, n, (1 - level) / 2), 1 - _exact_low(n - k, n, (1 - level) / 2), int(n))


def upper_bound_zero(n: int, level: float = 0.95) -> float:
    """What to print after "0 of n": the one-sided exact (Clopper-Pearson) upper bound of the rate, about 3/n."""
    _check_counts(0, n, level)
    return 1 - _exact_low(n, n, 1 - level) if n else 1.0


def _score(p: float, n: float, level: float) -> tuple[float, float]:
    z2 = normal_quantile(level) ** 2
    middle, half = p + z2 / (2 * n), math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    low = min((middle - half) / (1 + z2 / n), _exact_low(p * n, n, 1 - level))
    high = max((middle + half) / (1 + z2 / n), 1 - _exact_low(n - p * n, n, 1 - level))
    # at 0 and 1 rounding leaves the closed end a hair inside
    return 0.0 if p == 0 else max(low, 0.0), 1.0 if p == 1 else min(high, 1.0)


def _exact_low(k: float, n: float, tail: float) -> float:
    """The rate at which ``k`` or more events of ``n`` have the chance ``tail``."""
    return float(scipy.special.betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0


def _check_counts(k: float, n: int, level: float) -> None:
    check_level(level)
    if n < 0 or n != int(n) or not 0 <= k <= n:
        raise InputError(f"a rate of {k} events out of {n}; give a whole number n and 0 <= events <= n.")
