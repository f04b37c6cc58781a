"""Direct preference optimisation: the Bradley-Terry loss of a reward that the policy itself is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from custodes.policy.pairs import Gains, PairMethod
from custodes.ranges import ranged
from custodes.registry import method
from custodes.reward.objectives.pairs import preference_loss


@method
@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Dpo(PairMethod):
    """-log sigmoid(beta (g - h)), with g and h what log p gained over the reference, summed over each reply (eq. 7).

    ``beta`` times a gain is the reward that the policy is, so labels between 0 and 1, margins and weights mean what they
    mean when a reward is trained. The chosen reply often loses likelihood too, only less: metric ``chosen`` says it.
    """

    name: ClassVar[str] = "dpo"
    source: ClassVar[str] = "arXiv 2305.18290, eq. 7"

    def losses(self, gains: Gains) -> Tensor:
        rewards = self.beta * gains.chosen, self.beta * gains.rejected
        return preference_loss(*rewards, gains.label, gains.margin, gains.weight)
