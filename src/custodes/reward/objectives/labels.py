"""Whether an answer is something: logistic regression on a named axis.

Letters: N labels, K members, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custodes.feedback.collection import LABEL
from custodes.feedback.kinds.label import Label
from custodes.ranges import ranged
from custodes.registry import objective
from custodes.reward.model import OVERALL, RewardModel
from custodes.reward.objective import Floats, Lesson, LessonBatch, Material, RewardObjective
from custodes.stats import Interval, rate

WORDS = {"yes": 1.0, "true": 1.0, "1": 1.0, "good": 1.0, "no": 0.0, "false": 0.0, "0": 0.0, "bad": 0.0}
"""What values of a label mean, in any case."""


class Logistic(RewardObjective):
    """Yes or no: P(yes) = sigmoid(score + offset), with an offset for each member and output. Soft targets are allowed."""

    source = "logistic regression"

    def begin(self, taught: list[Lesson], material: Material, members: int) -> list[Lesson]:
        """The lessons; offsets start where every score is 0."""
        start = np.zeros(len(material.outputs))
        for output in range(len(start)):
            mean = np.mean([lesson.target[0] for lesson in taught if lesson.weight[output]] or [0.5])
            start[output] = np.log(mean / (1 - mean)) if 0 < mean < 1 else 0.0
        self.taught = sorted({int(np.argmax(lesson.weight)) for lesson in taught})
        offset = torch.from_numpy(start).float().repeat(members, 1)  # (K, O) log-odds at raw score 0
        self.offset = nn.Parameter(offset.to(material.device))
        return taught

    def parameters(self) -> Sequence[nn.Parameter]:
        return [self.offset] if self.taught else []

    def loss(self, values: Tensor, batch: LessonBatch) -> Tensor:
        logits = values[batch.at[:, 0]] + self.offset.to(values)
        target = batch.target[:, :1, None].expand_as(logits)
        return (batch.weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum()

    def agreement(self, values: Tensor, batch: LessonBatch) -> Floats:
        logits = (values[batch.at[:, 0]] + self.offset.detach().to(values)).mean(1).cpu().numpy()
        logits = logits[np.arange(len(logits)), batch.weight.sum(1).argmax(1).cpu().numpy()]
        target = batch.target[:, 0].cpu().numpy()
        return np.where(target == 0.5, 0.5, (logits > 0) == (target > 0.5)).astype(np.float64)

    def zeros(self) -> dict[int, Floats]:
        return {output: -self.offset.detach()[:, output].double().cpu().numpy() for output in self.taught}


@objective
@dataclass(kw_only=True)
@ranged
class Labels(Logistic):
    """Labels that say yes or no, each on the axis of its name; "acceptable" is about overall.

    Where labels teach an axis, its scores are counted from even odds: above 0 an answer is likelier to be labelled yes than no.
    """

    judgment = Label

    def axes(self, material: Material) -> list[str]:
        return [_axis(label) for label in material.judgments(Label) if label.value.lower() in WORDS]

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        labels = material.judgments(Label)
        values: dict[str, set[float]] = {}
        for label in labels:
            values.setdefault(_axis(label), set()).add(WORDS.get(label.value.lower(), -1.0))
        taught = []
        for label in labels:
            axis = _axis(label)
            if axis in material.outputs and label.value.lower() not in WORDS:
                material.passes(label, "its value is neither yes nor no")
            elif axis in material.outputs and len(values[axis] - {-1.0}) < 2:
                material.passes(label, f"all labels {label.name!r} are {label.value!r}")
            elif (weight := material.teaches(label, axis)) is not None:
                prompt, sequence = material.episode(label).task.messages, material.sequence(label)
                target = (WORDS[label.value.lower()],)
                taught.append(Lesson(prompt, ((sequence, -1),), target, weight, material.where(label)))
        return self.begin(taught, material, members)

    def measures(self, model: RewardModel, material: Material) -> dict[str, Interval]:
        """How often a score is on the label's side of 0, and how often the commoner value alone is right."""
        measured = {}
        for axis in model.axes:
            own = [c for c in material.judgments(Label) if _axis(c) == axis and c.value.lower() in WORDS]
            if own:
                scores = model.score([material.episode(label) for label in own])
                yes = np.array([WORDS[label.value.lower()] for label in own])
                right = (scores.parts.get(axis, scores.value) > 0) == (yes > 0.5)
                tasks = [label.task for label in own]
                measured[f"agrees with labels, {axis}"] = rate(right, tasks)
                measured[f"the commoner label, {axis}"] = rate(yes == float(yes.mean() > 0.5), tasks)
        return measured


def _axis(label: Label) -> str:
    return OVERALL if label.name == LABEL else label.name
