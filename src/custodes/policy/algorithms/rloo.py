"""RLOO (arXiv 2402.14740): REINFORCE whose baseline is the mean of the other episodes of the task."""

from __future__ import annotations

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
