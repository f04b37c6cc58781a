"""Which item is best: differences of qualities with errors, ranks with intervals, and the same by bootstrap.

The zero of qualities is arbitrary, and its error does not fall with the number of comparisons; only differences mean
something. So a quality is told as the difference to the mean of its group (items that comparisons connect), or to a
named item, with the error of that difference. Ranks are counted within a group, in draws from the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.feedback.bradley_terry import Comparisons, fit
from custodes.feedback.qualities import Items
from custodes.types import Floats, InputError

Z = 1.959964  # 97.5th percentile of the normal distribution
NUMBERS = 2_000_000  # random numbers that are drawn at most, in all draws of all items
LEAST, MOST = 100, 4000  # draws


@dataclass(frozen=True)
class Standing:
    """One item among those of its group, with 95 % intervals."""

    item: str
    group: int
    """0 the largest group; items of different groups were never compared, not even by way of others."""
    quality: float
    """Log-odds of a typical annotator, above the group's mean or above the item that was named."""
    se: float
    low: float
    high: float
    rank: int
    rank_low: int
    rank_high: int


def standings(model: AnnotatorModel, reference: str | None = None, seed: int = 0) -> list[Standing]:
    """All items, group by group, the best of each first.

    ``reference`` names an item to which the qualities of its group are told; else, and in other groups, to the group's
    mean. Raises InputError for an unknown one.
    """
    draws = int(np.clip(NUMBERS // max(len(model.episodes), 1), LEAST, MOST))
    unit, data = model.fit.unit, model.comparisons
    items = Items(data.first, data.second, data.items, data.style)
    drawn = items.draws(model.fit.precision * unit**2, draws, np.random.default_rng([seed, 31])) * unit
    return _told(model, reference, model.quality + drawn)


def bootstrap(model: AnnotatorModel, draws: int = 200, reference: str | None = None, seed: int = 0) -> list[Standing]:
    """The same with errors and intervals from ``draws`` crowds drawn, with replacement, from these annotators.

    The model is fitted anew to each. What the errors of :func:`standings` take for granted (the model itself) is not
    taken for granted here; what the annotators share still is. Raises InputError for fewer than 2 annotators or draws.
    """
    K = len(model.annotators)
    if K < 2 or draws < 2:
        raise InputError(f"a bootstrap of {K} annotators with {draws} draws: at least 2 of each are needed.")
    data, rng = model.comparisons, np.random.default_rng([seed, 37])
    order = np.argsort(data.annotator, kind="stable")
    bounds = np.searchsorted(data.annotator[order], np.arange(K + 1))
    drawn = np.empty((draws, data.items))
    for n in range(draws):
        chosen = rng.integers(0, K, K)
        rows = np.concatenate([order[bounds[k] : bounds[k + 1]] for k in chosen])
        copy = np.repeat(np.arange(K), (bounds[1:] - bounds[:-1])[chosen])
        some = Comparisons(
            data.first[rows], data.second[rows], copy, data.strength[rows], data.length[rows], data.items, K,
            data.style[rows] if data.style.size else data.style,
        )  # fmt: skip
        drawn[n] = fit(some, alike=model.method == "bradley-terry").quality
    return _told(model, reference, drawn, percentiles=True)


def _told(model: AnnotatorModel, reference: str | None, drawn: Floats, percentiles: bool = False) -> list[Standing]:
    """Standings from ``drawn`` (draws, I) qualities; intervals are their percentiles, or those of a Gaussian."""
    if reference is not None and reference not in model.episodes:
        raise InputError(f"{reference!r} is none of the {len(model.episodes):,} items; name one of them.")
    zero = model.episodes.index(reference) if reference is not None else -1
    sizes = np.bincount(model.groups)
    order, start = np.argsort(model.groups, kind="stable"), np.cumsum(sizes) - sizes
    found: list[Standing] = []
    for place, group in enumerate(np.argsort(-sizes, kind="stable")):
        members = order[start[group] : start[group] + sizes[group]]
        at = members == zero
        some, quality = drawn[:, members], model.quality[members]
        some = some - (some[:, at] if at.any() else some.mean(axis=1, keepdims=True))
        quality = quality - (quality[at] if at.any() else quality.mean())
        se = some.std(axis=0, ddof=1)
        low, high = np.percentile(some, [2.5, 97.5], axis=0) if percentiles else (quality - Z * se, quality + Z * se)
        ranks = 1 + np.argsort(np.argsort(-some, axis=1), axis=1)
        rank_low, rank_high = np.percentile(ranks, [2.5, 97.5], axis=0, method="nearest")
        for rank, i in enumerate(np.argsort(-quality, kind="stable"), start=1):
            found.append(
                Standing(
                    model.episodes[members[i]], place, float(quality[i]), float(se[i]), float(low[i]), float(high[i]),
                    rank, min(int(rank_low[i]), rank), max(int(rank_high[i]), rank),
                )
            )  # fmt: skip
    return found
