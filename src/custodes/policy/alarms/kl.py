"""Is the policy further from the reference than it may be?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custodes.policy.alarm import WINDOW, Alarm, AlarmReading, BasePolicy, Facts, Observation, WatchedStep
from custodes.registry import alarm
from custodes.stats import t_quantile
from custodes.wording import counted

BENDS = 16
"""The last second differences from which the noise of a step is estimated."""
FEWEST_STEPS = 6


@alarm
@dataclass(frozen=True)
class Kl(Alarm):
    """Rings where the policy is surely more than ``tolerance`` nats an episode from the reference.

    The mean of the last steps is held against the budget, with Student's t and a share of the level for each step (Bonferroni).
    The noise of a step is estimated from how much the KL bends between steps (second differences), which a steady rise leaves alone.
    """

    tolerance: float = 10.0
    unit: ClassVar[str] = "KL from the reference, nats an episode"
    tells: ClassVar[str] = "that the policy went further from the reference than the budget"
    cannot: ClassVar[str] = (
        "whether the way was worth it: every optimisation that learns has a KL, and gold may rise with it"
    )

    def observe(self, look: WatchedStep) -> Observation:
        return [] if look.kl is None or math.isnan(look.kl) else [look.kl]

    def calibrate(self, base: BasePolicy, steps: int, level: float) -> Facts | str:
        if steps < FEWEST_STEPS:
            return f"it judges from step {FEWEST_STEPS} on, and the run has {counted(steps, 'step')}"
        return {}

    def read(self, facts: Facts, seen: Sequence[Observation], steps: int, level: float) -> AlarmReading | None:
        known = [of_step[0] for of_step in seen if of_step]
        if len(known) < FEWEST_STEPS:
            return None
        value, bends = float(np.mean(known[-WINDOW:])), np.diff(known[-BENDS - 2 :], 2)
        noise = math.sqrt(float(np.mean(np.square(bends))) / 6 / WINDOW)  # a bend of independent steps has 6 variances
        margin = t_quantile(1 - 2 * level / steps, len(bends) // 2) * noise
        return AlarmReading(
            value,
            -math.inf,
            self.tolerance + margin,
            f"mean of the last {WINDOW} steps: {value:.3g} nats; budget {self.tolerance:g}",
        )
