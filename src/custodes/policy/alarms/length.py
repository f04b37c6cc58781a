"""Do replies become longer, or shorter, than is wanted?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custodes.policy.alarm import Facts, MeanAlarm, WatchedStep
from custodes.registry import alarm
from custodes.types import Floats


@alarm
@dataclass(frozen=True)
class Length(MeanAlarm):
    """Rings where the mean length is more than ``tolerance`` times the base policy's, or less than one part in so many."""

    tolerance: float = 1.5
    least: ClassVar[float] = 1.0
    sides: ClassVar[int] = 2
    unit: ClassVar[str] = "length of replies"
    tells: ClassVar[str] = "that replies became longer or shorter than the tolerance allows"
    cannot: ClassVar[str] = (
        "whether that is bad: a reward that asks for short replies makes it ring, as one that is gamed by long ones does"
    )

    def measure(self, look: WatchedStep) -> Floats | None:
        """Tokens; characters where replies are text alone."""
        tokens = any(episode.actions for episode in look.episodes)
        return (
            np.array([float(e.actions if tokens else len(e.completion)) for e in look.episodes])
            if look.episodes
            else None
        )

    def limits(self, facts: Facts) -> tuple[float, float]:
        return (facts["mean"] - facts["below"]) / self.tolerance, (facts["mean"] + facts["above"]) * self.tolerance
