"""A language model grades replies by a rubric: a judge as a reward.

Letters: B episodes, P principles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custodes.feedback.ai import read_score
from custodes.feedback.rubric import Principle, Rubric
from custodes.reward.base import RewardBase
from custodes.types import Engine, Episode, InputError, Message, Sampling, Scores, Task

GRADE = "You grade an answer to a request."
"""What the judge is told first, where the rubric has no introduction."""
SCALE = "Answer with one number from 1 to 7 and nothing else: 1 is the worst answer, 7 the best."


@dataclass(eq=False)
class RubricReward(RewardBase):
    """Each principle is a question of its own, answered from 1 to 7 at temperature 0.

    A part is a principle's grade between 0 and 1; the value is their mean by the principles' weights. A reply without a
    grade is no opinion. Raises InputError where the judge cannot be asked, does not answer, or gives no grade at all for several episodes.
    """

    engine: Engine
    rubric: Rubric
    name: str = "rubric"

    def score(self, episodes: Sequence[Episode]) -> Scores:
        principles = self.rubric.principles
        tasks = [_question(episode, principle, self.rubric) for episode in episodes for principle in principles]
        replies = self.engine.generate(tasks, Sampling(temperature=0.0, max_tokens=16))
        if lost := [i for i, reply in enumerate(replies) if reply.outcome == "error"]:  # no opinion of the judge's
            about = episodes[lost[0] // len(principles)].id
            raise InputError(
                f"the judge of rubric {self.rubric.name} did not answer {len(lost)} of {len(replies)} questions, the first "
                f"about episode {about}; see that its server runs."
            )
        read = [read_score(reply.completion, 1, 7) for reply in replies]
        grades = (
            np.array([np.nan if g is None else g for g in read], float).reshape(len(episodes), -1) - 1
        ) / 6  # (B, P)
        if len(episodes) > 1 and np.isnan(grades).all():
            raise InputError(
                f"the judge of rubric {self.rubric.name} gave no grade from 1 to 7 for any of {len(episodes)} episodes; "
                f"of episode {episodes[0].id} it said {replies[0].completion[:60]!r}."
            )
        weights = np.where(np.isnan(grades), 0.0, [p.weight for p in principles])
        total = weights.sum(1)
        value = np.where(total > 0, (np.nan_to_num(grades) * weights).sum(1) / np.maximum(total, 1e-12), np.nan)
        return Scores(value=value, parts={p.name: grades[:, i] for i, p in enumerate(principles)})


def _question(episode: Episode, principle: Principle, rubric: Rubric) -> Task:
    """The whole conversation after the request is what is graded: replies, and what the environment said between."""
    asked = len(episode.task.messages)
    request, answer = (
        "\n\n".join(f"{m.role}: {m.content}" for m in messages)
        for messages in (episode.messages[:asked], episode.messages[asked:])
    )
    text = f"{rubric.introduction or GRADE}\n\n# Request\n{request}\n\n# Answer\n{answer}\n\n# Question\n{principle.text}\n{SCALE}"
    key = f"{episode.id}\0{rubric.name}\0{rubric.version}\0{principle.name}"
    return Task(f"grade-{hashlib.sha256(key.encode()).hexdigest()[:24]}", (Message("user", text),))
