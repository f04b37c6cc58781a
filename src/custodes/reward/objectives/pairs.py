"""Which of two answers is better: Bradley-Terry, for hard, soft and graded preferences.

Letters: P pairs, M readings, K members, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from custodes.feedback.exchange import pairs_from_judgments
from custodes.feedback.kinds.comparison import Comparison
from custodes.ranges import ranged
from custodes.registry import objective
from custodes.reward.model import RewardModel
from custodes.reward.objective import Floats, Lesson, LessonBatch, Material, RewardObjective
from custodes.reward.reading import TokenPair
from custodes.stats import Interval, rate
from custodes.types import InputError, Judgment, PreferencePair

NOTHING = "it decides nothing: no preference, a weight of 0, or two answers that are the same"


@objective
@dataclass(kw_only=True)
@ranged
class Pairs(RewardObjective):
    """Comparisons of two answers."""

    judgment: ClassVar[type[Judgment]] = Comparison
    source = "Bradley and Terry 1952; the margin of arXiv 2307.09288, eq. 2; the centring of 2312.09244, eq. 3"

    center_coefficient: float = 0.01
    """Weight of the squared sum of a pair's two scores, which keeps scores near 0."""

    def axes(self, material: Material) -> list[str]:
        return [axis for _, axis, _ in self.made(material)]

    def made(self, material: Material) -> list[tuple[Judgment, str, list[PreferencePair]]]:
        """Each judgment with its axis and the pairs that it makes; none of equal answers, and none where it decides nothing."""
        origins = material.feedback.origins
        made: list[tuple[Judgment, str, list[PreferencePair]]] = []
        for one in material.judgments(Comparison):
            sides = [material.episode(one, n) for n in (0, 1)]
            made.append((one, one.axis, pairs_from_judgments([one], sides, axis=one.axis, origins=origins)))
        return made

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        pairs, weights = [], []
        for judgment, axis, own in self.made(material):
            if axis in material.outputs and not own:
                material.passes(judgment, NOTHING)
            elif (weight := material.teaches(judgment, axis)) is not None:
                pairs += own
                weights += [weight * pair.weight for pair in own]
        return self.of_pairs(pairs, material.reader.pairs(pairs)[0], np.array(weights)) if pairs else []

    def measures(self, model: RewardModel, material: Material) -> dict[str, Interval]:
        """How often each axis orders two answers as they were judged; ties are left out."""
        measured: dict[str, Interval] = {}
        for axis in model.axes if len(model.outputs) > 1 else ():  # an only one is evaluated as the reward's value
            pairs = [pair for _, on, own in self.made(material) if on == axis for pair in own if pair.label != 0.5]
            if pairs:
                sides = [(*pair.prompt, *side) for pair in pairs for side in (pair.chosen, pair.rejected)]
                scores = model.score_messages(sides)
                z = np.subtract(*scores.parts.get(axis, scores.value).reshape(-1, 2).T)
                right = np.where(z == 0, 0.5, (z > 0) == (np.array([pair.label for pair in pairs]) > 0.5))
                prompts: dict[object, int] = {}
                of = [prompts.setdefault(pair.prompt, len(prompts)) for pair in pairs]
                measured[f"agrees with {self.judgment.kind}s, {axis}"] = rate(right, of)
        return measured

    def of_pairs(
        self, pairs: Sequence[PreferencePair], tokens: Sequence[TokenPair], weights: Floats | None
    ) -> list[Lesson]:
        """Lessons of preference pairs. ``weights`` (P, O) of each pair for each output stand for the pairs' own.

        Raises InputError for weights that are no weights.
        """
        own = np.array([[pair.weight] for pair in pairs], np.float64) if weights is None else weights
        if len(own) != len(pairs) or not np.isfinite(own).all() or (own < 0).any() or own.sum() == 0:
            raise InputError("weights of preference pairs must be finite, 0 or more, and not all 0.")
        return [
            Lesson(pair.prompt, ((read.chosen, -1), (read.rejected, -1)), (read.label, read.margin), weight, read.where)
            for pair, read, weight in zip(pairs, tokens, own, strict=True)
        ]

    def loss(self, values: Tensor, batch: LessonBatch) -> Tensor:
        chosen, rejected = values[batch.at[:, 0]], values[batch.at[:, 1]]
        label, margin = batch.target[:, :1, None], batch.target[:, 1:, None]
        return preference_loss(chosen, rejected, label, margin, batch.weight, self.center_coefficient)

    def agreement(self, values: Tensor, batch: LessonBatch) -> Floats:
        z = (values[batch.at[:, 0]] - values[batch.at[:, 1]]).detach().mean(1).cpu().numpy()
        z = z[np.arange(len(z)), batch.weight.sum(1).argmax(1).cpu().numpy()]  # on the output that the pair is about
        labels = batch.target[:, 0].cpu().numpy()
        return np.where(labels == 0.5, 0.5, (z > 0) == (labels > 0.5)).astype(np.float64)


def preference_loss(
    chosen: Tensor,  # (P, ...) scores
    rejected: Tensor,  # (P, ...)
    label: Tensor,  # (P, 1 ...) P(chosen is better)
    margin: Tensor,  # (P, 1 ...) by how much the better one should win
    weight: Tensor,  # (P, ...)
    center_coefficient: float = 0.0,
) -> Tensor:
    """Weighted sum of the loss over pairs, and over members and outputs, nats.

    With z = chosen - rejected it is -label log sigmoid(z - margin) - (1 - label) log sigmoid(-z - margin):
    Bradley-Terry for label 1 and margin 0, the margin loss of Llama 2 (arXiv 2307.09288, eq. 2) for label 1,
    cross-entropy for soft labels. ``center_coefficient`` times (chosen + rejected)^2 keeps scores near 0
    (arXiv 2312.09244, eq. 3). A pair of weight 0 adds exactly 0.
    """
    z = chosen - rejected
    loss = -label * F.logsigmoid(z - margin) - (1 - label) * F.logsigmoid(-z - margin)
    if center_coefficient:
        loss = loss + center_coefficient * (chosen + rejected).square()
    return (weight * loss).sum()
