"""REINFORCE++ (arXiv 2501.03262): no value function and no groups; the batch is the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from custodes.policy.advantages import centre, returns_to_go, whiten
from custodes.policy.algorithm import Clipped, Outcomes
from custodes.ranges import Range
from custodes.registry import algorithm


@algorithm
@dataclass(frozen=True, kw_only=True)
class ReinforcePP(Clipped):
    """Reward still to come, whitened over the batch; the ratio is clipped."""

    source = "arXiv 2501.03262"

    gamma: Annotated[float, Range(0, 1, open_low=True)] = 1.0
    """Discount per action."""

    def advantages(self, outcomes: Outcomes) -> Tensor:
        """The KL still to come is subtracted at its own scale, against the batch's mean."""
        scored, charged = (returns_to_go(x, outcomes.mask, self.gamma) for x in (outcomes.rewards, outcomes.penalty))
        return whiten(scored, outcomes.mask) - centre(charged, outcomes.mask)
