"""Tuning on preferences without a reward model: DPO and IPO. The same learner as everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from custodes.lm.loading import LanguageModel
from custodes.policy.config import Decay, check_warmup, learning_rate_factor
from custodes.policy.learner import Forward, Learner, Reference
from custodes.policy.losses import PreferenceLoss, preference_loss
from custodes.policy.rollout import Pack, make_packs
from custodes.policy.turns import demonstration
from custodes.policy.updates import Metrics, identity_of, make_updates, shuffled_batches
from custodes.ranges import Count, Positive, Share, ranged
from custodes.types import Task


@dataclass(frozen=True, slots=True)
@ranged
class Preference:
    """Two replies to one task; ``confidence`` is the probability that the first is the better one."""

    task: Task
    chosen: str
    rejected: str
    confidence: Share = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class PreferenceConfig:
    """How a model is tuned on preferences."""

    loss: PreferenceLoss = "dpo"
    """dpo or ipo."""
    beta: Positive = 0.1
    """Strength of the tie to the reference."""
    epochs: Count = 1
    """Passes over the pairs."""
    batch: Count = 16
    """Pairs per update."""
    learning_rate: float = 1e-6
    """The greatest learning rate: about 1e-6 for full weights, 5e-5 for adapters."""
    warmup_steps: int = 0
    """Updates over which the learning rate rises from 0."""
    decay: Decay = "cosine"
    """How the learning rate falls to 0 by the last update: constant (it does not), linear or cosine."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm."""
    micro_tokens: Count = 2048
    """Tokens per forward and backward pass; what the two replies share is computed once."""
    seed: int = 0
    """Decides the order of the pairs."""


def preference_tune(
    lm: LanguageModel,
    pairs: Sequence[Preference],
    config: PreferenceConfig,
    *,
    checkpoints: Path | None = None,
    progress: bool = True,
) -> list[Metrics]:
    """Tune ``lm`` in place; the reference is ``lm`` as it comes.

    Called again with the same arguments, and ``lm`` as it came, it goes on after the last of ``checkpoints`` and ends where
    an uninterrupted run would. Returns per update: loss, accuracy (how often the chosen reply gained more) and margin
    (nats). Raises InputError for a reply that is empty or does not fit the context, and for checkpoints of another run.
    """
    episodes = [demonstration(lm, p.task, text) for p in pairs for text in (p.chosen, p.rejected)]
    groups = [i // 2 for i in range(len(episodes))]
    confidence = torch.tensor([p.confidence for p in pairs])
    reference = Reference.of(lm)
    learner = Learner(lm, learning_rate=config.learning_rate, max_grad_norm=config.max_grad_norm)
    T = max(len(e.token_ids) for e in episodes)
    batches = shuffled_batches(len(pairs), config.batch, config.epochs, config.seed)
    check_warmup(config.warmup_steps, len(batches))

    def update(i: int, chosen: list[int]) -> Metrics:
        rows = [row for pair in chosen for row in (2 * pair, 2 * pair + 1)]
        packs = make_packs(episodes, rows, config.micro_tokens, groups)
        before = torch.zeros(len(episodes), T)
        learner.measure_reference(packs, 1.0, reference, before)
        sums = {"loss": 0.0, "accuracy": 0.0, "margin": 0.0}

        def loss(pack: Pack, seen: Forward) -> Tensor:
            gain = seen.logprobs - before.view(-1)[pack.place].to(seen.logprobs.device)
            first, second, pair = _by_pair(gain, pack.episode.to(gain.device), mean=config.loss == "ipo")
            each = preference_loss(first, second, config.beta, config.loss, 1 - confidence[pair.cpu()].to(gain.device))
            margin = (first - second).detach()
            sums["loss"] += float(each.detach().sum()) / len(chosen)
            sums["accuracy"] += float((margin > 0).sum()) / len(chosen)
            sums["margin"] += float(margin.sum()) / len(chosen)
            return each.sum() / len(chosen)

        factor = learning_rate_factor(i, len(batches), config.warmup_steps, config.decay)
        norm = learner.update(packs, loss, 1.0, learning_rate_factor=factor)
        return {**sums, "grad_norm": norm}

    def identity() -> dict[str, str]:
        confidences = str(hash(tuple(p.confidence for p in pairs)))
        return {**identity_of(lm, episodes, config), "confidences": confidences}

    return make_updates(learner, batches, update, identity=identity, checkpoints=checkpoints, progress=progress)


def _by_pair(gain: Tensor, episode: Tensor, mean: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Per-action gains (M,) summed (or averaged) over each reply: of the chosen (P,), the rejected (P,), pair numbers (P,)."""
    present, local = episode.unique(return_inverse=True)  # sorted: chosen and rejected of a pair are neighbours
    sums = gain.new_zeros(len(present)).index_add(0, local, gain)
    if mean:
        sums = sums / torch.bincount(local)
    return sums[0::2], sums[1::2], present[0::2] // 2
