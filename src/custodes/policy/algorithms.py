"""The algorithms: how episodes and their rewards become a gradient. One optimisation loop serves them all.

To add one, write an advantage function (or a loss) and :func:`register` it; the loop needs no edit.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from custodes.policy import advantages as adv
from custodes.policy.advantages import Outcomes
from custodes.policy.losses import clipped_policy_loss, supervised_loss
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.policy.config import OptimiseConfig


@dataclass(frozen=True, slots=True, eq=False)
class Actions:
    """The M actions of one micro-batch, flat: no padding. What a loss function sees."""

    logprobs: Tensor  # (M,) nats at the sampling temperature, with gradient
    old: Tensor  # (M,) the same before the iteration's first update
    reference: Tensor  # (M,) the same under the reference policy
    entropy: Tensor  # (M,) nats, of the next-token distribution; with gradient where the entropy bonus is on
    advantages: Tensor  # (M,)
    values: Tensor | None  # (M,) with gradient, and the same before the update; what they should be
    old_values: Tensor | None
    returns: Tensor | None


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How episodes and rewards become a gradient."""

    name: str
    advantages: Callable[[Outcomes, OptimiseConfig], tuple[Tensor, Tensor | None]]
    """Advantages (B, T) and, where there is a value function, the returns (B, T) it should have predicted."""
    loss: Callable[[Actions, OptimiseConfig], Tensor]
    """The policy's loss of each action (M,)."""
    source: str
    select: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    """From total rewards (B,), groups (B,) int64 and numbers of actions (B,): which episodes are learned from, (B,) bool. None: all."""
    needs_value: bool = False
    needs_groups: bool = False
    """Whether each task must be sampled at least twice."""
    by_constant: bool = False
    """Divide the loss by the longest possible length instead of by the number of actions (arXiv 2503.20783)."""


ALGORITHMS: dict[str, Algorithm] = {}


def register(algorithm: Algorithm) -> Algorithm:
    """Make an algorithm known under its name."""
    ALGORITHMS[algorithm.name] = algorithm
    return algorithm


def algorithm_named(name: str) -> Algorithm:
    """The registered algorithm, or one sentence that names the nearest."""
    if name not in ALGORITHMS:
        near = difflib.get_close_matches(name, ALGORITHMS, n=1, cutoff=0.0)
        raise InputError(f"no algorithm {name!r}; did you mean {near[0]!r}? Known: {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]


def _clipped(actions: Actions, config: OptimiseConfig) -> Tensor:
    high = config.clip if config.clip_high is None else config.clip_high
    return clipped_policy_loss(actions.logprobs, actions.old, actions.advantages, config.clip, high)


def _likelihood(actions: Actions, config: OptimiseConfig) -> Tensor:
    return supervised_loss(actions.logprobs)


def _gae(outcomes: Outcomes, config: OptimiseConfig) -> tuple[Tensor, Tensor | None]:
    assert outcomes.values is not None
    rewards, mask = outcomes.rewards - outcomes.penalty, outcomes.mask
    advantages, returns = adv.gae(rewards, outcomes.values, mask, config.gamma, config.lam)
    # where nothing scored differently, unit variance would be made of the KL and of the value function's errors alone
    scale = adv.centre if outcomes.alike() else adv.whiten
    return scale(advantages, mask), returns


def _reinforce_pp(outcomes: Outcomes, config: OptimiseConfig) -> tuple[Tensor, Tensor | None]:
    mask = outcomes.mask
    scored, charged = (adv.returns_to_go(x, mask, config.gamma) for x in (outcomes.rewards, outcomes.penalty))
    return adv.whiten(scored, mask) - adv.centre(charged, mask), None


def _per_episode(function: Callable[[Tensor, Tensor], Tensor]):
    """An advantage of whole episodes: ``function`` of scores and groups, minus the KL against the group's other episodes."""

    def advantages(outcomes: Outcomes, config: OptimiseConfig) -> tuple[Tensor, Tensor | None]:
        scored = function(outcomes.totals(), outcomes.groups)
        charged = adv.rloo(outcomes.penalties(), outcomes.groups)
        return adv.broadcast(scored - charged, outcomes.mask), None

    return advantages


def _alike(totals: Tensor, groups: Tensor) -> Tensor:
    """(B,) ones: what was selected is imitated, none of it more than the rest."""
    return totals.new_ones(len(totals))


register(Algorithm("ppo", _gae, _clipped, "arXiv 1707.06347, 2009.01325", needs_value=True))
register(Algorithm("grpo", _per_episode(adv.grpo), _clipped, "arXiv 2402.03300", needs_groups=True))
register(
    Algorithm("dr_grpo", _per_episode(adv.dr_grpo), _clipped, "arXiv 2503.20783", needs_groups=True, by_constant=True)
)
register(Algorithm("rloo", _per_episode(adv.rloo), _clipped, "arXiv 2402.14740", needs_groups=True))
register(Algorithm("reinforce_pp", _reinforce_pp, _clipped, "arXiv 2501.03262"))
register(
    Algorithm(
        "expert_iteration",
        _per_episode(_alike),
        _likelihood,
        "arXiv 1705.08439, 2304.06767",
        select=adv.best_of_group,
        needs_groups=True,
    )
)
register(
    Algorithm("all_successes", _per_episode(_alike), _likelihood, "arXiv 2406.10162", select=adv.successes),
)
