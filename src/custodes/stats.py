"""Intervals, paired tests, rank correlation and calibration: every number of a report goes through here.

All intervals are two-sided at 95 % unless ``level`` says otherwise, and come from scipy or statsmodels.
Too little data is no error: the estimate is NaN or the interval is all that is possible (0..1 for a
rate, -1..1 for a correlation, unbounded for a mean). Wrong data (lengths that differ, NaN, more events
than trials) raises :class:`~custodes.types.InputError`.

Letters: n items, k events among them, G clusters.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy  # its parts are imported where they are first used: scipy.stats takes a second
from numpy.typing import ArrayLike, NDArray

from custodes.types import InputError

Array = NDArray[np.float64]
BCA_ITEMS = 1_000  # the jackknife of BCa costs one evaluation per item; its correction shrinks as 1/n


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

    def __str__(self) -> str:
        if math.isnan(self.estimate):
            return f"no estimate (n = {self.n})"
        if self.estimate == self.low == 0 < self.high:
            return f"0 (at most {self.high:.3g}, n = {self.n})"
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}] (n = {self.n})"


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A two-sided test on paired items: which one, its p-value, and the number of pairs."""

    test: str
    p: float
    n: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Items of similar predicted probability: the mean prediction and the share in which it came true."""

    predicted: float
    observed: Interval


# ---------------------------------------------------------------- rates


def wilson(k: float, n: int, level: float = 0.95) -> Interval:
    """Score interval of the rate k/n (Wilson, 1927); ``k`` may hold halves. Never of width 0, also at k = 0 and k = n."""
    return _proportion(k, n, level, "wilson")


def clopper_pearson(k: float, n: int, level: float = 0.95) -> Interval:
    """Exact interval of the rate k/n (Clopper and Pearson, 1934): covers at least ``level``, wider than Wilson's."""
    return _proportion(k, n, level, "beta")


def upper_bound_zero(n: int, level: float = 0.95) -> float:
    """What to print after "0 of n": the one-sided exact (Clopper-Pearson) upper bound of the rate, about 3/n."""
    _check_counts(0, n, level)
    return float(scipy.stats.binomtest(0, n, alternative="less").proportion_ci(level).high) if n else 1.0


def _proportion(k: float, n: int, level: float, method: str) -> Interval:
    from statsmodels.stats.proportion import proportion_confint  # a second to import, and most commands need none

    _check_counts(k, n, level)
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    low, high = proportion_confint(k, n, alpha=1 - level, method=method)
    # at k = 0 and k = n rounding leaves the closed end a hair inside 0..1
    return Interval(k / n, 0.0 if k == 0 else max(0.0, float(low)), 1.0 if k == n else min(1.0, float(high)), int(n))


# ---------------------------------------------------------------- means and paired differences


