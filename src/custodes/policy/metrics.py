"""What is logged of a step. Every number is over the actions, or the episodes, that the loss saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from custodes.policy.rollout import Rollout, has_opinion
from custodes.types import Episode, Scores


def sampling_metrics(episodes: Sequence[Episode], scores: Scores) -> dict[str, float]:
    """Of everything that was sampled: rewards before any penalty, lengths in tokens, the share cut at the limit."""
    judged, worth = has_opinion(scores), scores.total()
    values = {
        "episodes": float(len(episodes)),
        "proxy": float(np.mean(worth[judged])),
        "proxy_spread": float(np.std(worth[judged])),
        "length": float(np.mean([e.actions for e in episodes])),
        "truncated": float(np.mean([e.outcome == "length" for e in episodes])),
    }
    if scores.std is not None:
        values["proxy_std"] = float(np.mean(scores.std))
    if not judged.all():
        values["no_opinion"] = float(np.mean(~judged))
    known = {name: part[~np.isnan(part)] for name, part in scores.parts.items()}  # NaN: no opinion of this episode
    return values | {f"part/{name}": float(np.mean(part)) for name, part in known.items() if len(part)}


def kl_metrics(rollout: Rollout) -> dict[str, float]:
    """k1 from the policy to the reference, never clamped, in nats per episode and per token; the policy's entropy.

    The entropy is the mean of -log p over sampled actions: unbiased, and free.
    """
    kl, n = rollout.kl().double(), rollout.actions
    return {
        "kl": float(kl.sum(-1).mean()),
        "kl_token": float(kl.sum() / n),
        "entropy": float(-rollout.logprobs.double()[rollout.mask].mean()),
    }


def sampler_metrics(rollout: Rollout) -> dict[str, float]:
    """|learner - sampler| log-probability per action, in nats: mean and tails."""
    gap = (rollout.logprobs - rollout.sampled)[rollout.mask].abs().double()
    return {
        "sampler_gap_mean": float(gap.mean()),
        "sampler_gap_p99": float(np.quantile(gap.cpu().numpy(), 0.99)),
        "sampler_gap_max": float(gap.max()),
    }


def value_metrics(rollout: Rollout, returns: Tensor) -> dict[str, float]:
    """Root mean squared error of the value function before the update, and the share of variance it explains."""
    if rollout.values is None:
        return {}
    target = returns[rollout.mask].double()
    error = target - rollout.values[rollout.mask].double()
    variance = target.var(correction=0)
    explained = 1 - error.var(correction=0) / variance if variance > 0 else torch.tensor(0.0)
    return {"value_error": float(error.square().mean().sqrt()), "explained_variance": float(explained)}


@dataclass(slots=True)
class UpdateMetrics:
    """Means over the actions of every update of a step."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    actions: int = 0
    norms: list[float] = field(default_factory=list)

    def add(self, old: Tensor, new: Tensor, clip: tuple[float, float] | None, **terms: Tensor) -> None:
        """Of one pack: log-probabilities before and now (M,), how far the ratio may fall below 1 and rise above it, and
        per-action terms (M,) of the loss."""
        log_ratio = new - old
        self.actions += len(old)
        if clip is not None:
            beyond = (log_ratio.exp() < 1 - clip[0]) | (log_ratio.exp() > 1 + clip[1])
            self.sums["clip_fraction"] += float(beyond.sum())
        self.sums["update_kl"] += float((log_ratio.expm1() - log_ratio).sum())  # k3 of old to new
        for name, term in terms.items():
            self.sums[name] += float(term.sum())

    def values(self) -> dict[str, float]:
        means = {name: total / self.actions for name, total in self.sums.items()}
        return {**means, "grad_norm": float(np.mean(self.norms)), "updates": float(len(self.norms))}
