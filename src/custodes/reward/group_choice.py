"""How many groups of annotators there are, and what a group may be.

The number is chosen by the likelihood of judgments that were held out, a fifth of each person's at a time. What a small
group is cannot be chosen so: people whose values differ and people who turn the majority's answers round both form a
group of exactly themselves. What can be asked is whether a group's own reward predicts its held-out answers better than
the majority's reward turned round does.

Letters: N comparisons, K annotators, G groups, S values of sharpness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, logsumexp

from custodes.reward.groups import (
    RESTARTS,
    FeaturePairs,
    Groups,
    fit_groups,
    judgment_likelihood,
    person_likelihood,
)
from custodes.stats import Interval, mean_interval
from custodes.types import Floats

FOLDS = 5
ALIKE = 0.95
"""Correlation of two groups' scores from which they are said to prefer nearly the same."""
GAIN = float(np.log(100))
"""Nats by which one group more must make held-out judgments likelier: a likelihood ratio of 100, which a group that is not
there reaches with probability 1 % at most, were the ratio of fixed models (Wasserman, Ramdas and Balakrishnan, PNAS 2020).
How often one is seen by mistake is measured in ``benchmarks/groups.py``."""
MOST_GROUPS = 5
"""Groups beyond which none are tried."""


@dataclass(frozen=True, slots=True)
class GroupReading:
    """What a group beside the largest may be."""

    group: int
    """From 1; the largest group is 1."""
    annotators: tuple[str, ...]
    """Those whose likeliest group this is."""
    correlation: float
    """Of its scores with those of group 1, over the compared pairs: -1 is group 1 turned round."""
    advantage: Interval
    """Nats by which its own reward predicts a held-out judgment of its members better than group 1's turned round does."""
    where: str = ""
    """Where group 1's is turned round in the likeliest reading of this sort; "" is everywhere."""

    @property
    def own_values(self) -> bool:
        """Whether its answers are surely more than those of the largest group turned round, and other than those of that group."""
        return self.advantage.low > 0 and self.correlation < ALIKE

    @property
    def readings(self) -> tuple[str, str]:
        """Both readings, a sentence or two each; a person decides."""
        minority = (
            f"Reading 1: group {self.group} is a minority with values of its own; the correlation of its scores with those of "
            f"group 1 is {self.correlation:+.2f}."
        )
        if self.correlation >= ALIKE:
            minority = (
                f"Reading 1: group {self.group} prefers nearly what group 1 does; the correlation of their scores is "
                f"{self.correlation:+.2f}. It judges in another way rather than by other values."
            )
        place = f" {self.where}" if self.where else ""
        if self.advantage.low > 0:
            inverted = (
                f"Reading 2: they turn group 1's answers round{place}. This fits worse, by {self.advantage} nats for each held-out "
                "judgment. Poisoners with another plan would still look like a minority."
            )
        else:
            inverted = (
                f"Reading 2: they turn group 1's answers round{place}. This fits no worse: their own values gain {self.advantage} "
                "nats for each held-out judgment. These judgments cannot tell a minority from poisoners."
            )
        return minority, inverted

    def to_dict(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "annotators": list(self.annotators),
            "correlation": self.correlation,
            "advantage": self.advantage.to_dict(),
            "where": self.where,
            "own_values": self.own_values,
            "readings": list(self.readings),
        }


@dataclass(frozen=True, eq=False)
class ChosenGroups:
    """Groups whose number the held-out likelihood decided, or the caller."""

    groups: Groups
    gains: tuple[float, ...]
    """Of 2 groups over 1, of 3 over 2, as far as tried: by how much the log-likelihood of all held-out judgments rises."""
    readings: tuple[GroupReading, ...]
    """One for each group beside the largest."""


def choose_groups(
    data: FeaturePairs,
    groups: int = 0,
    *,
    restarts: int = RESTARTS,
    seed: int = 0,
    where: Mapping[str, NDArray[np.bool_]] | None = None,
) -> ChosenGroups:
    """The groups of annotators; of 0, as many as the held-out likelihood bears out, up to five.

    One group more is taken where held-out judgments are :data:`GAIN` nats likelier with it, and none has one member alone. ``where`` names sets of
    comparisons (N,) where poisoners may turn their answers round, such as prompts with a word in them. Raises InputError
    as :func:`~custodes.reward.groups.fit_groups` does.
    """
    fold, able = held_out_folds(data, seed), int((data.each > 1).sum())  # who judged once shows no group
    gains: list[float] = []

    def fit(count: int) -> tuple[Groups, list[Groups]]:
        """On all judgments; and without each fold, from the same memberships on."""
        whole = fit_groups(data, count, restarts=restarts, seed=seed)
        return whole, [fit_groups(data.some(fold != k), count, start=whole.membership) for k in range(FOLDS)]

    fitted, folds = fit(groups or 1)
    while not groups and fitted.count < min(MOST_GROUPS, able):
        more, more_folds = fit(fitted.count + 1)
        gained = held_out_likelihood(data, fold, more_folds) - held_out_likelihood(data, fold, folds)
        gains.append(float(gained.sum()))
        if gains[-1] < GAIN or np.bincount(more.likeliest, minlength=more.count).min() < 2:  # one person is no group
            break
        fitted, folds = more, more_folds
    return ChosenGroups(fitted, tuple(gains), _readings(data, fold, fitted, folds, where or {}))


