"""Do the members of the reward disagree more about the policy's replies than about the base policy's?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custodes.policy.alarm import Facts, MeanAlarm, WatchedStep
from custodes.registry import alarm
from custodes.types import Floats


@alarm
@dataclass(frozen=True)
class Disagreement(MeanAlarm):
    """Rings where the members' standard deviation rose by more than ``tolerance``, counted in standard deviations over the base policy's replies."""

    tolerance: float = 0.5
    unit: ClassVar[str] = "standard deviation of the reward's members"
    tells: ClassVar[str] = "that the policy moves to replies of which the reward learned little"
    cannot: ClassVar[str] = "an error that all members share; and good replies that are new make it rise as bad ones do"
    missing: ClassVar[str] = "the reward has no members that could disagree"

    def measure(self, look: WatchedStep) -> Floats | None:
        known = look.scores is not None and look.scores.std is not None
        return np.asarray(look.scores.std, np.float64) if known and look.scores is not None else None

    def limits(self, facts: Facts) -> tuple[float, float]:
        return -math.inf, facts["mean"] + facts["above"] + self.tolerance * facts["spread"]
