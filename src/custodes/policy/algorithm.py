"""What an algorithm is: how episodes and their rewards become a gradient. One optimisation loop serves them all.

One of ours is a file of :mod:`custodes.policy.algorithms`; one of your own is a file anywhere, named ``FILE.py:Name``. It is a
class whose fields are its options. Every command that optimises takes them as flags, and the loop needs no edit.

Letters: B episodes, T tokens of the longest, M actions of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from custodes import registry
from custodes.policy.advantages import ROUNDING, broadcast, leave_one_out, on_last_action, returns_to_go
from custodes.policy.losses import clipped_policy_loss
from custodes.ranges import Positive, Range, ranged
from custodes.types import Episode, InputError


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What an algorithm sees of one iteration: every episode of the global batch, each with an action."""

    rewards: Tensor  # (B, T) float64 per action: token rewards, and the score on the last action
    penalty: Tensor  # (B, T) per action: the weighted KL where it counts as a reward, to be subtracted; else 0
    mask: Tensor  # (B, T) bool: actions
    groups: Tensor  # (B,) int64: episodes of one task share a number
    values: Tensor | None = None  # (B, T) of the value function, where the algorithm has one
    episodes: Sequence[Episode] = ()  # B
    parts: Mapping[str, Tensor] = field(default_factory=dict)  # name -> (B,) float64: what the reward is made of
    steps: Tensor | None = (
        None  # (B, T) float64: token rewards alone, NaN where there is none; they are in ``rewards`` too
    )

    def totals(self) -> Tensor:
        """(B,) the sum of each episode's rewards, without the penalty."""
        return torch.where(self.mask, self.rewards, 0).sum(-1)

    def scores(self) -> Tensor:
        """(B,) what each episode is worth as a whole: its rewards without those of single tokens."""
        return self.totals() if self.steps is None else self.totals() - self.steps.nansum(-1)

    def penalties(self) -> Tensor:
        """(B,) the sum of each episode's penalty."""
        return torch.where(self.mask, self.penalty, 0).sum(-1)

    def lengths(self) -> Tensor:
        """(B,) int64: the number of actions of each episode."""
        return self.mask.sum(-1)

    def column(self, name: str) -> Tensor:
        """(B,) float64: a number that each task's metadata has under ``name``. Raises InputError where one has none."""
        values = [episode.task.metadata.get(name) for episode in self.episodes]
        for episode, value in zip(self.episodes, values, strict=True):
            if not isinstance(value, int | float):
                raise InputError(f"task {episode.task.id} has {value!r} in the column {name!r}; it must be a number.")
        return torch.tensor([float(value) for value in values], dtype=torch.float64)  # type: ignore[arg-type]

    def alike(self) -> bool:
        """Whether every episode scored the same, on its last action alone, up to rounding."""
        totals = self.totals()
        equal = totals.max() - totals.min() <= ROUNDING * totals.abs().max()
        return bool(equal) and torch.equal(torch.where(self.mask, self.rewards, 0), on_last_action(totals, self.mask))


@dataclass(frozen=True, slots=True, eq=False)
class Actions:
    """The M actions of one micro-batch, flat: no padding. What a loss sees."""

    logprobs: Tensor  # (M,) nats at the sampling temperature, with gradient
    old: Tensor  # (M,) the same before the iteration's first update
    reference: Tensor  # (M,) the same under the reference policy
    entropy: Tensor  # (M,) nats, of the next-token distribution; with gradient where the entropy bonus is on
    advantages: Tensor  # (M,)
    values: Tensor | None  # (M,) with gradient, and the same before the update; what they should be
    old_values: Tensor | None
    returns: Tensor | None
    episode: Tensor  # (M,) int64: which episode of the micro-batch, from 0; all actions of an episode are in one
    inputs: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # name -> (M,): what Algorithm.inputs made of the episodes

    def per_episode(self, x: Tensor) -> Tensor:
        """(M,) -> (M,): the mean of ``x`` over the actions of each action's own episode, with gradient."""
        total = x.new_zeros(int(self.episode.max()) + 1).index_add(0, self.episode, x)
        return (total / torch.bincount(self.episode))[self.episode]

    def lengths(self) -> Tensor:
        """(M,) int64: the number of actions of each action's own episode."""
        return torch.bincount(self.episode)[self.episode]


