"""Bradley-Terry reward models, single or ensembles, trained from preference pairs.

How this differs from the textbook: no padding; all pairs of one prompt are learned from in one update, in
which their prompt and each of their replies are computed once, however many comparisons a reply takes part in
(as in arXiv 2203.02155, section 3.5); the head reads the last token only, so no other position is multiplied
by it; all members of an ensemble learn in one run from the same micro-batches, each with the pairs of its
own bootstrap resample (as weights) and its own initialisation. Layers below the adapters run once for all
members and, where there are several epochs, once for all epochs.

Letters: P pairs, S distinct replies, K members, N tokens of a packed batch, d hidden size.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custodes.lm.adapter import Adapter, AdapterConfig, merged
from custodes.lm.decoder import Decoder, Weight
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch, pack
from custodes.reward.config import RewardConfig
from custodes.reward.model import RewardModel, new_heads
from custodes.reward.preference import preference_loss
from custodes.reward.prompts import Prompts
from custodes.reward.reading import TokenPair, micro_batches
from custodes.train import (
    Metrics,
    OnStep,
    Trainer,
    gradients_of,
    learning_rate_factor,
    parameter_groups,
    shuffled_batches,
)
from custodes.types import InputError, PreferencePair

STANDARDISE_ON = 256
"""Training pairs whose scores give the mean and standard deviation by which scores are standardised."""


def train_reward(
    lm: LanguageModel,
    pairs: Sequence[PreferencePair],
    config: RewardConfig | None = None,
    *,
    source: str = "",
    checkpoints: Path | None = None,
    on_step: OnStep | None = None,
    progress: bool = True,
) -> RewardModel:
    """Train a reward model on ``pairs``; the same seed and configuration give the same weights, bit for bit.

    ``lm`` is the backbone, without its own adapter; with ``weights="full"`` its weights are changed in place.
    ``source`` names the pairs' file in messages. Where ``checkpoints`` holds one of this very run, it is
    continued. Pairs' ``label``, ``margin`` and ``weight`` are used (weights relative to their mean).

    A step's metrics are ``loss`` (nats per pair, mean over members), ``accuracy`` (share of the update's pairs that the
    members' mean orders as labelled, before it), ``grad_norm`` (the largest of the members', before clipping) and
    ``tokens`` (computed forward and backward).

    Raises InputError: no pairs; a completion that does not fit; checkpoints of another run. Raises
    :class:`custodes.train.Diverged` for a loss that is not finite.
    """
    config = config or RewardConfig()
    if not pairs:
        raise InputError(f"{source or 'the preferences'} hold no pair to train on; give at least one.")
    model = _new_model(replace(lm, adapter=None), config)
    read, cut = model.reader.pairs(pairs, source)
    if cut:
        warnings.warn(
            f"{source or 'preferences'}: {cut} of {len(pairs)} pairs are longer than {model.max_length} tokens; "
            "the left of their prompts was not read.",
            stacklevel=2,
        )
    objective = _PairObjective(model, read, Prompts.of(read, [pair.prompt for pair in pairs]), config)
    trainer = Trainer(
        [*parameter_groups(objective.backbone, config.learning_rate, config.weight_decay),
         *parameter_groups([model.heads], config.head_learning_rate)],
        refresh=objective.refresh,
        max_grad_norm=config.max_grad_norm,
        parts=objective.parts,
    )  # fmt: skip
    batches = shuffled_batches(
        [len(own) for own in objective.prompts.pairs], config.batch_pairs, config.epochs, config.seed, 0
    )
    warmup = config.warmup * len(batches)

    def step(i: int) -> Metrics:
        factor = learning_rate_factor(i, len(batches), warmup, warmup, "linear")
        return trainer.step(objective, batches[i], factor)

    trainer.run(
        len(batches),
        step,
        title="reward training",
        identity=lambda: _identity(model.lm, read, config),
        rows="pairs",
        named=lambda i: read[i].where,
        checkpoints=checkpoints,
        every=config.checkpoint_every,
        on_step=on_step,
        progress=progress,
        shown={"loss": "loss", "accuracy": "accuracy"},
    )
    return _standardised(model, read, config.seed)


class _PairObjective:
    """The Bradley-Terry loss of all members on the pairs of some prompts.

    A micro-batch is whole prompts: their numbers, and their sequences packed.
    """

    def __init__(self, model: RewardModel, pairs: Sequence[TokenPair], prompts: Prompts, config: RewardConfig) -> None:
        self.model, self.pairs, self.prompts, self.config = model, pairs, prompts, config
        self.weights = _pair_weights(pairs, config)
        decoder, self.embedding = model.lm.decoder, None
        if config.weights == "adapter":
            self.backbone: list[nn.Parameter] = [p for adapter in model.adapters for p in adapter.parameters()]
        elif not isinstance(decoder, Decoder):  # an architecture that transformers runs: plain gradients
            self.backbone = decoder.train_all()
        else:  # the head over the vocabulary has no part in a reward and stays as it is
            weights = [m for m in decoder.modules() if isinstance(m, Weight) and m is not decoder.head]
            for weight in weights:
                weight.train_master()
            self.backbone = [w.master for w in weights if w.master is not None]
            self.embedding = _EmbeddingRows(decoder.embedding)
        tokens = sum(len(s) for group in prompts.sequences for s in group)
        size = tokens * decoder.spec.hidden * decoder.dtype.itemsize
        reused = bool(model.adapters) and model.first_layer > 0 and config.epochs > 1
        self.trunks: dict[int, Tensor] | None = {} if reused and size <= config.trunk_gb * 2**30 else None

    def micro_batches(self, batch: Sequence[int]) -> list[tuple[list[int], PackedBatch]]:
        sequences = [s for prompt in batch for s in self.prompts.sequences[prompt]]
        groups = [prompt for prompt in batch for _ in self.prompts.sequences[prompt]]
        parts = micro_batches(sequences, groups, self.config.micro_tokens)
        self.P = sum(len(self.prompts.pairs[prompt]) for prompt in batch)
        self.total, self.correct, self.tokens = 0.0, 0.0, sum(packed.tokens for _, packed in parts)
        return [(list(dict.fromkeys(groups[i] for i in part)), packed) for part, packed in parts]

    def loss(self, micro: tuple[list[int], PackedBatch]) -> Tensor:
        model, K, (inside, packed) = self.model, self.model.members, micro
        packed = packed.to(model.lm.decoder.device)
        if self.embedding is not None:
            values = model.values(packed, embedded=self.embedding(packed.ids))
        else:
            values = model.values(packed, trunk=None if self.trunks is None else self._trunk(inside))
        own, first, second = self.prompts.sides(inside)
        chosen, rejected = values[first], values[second]
        told = [[[self.pairs[i].label] for i in own], [[self.pairs[i].margin] for i in own], self.weights[own].tolist()]
        label, margin, weight = (torch.tensor(column, dtype=values.dtype, device=values.device) for column in told)
        loss = preference_loss(chosen, rejected, label, margin, weight, self.config.center_coefficient) / self.P
        self.total += loss.item() / K
        labels, z = np.array([self.pairs[i].label for i in own]), (chosen - rejected).detach().mean(-1).cpu().numpy()
        self.correct += float(np.where(labels == 0.5, 0.5, (z > 0) == (labels > 0.5)).sum())
        return loss if len(model.adapters) == K else loss / K

    def rows(self, micro: tuple[list[int], PackedBatch]) -> list[int]:
        return [i for prompt in micro[0] for i in self.prompts.pairs[prompt]]

    def metrics(self) -> Metrics:
        return {"loss": self.total, "accuracy": self.correct / self.P, "tokens": float(self.tokens)}

    def parts(self) -> list[list[Tensor]]:
        """The gradients that are clipped apart: each member's, where members share nothing that learns."""
        model, (heads,) = self.model, gradients_of([self.model.heads])
        if len(model.adapters) == model.members:
            return [[*gradients_of(adapter.parameters()), heads[k]] for k, adapter in enumerate(model.adapters)]
        return [[*gradients_of(self.backbone), heads]]

    def refresh(self) -> None:
        for adapter in self.model.adapters:
            adapter.refresh()
        self.model.lm.decoder.refresh()

    @torch.no_grad()
    def _trunk(self, prompts: Sequence[int]) -> Tensor:
        """(N, d): what the layers below the adapters make of a pack of ``prompts``, the same in every epoch.

        Each prompt is computed on its own, so that a run resumed in any epoch finds the same numbers to the last bit.
        """
        assert self.trunks is not None
        decoder = self.model.lm.decoder
        for prompt in prompts:
            if prompt not in self.trunks:
                sequences = self.prompts.sequences[prompt]
                packed = pack(sequences, [0] * len(sequences)).to(decoder.device)
                self.trunks[prompt] = decoder.run(decoder.embed(packed), packed, 0, self.model.first_layer)
        return torch.cat([self.trunks[prompt] for prompt in prompts])