def mean_interval(values: ArrayLike, clusters: Sequence[Hashable] | None = None, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of ``values`` (n,).

    With ``clusters`` (n,), one id per value (items that share a prompt or an annotator are not independent),
    the standard error is cluster-robust with G - 1 degrees of freedom and the usual small-sample factor
    (Liang and Zeger, 1986; Cameron and Miller, 2015), and ``Interval.n`` is G. Values that are all equal give
    width 0; for a rate use :func:`wilson`, which does not.
    """
    x = _finite("values", values, level)
    if clusters is not None:
        return _clustered_mean(x, clusters, level)
    if len(x) < 2:
        return Interval(float(x[0]) if len(x) else math.nan, -math.inf, math.inf, len(x))
    half = float(scipy.stats.sem(x) * scipy.stats.t.ppf((1 + level) / 2, len(x) - 1))
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, len(x))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    method: Literal["t", "bootstrap"] = "t",
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of mean(a - b), where ``a[i]`` and ``b[i]`` (n,) are the same item under two treatments.

    "t" is the paired t interval (cluster-robust with ``clusters``), "bootstrap" resamples the pairs
    (:func:`bootstrap`) and is for differences that are few and far from normal.
    """
    x, y = _pair(a, b, level)
    if method == "t":
        return mean_interval(x - y, clusters, level)
    if method != "bootstrap" or clusters is not None:
        raise InputError(f"paired difference by {method!r}: give 't' or, without clusters, 'bootstrap'.")
    return bootstrap(np.mean, x - y, seed=seed, level=level)


def paired_rates(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of the difference of two rates, mean(a - b), where ``a[i]`` and ``b[i]`` (n,) are 0 or 1 for the same item.

    Bonett and Price (2012), adjusted Wald: one imaginary pair is added to each kind of disagreement, so that the width is
    not 0 where no pair differs. ``estimate`` is the plain difference.
    """
    x, y = _pair(a, b, level)
    if not (np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all()):
        raise InputError("paired rates take values that are 0 or 1.")
    n = len(x)
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    won, lost = (float((x > y).sum()) + 1) / (n + 2), (float((x < y).sum()) + 1) / (n + 2)
    middle = won - lost
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * math.sqrt((won + lost - middle**2) / (n + 2))
    return Interval(float((x - y).mean()), max(-1.0, middle - half), min(1.0, middle + half), n)


def paired_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Whether two treatments of the same n items differ: exact McNemar (1947) where all values are 0 or 1, else
    the paired t test. Without a single difference p is 1."""
    x, y = _pair(a, b)
    difference = x - y
    if np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all():
        won, lost = int((difference > 0).sum()), int((difference < 0).sum())
        p = float(scipy.stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
        return PairedTest("exact McNemar", p, len(x))
    if len(x) < 2:
        return PairedTest("paired t", 1.0, len(x))
    if np.ptp(difference) == 0:
        return PairedTest("paired t", 1.0 if difference[0] == 0 else 0.0, len(x))
    return PairedTest("paired t", float(scipy.stats.ttest_rel(x, y).pvalue), len(x))


def _clustered_mean(x: Array, clusters: Sequence[Hashable], level: float) -> Interval:
    from statsmodels.regression.linear_model import OLS  # a second to import, and most commands need none

    if len(clusters) != len(x):
        raise InputError(f"{len(clusters)} cluster ids for {len(x)} values; give one for each value.")
    codes = {c: i for i, c in enumerate(dict.fromkeys(clusters))}
    G = len(codes)
    if G < 2:
        return Interval(float(x.mean()) if len(x) else math.nan, -math.inf, math.inf, G)
    groups = np.array([codes[c] for c in clusters])
    fit = OLS(x, np.ones((len(x), 1))).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    low, high = fit.conf_int(alpha=1 - level)[0]
    return Interval(float(x.mean()), float(low), float(high), G)


# ---------------------------------------------------------------- any statistic


def bootstrap(
    statistic: Callable[..., float],
    *arrays: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 1_999,
    method: Literal["BCa", "percentile", "basic"] | None = None,
) -> Interval:
    """Interval of ``statistic(*arrays)`` by resampling items; arrays (n, ...) are resampled together.

    By default bias-corrected and accelerated (Efron, 1987) up to 1,000 items and percentile beyond, or where
    BCa is undefined (all resamples on one side of the estimate).
    """
    data = [np.asarray(a) for a in arrays]
    n = _same_length(*data)
    _check_level(level)
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0)
    estimate = float(statistic(*data))
    if n == 1:
        return Interval(estimate, -math.inf, math.inf, 1)

    def of(index: NDArray[np.intp]) -> float:
        return float(statistic(*(x[index] for x in data)))

    def interval(by: str) -> tuple[float, float]:
        options: dict[str, Any] = {
            "n_resamples": resamples,
            "confidence_level": level,
            "method": by,
            "vectorized": False,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns where BCa is undefined; that case is handled below
            found = scipy.stats.bootstrap((np.arange(n),), of, rng=np.random.default_rng(seed), **options)
        return float(found.confidence_interval.low), float(found.confidence_interval.high)

    low, high = interval(method or ("BCa" if n <= BCA_ITEMS else "percentile"))
    if math.isnan(low) or math.isnan(high):
        low, high = interval("percentile")
    return Interval(estimate, low, high, n)


# ---------------------------------------------------------------- correlation


def rank_correlation(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Spearman's rank correlation of a and b (n,), interval by Fisher's z with the variance of Bonett and Wright
    (2000, eq. 3): (1 + r^2 / 2) / (n - 3).

    Below n = 4 the interval is -1..1; where one side is constant the estimate is NaN too. A perfect ranking
    counts as half a step from perfect (a neighbour swap costs 12 / (n^3 - n)), so that its interval has a width.
    """
    x, y = _pair(a, b, level)
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(math.nan, -1.0, 1.0, n)
    r = float(scipy.stats.spearmanr(x, y).statistic)
    if n < 4:
        return Interval(r, -1.0, 1.0, n)
    half_step = 6 / (n**3 - n)
    z = math.atanh(min(max(r, -1 + half_step), 1 - half_step))
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * math.sqrt((1 + r * r / 2) / (n - 3))
    return Interval(r, min(math.tanh(z - half), r), max(math.tanh(z + half), r), n)


# ---------------------------------------------------------------- calibration


def auc(score: ArrayLike, truth: ArrayLike, level: float = 0.95) -> Interval:
    """Area under the ROC curve with DeLong's interval (DeLong et al., Biometrics 1988), kept within [0, 1].

    The chance that a case with ``truth`` (n,) scores above one without, ties counting half; ``score`` is (n,).
    ``Interval.n`` is n. Without cases of both kinds there is no estimate.
    """
    x, y = _pair(score, np.asarray(truth, np.float64), level)
    positive, negative = x[y > 0], x[y <= 0]
    if not len(positive) or not len(negative):
        return Interval(math.nan, -math.inf, math.inf, len(x))
    above = scipy.stats.rankdata(np.concatenate([positive, negative]))
    of_positive = (above[: len(positive)] - scipy.stats.rankdata(positive)) / len(negative)
    of_negative = 1 - (above[len(positive) :] - scipy.stats.rankdata(negative)) / len(positive)
    area = float(of_positive.mean())
    if len(positive) < 2 or len(negative) < 2:
        return Interval(area, -math.inf, math.inf, len(x))
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    half = float(scipy.stats.norm.ppf((1 + level) / 2) * math.sqrt(variance))
    return Interval(area, max(0.0, area - half), min(1.0, area + half), len(x))


def calibration_error(
    probability: ArrayLike, outcome: ArrayLike, bins: int = 10, level: float = 0.95, seed: int = 0
) -> Interval:
    """Expected calibration error: mean over equally filled bins of |predicted - observed|, weighted by size
    (Naeini et al., 2015), 0 is calibrated.

    ``outcome`` (n,) is in 0..1, soft labels included. The estimate is biased upwards by noise in the bins; the
    interval, a basic (reverse percentile) bootstrap cut at 0 and 1, takes that bias off and then reaches at
    least to the estimate.
    """
    p, y = _calibration_data(probability, outcome, bins)

    def error(p: Array, y: Array) -> float:
        code = _bins(p, bins)
        return float(np.abs(np.bincount(code, p - y)).sum() / len(p))

    found = bootstrap(error, p, y, seed=seed, level=level, resamples=999, method="basic")
    if len(p) < 2:
        return Interval(found.estimate, 0.0, 1.0, len(p))
    low, high = min(found.low, found.estimate), max(found.high, found.estimate)
    return Interval(found.estimate, max(low, 0.0), min(high, 1.0), found.n)


def calibration_curve(
    probability: ArrayLike, outcome: ArrayLike, bins: int = 10, level: float = 0.95
) -> list[CalibrationBin]:
    """The reliability diagram in order of prediction: equally filled bins, Wilson intervals, equal predictions in
    one bin (so there may be fewer than ``bins``)."""
    p, y = _calibration_data(probability, outcome, bins)
    code = _bins(p, bins)
    members = [np.flatnonzero(code == c) for c in np.unique(code)]
    return [CalibrationBin(float(p[i].mean()), wilson(float(y[i].sum()), len(i), level)) for i in members]


def _bins(p: Array, bins: int) -> NDArray[np.intp]:
    """Bin of each prediction (n,): cut at the quantiles, so that equal predictions share a bin."""
    cuts = np.quantile(p, np.arange(1, bins) / bins, method="inverted_cdf") if len(p) else p
    return np.searchsorted(np.unique(cuts), p, side="left")


def _calibration_data(probability: ArrayLike, outcome: ArrayLike, bins: int) -> tuple[Array, Array]:
    p, y = _pair(probability, outcome)
    if bins < 1:
        raise InputError(f"calibration in {bins} bins; give 1 or more.")
    for name, x in (("probability", p), ("outcome", y)):
        if len(x) and not (x.min() >= 0 and x.max() <= 1):
            raise InputError(f"calibration: {name} reaches from {x.min():g} to {x.max():g}; it must lie in 0..1.")
    return p, y


# ---------------------------------------------------------------- what is wrong with the input


def _check_counts(k: float, n: int, level: float) -> None:
    _check_level(level)
    if n < 0 or n != int(n) or not 0 <= k <= n:
        raise InputError(f"a rate of {k} events out of {n}; give a whole number n and 0 <= events <= n.")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"confidence level {level}; it must be between 0 and 1, e.g. 0.95.")


def _finite(name: str, values: ArrayLike, level: float = 0.95) -> Array:
    _check_level(level)
    x = np.asarray(values, float)
    if x.ndim != 1:
        raise InputError(f"{name} has shape {x.shape}; give one number per item.")
    if not np.isfinite(x).all():
        raise InputError(f"{name}: item {int(np.argmin(np.isfinite(x)))} is not a finite number.")
    return x


def _pair(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    x, y = _finite("the first sample", a, level), _finite("the second sample", b, level)
    _same_length(x, y)
    return x, y


def _same_length(*arrays: NDArray[Any]) -> int:
    lengths = [len(x) if x.ndim else 0 for x in arrays]
    if not lengths or len(set(lengths)) > 1:
        raise InputError(f"samples of {lengths} items; they must describe the same items, one by one.")
    return lengths[0]