@dataclass(frozen=True, kw_only=True)
@ranged
class Algorithm:
    """How episodes and rewards become a gradient. Fields of a subclass, a frozen dataclass, are the algorithm's options."""

    source: ClassVar[str] = ""
    """Paper and equation."""
    needs_groups: ClassVar[bool] = False
    """Whether each task must be sampled at least twice."""
    draws_from: ClassVar[Literal["policy", "reference"]] = "policy"
    """Who answers the tasks: the policy that learns, or the model as it came. Replies of the latter tell nothing of the
    policy's KL, which is then measured on held-out tasks alone."""
    averages_over: ClassVar[Literal["actions", "episodes", "longest"]] = "actions"
    """What the loss of an update is. With "actions" it is the mean over all of them. With "episodes" it is the mean over episodes
    of the mean over their actions. With "longest" it is the sum over all actions, divided by the episodes and the longest
    possible length (arXiv 2503.20783)."""
    clip_range: ClassVar[tuple[float, float] | None] = None
    """How far the ratio may fall below 1 and rise above it, for the logged share of clipped actions."""

    name: str = field(init=False, default="")
    """Under which it is found again."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", registry.algorithm.name_of(type(self)))

    def advantages(self, outcomes: Outcomes) -> Tensor:
        """(B, T): by how much each action was better than expected. Here all are worth the same."""
        return torch.where(outcomes.mask, torch.ones_like(outcomes.rewards), 0)

    def loss(self, actions: Actions) -> Tensor:
        """(M,): the policy's loss of each action."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def select(self, outcomes: Outcomes) -> Tensor:
        """(B,) bool: which episodes are learned from. The penalty is not known yet, and 0. Overridden, it is asked each step."""
        raise NotImplementedError(f"{type(self).__name__} learns from every episode")

    def inputs(self, outcomes: Outcomes) -> Mapping[str, Tensor]:
        """Whatever else the loss is to see of the chosen episodes, (B,) or (B, T) each: ``actions.inputs`` has it by name."""
        return {}

    @property
    def selects(self) -> bool:
        """Whether it learns from some of the episodes only."""
        return type(self).select is not Algorithm.select


@dataclass(frozen=True, kw_only=True)
class Clipped(Algorithm):
    """An algorithm whose loss is PPO's clipped surrogate (arXiv 1707.06347, eq. 7)."""

    clip: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.2
    """How far the probability ratio may fall below 1, and rise above it, before it gains nothing."""
    clip_high: Positive | None = None
    """How far the ratio may rise above 1, where that differs from ``clip`` (arXiv 2503.14476)."""

    @property
    def clip_range(self) -> tuple[float, float]:  # type: ignore[override]
        return self.clip, self.clip if self.clip_high is None else self.clip_high

    def loss(self, actions: Actions) -> Tensor:
        return clipped_policy_loss(actions.logprobs, actions.old, actions.advantages, *self.clip_range)


@dataclass(frozen=True, kw_only=True)
class Grouped(Clipped):
    """An algorithm that compares each episode with the others of its task.

    Scores are compared first; the KL in the reward is subtracted afterwards, each episode's against that of the others.
    Rewards of steps are compared step by step (process supervision, arXiv 2402.03300, section 4.1.3): all step rewards of a
    group are normalised together, and an action's advantage is the sum over the steps that end at it or later. So more steps
    are not worth more, only better ones are.
    """

    needs_groups = True

    def relative(self, totals: Tensor, groups: Tensor) -> Tensor:
        """(B,), from scores (B,) and groups (B,) int64: by how much each episode was better than the others of its group."""
        raise NotImplementedError(f"{type(self).__name__} does not say how episodes of a group are compared")

    def relative_steps(self, rewards: Tensor, groups: Tensor, episodes: Tensor) -> Tensor:
        """(S,), from the rewards of S steps, their groups and their episodes: how much better each was than its group's."""
        return self.relative(rewards, groups)

    def advantages(self, outcomes: Outcomes) -> Tensor:
        scored = self.relative(outcomes.scores(), outcomes.groups)
        advantages = broadcast(scored - leave_one_out(outcomes.penalties(), outcomes.groups), outcomes.mask)
        if outcomes.steps is None:
            return advantages
        episodes, places = (~outcomes.steps.isnan()).nonzero(as_tuple=True)
        if not len(episodes):
            return advantages
        steps = torch.zeros_like(outcomes.rewards)
        steps[episodes, places] = self.relative_steps(
            outcomes.steps[episodes, places], outcomes.groups[episodes], episodes
        )
        return advantages + returns_to_go(steps, outcomes.mask, 1.0)


@dataclass(frozen=True, kw_only=True)
class WithValues(Algorithm):
    """An algorithm with a value function: a linear head on the policy's hidden states, trained beside it."""

    value_coefficient: float = 0.1
    """Weight of the value loss."""
    value_learning_rate: float = 1e-3
    """Of the value head."""

    def returns(self, outcomes: Outcomes) -> Tensor:
        """(B, T): what the value function should have predicted."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its values should be")

    def value_loss(self, actions: Actions) -> Tensor:
        """(M,): the value function's loss of each action, before its weight."""
        raise NotImplementedError(f"{type(self).__name__} has no value loss")


def algorithm_of(given: Algorithm | str) -> Algorithm:
    """The algorithm itself, or one by its name or ``FILE.py:Name``, with its defaults. Raises InputError."""
    return given if isinstance(given, Algorithm) else registry.algorithm.make(given)  # type: ignore[no-any-return]
