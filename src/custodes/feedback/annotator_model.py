"""Who can be trusted, and what the judgments then say: the annotator model in the project's nouns.

:func:`fit_annotators` turns judgments into arrays, fits the model of ``bradley_terry.py`` and hands back an
:class:`AnnotatorModel`: reliability and biases of every annotator, quality of every episode, and for every comparison
a label that is free of the annotator's position and length bias. Every estimate has a standard error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr

from custodes.feedback.bradley_terry import Comparisons, Fit, fit
from custodes.feedback.ordinal import Floats, Ints, label_from_one
from custodes.feedback.qualities import Items, components
from custodes.feedback.reliability import A, B, C, S
from custodes.types import Comparison, Episode, InputError, Judgment, Ranking


@dataclass(frozen=True)
class Estimate:
    """What the model says of one annotator; units are those of :class:`AnnotatorModel`, ``_se`` standard errors."""

    annotator: str
    judgments: int
    reliability: float
    reliability_se: float
    reliability_low: float
    """Ends of the 95 % interval of reliability; the posterior of somebody who judged little is not symmetric."""
    reliability_high: float
    position: float
    position_se: float
    length: float
    length_se: float
    reserve: float
    reserve_se: float


@dataclass(frozen=True, eq=False)
class AnnotatorModel:
    """The fitted model. K annotators, I episodes, N comparisons (a ranking of n episodes makes n (n - 1) / 2).

    ``reliability`` is the slope of an annotator's log-odds by the difference in quality, on the crowd's scale: its
    root mean square is 1, so 1 is a typical annotator, 0 answers that carry nothing, below 0 inverted answers.
    ``position`` is the log-odds added to the first shown, ``length`` the log-odds per standard deviation of the
    difference in log-length (``length_unit``; 0 when lengths were not given), ``reserve`` the factor on the
    thresholds between weak and strong answers (1 typical, above 1 strong answers are given sparingly).

    ``quality`` is such that sigmoid of a difference is how often an annotator of reliability 1 without bias
    prefers the first. Its zero is the mean of the prior; only differences between compared episodes mean something.
    """

    annotators: tuple[str, ...]
    reliability: Floats  # (K,), and so on
    reliability_se: Floats
    position: Floats
    position_se: Floats
    length: Floats
    length_se: Floats
    reserve: Floats
    reserve_se: Floats
    episodes: tuple[str, ...]
    quality: Floats  # (I,)
    quality_se: Floats
    judgments: tuple[str, ...]  # (N,) id of the judgment that each comparison comes from
    comparisons: Comparisons  # the arrays that were fitted; indices into ``episodes`` and ``annotators``
    fit: Fit
    length_unit: float  # standard deviation of the differences in log-length, nats

    @cached_property
    def better(self) -> Floats:
        """(N,) probability that the first shown is truly better, given all judgments."""
        return ndtr(self.fit.difference / self.fit.difference_sd)

    @cached_property
    def preference(self) -> Floats:
        """(N,) probability that an unbiased annotator of reliability 1 prefers the first shown."""
        return expit(self.fit.difference / np.sqrt(1 + np.pi / 8 * self.fit.difference_sd**2))

    @cached_property
    def resolved(self) -> Floats:
        """(N,) share of the prior variance of q_first - q_second that the judgments removed: 0 nothing is known."""
        return np.clip(1 - self.fit.difference_sd**2 / (2 * self.fit.unit**2), 0.0, 1.0)

    @cached_property
    def others(self) -> tuple[Floats, Floats]:
        """(N,) difference in quality and its variance as everybody's other answers have it: one Newton step back."""
        slope, variance = self.fit.theta[self.comparisons.annotator, A], self.fit.difference_sd**2
        left = np.maximum(1 - self.fit.weight * slope**2 * variance, 1e-3)  # what is known without this answer
        return self.fit.difference - slope * self.fit.residual * variance / left, variance / left

    @cached_property
    def own_label(self) -> Floats:
        """(N,) probability that the first shown is truly better, given this one judgment and its annotator.

        Position and length bias are taken out, an inverter's answer is turned, a random one's is near 1/2.
        """
        data, k = self.comparisons, self.comparisons.annotator
        return label_from_one(
            data.strength,
            self.fit.thresholds,
            leaning=self.position[k] + self.length[k] * data.length,
            slope=self.reliability[k] * self.fit.unit,
            scale=self.reserve[k],
        )

    @cached_property
    def weight(self) -> Floats:
        """(N,) weight of the judgment as it was given: its annotator's reliability, 0 for whoever has none."""
        return np.maximum(self.reliability, 0.0)[self.comparisons.annotator]

    def of(self, annotator: str) -> Estimate:
        """Everything about one annotator. Raises InputError for an unknown id."""
        if annotator not in self._index:
            raise InputError(f"annotator {annotator!r} judged nothing here; known: {', '.join(self.annotators[:5])}.")
        k = self._index[annotator]
        names = ("reliability", "position", "length", "reserve")
        values = {name + end: float(getattr(self, name + end)[k]) for name in names for end in ("", "_se")}
        return Estimate(annotator, int((self.comparisons.annotator == k).sum()), **values)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.annotators)}


