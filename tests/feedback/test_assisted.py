"""Judges with and without a critic's findings: what they see, what they are led to believe, and equal minutes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from custodes.environments import check_results, gold, instruction_tasks
from custodes.feedback.assisted import CRITIC, SimulatedCritic, bug_judges, minutes, within_minutes
from custodes.feedback.simulated import simulated_annotators
from custodes.types import Episode, InputError, Message

TASKS = [task for task in instruction_tasks(400) if "paragraph" not in str(task.metadata)][:200]


def answers() -> list[Episode]:
    """Two answers to each task: one sentence about its topic, and several."""
    made = []
    for task in TASKS:
        topic = str(task.metadata["topic"])
        for k, text in enumerate(
            (f"The {topic} is well known to many people.", f"Many like the {topic}. It is old. It is new.")
        ):
            made.append(Episode.written(f"{task.id}-{k}", task, (*task.messages, Message("assistant", text)), "base"))
    return [e for e in made if check_results(e.task, e.completion)["is_answer"]]


def seen_as(critic: SimulatedCritic, helped: bool, judge: str = "a") -> tuple[float, float]:
    """(share of failed checks that are seen, share of sound ones that are believed to fail), as the sums of golds tell it."""
    caught, failed, misled, sound = 0.0, 0, 0.0, 0
    for episode in answers():
        results = check_results(episode.task, episode.completion)
        results.pop("is_answer")
        one = critic.seen(judge, episode.task, episode.completion, helped, 0) * len(results)
        no_false = SimulatedCritic(catch=critic.catch, helped=critic.helped, misled=0.0)
        without = no_false.seen(judge, episode.task, episode.completion, helped, 0) * len(results)
        failed, sound = failed + len(results) - sum(results.values()), sound + sum(results.values())
        caught += len(results) - without
        misled += without - one
    return caught / failed, misled / sound


def test_bugs_are_seen_and_invented_at_the_stated_rates() -> None:
    critic = SimulatedCritic(catch=0.3, helped=0.7, misled=0.2)
    alone, helped = seen_as(critic, False), seen_as(critic, True)
    print(alone, helped)
    assert alone == (pytest.approx(0.3, abs=0.07), pytest.approx(0, abs=1e-9))
    assert helped == (pytest.approx(0.7, abs=0.07), pytest.approx(0.2, abs=0.06))


def test_a_perfect_judge_sees_gold_and_a_blind_one_nothing() -> None:
    for episode in answers()[:40]:
        truth = gold(episode.task, episode.completion)
        assert (
            SimulatedCritic(catch=1, helped=1, misled=0).seen("a", episode.task, episode.completion, True, 0) == truth
        )
        assert SimulatedCritic(catch=0, helped=0).seen("a", episode.task, episode.completion, False, 0) == 1.0


def test_findings_are_the_same_for_all_and_eyes_are_not() -> None:
    critic = SimulatedCritic(catch=0.5, helped=0.5, misled=0.4)
    of = {who: [critic.seen(who, e.task, e.completion, False, 0) for e in answers()] for who in "ab"}
    assert of["a"] != of["b"]
    blind = SimulatedCritic(catch=0.0, helped=0.5, misled=0.4)
    with_help = [[blind.seen(who, e.task, e.completion, True, 0) for e in answers()] for who in "ab"]
    assert with_help[0] == with_help[1]


def test_help_is_read_and_equal_minutes_are_fewer_comparisons() -> None:
    critic = SimulatedCritic(reading=15)
    people = simulated_annotators({"expert": 2})
    by_task: dict[str, list[Episode]] = {}
    for episode in answers():
        by_task.setdefault(episode.task.id, []).append(episode)
    said = {}
    for helped in (False, True):
        said[helped] = [
            judge.compare(a.task, a, b, (0.0, 0.0))
            for several in by_task.values()
            for a, b in combinations(several, 2)
            for judge in bug_judges(people, critic, helped)
        ]
    assert not {j.id for j in said[False]} & {j.id for j in said[True]}
    assert {j.assistance for j in said[True]} == {CRITIC}
    assert {j.assistance for j in said[False]} == {""}
    budget = minutes(said[False])
    kept = within_minutes(said[True], budget, seed=1)
    assert budget - 5 < minutes(kept) <= budget
    assert len(kept) < len(said[True])
    pairs = [frozenset(j.episodes) for j in kept]
    assert all(pairs.count(pair) == 2 for pair in pairs)  # whole pairs
    assert within_minutes(said[True], budget, seed=1) == kept
    assert np.mean([j.id in {k.id for k in kept} for j in said[True]]) > 0.3


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("runs/critic", "is no critic; write simulated:catch=.3"),
        ("simulated:catch=.6,helped=.3", "helped is below catch"),
        ("simulated:caught=.6", "there is no 'caught'"),
        ("simulated:misled=1.2", "misled is '1.2'; it must be a number, from 0 to 1"),
    ],
)
def test_what_is_no_critic_is_refused(spec: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SimulatedCritic.read(spec)
