"""Is the reward still right about the policy's replies? Asked with a few fresh labels a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from custodes.policy.alarm import Alarm, AlarmReading, BasePolicy, Facts, Observation, WatchedStep
from custodes.registry import alarm
from custodes.stats import log_evidence_below
from custodes.wording import counted

FEWEST_LABELS = 40
"""Labels of the base policy's pairs without which there is nothing to hold the reward against."""


@alarm
@dataclass(frozen=True)
class Accuracy(Alarm):
    """Rings where the reward is right about the policy's pairs less often than about the base policy's, by more than ``tolerance``.

    An e-process: :func:`custodes.stats.log_evidence_below`. Its false-alarm rate is exact where the accuracy on the base
    policy's pairs is; that this is estimated too is what the tolerance is for.
    """

    tolerance: float = 0.05
    unit: ClassVar[str] = "evidence, nats, that the reward's accuracy fell"
    tells: ClassVar[str] = "that the reward misjudges what the policy says now, as far as the labels are right"
    cannot: ClassVar[str] = (
        "what the people or models that label cannot see either; and where replies become alike, labels are a coin's and it rings"
    )

    def observe(self, look: WatchedStep) -> Observation:
        return list(look.agreed)

    def calibrate(self, base: BasePolicy, steps: int, level: float) -> Facts | str:
        right = [x for look in base.looks for x in look.agreed]
        if not right:
            return "nobody labels pairs of the policy's replies"
        if len(right) < FEWEST_LABELS:
            return f"labels decide {counted(len(right), 'pair')} of the base policy's replies, and it needs {FEWEST_LABELS}"
        return {"accuracy": sum(right) / len(right), "labels": float(len(right))}

    def read(self, facts: Facts, seen: Sequence[Observation], steps: int, level: float) -> AlarmReading | None:
        right = [x for of_step in seen for x in of_step]
        if not right:
            return None
        limit = min(max(facts["accuracy"] - self.tolerance, 0.01), 0.99)
        evidence = float(log_evidence_below(right, limit).max())
        sight = (
            f"the reward agreed with {sum(right) / len(right):.0%} of {len(right)} labels, and on the base policy's replies with "
            f"{facts['accuracy']:.0%} of {facts['labels']:g}"
        )
        return AlarmReading(evidence, -math.inf, math.log(1 / level), sight)
