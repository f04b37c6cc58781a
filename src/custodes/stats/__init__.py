"""Intervals, paired tests, rank correlation and calibration: every number of a report goes through here.

One function for each kind of quantity: :func:`rate` (and :func:`wilson`, for counts), :func:`mean_interval`,
:func:`paired_difference` with :func:`paired_test`, :func:`auc`, :func:`calibration_error`, :func:`jackknife` for any
smooth statistic, :func:`log_evidence_below` for a rate that is looked at as it comes. Where items repeat (plays of one variant, critiques of one function), the first four take their clusters.
All intervals are two-sided at 95 % unless ``level`` says otherwise; how often each covers the truth is in the
documentation, measured. Too little data is no error: the estimate is NaN or the interval is all that is possible
(0..1 for a rate, -1..1 for a correlation, unbounded for a mean). Wrong data (lengths that differ, NaN, more events
than trials) raises :class:`~custodes.types.InputError`.

Letters: n items, k events among them, G clusters.
"""

from custodes.stats.base import Interval, normal_quantile, t_quantile, weighted_sum
from custodes.stats.choices import choice_coefficients
from custodes.stats.curves import CalibrationBin, auc, calibration_curve, calibration_error
from custodes.stats.means import (
    PairedTest,
    jackknife,
    mean_interval,
    paired_difference,
    paired_test,
    rank_correlation,
    simultaneous_means,
)
from custodes.stats.rates import clopper_pearson, rate, upper_bound_zero, wilson
from custodes.stats.sequential import log_evidence_below

__all__ = [
    "CalibrationBin",
    "Interval",
    "PairedTest",
    "auc",
    "calibration_curve",
    "calibration_error",
    "choice_coefficients",
    "clopper_pearson",
    "jackknife",
    "log_evidence_below",
    "mean_interval",
    "normal_quantile",
    "paired_difference",
    "paired_test",
    "rank_correlation",
    "rate",
    "simultaneous_means",
    "t_quantile",
    "upper_bound_zero",
    "weighted_sum",
    "wilson",
]
