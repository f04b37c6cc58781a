"""Best of n, distilled: the policy learns to say at once what the best of n replies of its base model would have been."""

from __future__ import annotations

import torch
from torch import Tensor

from custodes.policy.advantages import per_group
from custodes.policy.algorithm import Actions, Algorithm, Outcomes
from custodes.policy.losses import supervised_loss
from custodes.registry import algorithm


@algorithm
class BestOfNDistillation(Algorithm):
    """Negative log-likelihood of the best of n replies of the model as it came. Token rewards of a reply are added up.

    Unlike expert iteration it never draws from the policy that learns: what it approaches is one fixed distribution, that of
    best of n. That distribution is at most log n - (n - 1) / n nats from the base model (arXiv 2009.01325, appendix G.3); how
    far the policy itself went is measured on its own held-out replies.
    """

    source = "arXiv 2112.09332, section 3.2; distilled as in arXiv 2407.06057"
    needs_groups = True
    draws_from = "reference"

    def select(self, outcomes: Outcomes) -> Tensor:
        """The best episode of each group, the first among equals; where all are worth the same this is best of n too."""
        totals, groups = outcomes.totals(), outcomes.groups
        best = totals == per_group(totals, groups, "amax")[groups]
        order = torch.arange(len(totals), device=totals.device)
        return order == per_group(torch.where(best, order, len(totals)), groups, "amin")[groups]

    def loss(self, actions: Actions) -> Tensor:
        return supervised_loss(actions.logprobs)
