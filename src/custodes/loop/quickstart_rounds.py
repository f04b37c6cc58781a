"""The quickstart's reward taught again in rounds: its judges go on judging, and all that they said is believed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from custodes.audit.sections.rounds import agreed
from custodes.feedback.annotator_model import AnnotatorModel, fit_annotators
from custodes.feedback.collection import Feedback
from custodes.job.workspace import Workspace
from custodes.loop.judging import Judged
from custodes.loop.round_pairs import pair_margins
from custodes.loop.round_reward import TaughtReward, comparisons_of
from custodes.reward import RewardModel
from custodes.stats import Interval, rate

Train = Callable[[Judged, AnnotatorModel, str], RewardModel]
"""(judgments, whom to believe, name) -> a reward, trained or found where it was trained before."""


@dataclass
class JudgedTeacher:
    """Teaches the reward of one arm again.

    Held-out accuracy is against what most judges of a pair say, as it is for probes: nobody's reliability enters.
    """

    work: Workspace
    arm: str
    judged: Judged
    held_out: set[str]  # tasks that no reward learns from
    reward: RewardModel  # of the first round
    train: Train

    @property
    def axis(self) -> str:
        return self.judged.axis

    def first(self) -> TaughtReward:
        return TaughtReward(self.reward, f"{self.arm} reward", self._accuracy(self.reward))

    def learned_from(self) -> Feedback:
        return _feedback(self.judged, lambda task: task not in self.held_out)

    def teach(self, number: int, judged: Feedback) -> TaughtReward:
        every = replace(
            self.judged,
            tasks=self.judged.tasks | judged.tasks,
            episodes=self.judged.episodes | judged.episodes,
            judgments=[*self.judged.judgments, *(j for j in judged.judgments if j.task not in self.held_out)],
        )
        believed = fit_annotators(every.judgments, every.episodes.values(), every.axis)
        model = self.train(every, believed, f"{self.arm}, round {number}")
        return TaughtReward(model, f"{self.arm}, round {number} reward", self._accuracy(model))

    def _accuracy(self, model: RewardModel) -> Interval:
        held = comparisons_of(_feedback(self.judged, lambda task: task in self.held_out), self.axis)
        label = [int(np.sign(better - 0.5)) for better in held.values()]
        tasks = [first.task.id for (first, _), side in zip(held, label, strict=True) if side]
        return rate(agreed(pair_margins(model, list(held)).tolist(), label), tasks)


def _feedback(judged: Judged, wanted: Callable[[str], bool]) -> Feedback:
    return Feedback(judged.tasks, judged.episodes, [j for j in judged.judgments if wanted(j.task)])
