"""Advantages: by how much each action was better than expected.

Pure functions. Letters: B episodes, T tokens of the longest episode, prompt included. ``mask`` (B, T) bool is
true on actions. What lies elsewhere (prompts, tokens that an environment wrote, padding) is never read and
may hold anything, NaN included; results are 0 there. ``rewards`` and ``values`` are per action: ``values[b, t]``
is the value of the state in which action t was taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1e-6
"""Differences below this share of the numbers' size are rounding."""


def _last_action(mask: Tensor) -> Tensor:
    """(B,) int64: where each episode's last action is. Meaningless for an episode without one."""
    return mask.shape[1] - 1 - mask.flip(1).int().argmax(1)


def on_last_action(scores: Tensor, mask: Tensor) -> Tensor:
    """(B, T): each score (B,) on its episode's last action, 0 elsewhere; nowhere for an episode without actions."""
    at = torch.zeros(mask.shape, dtype=torch.bool, device=mask.device)
    at.scatter_(1, _last_action(mask)[:, None], True)
    return torch.where(at & mask, scores[:, None], 0)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv 1506.02438, eq. 16) over actions: advantages and returns, both (B, T).

    The step after an action is the next *action*: tokens that an environment wrote in between are stepped over.
    The state after the last action is worth 0.
    """
    advantages = torch.zeros_like(rewards)
    running = next_value = rewards.new_zeros(len(rewards))
    for t in range(rewards.shape[1] - 1, -1, -1):
        on = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(on, delta + gamma * lam * running, running)
        next_value = torch.where(on, values[:, t], next_value)
        advantages[:, t] = torch.where(on, running, 0)
    return advantages, torch.where(mask, advantages + values, 0)


def returns_to_go(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """(B, T): discounted sum of the rewards from each action on."""
    return gae(rewards, torch.zeros_like(rewards), mask, gamma, 1.0)[0]


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T) with mean 0 and variance 1 over the masked entries of the whole batch; what is constant up to rounding becomes 0."""
    chosen = x[mask].double()
    if len(chosen) < 2:
        return torch.zeros_like(x)
    std, mean = torch.std_mean(chosen)
    if std <= ROUNDING * mean.abs():
        return torch.zeros_like(x)
    return torch.where(mask, (x - mean) / std.clamp_min(1e-8), 0).to(x.dtype)


def centre(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T) with mean 0 over the masked entries of the whole batch."""
    return torch.where(mask, x - x[mask].mean(), 0) if mask.any() else torch.zeros_like(x)


def leave_one_out(totals: Tensor, groups: Tensor) -> Tensor:
    """(B,) reward - mean of the *other* episodes of the group (leave-one-out, arXiv 2402.14740); 0 for a group of one."""
    centred, size = group_centred(totals, groups)
    return centred * (size / (size - 1).clamp_min(1))[groups]


def group_centred(totals: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Rewards minus their group's mean (B,), exactly 0 where all are equal; and the size of each group (G,)."""
    ones = torch.ones_like(totals)
    size = totals.new_zeros(int(groups.max()) + 1).index_add_(0, groups, ones)
    mean = torch.zeros_like(size).index_add_(0, groups, totals) / size.clamp_min(1)
    equal = per_group(totals, groups, "amax") == per_group(totals, groups, "amin")
    return torch.where(equal[groups], 0, totals - mean[groups]), size


def per_group(x: Tensor, groups: Tensor, reduce: str) -> Tensor:
    """(G,), from (B,) numbers: the "amax", "amin", "mean" ... of each group."""
    out = x.new_zeros(int(groups.max()) + 1)
    return out.scatter_reduce_(0, groups, x, reduce, include_self=False)


def broadcast(advantages: Tensor, mask: Tensor) -> Tensor:
    """(B,) -> (B, T): an episode's advantage on each of its actions."""
    return torch.where(mask, advantages[:, None], 0)
