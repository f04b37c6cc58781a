"""GRPO (arXiv 2402.03300): an episode is compared with the others of its task, in standard deviations."""

from __future__ import annotations

import torch
from torch import Tensor

from custodes.policy.advantages import ROUNDING, group_centred, per_group
from custodes.policy.algorithm import Grouped
from custodes.registry import algorithm

STD_FLOOR = 1e-4
"""Smallest standard deviation that a group's rewards are divided by, in reward units (as in TRL)."""


@algorithm
class GRPO(Grouped):
    """(reward - group mean) / group standard deviation; the ratio is clipped.

    The loss is divided by the actions of the whole batch, not reply by reply as in the paper: that would punish long wrong
    answers less per token than short ones.
    """

    source = "arXiv 2402.03300, section 4.1.2"

    def relative(self, totals: Tensor, groups: Tensor) -> Tensor:
        """A group of one and a group of equal rewards give exactly 0.

        The standard deviation is at least ``STD_FLOOR``, and at least ``ROUNDING`` of the rewards' size.
        """
        centred, size = group_centred(totals, groups)
        squares = torch.zeros_like(size).index_add_(0, groups, centred.square())
        smallest = (ROUNDING * per_group(totals.abs(), groups, "amax")).clamp_min(STD_FLOOR)
        std = torch.maximum((squares / (size - 1).clamp_min(1)).sqrt(), smallest)
        return centred / std[groups]
