"""Supervised tuning: make given replies more likely. The same learner as everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from custodes.lm.loading import LanguageModel
from custodes.policy.config import Decay, check_warmup, learning_rate_factor
from custodes.policy.learner import Forward, Learner
from custodes.policy.losses import supervised_loss
from custodes.policy.rollout import Pack, make_packs
from custodes.policy.turns import demonstration
from custodes.policy.updates import Metrics, identity_of, make_updates, shuffled_batches
from custodes.ranges import Count, Positive, ranged
from custodes.types import Episode, Message, Task


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class SupervisedConfig:
    """How a model is tuned on demonstrations."""

    epochs: Count = 1
    """Passes over the examples."""
    batch: Count = 32
    """Examples per update."""
    learning_rate: float = 2e-5
    """The greatest learning rate: about 2e-5 for full weights, 2e-4 for adapters."""
    warmup_steps: int = 0
    """Updates over which the learning rate rises from 0."""
    decay: Decay = "cosine"
    """How the learning rate falls to 0 by the last update: constant (it does not), linear or cosine."""
    weight_decay: float = 0.0
    """AdamW's decay of matrices; norms and biases do not decay."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm."""
    micro_tokens: Count = 2048
    """Tokens per forward and backward pass."""
    seed: int = 0
    """Decides the order of the examples."""


def fine_tune(
    lm: LanguageModel,
    examples: Sequence[tuple[Task, str | Sequence[Message]]],
    config: SupervisedConfig,
    *,
    checkpoints: Path | None = None,
    progress: bool = True,
) -> list[Metrics]:
    """Tune ``lm`` in place on tasks and what should be said to them: a reply, or a conversation of several turns (the
    messages after the task's own), of which the assistant's replies alone are learned.

    Called again with the same arguments, and ``lm`` as it came, it goes on after the last of ``checkpoints`` and ends where
    an uninterrupted run would. Returns loss (nats per token) and gradient norm of each update. Raises InputError for a reply
    that is empty or does not fit the context, and for checkpoints of another run.
    """
    episodes = [demonstration(lm, task, text) for task, text in examples]
    learner = Learner(
        lm,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
    )
    batches = shuffled_batches(len(episodes), config.batch, config.epochs, config.seed)
    check_warmup(config.warmup_steps, len(batches))

    def update(i: int, rows: list[int]) -> Metrics:
        ordered, groups = shared_openings(episodes, rows, config.micro_tokens)
        packs = make_packs(episodes, ordered, config.micro_tokens, groups)
        count, total = sum(len(p.targets) for p in packs), 0.0

        def loss(pack: Pack, seen: Forward) -> Tensor:
            nonlocal total
            value = supervised_loss(seen.logprobs).sum() / count
            total += float(value.detach())
            return value

        factor = learning_rate_factor(i, len(batches), config.warmup_steps, config.decay)
        norm = learner.update(packs, loss, 1.0, learning_rate_factor=factor)
        return {"loss": total, "grad_norm": norm, "tokens": float(count)}

    def identity() -> dict[str, str]:
        return identity_of(lm, episodes, config)

    return make_updates(learner, batches, update, identity=identity, checkpoints=checkpoints, progress=progress)


def shared_openings(episodes: Sequence[Episode], rows: Sequence[int], budget: int) -> tuple[list[int], list[int]]:
    """The rows with those of one system message side by side, and the group of every episode: such neighbours, up to
    ``budget`` tokens together, so that the instructions that they have in common are computed once for all of them."""
    opening = [e.task.messages[0].content if e.task.messages[0].role == "system" else "" for e in episodes]
    ordered = sorted(rows, key=lambda i: opening[i])
    groups, group, used = [len(episodes) + i for i in range(len(episodes))], 0, 0
    for before, i in zip([None, *ordered], ordered, strict=False):
        used += len(episodes[i].token_ids)
        if before is None or not opening[i] or opening[i] != opening[before] or used > budget:
            group, used = i, len(episodes[i].token_ids)
        groups[i] = group
    return ordered, groups
