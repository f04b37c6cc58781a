"""How good an answer is, as a number on a scale: cumulative logit with each annotator's own thresholds.

Letters: N ratings, K members, O outputs, S scales, A annotators' scales, L levels of the longest scale.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custodes.feedback.kinds.rating import Rating
from custodes.ranges import Positive, ranged
from custodes.registry import objective
from custodes.reward.model import RewardModel
from custodes.reward.objective import Floats, Lesson, LessonBatch, Material, RewardObjective
from custodes.stats import Interval, rank_correlation

MOST_LEVELS = 10
"""Scales with more values are cut into so many levels, as often used each."""


@objective
@dataclass(kw_only=True)
@ranged
class Ratings(RewardObjective):
    """Ratings on named axes.

    A rating at level l means that score plus logistic noise lies between thresholds l - 1 and l. Thresholds are an
    annotator's own, near those of everybody on the same scale: whoever is strict, or shuns the ends, teaches the same.
    """

    judgment = Rating
    source = "McCullagh 1980, eq. 2.2, with random thresholds"

    leniency: Positive = 1.5
    """Standard deviation, in logits, by which annotators' first thresholds differ."""
    spread: Positive = 0.4
    """Standard deviation of the logarithm of the distance between an annotator's thresholds."""

    def axes(self, material: Material) -> list[str]:
        return [judgment.axis for judgment in material.judgments(Rating)]

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        by_scale: dict[tuple[str, float, float], list[tuple[Rating, Floats]]] = defaultdict(list)
        values: dict[tuple[str, ...], set[float]] = defaultdict(set)
        for rating in material.judgments(Rating):
            values[_scale(rating)].add(rating.value)
        for rating in material.judgments(Rating):
            if rating.axis in material.outputs and len(values[_scale(rating)]) < 2:
                material.passes(rating, "its annotator gave nothing but one value on this scale")
            elif (weight := material.teaches(rating, rating.axis)) is not None:
                by_scale[rating.axis, rating.lowest, rating.highest].append((rating, weight))
        annotators: dict[tuple[str, int], int] = {}
        starts, taught = [], []
        for scale, own in enumerate(by_scale.values()):
            edges = _edges([rating.value for rating, _ in own])
            levels = np.searchsorted(edges, [rating.value for rating, _ in own], side="left")
            beyond = np.clip([(levels > m).mean() for m in range(len(edges))], 1e-3, 1 - 1e-3)
            starts.append(np.log1p(-beyond) - np.log(beyond))
            for (rating, weight), level in zip(own, levels, strict=True):
                who = annotators.setdefault((rating.annotator, scale), len(annotators))
                prompt = material.episode(rating).task.messages
                target = (float(level), float(who), float(scale))
                taught.append(
                    Lesson(prompt, ((material.sequence(rating), -1),), target, weight, material.where(rating))
                )
        self._begin(starts, [scale for _, scale in annotators], members, len(taught), material.device)
        return taught

    def parameters(self) -> Sequence[nn.Parameter]:
        return [self.common, self.own] if self.count else []

    def loss(self, values: Tensor, batch: LessonBatch) -> Tensor:
        level, who = batch.target[:, 0].long(), batch.target[:, 1].long()
        scores = values[batch.at[:, 0]]  # (n, K, O)
        thresholds = self.thresholds()[:, who]  # (K, n, L + 1)
        low, high = (
            thresholds.gather(2, at[None, :, None].expand(len(thresholds), -1, 1)).permute(1, 0, 2)
            for at in (level, level + 1)
        )  # (n, K, 1)
        within = torch.log(-torch.expm1(low - high))
        log_likelihood = F.logsigmoid(scores - low) + F.logsigmoid(high - scores) + within
        unlike = (self.own[:, :, :1] / self.leniency).square().sum() + (self.own[:, :, 1:] / self.spread).square().sum()
        return -(batch.weight * log_likelihood).sum() + unlike / 2 * len(level) / self.count

    def thresholds(self) -> Tensor:
        """(K, A, L + 1) of every annotator, the lowest at minus and the highest at plus infinity."""
        common = self.common[:, self.scale]
        first = common[:, :, :1] + self.own[:, :, :1]
        gaps = torch.exp(common[:, :, 1:] + self.own[:, :, 1:])
        inner = torch.cat([first, first + torch.cumsum(gaps, 2)], 2)
        inner = torch.where(self.beyond[self.scale], torch.inf, inner)
        ends = inner.new_full((*inner.shape[:2], 1), torch.inf)
        return torch.cat([-ends, inner, ends], 2)

    def measures(self, model: RewardModel, material: Material) -> dict[str, Interval]:
        """Spearman's correlation of scores and ratings on each axis; ratings less their annotator's mean."""
        ratings = material.judgments(Rating)
        measured = {}
        for axis in model.axes:
            own = [rating for rating in ratings if rating.axis == axis]
            of: dict[tuple[str, float], list[float]] = defaultdict(list)
            for rating in own:
                of[rating.annotator, rating.highest].append(_share(rating))
            if len(own) > 2:
                scores = model.score([material.episode(rating) for rating in own])
                values = [_share(rating) - float(np.mean(of[rating.annotator, rating.highest])) for rating in own]
                score = scores.parts.get(axis, scores.value)
                measured[f"correlation with ratings, {axis}"] = rank_correlation(score, np.array(values))
        return measured

    def _begin(self, starts: list[Floats], scale: list[int], members: int, count: int, device: torch.device) -> None:
        """Thresholds where they would be if all answers were alike; nobody differs from the others."""
        self.count = count
        if not count:
            return
        longest = max(map(len, starts))
        common, beyond = np.zeros((len(starts), longest)), np.ones((len(starts), longest), bool)
        for row, own in enumerate(starts):
            gaps = np.maximum(np.diff(own), 1e-2)
            common[row, : len(own)] = [own[0], *np.log(gaps)]
            beyond[row, : len(own)] = False
        self.scale, self.beyond = torch.tensor(scale, device=device), torch.from_numpy(beyond).to(device)
        self.common = nn.Parameter(torch.from_numpy(common).float().repeat(members, 1, 1).to(device))
        self.own = nn.Parameter(torch.zeros(members, len(scale), longest, device=device))


def _edges(values: Sequence[float]) -> Floats:
    """Upper ends of all levels but the highest."""
    distinct = np.unique(values)
    if len(distinct) > MOST_LEVELS:
        distinct = np.unique(np.quantile(values, np.arange(1, MOST_LEVELS + 1) / MOST_LEVELS, method="higher"))
    return np.asarray(distinct[:-1], np.float64)


def _scale(rating: Rating) -> tuple[str, ...]:
    """Whose scale it is: an annotator's own, on one axis."""
    return rating.annotator, rating.axis, str(rating.lowest), str(rating.highest)


def _share(rating: Rating) -> float:
    return (rating.value - rating.lowest) / (rating.highest - rating.lowest)
