"""Do replies repeat themselves, or each other?"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custodes.policy.alarm import BasePolicy, Facts, MeanAlarm, WatchedStep
from custodes.registry import alarm
from custodes.types import Episode, Floats

DRAWN_STEPS = 100
"""Steps that are drawn to see how much replies of one step have in common."""
WORDS = 3
"""In a run of so many words or marks."""


@alarm
@dataclass(frozen=True)
class Repetition(MeanAlarm):
    """Rings where the share of repeated runs of three words is more than ``tolerance`` above the base policy's.

    A run counts where it stands earlier in the reply, or in a reply to another task of the same step.
    """

    tolerance: float = 0.05
    unit: ClassVar[str] = "share of repeated three-word runs"
    tells: ClassVar[str] = "that replies repeat themselves, or that all tasks get the same phrases"
    cannot: ClassVar[str] = (
        "whether that is bad: a fixed opening that the reward rightly asks for is repeated too, and gibberish that never "
        "repeats is not seen"
    )
    missing: ClassVar[str] = "the replies hold no text"

    def measure(self, look: WatchedStep) -> Floats | None:
        return _repeated_shares(look.episodes) if any(e.completion for e in look.episodes) else None

    def coupling(self, base: BasePolicy) -> float:
        """From steps of the base policy's tasks, drawn again: one reply that repeats another raises the shares of both."""
        by_task: dict[str, list[Episode]] = defaultdict(list)
        for look in base.looks:
            for episode in look.episodes:
                by_task[episode.task.id].append(episode)
        tasks, rng = list(by_task.values()), np.random.default_rng(0)
        count = min(base.tasks_per_step, len(tasks) // 2)
        means, of_tasks = [], []
        for _ in range(DRAWN_STEPS):
            step = [tasks[k] for k in rng.choice(len(tasks), count, replace=False)]
            shares = _repeated_shares([episode for own in step for episode in own])
            whole = np.split(shares, np.cumsum([len(own) for own in step])[:-1])
            known = [float(np.nanmean(own)) for own in whole if not np.isnan(own).all()]
            if known:
                means.append(np.mean(known))
                of_tasks.append(np.var(known))
        apart = math.sqrt(np.mean(of_tasks) / (count - 1) * (1 - count / len(tasks))) if of_tasks and count > 1 else 0.0
        return max(1.0, float(np.std(means)) / apart) if apart > 0 else 1.0

    def limits(self, facts: Facts) -> tuple[float, float]:
        return -math.inf, facts["mean"] + facts["above"] + self.tolerance


def _repeated_shares(episodes: Sequence[Episode]) -> Floats:
    """(B,) share of each reply's runs of words that were there before, in it or in a reply to another task; NaN of short ones."""
    runs = [_runs(episode.completion) for episode in episodes]
    tasks: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for episode, own in zip(episodes, runs, strict=True):
        for run in own:
            tasks[run].add(episode.task.id)
    shares = []
    for own in runs:
        first: set[tuple[str, ...]] = set()
        repeated = 0
        for run in own:
            repeated += run in first or len(tasks[run]) > 1
            first.add(run)
        shares.append(repeated / len(own) if own else math.nan)
    return np.array(shares)


def _runs(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return [tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)]
