"""PPO (arXiv 1707.06347), as for language models in arXiv 2009.01325: generalised advantages from a value function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from custodes.policy.advantages import centre, gae, whiten
from custodes.policy.algorithm import Actions, Clipped, Outcomes, WithValues
from custodes.ranges import Positive, Range, Share
from custodes.registry import algorithm


@algorithm
@dataclass(frozen=True, kw_only=True)
class PPO(Clipped, WithValues):
    """Generalised advantage estimation with a value function, whitened; the ratio is clipped."""

    source = "arXiv 1707.06347, eq. 7; arXiv 1506.02438, eq. 16; arXiv 2009.01325"

    gamma: Annotated[float, Range(0, 1, open_low=True)] = 1.0
    """Discount per action."""
    lam: Share = 1.0
    """Lambda of generalised advantage estimation. The reward comes at the end and a new value head knows nothing yet: below
    1, what was done well early in an episode would hardly hear of it."""
    value_clip: Positive | None = 0.2
    """How far a value may move from its old value before the loss sees it clipped; None: anywhere."""

    def advantages(self, outcomes: Outcomes) -> Tensor:
        """Whitened together with the KL, since the value function predicts their sum.

        Where nothing scored differently, unit variance would be made of the KL and the value function's errors alone: then
        it is centred only.
        """
        scale = centre if outcomes.alike() else whiten
        return scale(self._estimates(outcomes)[0], outcomes.mask)

    def returns(self, outcomes: Outcomes) -> Tensor:
        return self._estimates(outcomes)[1]

    def _estimates(self, outcomes: Outcomes) -> tuple[Tensor, Tensor]:
        assert outcomes.values is not None
        return gae(outcomes.rewards - outcomes.penalty, outcomes.values, outcomes.mask, self.gamma, self.lam)

    def value_loss(self, actions: Actions) -> Tensor:
        """Half the squared error; with ``value_clip`` the worse of it and of the error of the value kept near its old one
        (as in OpenAI's baselines)."""
        values, old, returns = actions.values, actions.old_values, actions.returns
        assert values is not None
        assert old is not None
        assert returns is not None
        error = (values - returns).square()
        if self.value_clip is not None:
            kept = old + (values - old).clamp(-self.value_clip, self.value_clip)
            error = torch.maximum(error, (kept - returns).square())
        return error / 2
