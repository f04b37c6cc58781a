"""All successes (arXiv 2406.10162, "exploit-only"): imitate every reply that was rewarded."""

from __future__ import annotations

from torch import Tensor

from custodes.policy.algorithm import Actions, Algorithm, Outcomes
from custodes.policy.losses import supervised_loss
from custodes.registry import algorithm


@algorithm
class AllSuccesses(Algorithm):
    """Negative log-likelihood of every reply that scored above 0; the others are left out. Token rewards of a reply are added up."""

    source = "arXiv 2406.10162"

    def select(self, outcomes: Outcomes) -> Tensor:
        return outcomes.totals() > 0

    def loss(self, actions: Actions) -> Tensor:
        return supervised_loss(actions.logprobs)
