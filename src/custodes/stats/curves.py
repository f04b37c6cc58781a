"""Of scores and probabilities against what came true: the area under the curve, and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported where they are first used: scipy.stats takes a second
from numpy.typing import ArrayLike, NDArray

from custodes.stats.base import (
    WORST,
    Interval,
    check_level,
    cluster_codes,
    effective_items,
    pair,
    t_quantile,
)
from custodes.stats.rates import wilson
from custodes.types import Floats, InputError

DRAWS = 400  # of the noise in the bins
ITEMS_A_BIN = 10  # fewer items make fewer bins


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Items of similar predicted probability: the mean prediction and the share in which it came true."""

    predicted: float
    observed: Interval


def auc(
    score: ArrayLike, truth: ArrayLike, clusters: Sequence[Hashable] | None = None, level: float = 0.95
) -> Interval:
    """Area under the ROC curve: the chance that a case with ``truth`` (n,) scores above one without, ties counting half.

    The interval holds every area that the found one is not too far from, by the variance that an area itself implies:
    method 5 of Newcombe (Statistics in Medicine 2006, part 2), which has width at perfect separation. Where DeLong's
    variance (Biometrics 1988) is larger (one side is spread more widely), it is larger by the same factor; the
    quantile is t with three degrees of freedom more than the smaller side has cases. ``clusters`` (n,) is one id per case
    (changed versions of one function). DeLong's is then the variance over clusters (Obuchowski, Biometrics 1997), and each
    side has as many cases as the clusters are worth where all of one cluster say the same. ``score`` is (n,), ``Interval.n``
    is n. Without cases of both kinds there is no estimate.
    """
    x, y = pair(score, np.asarray(truth, np.float64), level)
    positive, negative = x[y > 0], x[y <= 0]
    a, b = len(positive), len(negative)
    if not a or not b:
        return Interval(math.nan, 0.0, 1.0, len(x))
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative]))
    of_positive = (ranks[:a] - scipy.stats.rankdata(positive)) / b
    of_negative = 1 - (ranks[a:] - scipy.stats.rankdata(negative)) / a
    area = float(of_positive.mean())
    codes = np.arange(len(x)) if clusters is None else cluster_codes(clusters, len(x))
    fewest = [_fewest(codes[side]) for side in (y > 0, y <= 0)]
    z2 = t_quantile(level, min(fewest) + 3) ** 2
    found = 0.0
    if min(fewest) > 1 and 0 < area < 1:
        parts = np.zeros(len(x))
        parts[y > 0], parts[y <= 0] = (of_positive - area) / a, (of_negative - area) / b
        found = sum(_between(parts[side], codes[side]) for side in (y > 0, y <= 0)) if clusters is None else 0.0
        found = found or _between(parts, codes)
    share = 0.0 if clusters is None else WORST / (min(fewest) + WORST)

    def too_far(other: float) -> float:
        independent, alike = _area_variance(other, a, b), _area_variance(other, *fewest)
        wider = max(1.0, found / _area_variance(area, a, b)) if 0 < area < 1 else alike / independent
        return (area - other) ** 2 - z2 * ((1 - share) * wider * independent + share * alike)

    low, high = (0.0 if area == 0 else _root(too_far, area, 0.0)), (1.0 if area == 1 else _root(too_far, area, 1.0))
    return Interval(area, low, high, len(x))


