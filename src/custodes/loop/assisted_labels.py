"""Judges alone and judges with a critic's findings, in equal minutes: what ``quickstart --assist`` compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict
from itertools import combinations

import numpy as np

from custodes.audit.sections.assisted import ALONE, ASSISTED, AssistedLabels
from custodes.feedback.assisted import SimulatedCritic, bug_judges, minutes, within_minutes
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.simulated import simulated_annotators
from custodes.job.workspace import Workspace
from custodes.loop.judging import Judged, compare_pairs, judged_by
from custodes.reward import RewardModel
from custodes.types import Episode, Task

Gold = Callable[[Task, str], float]


def judge_with_and_without_help(
    work: Workspace,
    episodes: Sequence[Episode],
    gold: Gold,
    judges: Mapping[str, int],
    overlap: int,
    seed: int,
    critic: SimulatedCritic,
    held_out: Set[str],
) -> dict[str, Judged]:
    """Arm -> what its judges said. On tasks that are not held out, those with help have the minutes of those without."""
    people, arms, budget = simulated_annotators(judges, seed=seed), {}, 0.0
    for arm in (ALONE, ASSISTED):
        annotators = bug_judges(people, critic, helped=arm == ASSISTED)
        said = compare_pairs(annotators, episodes, gold, overlap, seed)
        taught, others = ([j for j in said if (j.task in held_out) == held] for held in (False, True))
        if arm == ALONE:
            budget = minutes(taught)
        else:
            taught = within_minutes(taught, budget, seed)
        work.ledger.write(work.run, [*(a.annotator for a in annotators), *taught, *others])
        arms[arm] = judged_by(annotators, episodes, [*taught, *others], overlap)
    return arms


def record_assisted_labels(
    work: Workspace,
    arm: str,
    judged: Judged,
    gold: Gold,
    critic: SimulatedCritic,
    held_out: Set[str],
    reward: RewardModel,
) -> None:
    """Record what an arm's labels took, how many are right, and which held-out pairs its reward puts in the right order."""
    if work.has(f"assisted-labels-{arm}"):
        return
    taught = [j for j in judged.judgments if j.task not in held_out]
    worth = {id_: gold(e.task, e.completion) for id_, e in judged.episodes.items()}
    decided = [
        j for j in taught if isinstance(j, Comparison) and j.strength and worth[j.episodes[0]] != worth[j.episodes[1]]
    ]
    right = [(worth[j.episodes[0]] > worth[j.episodes[1]]) == (j.strength > 0) for j in decided]
    of_task: dict[str, list[Episode]] = {}
    for episode in judged.episodes.values():
        if episode.task.id in held_out:
            of_task.setdefault(episode.task.id, []).append(episode)
    pairs = [(a, b) for several in of_task.values() for a, b in combinations(several, 2) if worth[a.id] != worth[b.id]]
    replies = list({e.id: e for pair in pairs for e in pair}.values())
    value = dict(zip([e.id for e in replies], reward.score(replies).value.tolist(), strict=True)) if replies else {}
    in_order = [0.5 + 0.5 * float(np.sign((value[a.id] - value[b.id]) * (worth[a.id] - worth[b.id]))) for a, b in pairs]
    row = AssistedLabels(
        critic=asdict(critic),
        comparisons=len(taught),
        seconds=60 * minutes(taught),
        decided=len(decided),
        decided_right=sum(right),
        task=[a.task.id for a, _ in pairs],
        right=in_order,
    )
    work.record(f"assisted-labels-{arm}", row, arm)
