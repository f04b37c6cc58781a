"""A language model grades replies by a rubric: a judge as a reward (rule-based rewards, arXiv 2411.01111).

Each principle is a statement about the answer, and its grade is the probability that the judge gives to "Yes". The value
is the mean of the grades by the principles' weights, which :func:`custodes.reward.rubric_weights.fit_weights` fits to
people's judgments where there are some.

Letters: B episodes, P principles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.feedback.ai import read_score
from custodes.feedback.rubric import Principle, Rubric
from custodes.lm.choices import read_yes_no, yes_probability
from custodes.lm.engine import TorchEngine
from custodes.reward.base import RewardBase
from custodes.types import Engine, Episode, InputError, Message, Sampling, Scores, Task

GRADE = "You grade an answer to a request."
"""What the judge is told first, where the rubric has no introduction."""
ASK = {
    "yes-no": "# Statement\n{text}\nIs the statement true of the answer? Answer Yes or No.",
    "1-7": "# Question\n{text}\nAnswer with one number from 1 to 7 and nothing else: 1 is the worst answer, 7 the best.",
}


@dataclass(eq=False)
class RubricReward(RewardBase):
    """Each principle is a question of its own; the value is the mean of the grades by the principles' weights.

    A part is a principle's grade between 0 and 1: the probability of "Yes" among "Yes" and "No", or with ``grade: 1-7``
    the number that the judge writes at temperature 0. An engine that gives no probabilities says yes (1) or no (0).
    A principle of weight below 0 counts against an answer. A reply without a grade is no opinion. Raises InputError where
    the judge cannot be asked, does not answer, or gives no grade at all for several episodes.
    """

    engine: Engine
    rubric: Rubric
    name: str = "rubric"

    def score(self, episodes: Sequence[Episode]) -> Scores:
        grades, principles = self.grades(episodes), self.rubric.principles
        weights = np.where(np.isnan(grades), 0.0, [p.weight for p in principles])
        total = np.abs(weights).sum(1)
        value = np.where(total > 0, (np.nan_to_num(grades) * weights).sum(1) / np.maximum(total, 1e-12), np.nan)
        return Scores(value=value, parts={p.name: grades[:, i] for i, p in enumerate(principles)})

    def grades(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """(B, P) between 0 and 1; NaN where the judge gave none."""
        principles = self.rubric.principles
        tasks = [_question(episode, principle, self.rubric) for episode in episodes for principle in principles]
        yes_no = self.rubric.grade == "yes-no"
        if yes_no and isinstance(self.engine, TorchEngine):
            return yes_probability(self.engine, tasks).reshape(len(episodes), len(principles))
        replies = self.engine.generate(tasks, Sampling(temperature=0.0, max_tokens=16))
        if lost := [i for i, reply in enumerate(replies) if reply.outcome == "error"]:  # no opinion of the judge's
            about = episodes[lost[0] // len(principles)].id
            raise InputError(
                f"the judge of rubric {self.rubric.name} did not answer {len(lost)} of {len(replies)} questions, the first "
                f"about episode {about}; see that its server runs."
            )
        read = read_yes_no if yes_no else _read_number
        grades = np.array([read(reply.completion) for reply in replies], float)
        if len(episodes) > 1 and np.isnan(grades).all():
            raise InputError(
                f"the judge of rubric {self.rubric.name} {'said neither yes nor no' if yes_no else 'gave no grade from 1 to 7'} "
                f"for any of {len(episodes)} episodes; of episode {episodes[0].id} it said {replies[0].completion[:60]!r}."
            )
        return grades.reshape(len(episodes), len(principles))


def _read_number(text: str) -> float:
    grade = read_score(text, 1, 7)
    return np.nan if grade is None else (grade - 1) / 6


def _question(episode: Episode, principle: Principle, rubric: Rubric) -> Task:
    """The whole conversation after the request is what is graded: replies, and what the environment said between."""
    asked = len(episode.task.messages)
    request, answer = (
        "\n\n".join(f"{m.role}: {m.content}" for m in messages)
        for messages in (episode.messages[:asked], episode.messages[asked:])
    )
    ask = ASK[rubric.grade].format(text=principle.text)
    text = f"{rubric.introduction or GRADE}\n\n# Request\n{request}\n\n# Answer\n{answer}\n\n{ask}"
    key = f"{episode.id}\0{rubric.name}\0{rubric.version}\0{principle.name}"
    return Task(f"grade-{hashlib.sha256(key.encode()).hexdigest()[:24]}", (Message("user", text),))