class _EmbeddingRows:
    """Embeddings of tokens whose gradient is written only at the rows at hand.

    Autograd would form a dense (V, d) gradient for every micro-batch: at V = 49,152 a fifth of the whole model.
    """

    def __init__(self, weight: Weight) -> None:
        self.weight = weight
        self.gradient = torch.zeros_like(weight().float())
        self.touched: list[Tensor] = []

    def __call__(self, ids: Tensor) -> Tensor:
        """(N, d) embeddings of ``ids`` (N,)."""
        assert self.weight.master is not None
        if self.weight.master.grad is not self.gradient:  # a new update begins
            for before in self.touched:
                self.gradient.index_fill_(0, before, 0.0)
            self.touched, self.weight.master.grad = [], self.gradient
        self.touched.append(ids)
        rows = F.embedding(ids, self.weight.value).requires_grad_()

        def add(grad: Tensor) -> None:
            self.gradient.index_add_(0, ids, grad.float())

        rows.register_hook(add)
        return rows


def _new_model(lm: LanguageModel, config: RewardConfig) -> RewardModel:
    spec, device = lm.decoder.spec, lm.decoder.device
    if config.weights == "adapter" and not isinstance(lm.decoder, Decoder):
        raise InputError(f"architecture {lm.config.model_type!r} cannot run with adapters; set weights to full.")
    first = config.first_layer if config.first_layer >= 0 else max(0, spec.layers + config.first_layer)
    shape = AdapterConfig(rank=config.rank, alpha=config.alpha, first_layer=first)
    count = (config.members if config.ensemble == "adapters" else 1) if config.weights == "adapter" else 0
    seeds = [int(s) for s in np.random.SeedSequence([config.seed, 3]).generate_state(config.members)]
    return RewardModel(
        lm=lm,
        heads=new_heads(seeds, spec.hidden, device),
        adapters=[Adapter(lm.decoder, shape, seeds[k]).to(device) for k in range(count)],
        combine=config.combine,
        caution=config.caution,
        max_length=config.max_length,
    )


