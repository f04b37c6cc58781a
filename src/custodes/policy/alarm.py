"""What an alarm is: it looks at every step of an optimisation, and states how often it would ring without a cause.

An alarm is a plug-in, one file of ``policy/alarms``. It reduces a step to a few numbers (:meth:`Alarm.observe`), is set by
replies of the base policy (:meth:`Alarm.calibrate`), and reads the numbers of all steps so far (:meth:`Alarm.read`). It keeps no
state: what a run recorded is enough to go on. ``level`` is the probability that it ever rings in the whole run, however
many looks that has, as long as what it watches stays within its ``tolerance``.

:class:`MeanAlarm` holds the mean of the last steps against limits. These are simulated: whole runs of as many steps
are drawn from the base policy's replies, whole tasks at a time, and the limit is what the largest excursion of a run reaches
with probability ``level``.

Letters: B replies of a step, N tasks of the base policy's replies, K tasks a step, T steps of a run, S simulated runs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custodes.types import Episode, Floats, Scores
from custodes.wording import counted

WINDOW = 4
"""Steps whose mean is held against the limits."""
SIMULATED_RUNS = 2000
"""So many tell a level of 0.001, the smallest of the command line."""
FEWEST_TASKS = 8
"""Without so many tasks, or steps, of the base policy no limit is simulated."""
AT_ONCE = 4_000_000
"""Draws that a simulation holds in memory."""
Facts = Mapping[str, float]
"""What an alarm learned of the base policy."""
Observation = Sequence[float]
"""What an alarm keeps of a step; empty where it saw nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class WatchedStep:
    """What one step shows: replies with their scores, the KL, and whether the reward agreed with labels of some pairs."""

    episodes: Sequence[Episode] = ()
    scores: Scores | None = None
    kl: float | None = None
    """Nats an episode, from the reference."""
    agreed: Sequence[float] = ()
    """A number for each labelled pair: 1 where the reward prefers the reply that the label prefers, else 0."""


@dataclass(frozen=True, slots=True)
class BasePolicy:
    """What the base policy shows, in as many looks as there were, and how many tasks a step of the run has."""

    looks: Sequence[WatchedStep]
    tasks_per_step: int


@dataclass(frozen=True, slots=True)
class AlarmReading:
    """What an alarm says after a step: a value, the limits that it must keep within, and what it saw in words."""

    value: float
    low: float
    high: float
    sight: str

    @property
    def rings(self) -> bool:
        return not self.low <= self.value <= self.high


class Alarm(ABC):
    """One alarm: a dataclass whose only field is its tolerance."""

    tolerance: float
    least: ClassVar[float] = 0.0
    """The smallest tolerance."""
    unit: ClassVar[str]
    """Of its value."""
    tells: ClassVar[str]
    """What it can tell."""
    cannot: ClassVar[str]
    """What it cannot, and what a wanted change does to it."""

    @abstractmethod
    def observe(self, look: WatchedStep) -> Observation:
        """What is kept of a step."""

    @abstractmethod
    def calibrate(self, base: BasePolicy, steps: int, level: float) -> Facts | str:
        """What the base policy is like; or, in words, why this alarm cannot watch."""

    @abstractmethod
    def read(self, facts: Facts, seen: Sequence[Observation], steps: int, level: float) -> AlarmReading | None:
        """After the steps ``seen``, of which there will be ``steps``; None as long as nothing can be said."""


