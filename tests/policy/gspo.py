"""Group sequence policy optimisation (GSPO, arXiv 2507.18071) in one file, as a person would add it."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from custodes.policy import ALGORITHMS, Actions, Algorithm, OptimiseConfig
from custodes.ranges import above


@dataclass(frozen=True)
class Options:
    """The ratio of whole replies moves far less than that of tokens."""

    low: Annotated[float, above(0)] = 3e-4
    high: Annotated[float, above(0)] = 4e-4


def loss(actions: Actions, config: OptimiseConfig) -> Tensor:
    """Eq. 5: the clipped surrogate of s = (p / p_old)^(1 / length), a mean over replies of any length."""
    ratio = torch.exp(actions.per_episode(actions.logprobs - actions.old))
    clipped = ratio.clamp(1 - config.own.low, 1 + config.own.high)
    surrogate = torch.minimum(ratio * actions.advantages, clipped * actions.advantages)
    return -surrogate * config.sampling.max_tokens / actions.lengths()


gspo = Algorithm(
    "gspo",
    ALGORITHMS["grpo"].advantages,
    loss,
    "arXiv 2507.18071",
    needs_groups=True,
    by_constant=True,
    options=Options,
)
