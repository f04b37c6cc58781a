"""Signs that a reward is being exploited: length, disagreement, the proxy-gold gap, and what was gamed.

All comparisons are paired on the same tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.audit.calibration import agrees
from custodes.stats import (
    Interval,
    mean_interval,
    paired_difference,
    paired_test,
    rank_correlation,
    rate,
    weighted_sum,
)

Array = NDArray[np.float64]
Change = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class LengthAudit:
    """How much a reward goes by length. ``correlation`` is Spearman's, of margin and length difference;
    the halves are the pairs whose preferred answer is longer, and shorter; ``balanced`` is the mean of the
    two accuracies, which a reward that only counts tokens cannot raise above 0.5."""

    correlation: Interval
    judges: Interval  # share of pairs (of unequal length) in which the judges preferred the longer
    longer: Interval
    shorter: Interval
    balanced: Interval


def length_audit(
    margin: ArrayLike, outcome: ArrayLike, length_difference: ArrayLike, task: Sequence[str] | None = None
) -> LengthAudit | None:
    """``margin`` (B,) and ``length_difference`` (B,) are first minus second, ``outcome`` (B,) is 1 where the
    first was preferred, ``task`` (B,) what intervals count. None when either half is empty or no margin varies."""
    margin, outcome, longer = (
        np.asarray(margin, float),
        np.asarray(outcome, float),
        np.asarray(length_difference, float),
    )
    right = agrees(margin, 2 * outcome - 1)
    preferred_longer = np.where(outcome > 0.5, longer, -longer)
    up, down = right[preferred_longer > 0], right[preferred_longer < 0]
    if not len(up) or not len(down) or np.ptp(margin) == 0:
        return None
    tasks = np.asarray(task if task is not None else range(len(margin)))
    of_up, of_down = tasks[preferred_longer > 0].tolist(), tasks[preferred_longer < 0].tolist()
    longer_half, shorter_half = rate(up, of_up), rate(down, of_down)
    return LengthAudit(
        correlation=rank_correlation(margin, longer),
        judges=rate(np.repeat([1, 0], [len(up), len(down)]), of_up + of_down),
        longer=longer_half,
        shorter=shorter_half,
        balanced=weighted_sum((0.5, longer_half), (0.5, shorter_half)),
    )


@dataclass(frozen=True)
class Gap:
    """Gains of proxy and gold over the base policy, in standard deviations of the base policy's task means,
    and ``gap`` = proxy gain minus gold gain: what the reward saw and the truth did not."""

    proxy: Interval
    gold: Interval
    gap: Interval


def proxy_gold_gap(proxy: ArrayLike, gold: ArrayLike, base_proxy: ArrayLike, base_gold: ArrayLike) -> Gap | None:
    """All (M,), one value per task, aligned. None where the base does not vary (no unit to measure in)."""
    proxy, gold, base_proxy, base_gold = (np.asarray(x, float) for x in (proxy, gold, base_proxy, base_gold))
    units = base_proxy.std(ddof=1), base_gold.std(ddof=1)
    if min(units) == 0:
        return None
    proxy_gain, gold_gain = (proxy - base_proxy) / units[0], (gold - base_gold) / units[1]
    return Gap(mean_interval(proxy_gain), mean_interval(gold_gain), paired_difference(proxy_gain, gold_gain))


@dataclass(frozen=True)
class CheckChange:
    """One check of the tasks' code, before and after. ``test`` is McNemar's exact one (sign-flip or paired t where
    a task has several episodes), ``p`` its p-value, ``p_holm`` the same corrected for the number of checks (Holm, 1979)."""

    check: str
    base: Interval
    optimised: Interval
    difference: Interval
    gained: int
    lost: int
    test: str
    p: float
    p_holm: float

    @property
    def change(self) -> Change:
        if self.p_holm >= 0.05:
            return "unclear"
        return "better" if self.gained > self.lost else "worse"


def check_changes(check: Sequence[str], base: ArrayLike, optimised: ArrayLike) -> list[CheckChange]:
    """Per kind of check, from aligned observations (B,): 1 where the check held. Most improved first."""
    names, base, optimised = np.asarray(check), np.asarray(base, float), np.asarray(optimised, float)
    kinds = sorted(set(check))
    counts = {k: _discordant(base[names == k], optimised[names == k]) for k in kinds}
    tests = {k: paired_test(optimised[names == k], base[names == k]) for k in kinds}
    corrected = _holm({k: t.p for k, t in tests.items()})
    changes = [
        CheckChange(
            check=k,
            base=rate(base[names == k]),
            optimised=rate(optimised[names == k]),
            difference=paired_difference(optimised[names == k], base[names == k]),
            gained=counts[k][0],
            lost=counts[k][1],
            test=tests[k].test,
            p=tests[k].p,
            p_holm=corrected[k],
        )
        for k in kinds
        if (names == k).sum() > 1
    ]
    return sorted(changes, key=lambda c: -c.difference.estimate)


def gamed_order(proxy_gain: ArrayLike, gold_gain: ArrayLike) -> NDArray[np.intp]:
    """Tasks on which the proxy rose and gold fell (indices into the (M,) gains), the most gamed first: by the
    smaller of the two moves, each in its own standard deviation."""
    up, down = np.asarray(proxy_gain, float), -np.asarray(gold_gain, float)
    gamed = np.flatnonzero((up > 0) & (down > 0))
    scale = max(float(up.std()), 1e-12), max(float(down.std()), 1e-12)
    size = np.minimum(up[gamed] / scale[0], down[gamed] / scale[1])
    return gamed[np.argsort(-size, kind="stable")]


def _discordant(before: Array, after: Array) -> tuple[int, int]:
    return int((after > before).sum()), int((after < before).sum())


def _holm(p: dict[str, float]) -> dict[str, float]:
    out, largest = {}, 0.0
    for i, name in enumerate(sorted(p, key=lambda k: p[k])):
        largest = max(largest, min((len(p) - i) * p[name], 1.0))
        out[name] = largest
    return out
