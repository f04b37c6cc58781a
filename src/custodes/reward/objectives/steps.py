"""Which steps of an answer are right: cross-entropy at the last token of each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from custodes.feedback.kinds.step import StepMark, step_ends
from custodes.ranges import Share, ranged
from custodes.registry import objective
from custodes.reward.model import RewardModel
from custodes.reward.objective import Floats, Lesson, Material
from custodes.reward.objectives.labels import Logistic
from custodes.stats import Interval, rate
from custodes.types import InputError

STEPS = "steps"


@objective
@dataclass(kw_only=True)
@ranged
class Steps(Logistic):
    """Marks of steps, +1 right and -1 wrong. The output "steps" is the probability that a step is right.

    A step is found by the characters that it ends with, whatever the tokenizer makes of what stands between steps.
    """

    judgment = StepMark
    source = "arXiv 2305.20050, section 2"

    ended_by_next = True
    neutral: Share = 0.5
    """Probability of being right that a step has which is marked neither right nor wrong."""

    @staticmethod
    def ends(text: str) -> list[int]:
        return step_ends(text)

    @staticmethod
    def token_reward(probability: Floats) -> Floats:
        """Minus the probability of being wrong: no step pays, so that more steps never pay more."""
        return probability - 1.0

    def marks(self, material: Material) -> list[str]:
        return [STEPS for _ in material.judgments(StepMark)]

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        marks, taught = material.judgments(StepMark), []
        values = {mark.value for mark in marks}
        for mark in marks:
            if STEPS in material.outputs and len(values) < 2:
                material.passes(mark, f"all steps are marked {mark.value:+}")
            elif (weight := material.teaches(mark, STEPS)) is not None:
                sequence, places = material.placed(mark, self.ends)
                if mark.step >= len(places):
                    raise InputError(
                        f"{material.where(mark)}: step {mark.step}, counted from 0, of an answer with {len(places)} steps; "
                        "the mark is of another text."
                    )
                target = (self.neutral if mark.value == 0 else float(mark.value > 0),)
                prompt = material.episode(mark).task.messages
                taught.append(Lesson(prompt, ((sequence, places[mark.step]),), target, weight, material.where(mark)))
        return self.begin(taught, material, members)

    def marked(self, material: Material, mark: str) -> dict[str, list[bool | None]]:
        marked: dict[str, list[bool | None]] = {}
        for one in material.judgments(StepMark):
            steps = len(self.ends(material.episode(one).completion))
            own = marked.setdefault(one.episodes[0], [None] * steps)
            if one.value and one.step < steps:
                own[one.step] = one.value < 0
        return marked

    def measures(self, model: RewardModel, material: Material) -> dict[str, Interval]:
        """Accuracy at each step, and how often the first wrong step is found, each beside what is right without looking.

        Without looking: the commoner mark; and the position of the first mistake that is commonest, "none" among them.
        """
        marks = [mark for mark in material.judgments(StepMark) if mark.value]
        if STEPS not in model.marks or not marks:
            return {}
        judged = {mark.episodes[0]: material.episode(mark).messages for mark in marks}
        of = dict(zip(judged, model.mark_probabilities(list(judged.values()), STEPS), strict=True))
        right = np.array([of[mark.episodes[0]][mark.step] for mark in marks])
        good, tasks = np.array([mark.value > 0 for mark in marks]), [mark.task for mark in marks]
        answers: dict[str, dict[int, int]] = {}
        for mark in marks:
            answers.setdefault(mark.episodes[0], {})[mark.step] = mark.value
        task_of = {mark.episodes[0]: mark.task for mark in marks}
        truth, found, where = [], [], []
        for episode, own in answers.items():
            p = of[episode]
            first = next((step for step in sorted(own) if own[step] < 0), -1)
            if set(range(len(p) if first < 0 else first)) <= own.keys():  # all before it are marked
                truth.append(first)
                found.append(int(next((step for step in range(len(p)) if p[step] < 0.5), -1)))
                where.append(task_of[episode])
        measured = {
            "right of steps": rate((right > 0.5) == good, tasks),
            "the commoner mark of steps": rate(good == (good.mean() > 0.5), tasks),
        }
        if truth:
            commonest = max(dict.fromkeys(truth), key=truth.count)
            measured["first mistake found"] = rate(np.equal(truth, found), where)
            measured["the commonest first mistake"] = rate(np.equal(truth, commonest), where)
        return measured
