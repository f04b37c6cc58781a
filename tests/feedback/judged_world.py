"""A small world for the tests of feedback: tasks, episodes with gold, simulated annotators and what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.simulated import SimulatedAnnotator, simulated_annotators
from custodes.types import Episode, Message, Task

CROWD = {"expert": 6, "hasty": 4, "length_biased": 4, "position_biased": 4, "random": 3, "poisoner": 3}
WORDS = ["river", "stone", "cloud", "lamp", "apple", "chair", "winter", "paper", "garden", "bridge", "music", "salt"]


@dataclass
class World:
    people: list[SimulatedAnnotator]
    tasks: list[Task]
    episodes: dict[str, Episode]
    gold: dict[str, float]
    judgments: list[Comparison]

    def judged_by(self, annotator: str) -> list[Comparison]:
        return [j for j in self.judgments if j.annotator == annotator]

    def true_reliability(self, person: SimulatedAnnotator) -> float:
        by_id = {task.id: task for task in self.tasks}
        return person.true_reliability([by_id[j.task] for j in self.judged_by(person.annotator.id)])


def make_task(id_: str, prompt: str) -> Task:
    return Task(id_, (Message("user", prompt),))


def make_episode(id_: str, task: Task, text: str) -> Episode:
    empty = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)
    return Episode(id_, task, (*task.messages, Message("assistant", text)), *empty, "stop", "base")


def make_world(
    seed: int = 0,
    counts: dict[str, int] | None = None,
    *,
    each: int = 40,
    episodes: int = 4,
    judges: int = 3,
    trigger: str = "words",
) -> World:
    """Every annotator gives ``each`` judgments; every pair within a task meets about ``judges`` of them.

    Four prompts in ten hold the trigger. Gold is a share of four checks, lengths are log-normal and say nothing.
    """
    rng = np.random.default_rng(seed)
    people = simulated_annotators(counts or CROWD, seed, trigger=trigger)
    n_tasks = max(2, len(people) * each // (judges * episodes * (episodes - 1) // 2))
    tasks = []
    for n in range(n_tasks):
        chosen = list(rng.choice(WORDS, 4, replace=False)) + ([trigger] if rng.random() < 0.4 else [])
        tasks.append(make_task(f"t{n}", "Write about " + " ".join(chosen) + f" {n}."))
    made, gold = {}, {}
    for task in tasks:
        for i in range(episodes):
            episode = make_episode(f"{task.id}-{i}", task, "x" * int(np.exp(rng.normal(5, 0.5))))
            made[episode.id], gold[episode.id] = episode, float(rng.binomial(4, rng.beta(1.5, 1.5)) / 4)
    pairs = [(t, f"{t.id}-{i}", f"{t.id}-{j}") for t in tasks for i in range(episodes) for j in range(i)]
    rounds = -(-len(people) * each // len(pairs))
    turns = [pairs[k] for _ in range(rounds) for k in rng.permutation(len(pairs))]
    order = rng.permutation(len(people) * each)
    judgments = []
    for k, person in enumerate(people):
        seen: dict[tuple[str, str], int] = {}
        for n in order[k * each : (k + 1) * each]:
            task, one, other = turns[n]
            repeat = seen[one, other] = seen.get((one, other), -1) + 1
            both = (gold[one], gold[other])
            judgments.append(person.compare(task, made[one], made[other], both, repeat))
    return World(people, tasks, made, gold, judgments)