def fit_annotators(
    judgments: Iterable[Judgment], episodes: Iterable[Episode] | None = None, axis: str = "overall"
) -> AnnotatorModel:
    """Fits reliability, biases and qualities to the comparisons and rankings on ``axis`` among ``judgments``.

    ``episodes`` give the lengths (characters of the completion) for the length bias; None leaves it out. "both bad"
    counts as a tie, "cannot judge" says nothing; judgments of other kinds hold no comparison. Raises InputError when
    nothing is left, when an episode is compared with itself, or when a judged episode is not among ``episodes``.
    """
    rows = [row for judgment in judgments for row in comparisons_in(judgment, axis)]
    if not rows:
        raise InputError(f"no comparison or ranking on axis {axis!r} among the judgments: there is nothing to fit.")
    ids, annotators, firsts, seconds, strengths = zip(*rows, strict=True)
    for id_, first, second in zip(ids, firsts, seconds, strict=True):
        if first == second:
            raise InputError(f"judgment {id_} compares episode {first} with itself; give two episodes.")
    annotator_ids, k = _numbered(annotators)
    episode_ids, both = _numbered(firsts + seconds)
    first, second = both[: len(rows)], both[len(rows) :]
    length, unit = _length_difference(episodes, episode_ids, first, second)
    data = Comparisons(first, second, k, np.array(strengths), length, len(episode_ids), len(annotator_ids))
    return fit_comparisons(data, annotator_ids, episode_ids, ids, unit)


def fit_comparisons(
    data: Comparisons,
    annotators: tuple[str, ...],
    episodes: tuple[str, ...],
    judgments: tuple[str, ...],
    length_unit: float = 0.0,
) -> AnnotatorModel:
    """The model fitted to arrays; the names are those of the numbers in ``data``, one judgment per comparison."""
    fitted = fit(data)
    se = np.sqrt(np.diagonal(fitted.covariance, axis1=1, axis2=2))
    reserve = np.exp(fitted.theta[:, S])
    return AnnotatorModel(
        annotators=annotators,
        reliability=fitted.theta[:, A],
        reliability_se=se[:, A],
        position=fitted.theta[:, B],
        position_se=se[:, B],
        length=fitted.theta[:, C],
        length_se=se[:, C],
        reserve=reserve,
        reserve_se=reserve * se[:, S],
        episodes=episodes,
        quality=fitted.quality,
        quality_se=fitted.quality_sd,
        judgments=judgments,
        comparisons=data,
        fit=fitted,
        length_unit=length_unit,
    )


class Row(NamedTuple):
    """One comparison: ``strength`` -3..3, positive for the first shown, 0 a tie."""

    judgment: str
    annotator: str
    first: str
    second: str
    strength: int


def comparisons_in(judgment: Judgment, axis: str = "overall") -> list[Row]:
    """The comparisons that a judgment holds: one, n (n - 1) / 2 in a ranking of n, none in other kinds.

    A comparison of weight 0 is none: whoever gave it wants it to count for nothing.
    """
    if isinstance(judgment, Comparison) and judgment.axis == axis and judgment.verdict != "cannot_judge":
        if not judgment.weight:
            return []
        return [Row(judgment.id, judgment.annotator, judgment.episodes[0], judgment.episodes[1], judgment.strength)]
    if isinstance(judgment, Ranking) and judgment.axis == axis:
        ranked = list(zip(judgment.episodes, judgment.ranks, strict=True))
        return [
            Row(judgment.id, judgment.annotator, first, second, int(np.sign(below - above)))
            for i, (first, above) in enumerate(ranked)
            for second, below in ranked[i + 1 :]
        ]
    return []


def _numbered(names: tuple[str, ...]) -> tuple[tuple[str, ...], Ints]:
    """Distinct names in order of appearance, and the number of each name in them."""
    index: dict[str, int] = {}
    numbers = np.array([index.setdefault(name, len(index)) for name in names])
    return tuple(index), numbers


def _length_difference(
    episodes: Iterable[Episode] | None, ids: tuple[str, ...], first: Ints, second: Ints
) -> tuple[Floats, float]:
    """(N,) log-length of the first minus that of the second, in standard deviations; and that deviation."""
    if episodes is None:
        return np.zeros(len(first)), 0.0
    lengths: Mapping[str, int] = {e.id: len(e.completion) for e in episodes}
    missing = [id_ for id_ in ids if id_ not in lengths]
    if missing:
        raise InputError(f"{len(missing)} judged episodes are not among the episodes given, the first is {missing[0]}.")
    logs = np.log1p([lengths[id_] for id_ in ids])
    difference = logs[first] - logs[second]
    unit = float(np.sqrt(np.mean(difference**2)))
    return (difference / unit if unit > 0 else difference), unit
