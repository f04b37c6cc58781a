"""Over-optimisation: proxy and gold against d = sqrt(KL), after Gao, Schulman and Hilton (arXiv 2210.10760).

With R the reward gained over the base policy, best-of-n follows R = d (a - b d) and reinforcement
learning R = d (a - b log d). Both are linear in a and b, so least squares is exact; intervals come from
resampling the tasks, which keeps the pairing between the points of one curve.
Letters: S points of a curve, M tasks, N samples per task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.page import number
from custodes.stats import Interval, mean_interval, normal_quantile, t_quantile

Form = Literal["best_of_n", "rl"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class GaoFit:
    """R(d) = d (a - b d) ("best_of_n") or d (a - b log d) ("rl"), with 95 % intervals over tasks; the peak's by resampling.

    ``peak`` is the distance of the curve's maximum and ``peak_value`` the reward there; both are None where
    the fitted curve has none (b <= 0: it still rises). ``peaked`` is the share of resamples with a peak.
    """

    form: Form
    a: Interval
    b: Interval
    peak: Interval | None
    peak_value: Interval | None
    peaked: float
    rmse: float  # of the curve's points, in units of the reward

    def __call__(self, d: ArrayLike) -> Array:
        """The fitted reward at distances ``d`` (any shape)."""
        d = np.asarray(d, dtype=float)
        return d * (self.a.estimate - self.b.estimate * _shape(d, self.form))


def fit_gao(distance: ArrayLike, gain: ArrayLike, form: Form, resamples: int = 2000, seed: int = 0) -> GaoFit | None:
    """Fit Gao's form to a curve. ``distance`` (S,) is sqrt(KL) in sqrt(nats); ``gain`` (S, M) is each task's
    reward at each point minus the same task's reward under the base policy.

    None with fewer than two distinct positive distances or fewer than two tasks: nothing can be fitted then.
    """
    distance, gain = np.asarray(distance, float), np.asarray(gain, float)
    used = distance > 0
    d, gain = distance[used], gain[used]
    if len(np.unique(d)) < 2 or gain.shape[1] < 2:
        return None
    solve = np.linalg.pinv(np.stack([d, -d * _shape(d, form)], axis=1))  # (2, S)
    M = gain.shape[1]
    weights = np.random.default_rng(seed).multinomial(M, np.full(M, 1 / M), size=resamples) / M
    of_tasks = solve @ gain  # (2, M): a and b are linear in the gains, so theirs are means over tasks
    a, b = of_tasks.mean(axis=1)
    wider = t_quantile(0.95, M - 1) / normal_quantile(0.95) * np.sqrt(M / (M - 1))  # resamples of few vary too little
    drawn_a, drawn_b = of_tasks @ weights.T * wider + (1 - wider) * np.array([[a], [b]])
    peak, value = _peak(np.array([a]), np.array([b]), form)
    drawn_peak, drawn_value = _peak(drawn_a, drawn_b, form)
    rising = not np.isfinite(peak[0])
    residual = gain.mean(axis=1) - d * (a - b * _shape(d, form))
    return GaoFit(
        form=form,
        a=mean_interval(of_tasks[0]),
        b=mean_interval(of_tasks[1]),
        peak=None if rising else _percentiles(peak[0], drawn_peak, M),
        peak_value=None if rising else _percentiles(value[0], drawn_value, M),
        peaked=float(np.isfinite(drawn_peak).mean()),
        rmse=float(np.sqrt(np.mean(residual**2))),
    )


def early_stop(fit: GaoFit | None, reached: float) -> str:
    """Advice in one sentence. ``reached`` is the largest sqrt(KL) of the run."""
    end = number(reached)
    if fit is None:
        return "Too few points to fit a curve of gold, so no advice on when to stop."
    if fit.peak is None:
        return f"No sign that the run should have stopped earlier: the fitted gold curve still rises at √KL = {end}."
    where = f"√KL = {number(fit.peak.estimate)} (95 % interval {number(fit.peak.low)} to {number(fit.peak.high)})"
    if fit.peak.estimate <= 0 or (fit.peak_value is not None and fit.peak_value.high <= 0):
        return "Do not optimise against this reward: the fitted gold curve falls from the start."
    if fit.peak.low > reached:
        return (
            f"No sign that the run should have stopped earlier: it ended at √KL = {end}, "
            "where the fitted gold curve still rises."
        )
    if fit.peak.high < reached:
        return f"Stop earlier: the fitted gold curve peaks at {where}, before the {end} that the run reached."
    return f"The fitted gold curve peaks at {where}; whether the run, which reached {end}, went past it is not clear."


def root_kl(kl: ArrayLike) -> Array:
    """Distances √KL of mean KLs (nats); the k1 estimate of a KL near 0 may be negative and counts as 0."""
    return np.asarray(np.sqrt(np.maximum(np.asarray(kl, float), 0)))


def best_of_n_kl(n: int) -> float:
    """KL of best-of-n from the policy it samples, nats: log n - (n-1)/n. An upper bound, reached when no two
    samples score the same (arXiv 2401.01879)."""
    return float(np.log(n) - (n - 1) / n)


def best_of_n_values(proxy: ArrayLike, value: ArrayLike, counts: Sequence[int]) -> Array:
    """Expected ``value`` of the sample with the best proxy among n, per task: (len(counts), M).

    ``proxy`` and ``value`` are (M, N). Unbiased: averages over all n-subsets of the N samples (Nakano et al.,
    arXiv 2112.09332, appendix I), so the sample of rank r among N (ascending, from 1) weighs
    C(r-1, n-1) / C(N, n). Samples with equal proxy share their weight.
    """
    proxy, value = np.asarray(proxy, float), np.asarray(value, float)
    N = proxy.shape[1]
    if any(not 1 <= n <= N for n in counts):
        raise ValueError(f"best-of-n for n in {list(counts)} needs n between 1 and the {N} samples per task.")
    order = np.argsort(proxy, axis=1, kind="stable")
    ranked = np.take_along_axis(value, order, axis=1)
    tied = _tie_means(np.take_along_axis(proxy, order, axis=1), ranked)
    return np.stack([tied @ _rank_weights(N, n) for n in counts])


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4, ... up to ``most``, and ``most`` itself."""
    return sorted({2**k for k in range(most.bit_length()) if 2**k <= most} | {most})


