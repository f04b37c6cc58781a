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
import math
import time
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custodes.lm.adapter import Adapter, AdapterConfig, merged
from custodes.lm.checkpoint import checkpoints as list_checkpoints
from custodes.lm.checkpoint import load_own_checkpoint, save_checkpoint
from custodes.lm.decoder import Decoder, Weight, optimiser_groups
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import pack
from custodes.reward.config import RewardConfig
from custodes.reward.model import RewardModel, new_heads
from custodes.reward.preference import preference_loss
from custodes.reward.reading import TokenPair, Tokens, micro_batches
from custodes.types import InputError, PreferencePair

STANDARDISE_ON = 256
"""Training pairs whose scores give the mean and standard deviation by which scores are standardised."""


@dataclass(frozen=True, slots=True)
class TrainStep:
    """What one update did, for progress and logs."""

    step: int  # from 1
    steps: int
    loss: float  # nats per pair, mean over members
    accuracy: float  # share of the batch's pairs that the members' mean orders as labelled, before the update
    grad_norm: float  # largest over members, before clipping
    tokens: int  # computed, forward and backward
    seconds: float
    seconds_left: float


OnStep = Callable[[TrainStep], None]


def train_reward(
    lm: LanguageModel,
    pairs: Sequence[PreferencePair],
    config: RewardConfig | None = None,
    *,
    source: str = "",
    checkpoints: Path | None = None,
    on_step: OnStep | None = None,
) -> RewardModel:
    """Train a reward model on ``pairs``; the same seed and configuration give the same weights, bit for bit.

    ``lm`` is the backbone, without its own adapter; with ``weights="full"`` its weights are changed in place.
    ``source`` names the pairs' file in messages. Where ``checkpoints`` holds one of this very run, it is
    continued. Pairs' ``label``, ``margin`` and ``weight`` are used (weights relative to their mean).

    Raises InputError: no pairs; a completion that does not fit; a loss that is not finite; checkpoints of another run.
    """
    config = config or RewardConfig()
    trainer = _Trainer(replace(lm, adapter=None), pairs, config, source)
    if checkpoints is not None:
        trainer.resume(checkpoints)
    started, first = time.monotonic(), trainer.step
    while trainer.step < trainer.steps:
        done = trainer.update(_last_good(checkpoints))
        if on_step is not None:
            elapsed = time.monotonic() - started
            left = elapsed / (trainer.step - first) * (trainer.steps - trainer.step)
            on_step(replace(done, seconds=elapsed, seconds_left=left))
        if checkpoints is not None and trainer.step % config.checkpoint_every == 0 and trainer.step < trainer.steps:
            save_checkpoint(checkpoints, trainer.step, trainer.state())
    return trainer.finish()


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Of update ``step`` (from 0): rises linearly over the first ``warmup`` share, then falls linearly towards 0."""
    rising = warmup * steps
    return min((step + 1) / rising if rising > 0 else 1.0, (steps - step) / max(1.0, steps - rising), 1.0)


class _Trainer:
    """The model, its optimiser and where in the run it is."""

    def __init__(self, lm: LanguageModel, pairs: Sequence[PreferencePair], config: RewardConfig, source: str) -> None:
        if not pairs:
            raise InputError(f"{source or 'the preferences'} hold no pair to train on; give at least one.")
        self.config, self.step = config, 0
        self.model = _new_model(lm, config)
        self.pairs, cut = self.model.reader.pairs(pairs, source)
        if cut:
            warnings.warn(
                f"{source or 'preferences'}: {cut} of {len(pairs)} pairs are longer than {self.model.max_length} tokens; "
                "the left of their prompts was not read.",
                stacklevel=3,
            )
        self.weights = _pair_weights(self.pairs, config)
        self.prompts = Prompts.of(self.pairs, [pair.prompt for pair in pairs])
        self.batches = self._batches()
        self.steps = len(self.batches)
        self.identity = _identity(lm, self.pairs, config)
        self.backbone, self.embedding = _backbone_parameters(self.model, config)
        self.optimiser = self._optimiser()
        self.trunk = _Trunk.of(self.model, self.prompts, config)

    def update(self, last_good: str) -> TrainStep:
        """One update on the next batch of pairs."""
        rates = learning_rate_factor(self.step, self.steps, self.config.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * rates
        batch = self.batches[self.step]
        loss, correct, tokens = self._gradients(batch)
        norm = self._clip()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            own = [i for prompt in batch for i in self.prompts.pairs[prompt]]
            rows = ", ".join(self.pairs[i].where for i in own[:4]) + (", ..." if len(own) > 4 else "")
            raise InputError(
                f"reward training stopped at update {self.step + 1}: loss {loss} and gradient norm {norm} ({rows}); "
                f"{last_good}lower learning_rate ({self.config.learning_rate}) or look at these pairs."
            )
        self.optimiser.step()
        self._refresh()
        self.step += 1
        return TrainStep(self.step, self.steps, loss, correct, norm, tokens, 0.0, 0.0)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on; order and rates follow from the step and the seed."""
        return {
            "identity": self.identity,
            "step": self.step,
            "heads": self.model.heads.detach(),
            "backbone": [p.detach() for p in self.backbone],
            "optimiser": self.optimiser.state_dict(),
        }

    def resume(self, folder: Path) -> None:
        state = load_own_checkpoint(folder, self.identity)
        if state is None:
            return
        with torch.no_grad():
            for mine, stored in zip(
                [self.model.heads, *self.backbone], [state["heads"], *state["backbone"]], strict=True
            ):
                mine.copy_(stored)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self._refresh()

    def finish(self) -> RewardModel:
        """Standardise on the training data: each member's mean becomes 0, its standard deviation 1.

        An adapter that all heads share is merged first: the folder that ``transformers`` loads holds one backbone, and
        what is measured is what is saved.
        """
        model = self.model
        self.optimiser.zero_grad()
        if len(model.adapters) == 1:
            model.lm = replace(model.lm, decoder=merged(model.lm.decoder, model.adapters[0]))
            model.adapters = []
        rng = np.random.default_rng([self.config.seed, 2])
        sample = rng.permutation(len(self.pairs))[:STANDARDISE_ON]
        sequences = [s for i in sample for s in (self.pairs[i].chosen, self.pairs[i].rejected)]
        raw = model.raw_scores(sequences, np.repeat(sample, 2).tolist())
        model.center, model.scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
        model.temperature = float(1 / model.scale.mean())  # the loss was in the heads' own logits
        model.learned_temperature = model.temperature
        return model

    def _batches(self) -> list[list[int]]:
        """Prompts of every update: each epoch runs through all of them in an order of its own."""
        batches: list[list[int]] = []
        for epoch in range(self.config.epochs):
            order = np.random.default_rng([self.config.seed, 0, epoch]).permutation(len(self.prompts.pairs))
            room = 0
            for prompt in order.tolist():
                if room <= 0:
                    batches.append([])
                    room = self.config.batch_pairs
                batches[-1].append(prompt)
                room -= len(self.prompts.pairs[prompt])
        return batches

    def _gradients(self, batch: list[int]) -> tuple[float, float, int]:
        """Gradients of the mean loss over the batch, whatever the micro-batches; loss, accuracy and tokens computed."""
        model, K, prompts = self.model, self.model.members, self.prompts
        sequences = [s for prompt in batch for s in prompts.sequences[prompt]]
        groups = [prompt for prompt in batch for _ in prompts.sequences[prompt]]
        pairs = sum(len(prompts.pairs[prompt]) for prompt in batch)
        total, correct, tokens = 0.0, 0.0, 0
        self.optimiser.zero_grad()
        if self.embedding is not None:
            self.embedding.clear()
        for part, packed in micro_batches(sequences, groups, self.config.micro_tokens):
            packed = packed.to(model.lm.decoder.device)
            inside = list(dict.fromkeys(groups[i] for i in part))  # in the order in which they are packed
            if self.embedding is not None:
                values = model.values(packed, embedded=self.embedding.rows(packed.ids))
            else:
                values = model.values(packed, trunk=self.trunk.rows(inside) if self.trunk is not None else None)
            own, first, second = prompts.sides(inside)
            chosen, rejected = values[first], values[second]
            loss = preference_loss(chosen, rejected, *self._targets(own), self.config.center_coefficient) / pairs
            (loss if len(model.adapters) == K else loss / K).backward()
            if self.embedding is not None:
                self.embedding.collect()
            total += loss.item() / K
            labels = np.array([self.pairs[i].label for i in own])
            z = (chosen - rejected).detach().mean(-1).cpu().numpy()
            correct += float(np.where(labels == 0.5, 0.5, (z > 0) == (labels > 0.5)).sum())
            tokens += packed.tokens
        return total, correct / pairs, tokens

    def _targets(self, own: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (P, 1), margins (P, 1) and weights (P, K) of the pairs ``own``."""
        like = self.model.heads
        columns = [
            [[self.pairs[i].label] for i in own],
            [[self.pairs[i].margin] for i in own],
            self.weights[own].tolist(),
        ]
        label, margin, weight = (torch.tensor(c, dtype=like.dtype, device=like.device) for c in columns)
        return label, margin, weight

    def _optimiser(self) -> torch.optim.AdamW:
        config = self.config
        groups = optimiser_groups(self.backbone, config.learning_rate, config.weight_decay)
        groups.append({"params": [self.model.heads], "full_lr": config.head_learning_rate, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, fused=True)

    def _clip(self) -> float:
        """Scale each independent part of the gradient down to ``max_grad_norm``; the largest norm before that."""
        model, (heads,) = self.model, _gradients_of([self.model.heads])
        if len(model.adapters) == model.members:  # members learn apart, whatever becomes of the others
            parts = [[*_gradients_of(adapter.parameters()), heads[k]] for k, adapter in enumerate(model.adapters)]
        else:
            parts = [[*_gradients_of(self.backbone), heads]]
        norms = [float(nn.utils.get_total_norm(part)) for part in parts]
        for norm, part in zip(norms, parts, strict=True):
            if norm > self.config.max_grad_norm:
                torch._foreach_mul_(part, self.config.max_grad_norm / norm)
        return max(norms, key=lambda norm: norm if math.isfinite(norm) else math.inf)

    def _refresh(self) -> None:
        for adapter in self.model.adapters:
            adapter.refresh()
        self.model.lm.decoder.refresh()


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Pairs by prompt, with the distinct replies of each: what is packed and computed together."""

    pairs: list[list[int]]  # of each prompt
    sequences: list[list[Tokens]]  # of each prompt: prompt and reply, every reply once
    places: list[tuple[int, int]]  # of each pair: its chosen and its rejected among its prompt's sequences

    @classmethod
    def of(cls, pairs: Sequence[TokenPair], prompts: Sequence[Hashable]) -> Prompts:
        numbers: dict[Hashable, int] = {}
        members: list[list[int]] = []
        known: list[dict[bytes, int]] = []  # reply -> place, of each prompt
        sequences: list[list[Tokens]] = []
        places: list[tuple[int, int]] = []
        for i, (pair, prompt) in enumerate(zip(pairs, prompts, strict=True)):
            number = numbers.setdefault(prompt, len(numbers))
            if number == len(members):
                members.append([])
                known.append({})
                sequences.append([])
            members[number].append(i)
            found = []
            for side in (pair.chosen, pair.rejected):
                place = known[number].setdefault(side.tobytes(), len(known[number]))
                if place == len(sequences[number]):
                    sequences[number].append(side)
                found.append(place)
            places.append((found[0], found[1]))
        return cls(members, sequences, places)

    def sides(self, prompts: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Pairs of ``prompts``, and where their sides stand among all sequences of ``prompts`` in order."""
        own: list[int] = []
        first: list[int] = []
        second: list[int] = []
        start = 0
        for prompt in prompts:
            for i in self.pairs[prompt]:
                own.append(i)
                first.append(start + self.places[i][0])
                second.append(start + self.places[i][1])
            start += len(self.sequences[prompt])
        return own, first, second


class _Trunk:
    """What the layers below the adapters make of each prompt's sequences: the same in every epoch.

    Each prompt is computed on its own, so that a run resumed in any epoch finds the same numbers to the last bit.
    """

    def __init__(self, model: RewardModel, prompts: Prompts) -> None:
        self.model, self.prompts = model, prompts
        self.known: dict[int, Tensor] = {}  # (N of the prompt, d)

    @classmethod
    def of(cls, model: RewardModel, prompts: Prompts, config: RewardConfig) -> _Trunk | None:
        """None where nothing is shared between epochs, or where it would not fit ``trunk_gb``."""
        if not model.adapters or not model.first_layer or config.epochs == 1:
            return None
        tokens = sum(len(s) for group in prompts.sequences for s in group)
        size = tokens * model.lm.decoder.spec.hidden * model.lm.decoder.dtype.itemsize
        return cls(model, prompts) if size <= config.trunk_gb * 2**30 else None

    def rows(self, prompts: Sequence[int]) -> Tensor:
        """(N, d) of a pack of ``prompts`` in order."""
        for prompt in prompts:
            if prompt not in self.known:
                self.known[prompt] = self._computed(self.prompts.sequences[prompt])
        return torch.cat([self.known[prompt] for prompt in prompts])

    @torch.no_grad()
    def _computed(self, sequences: list[Tokens]) -> Tensor:
        decoder = self.model.lm.decoder
        packed = pack(sequences, [0] * len(sequences)).to(decoder.device)
        return decoder.run(decoder.embed(packed), packed, 0, self.model.first_layer)


class _EmbeddingGradient:
    """The gradient of the embedding's master, written only at rows of tokens at hand.

    Autograd would form a dense (V, d) gradient for every micro-batch: at V = 49,152 a fifth of the whole model.
    """

    def __init__(self, weight: Weight) -> None:
        self.weight = weight
        self.dense = torch.zeros_like(weight().float())
        self.touched: list[Tensor] = []

    def clear(self) -> None:
        for ids in self.touched:
            self.dense.index_fill_(0, ids, 0.0)
        self.touched = []
        self.weight.master.grad = self.dense  # type: ignore[union-attr]

    def rows(self, ids: Tensor) -> Tensor:
        """(N, d) embeddings of ``ids`` whose gradient :meth:`collect` takes up."""
        self.leaf = F.embedding(ids, self.weight.value).requires_grad_()
        self.touched.append(ids)
        return self.leaf

    def collect(self) -> None:
        assert self.leaf.grad is not None
        self.dense.index_add_(0, self.touched[-1], self.leaf.grad.float())


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


def _backbone_parameters(
    model: RewardModel, config: RewardConfig
) -> tuple[list[nn.Parameter], _EmbeddingGradient | None]:
    """What learns besides the heads; the head over the vocabulary has no part in a reward and stays as it is."""
    if config.weights == "adapter":
        return [p for adapter in model.adapters for p in adapter.parameters()], None
    decoder = model.lm.decoder
    if not isinstance(decoder, Decoder):  # an architecture that transformers runs: plain gradients
        return decoder.train_all(), None
    weights = [m for m in decoder.modules() if isinstance(m, Weight) and m is not decoder.head]
    for weight in weights:
        weight.train_master()
    return [w.master for w in weights if w.master is not None], _EmbeddingGradient(decoder.embedding)


def _gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


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


def _last_good(checkpoints: Path | None) -> str:
    found = list_checkpoints(checkpoints) if checkpoints is not None else []
    return f"the last good checkpoint is {found[-1]}; " if found else ""