class MeanAlarm(Alarm):
    """Watches the mean of something that each reply has."""

    missing: ClassVar[str] = "the replies do not show it"
    sides: ClassVar[int] = 1
    """2 where a fall rings too."""

    @abstractmethod
    def measure(self, look: WatchedStep) -> Floats | None:
        """(B,) of each reply, NaN where it is not known; None where no reply has it."""

    @abstractmethod
    def limits(self, facts: Facts) -> tuple[float, float]:
        """The lowest and the highest mean at which the alarm is silent."""

    def coupling(self, base: BasePolicy) -> float:
        """How many times a step's mean varies more than the mean of as many tasks that have nothing to do with each other."""
        return 1.0

    def observe(self, look: WatchedStep) -> Observation:
        values = self.measure(look)
        return [] if values is None or np.isnan(values).all() else [float(np.nanmean(values))]

    def calibrate(self, base: BasePolicy, steps: int, level: float) -> Facts | str:
        measured = [(look, self.measure(look)) for look in base.looks]
        by_task: dict[str, list[float]] = {}
        for look, values in measured:
            for episode, value in zip(look.episodes, [] if values is None else values.tolist(), strict=False):
                if not math.isnan(value):
                    by_task.setdefault(episode.task.id, []).append(value)
        if not by_task:
            return self.missing
        if len(by_task) < FEWEST_TASKS:
            return f"the base policy answered {counted(len(by_task), 'task')}, and limits need {FEWEST_TASKS} or more"
        means = np.array([np.mean(values) for values in by_task.values()])
        apart = _excursions(means, base.tasks_per_step, steps, level / self.sides)
        below, above = (self.coupling(base) * excursion for excursion in apart)
        spread = float(np.std(np.concatenate([np.array(v) for v in by_task.values()])))
        return {
            "mean": float(means.mean()),
            "spread": spread,
            "below": below,
            "above": above,
            "tasks": float(len(means)),
        }

    def calibrate_by_means(self, means: Sequence[float], steps: int, level: float) -> Facts | str:
        """Where only the mean of each of some steps is known, in which the policy was as good as the base policy."""
        if len(means) < FEWEST_TASKS:
            return f"the beginning is {counted(len(means), 'step')} long, and limits need {FEWEST_TASKS} or more"
        noise = float(np.std(means, ddof=1)) * _largest_excursion(len(means), steps, level / self.sides)
        return {"mean": float(np.mean(means)), "below": noise, "above": noise, "tasks": float(len(means))}

    def read(self, facts: Facts, seen: Sequence[Observation], steps: int, level: float) -> AlarmReading | None:
        known = [of_step[0] for of_step in seen if of_step]
        if not known or not seen[-1]:
            return None
        value = float(np.mean(known[-WINDOW:]))
        low, high = self.limits(facts)
        steps_of = f"the last {min(WINDOW, len(known))} steps" if len(known) > 1 else "the step"
        sight = f"{self.unit}, mean of {steps_of}: {value:.3g}; base policy {facts['mean']:.3g}"
        return AlarmReading(value, low, high, sight)


def _excursions(means: Floats, tasks_per_step: int, steps: int, level: float, seed: int = 0) -> tuple[float, float]:
    """How far below and above its true mean the windowed mean of a stationary run goes, with probability ``level`` each.

    ``means`` (N,) are the tasks' own. Each simulated run draws its tasks with replacement. It also draws the sample from which
    the mean and the spread would have been estimated (a studentised bootstrap): what is not known of the base policy is part of
    the limit.
    """
    rng, N = np.random.default_rng(seed), len(means)
    chunk = max(1, AT_ONCE // (steps * tasks_per_step + N))
    lowest, highest = [], []
    for start in range(0, SIMULATED_RUNS, chunk):
        S = min(chunk, SIMULATED_RUNS - start)
        runs = means[rng.integers(N, size=(S, steps, tasks_per_step))].mean(-1)
        known = means[rng.integers(N, size=(S, N))]
        spread = np.maximum(known.std(-1, keepdims=True), 1e-12 + 0.1 * means.std())  # of draws that are all alike
        apart = (_windowed(runs) - known.mean(-1, keepdims=True)) / spread
        lowest.append(apart.min(-1))
        highest.append(apart.max(-1))
    grown = math.sqrt(N / (N - 1)) * float(means.std())  # draws from a sample vary less than what it was drawn from
    below = -float(np.quantile(np.concatenate(lowest), level)) * grown
    return max(below, 0.0), max(float(np.quantile(np.concatenate(highest), 1 - level)) * grown, 0.0)


def _largest_excursion(known: int, steps: int, level: float, seed: int = 0) -> float:
    """The same for normal means of steps, of which ``known`` were seen, in standard deviations estimated from these."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((SIMULATED_RUNS, known))
    chunk = max(1, AT_ONCE // steps)
    furthest = []
    for start in range(0, SIMULATED_RUNS, chunk):
        own = first[start : start + chunk]
        apart = _windowed(rng.standard_normal((len(own), steps))) - own.mean(-1, keepdims=True)
        furthest.append((apart / own.std(-1, ddof=1, keepdims=True)).max(-1))
    return float(np.quantile(np.concatenate(furthest), 1 - level))


def _windowed(runs: Floats) -> Floats:
    """(S, T) means of each step and the few before it."""
    sums = np.cumsum(runs, axis=-1)
    sums[..., WINDOW:] -= sums[..., :-WINDOW].copy()
    return np.asarray(sums / np.minimum(np.arange(1, runs.shape[-1] + 1), WINDOW))