def _pair_weights(pairs: Sequence[TokenPair], config: RewardConfig) -> np.ndarray:
    """(P, K): each pair's own weight, relative to the mean, times how often each member's resample drew it."""
    own = np.array([pair.weight for pair in pairs], np.float64)
    if not np.isfinite(own).all() or (own < 0).any() or own.sum() == 0:
        raise InputError("weights of preference pairs must be finite, 0 or more, and not all 0.")
    n, K = len(pairs), config.members
    draws = np.ones((n, K))
    if K > 1 and config.bootstrap:
        for k in range(K):
            draws[:, k] = np.random.default_rng([config.seed, 1, k]).multinomial(n, np.full(n, 1 / n))
    return (own / own.mean())[:, None] * draws


def _identity(lm: LanguageModel, pairs: Sequence[TokenPair], config: RewardConfig) -> dict[str, Any]:
    """What a checkpoint must agree on to be continued."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(pair.chosen.tobytes() + b"|" + pair.rejected.tobytes())
        digest.update(f"{pair.label} {pair.margin} {pair.weight}".encode())
    kept = {k: v for k, v in asdict(config).items() if k != "checkpoint_every"}
    return {**kept, "pairs": digest.hexdigest(), "base model": lm.fingerprint()}


def _standardised(model: RewardModel, pairs: Sequence[TokenPair], seed: int) -> RewardModel:
    """Each member's mean on the training data becomes 0, its standard deviation 1.

    An adapter that all heads share is merged first: the folder that ``transformers`` loads holds one backbone, and
    what is measured is what is saved.
    """
    if len(model.adapters) == 1:
        model.lm = replace(model.lm, decoder=merged(model.lm.decoder, model.adapters[0]))
        model.adapters = []
    sample = np.random.default_rng([seed, 2]).permutation(len(pairs))[:STANDARDISE_ON]
    sequences = [s for i in sample for s in (pairs[i].chosen, pairs[i].rejected)]
    raw = model.raw_scores(sequences, np.repeat(sample, 2).tolist())
    model.center, model.scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
    model.temperature = float(1 / model.scale.mean())  # the loss was in the heads' own logits
    model.learned_temperature = model.temperature
    return model
