"""Expert iteration (arXiv 1705.08439; for language models arXiv 2304.06767): imitate the best of n replies to each task."""

from __future__ import annotations

import torch
from torch import Tensor

from custodes.policy.advantages import per_group
from custodes.policy.algorithm import Actions, Algorithm, Outcomes
from custodes.policy.losses import supervised_loss
from custodes.registry import algorithm


@algorithm
class ExpertIteration(Algorithm):
    """Negative log-likelihood of the best reply to each task; the others are left out. Token rewards of a reply are added up."""

    source = "arXiv 1705.08439; arXiv 2304.06767"
    needs_groups = True

    def select(self, outcomes: Outcomes) -> Tensor:
        """The best episode of each group.

        Among equals the one with the fewest actions, then the first: whoever imitates any success also imitates what was
        superfluous in it, a little more each time. A group whose episodes are all worth the same shows nothing that is
        better than the rest: none of it is kept.
        """
        totals, groups = outcomes.totals(), outcomes.groups
        most, least = (per_group(totals, groups, extreme)[groups] for extreme in ("amax", "amin"))
        best = (totals == most) & (most > least)
        order = outcomes.lengths() * len(totals) + torch.arange(len(totals), device=totals.device)
        first = per_group(torch.where(best, order, int(order.max()) + 1), groups, "amin")
        return best & (order == first[groups])

    def loss(self, actions: Actions) -> Tensor:
        return supervised_loss(actions.logprobs)
