"""Dr. GRPO (arXiv 2503.20783): GRPO without its two biases, towards easy and hard tasks and towards long replies."""

from __future__ import annotations

from torch import Tensor

from custodes.policy.advantages import group_centred
from custodes.policy.algorithm import Grouped
from custodes.registry import algorithm


@algorithm
class DrGRPO(Grouped):
    """reward - group mean; the ratio is clipped, and the loss divided by a constant length."""

    source = "arXiv 2503.20783, section 3.2"
    averages_over = "longest"

    def relative(self, totals: Tensor, groups: Tensor) -> Tensor:
        """Not divided by the standard deviation, which favours tasks that are nearly always or nearly never solved."""
        return group_centred(totals, groups)[0]
