"""Every option of reward training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from custodes.job.options import Use
from custodes.ranges import AnyInt, Count, Positive, Share, at_least, ranged
from custodes.reward.model import Combination
from custodes.types import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class RewardConfig:
    """How a reward model is trained."""

    full: bool = False
    """Train every weight in place of a low-rank adapter."""
    members: Count = 1
    """Size K of the ensemble."""
    ensemble: Literal["adapters", "heads"] = "adapters"
    """What distinguishes members: an adapter and a head each, or a head each on one trained backbone."""
    bootstrap: bool = True
    """Each member of an ensemble learns from its own resample of the pairs."""
    combine: Combination = "mean"
    """The ensemble's score: the members' mean, the worst of them, or cautious: mean - caution * deviation."""
    caution: float = 1.0
    """Standard deviations of the members that a cautious score subtracts."""
    rank: Count = 16
    """Rank of adapters."""
    alpha: Positive = 32.0
    """Adapters' updates are scaled by alpha / rank."""
    first_layer: AnyInt | None = -10
    """Lowest layer that an adapter changes; a negative number counts from the top, None takes the
    upper half. What lies below is computed once."""
    epochs: Count = 2
    """Passes over the pairs."""
    batch_pairs: Count = 16
    """Pairs per update, at least: all pairs of one prompt stand in one update."""
    learning_rate: Positive = 3e-4
    """Of adapters (about 3e-4) or of full weights (about 1e-5)."""
    head_learning_rate: Positive = 1e-3
    """Of the heads, which start at random."""
    warmup: Share = 0.1
    """Share of the updates over which learning rates rise from 0; afterwards they fall linearly to 0."""
    weight_decay: float = 0.0
    """AdamW's decay of matrices; norms and biases do not decay."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm, those of each model on their own."""
    max_length: Annotated[int, at_least(2)] = 1024
    """Tokens read of a conversation; longer ones lose the left of their prompt."""
    micro_tokens: Count = 4096
    """Tokens per forward and backward pass: bounds memory and leaves the result as it is."""
    trunk_gb: float = 1.0
    """Memory for what the layers below the adapters compute, kept between epochs; beyond it they run every time."""
    checkpoint_every: Annotated[Count, Use.MEANS] = 100
    """Updates between checkpoints."""
    seed: int = 0
    """Decides everything that is drawn."""

    def __post_init__(self) -> None:
        if self.full and self.members > 1 and self.ensemble == "adapters":
            raise InputError("reward option full leaves no adapters for the members; use ensemble=heads.")
