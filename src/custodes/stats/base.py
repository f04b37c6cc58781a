"""What every estimator shares: an interval, a calibration bin, and what is wrong with an input."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts are imported where they are first used: scipy.stats takes a second
from numpy.typing import ArrayLike, NDArray

from custodes.types import Floats, InputError

WORST = 2.0  # imaginary clusters whose items are all the same: with few clusters their correlation cannot be estimated


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval and the number of items it rests on (clusters, where data are clustered)."""

    estimate: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON: what is not finite (no data, no bound) becomes None."""
        values = {"estimate": self.estimate, "low": self.low, "high": self.high}
        return {k: v if math.isfinite(v) else None for k, v in values.items()} | {"n": self.n}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Interval:
        """Of JSON; None is no estimate, or no bound."""
        missing = {"estimate": math.nan, "low": -math.inf, "high": math.inf}
        values = {name: other if told[name] is None else float(told[name]) for name, other in missing.items()}
        return cls(**values, n=told["n"])

    def __str__(self) -> str:
        if math.isnan(self.estimate):
            return f"no estimate (n = {self.n})"
        if math.isinf(self.low) and math.isinf(self.high):
            return f"{self.estimate:.3g} (no interval, n = {self.n})"
        if self.estimate == self.low == 0 < self.high:
            return f"0 (at most {self.high:.3g}, n = {self.n})"
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}] (n = {self.n})"

    def within(self, lowest: float, highest: float) -> Interval:
        """The same with its bounds cut to the range that the quantity can have."""
        return Interval(self.estimate, max(self.low, lowest), min(self.high, highest), self.n)


def weighted_sum(*parts: tuple[float, Interval]) -> Interval:
    """Interval of the sum of weight times quantity, of independent quantities with intervals of their own.

    Squares of the distances are added (Newcombe, Statistics in Medicine 1998, method 10; Zou and Donner, 2008):
    (1, a), (-1, b) is a difference that is not paired. ``n`` is the sum of theirs.
    """
    estimate = sum(weight * part.estimate for weight, part in parts)
    low, high = (
        math.sqrt(
            sum(
                (weight * (part.estimate - (part.low if weight * side > 0 else part.high))) ** 2
                for weight, part in parts
            )
        )
        for side in (1, -1)
    )
    return Interval(estimate, estimate - low, estimate + high, sum(part.n for _, part in parts))


def normal_quantile(level: float) -> float:
    """Of a two-sided interval: 1.96 at 95 %."""
    return float(scipy.special.ndtri((1 + level) / 2))


def t_quantile(level: float, freedom: float) -> float:
    return float(scipy.special.stdtrit(freedom, (1 + level) / 2))


# ---------------------------------------------------------------- clusters


def cluster_codes(clusters: Sequence[Hashable], n: int) -> NDArray[np.intp]:
    """(n,) the number of each item's cluster, from 0 in order of appearance."""
    if len(clusters) != n:
        raise InputError(f"{len(clusters)} cluster ids for {n} values; give one for each value.")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(c, len(numbers)) for c in clusters], np.intp)


def pseudo_values(x: Floats, codes: NDArray[np.intp]) -> Floats:
    """(G,) jackknife pseudo-values of the mean of ``x`` (n,), one for each cluster (Miller, Biometrika 1974).

    Their mean is the mean's jackknife estimate, and they are nearly independent: intervals of a mean go through them.
    Clusters of one size have their own means as pseudo-values.
    """
    sizes, sums = np.bincount(codes), np.bincount(codes, x)
    G, mean = len(sizes), x.mean()
    return np.asarray(G * mean - (G - 1) * (x.sum() - sums) / (len(x) - sizes))


def effective_items(x: Floats, codes: NDArray[np.intp], variance: float, level: float) -> float:
    """How many independent items of this ``variance`` tell as much of the mean as ``x`` (n,) in its clusters.

    n over the design effect, as for rates in surveys (Korn and Graubard, Survey Methodology 1998), t for normal with
    G - 1 degrees of freedom. The variance between clusters is pooled with that of two imaginary clusters whose items are
    all the same. These weigh against as many clusters as hold anything but the commonest value, because a rate near 0 or 1
    tells little of how its items hang together. Never above n, nor below Kish's number for items that are all the same within clusters.
    """
    n, sizes = len(x), np.bincount(codes)
    G, fewest = len(sizes), n**2 / float((sizes**2).sum())
    if G < 2 or variance <= 0:
        return fewest
    kinds, counts = np.unique(x, return_counts=True)
    informative = len(np.unique(codes[x != kinds[counts.argmax()]]))
    share = WORST / (informative + WORST)
    between = pseudo_values(x, codes).var(ddof=1) / G
    pooled = (1 - share) * between + share * variance / fewest
    inflated = (normal_quantile(level) / t_quantile(level, G - 1)) ** 2
    return float(min(max(variance / pooled * inflated, fewest), n))


# ---------------------------------------------------------------- what is wrong with the input


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"confidence level {level}; it must be between 0 and 1, e.g. 0.95.")


def finite(name: str, values: ArrayLike, level: float = 0.95) -> Floats:
    check_level(level)
    x = np.asarray(values, float)
    if x.ndim != 1:
        raise InputError(f"{name} has shape {x.shape}; give one number per item.")
    if not np.isfinite(x).all():
        raise InputError(f"{name}: item {int(np.argmin(np.isfinite(x)))} is not a finite number.")
    return x


def pair(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    x, y = finite("the first sample", a, level), finite("the second sample", b, level)
    same_length(x, y)
    return x, y


def same_length(*arrays: NDArray[Any]) -> int:
    lengths = [len(x) if x.ndim else 0 for x in arrays]
    if not lengths or len(set(lengths)) > 1:
        raise InputError(f"samples of {lengths} items; they must describe the same items, one by one.")
    return lengths[0]