def calibration_error(
    probability: ArrayLike,
    outcome: ArrayLike,
    bins: int = 10,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Interval:
    """Expected calibration error: mean over equally filled bins of |predicted - observed|, weighted by size
    (Naeini et al., AAAI 2015), 0 is calibrated; without the part that the noise in the bins adds.

    Bins hold at least 10 items. The noise is drawn: normal in each bin, of the variance that its prediction or its
    outcomes imply, whichever is larger. The estimate is the error under which the binned error that was found is the
    median, and the interval holds the errors under which it is no surprise. How an error is spread over the bins
    matters, so that both an even spread and the one found are tried, and the wider bound is kept. ``outcome`` (n,)
    is in 0..1, soft labels included. With ``clusters`` (n,) the variance is larger by their design effect.
    """
    check_level(level)
    p, y = _calibration_data(probability, outcome, bins)
    if len(p) < 2:
        return Interval(math.nan, 0.0, 1.0, len(p))
    _, code = np.unique(_bins(p, max(1, min(bins, len(p) // ITEMS_A_BIN))), return_inverse=True)
    size = np.bincount(code)
    predicted, observed = np.bincount(code, p) / size, np.bincount(code, y) / size
    shrunk = (observed * size + predicted + 0.5) / (size + 2)  # so that a bin of equal outcomes has a variance
    variance = np.maximum(shrunk * (1 - shrunk), predicted * (1 - predicted)) / size
    if clusters is not None:
        codes = cluster_codes(clusters, len(p))
        variance = variance * len(p) / effective_items(y - p, codes, float((y - p).var()), level)
    noise = np.random.default_rng(0).normal(size=(DRAWS, len(size))) * np.sqrt(variance)
    weight, off = size / len(p), observed - predicted
    found = float(weight @ np.abs(off))
    beyond_noise = np.sqrt(np.maximum(off**2 - variance, 0))
    even = np.ones(len(size))
    as_found = beyond_noise / float(weight @ beyond_noise) if beyond_noise.any() else even

    def error(quantile: float, spread: Floats, found: float) -> float:
        """The error whose binned error has this quantile at the one found."""
        return _root_or_end(lambda e: float(np.quantile(np.abs(e * spread + noise) @ weight, quantile)) - found)

    # a binned error below the noise's own (outcomes in step with a prediction) rules out no more than the noise would
    at_least = max(found, float(np.median(np.abs(noise) @ weight)))
    low = min(error((1 + level) / 2, spread, found) for spread in (even, as_found))
    high = max(error((1 - level) / 2, spread, at_least) for spread in (even, as_found))
    estimate = error(0.5, as_found, found)
    return Interval(estimate, min(low, estimate), max(high, estimate), len(p))


def calibration_curve(
    probability: ArrayLike, outcome: ArrayLike, bins: int = 10, level: float = 0.95
) -> list[CalibrationBin]:
    """The reliability diagram in order of prediction: equally filled bins, Wilson intervals, equal predictions in
    one bin (so there may be fewer than ``bins``)."""
    p, y = _calibration_data(probability, outcome, bins)
    code = _bins(p, bins)
    members = [np.flatnonzero(code == c) for c in np.unique(code)]
    return [CalibrationBin(float(p[i].mean()), wilson(float(y[i].sum()), len(i), level)) for i in members]


def _fewest(codes: NDArray[np.intp]) -> float:
    """How many independent cases clusters are worth whose cases all say the same (Kish)."""
    sizes = np.unique(codes, return_counts=True)[1]
    return float(len(codes) ** 2 / (sizes**2).sum())


def _between(parts: Floats, codes: NDArray[np.intp]) -> float:
    """Variance of the sum of ``parts`` (n,), which sum to 0, over their clusters."""
    sums = np.bincount(np.unique(codes, return_inverse=True)[1], parts)
    return len(sums) / (len(sums) - 1) * float((sums**2).sum())


def _area_variance(area: float, a: float, b: float) -> float:
    """Hanley and McNeil's (Radiology 1982), both sides given their mean size (Newcombe's method 5)."""
    others = (a + b) / 2 - 1
    return area * (1 - area) * (1 + others * ((1 - area) / (2 - area) + area / (1 + area))) / (a * b)


def _root(function: Callable[[float], float], inside: float, end: float) -> float:
    """Where ``function``, not above 0 ``inside`` and above 0 at ``end``, is 0 for the first time."""
    for _ in range(60):
        middle = (inside + end) / 2
        inside, end = (middle, end) if function(middle) <= 0 else (inside, middle)
    return (inside + end) / 2


def _root_or_end(rising: Callable[[float], float]) -> float:
    """Where ``rising`` is 0 within 0..1, or the end that is nearest to it."""
    if rising(0.0) >= 0:
        return 0.0
    return 1.0 if rising(1.0) <= 0 else float(scipy.optimize.brentq(rising, 0.0, 1.0, xtol=1e-6))


def _bins(p: Floats, bins: int) -> NDArray[np.intp]:
    """Bin of each prediction (n,): cut at the quantiles, so that equal predictions share a bin."""
    cuts = np.quantile(p, np.arange(1, bins) / bins, method="inverted_cdf") if len(p) else p
    return np.searchsorted(np.unique(cuts), p, side="left")


def _calibration_data(probability: ArrayLike, outcome: ArrayLike, bins: int) -> tuple[Floats, Floats]:
    p, y = pair(probability, outcome)
    if bins < 1:
        raise InputError(f"calibration in {bins} bins; give 1 or more.")
    for name, x in (("probability", p), ("outcome", y)):
        if len(x) and not (x.min() >= 0 and x.max() <= 1):
            raise InputError(f"calibration: {name} reaches from {x.min():g} to {x.max():g}; it must lie in 0..1.")
    return p, y