def held_out_folds(data: FeaturePairs, seed: int) -> NDArray[np.int64]:
    """(N,) the fold of each judgment: each person's are spread over all folds."""
    order = np.random.default_rng([seed, 5]).permutation(len(data.person))
    order = order[np.argsort(data.person[order], kind="stable")]
    first = np.concatenate([[0], np.cumsum(data.each)[:-1]])
    fold = np.empty(len(order), np.int64)
    fold[order] = (np.arange(len(order)) - first[data.person[order]] + data.person[order]) % FOLDS
    return fold


def held_out_likelihood(data: FeaturePairs, fold: NDArray[np.int64], folds: Sequence[Groups]) -> Floats:
    """(K,) log-likelihood of each person's held-out judgments, summed over folds, given their other judgments."""
    total = np.zeros(len(data.people))
    for k, fitted in enumerate(folds):
        held = data.some(fold == k)
        log = person_likelihood(held, fitted.scores(held.difference))
        with np.errstate(divide="ignore"):
            total += logsumexp(log + np.log(fitted.joint), axis=(1, 2))
    return total


def _readings(
    data: FeaturePairs,
    fold: NDArray[np.int64],
    fitted: Groups,
    folds: Sequence[Groups],
    where: Mapping[str, NDArray[np.bool_]],
) -> tuple[GroupReading, ...]:
    """Each smaller group's own reward against the likeliest way of turning group 1's round: everywhere, or ``where``."""
    found, scores = [], fitted.scores(data.difference)
    places = {"": np.ones(len(data.label), bool), **where}
    for g in range(1, fitted.count):
        members = (fitted.likeliest == g)[data.person]
        gain, likelihood = {name: np.zeros(len(data.label)) for name in places}, dict.fromkeys(places, 0.0)
        for k, of_fold in enumerate(folds):
            # the numbers of groups mean nothing: those of a fold are matched to those of all judgments by their members
            _, matched = linear_sum_assignment(-(fitted.membership.T @ of_fold.membership))
            kept, held = members & (fold != k), members & (fold == k)
            z = of_fold.scores(data.difference) * of_fold.fitted_sharpness()[data.person, matched[g], None]
            own = judgment_likelihood(data, z[:, matched[g]])
            for name, inside in places.items():
                turned = np.where(inside, -1.0, 1.0) * z[:, matched[0]]
                for part in (inside, ~inside):
                    turned[part] *= _factor(data.some(kept & part), turned[kept & part])
                of_turned = judgment_likelihood(data, turned)
                likelihood[name] += float(of_turned[kept].sum())
                gain[name][held] = (own - of_turned)[held]
        likeliest = max(places, key=lambda name: likelihood[name])
        size = float(np.sqrt((scores[:, 0] ** 2).mean() * (scores[:, g] ** 2).mean()))
        correlation = float((scores[:, 0] * scores[:, g]).mean()) / size if size > 0 else 0.0
        names = tuple(name for name, own_group in zip(data.people, fitted.likeliest, strict=True) if own_group == g)
        found.append(GroupReading(g + 1, names, correlation, mean_interval(gain[likeliest][members]), likeliest))
    return tuple(found)


def _factor(data: FeaturePairs, z: Floats) -> float:
    """The factor, 0 or more, by which scores' differences ``z`` (N,) predict the judgments best."""
    factor, offset = 1.0, 0.0 if data.offset is None else data.offset
    for _ in range(50):  # Newton's method in one dimension, with a weak prior around 0 that keeps it finite
        p = expit(factor * z + offset)
        step = (float(z @ (data.label - p)) - factor) / (float(z**2 @ (p * (1 - p))) + 1)
        factor = max(factor + float(np.clip(step, -1, 1)), 0.0)
        if abs(step) < 1e-6:
            break
    return factor
