"""Group sequence policy optimisation (GSPO, arXiv 2507.18071) in one file, as a person would add it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from custodes.policy import Actions
from custodes.policy.algorithms.grpo import GRPO
from custodes.ranges import Positive
from custodes.registry import algorithm


@algorithm
@dataclass(frozen=True, kw_only=True)
class GSPO(GRPO):
    """The ratio is that of whole replies."""

    source = "arXiv 2507.18071, eq. 5"
    averages_over = "episodes"

    low: Positive = 3e-4
    """How far the ratio of a reply may fall below 1."""
    high: Positive = 4e-4
    """How far it may rise above 1."""

    def loss(self, actions: Actions) -> Tensor:
        ratio = torch.exp(actions.per_episode(actions.logprobs - actions.old))
        clipped = ratio.clamp(1 - self.low, 1 + self.high)
        return -torch.minimum(ratio * actions.advantages, clipped * actions.advantages)