def value_at(distance: ArrayLike, values: ArrayLike, at: float) -> Array:
    """Each task's value (M,) at distance ``at``, by linear interpolation between the points (S, M) of a curve.

    Ends are held flat; distances need not be sorted.
    """
    distance, values = np.asarray(distance, float), np.asarray(values, float)
    order = np.argsort(distance, kind="stable")
    return np.array([np.interp(at, distance[order], of_task) for of_task in values[order].T])


def _shape(d: Array, form: Form) -> Array:
    if form == "best_of_n":
        return d
    return np.log(np.maximum(d, np.finfo(float).tiny))  # d log d tends to 0 at 0


def _peak(a: Array, b: Array, form: Form) -> tuple[Array, Array]:
    """Where the curve is highest and how high; inf where b <= 0, 0 where it falls from the start."""
    falls = b > 0
    safe = np.where(falls, b, 1.0)
    with np.errstate(over="ignore"):
        where = np.maximum(a, 0) / (2 * safe) if form == "best_of_n" else np.exp(np.minimum(a / safe - 1, 700))
    value = where * (a - b * where) if form == "best_of_n" else b * where
    return np.where(falls, where, np.inf), np.where(falls, value, np.inf)


def _percentiles(estimate: float, drawn: Array, n: int) -> Interval:
    # "lower"/"higher" never interpolate, so resamples without a peak (inf) do not become nan
    low = float(np.quantile(drawn, 0.025, method="lower"))
    high = float(np.quantile(drawn, 0.975, method="higher"))
    return Interval(float(estimate), low, high, n)


def _rank_weights(N: int, n: int) -> Array:
    """C(r-1, n-1) / C(N, n) for r = 1..N, by the ratio of neighbours so that nothing overflows."""
    weights = np.zeros(N)
    weights[N - 1] = n / N
    for r in range(N - 1, n - 1, -1):  # C(r-1, n-1) / C(r, n-1) = (r - n + 1) / r
        weights[r - 1] = weights[r] * (r - n + 1) / r
    return weights


def _tie_means(keys: Array, values: Array) -> Array:
    """Rows of ``values`` (M, N), each entry replaced by the mean over entries with the same key. Keys are sorted."""
    out = values.copy()
    for row in np.flatnonzero((np.diff(keys, axis=1) == 0).any(axis=1)):
        _, group = np.unique(keys[row], return_inverse=True)
        out[row] = (np.bincount(group, values[row]) / np.bincount(group))[group]
    return out
