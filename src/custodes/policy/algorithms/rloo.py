"""RLOO (arXiv 2402.14740): REINFORCE whose baseline is the mean of the other episodes of the task."""

from __future__ import annotations

import torch
from torch import Tensor

from custodes.policy.advantages import leave_one_out
from custodes.policy.algorithm import Grouped
from custodes.registry import algorithm


@algorithm
class RLOO(Grouped):
    """reward - mean of the *other* replies to the task; the ratio is clipped."""

    source = "arXiv 2402.14740, section 3.2"

    def relative(self, totals: Tensor, groups: Tensor) -> Tensor:
        return leave_one_out(totals, groups)

    def relative_steps(self, rewards: Tensor, groups: Tensor, episodes: Tensor) -> Tensor:
        """reward - mean over the steps of the *other* replies; 0 where no other reply has a step."""

        def of_others(x: Tensor) -> Tensor:  # (S,) the sum over the steps of the group's other replies
            whole, own = (x.new_zeros(int(of.max()) + 1).index_add(0, of, x)[of] for of in (groups, episodes))
            return whole - own

        count = of_others(torch.ones_like(rewards))
        return torch.where(count > 0, rewards - of_others(rewards) / count.clamp_min(1), 0)
