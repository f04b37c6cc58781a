"""Who among the judges can be trusted?

Simulated annotators of known natures compare answers. The annotator model sees their verdicts and the lengths of
the answers, nothing else, and says what each of them is like; then we look at the truth.

    python examples/judge_the_judges.py
"""

from __future__ import annotations

import random

import numpy as np

from custodes.feedback.agreement import agreement
from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.simulated import simulated_annotators
from custodes.stats import rank_correlation
from custodes.types import Episode, Judgment, Message, Task

NOTHING = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)  # no tokens: texts alone are judged
rng = random.Random(0)


def answer(task: Task, name: str) -> Episode:
    """An answer of random length. How good it is, only the simulation knows."""
    text = "word " * rng.randint(5, 60)
    return Episode(f"{task.id}-{name}", task, (*task.messages, Message("assistant", text)), *NOTHING, "stop", "nobody")


tasks = [Task(f"t{i}", (Message("user", rng.choice(["Use few words.", "Be brief."])),)) for i in range(300)]
annotators = simulated_annotators(
    {"expert": 5, "hasty": 5, "length_biased": 4, "position_biased": 4, "random": 4, "poisoner": 3}
)
episodes: list[Episode] = []
judgments: list[Judgment] = []
for task in tasks:
    first, second = answer(task, "a"), answer(task, "b")
    gold = rng.random(), rng.random()
    episodes += [first, second]
    judgments += [judge.compare(task, first, second, gold) for judge in rng.sample(annotators, 4)]

model = fit_annotators(judgments, episodes)

print(f"{'annotator':<20}{'true slope':>11}{'inferred reliability':>25}")
for judge in sorted(annotators, key=lambda judge: model.of(judge.annotator.id).reliability):
    found = model.of(judge.annotator.id)
    print(
        f"{found.annotator:<20}{judge.true_reliability(tasks):>11.1f}{found.reliability:>16.2f} ± {1.96 * found.reliability_se:.2f}"
    )

truth = np.array([judge.true_reliability(tasks) for judge in annotators])
inferred = np.array([model.of(judge.annotator.id).reliability for judge in annotators])
print(f"Rank correlation with the truth: {rank_correlation(truth, inferred)}")
print(f"Krippendorff's alpha: {agreement(judgments).alpha}")
