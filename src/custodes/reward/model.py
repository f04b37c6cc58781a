"""Reward models: a decoder that reads a conversation and one or several heads at its last token.

An ensemble has K members: K adapters on the upper layers, each with its head (the trunk below runs once
for all of them), or K heads on one backbone. What each member says is centred and scaled by its mean and
standard deviation on the training data, so members speak in one unit; then they are combined.

Letters: B episodes, R sequences, K members, d hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from custodes.lm.adapter import Adapter
from custodes.lm.finite import NotFiniteError, finite_model
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch
from custodes.reward.base import RewardBase
from custodes.reward.reading import Reader, Tokens, micro_batches
from custodes.types import Episode, InputError, Message, Scores

Floats = NDArray[np.float64]
Combination = Literal["mean", "worst", "cautious"]

SCORE_TOKENS = 8192
"""Tokens per micro-batch when scoring: a forward pass keeps nothing, so this bounds one layer's work only."""


@dataclass(eq=False)
class RewardModel(RewardBase):
    """A learned reward. Scores have mean 0 and standard deviation 1 per member on the training data."""

    lm: LanguageModel  # the backbone; its own adapter is not used
    heads: nn.Parameter  # (K, d) float32
    adapters: list[Adapter] = field(default_factory=list)  # none, one that all heads share, or K
    center: Floats = field(default_factory=lambda: np.zeros(1))  # (K,) mean of each member on the training data
    scale: Floats = field(default_factory=lambda: np.ones(1))  # (K,) standard deviation of each member there
    combine: Combination = "mean"
    caution: float = 1.0  # multiple of the members' standard deviation that "cautious" subtracts
    temperature: float = 1.0  # P(a better than b) = sigmoid((value a - value b) / temperature)
    learned_temperature: float = 1.0  # the one that training used: where a calibration begins
    max_length: int = 1024  # tokens read; longer conversations lose the left of their prompt
    padding: int | None = None  # a token that is passed over where a conversation ends with it, as transformers does
    name: str = "reward model"

    def __post_init__(self) -> None:
        if len(self.adapters) not in (0, 1, self.members):
            raise InputError(f"a reward model of {self.members} heads cannot have {len(self.adapters)} adapters.")
        self.max_length = min(self.max_length, self.lm.decoder.spec.context)
        self.center = np.resize(self.center, self.members)
        self.scale = np.resize(self.scale, self.members)

    @property
    def members(self) -> int:
        return len(self.heads)

    @property
    def reader(self) -> Reader:
        return Reader(self.lm, self.max_length, self.padding)

    @property
    def first_layer(self) -> int:
        """Layers below this one are the base model's and shared by all members."""
        return self.adapters[0].config.first_layer if self.adapters else 0

    def score(self, episodes: Sequence[Episode]) -> Scores:
        """Scores of whole conversations, read as text: a cut reply is judged as if it ended there.

        ``std`` is the members' standard deviation (None for a single member); parts are ``member_0`` and on.
        """
        sequences = [self.reader.conversation(e.messages, f"episode {e.id}") for e in episodes]
        return self.combined(self.member_scores(sequences, [e.task.id for e in episodes]))

    def score_messages(self, conversations: Sequence[Sequence[Message]]) -> Scores:
        """The same for plain conversations that end with the reply to score."""
        sequences = [self.reader.conversation(c, f"conversation {i}") for i, c in enumerate(conversations)]
        return self.combined(self.member_scores(sequences))

    def member_scores(self, sequences: Sequence[Tokens], groups: Sequence[object] | None = None) -> Floats:
        """(R, K) centred and scaled scores; neighbours of one group share their common beginning."""
        return (self.raw_scores(sequences, groups) - self.center) / self.scale

    def raw_scores(self, sequences: Sequence[Tokens], groups: Sequence[object] | None = None) -> Floats:
        """(R, K) what the heads say, in logits of the Bradley-Terry model."""
        out = np.zeros((len(sequences), self.members))
        with torch.no_grad():
            for part, batch in micro_batches(sequences, groups or range(len(sequences)), SCORE_TOKENS):
                out[part] = self.values(batch.to(self.lm.decoder.device)).double().cpu().numpy()
        if not (right := np.isfinite(out).all(axis=1)).all():
            k = int(np.flatnonzero(~np.isfinite(out).all(axis=0))[0])
            adapter = self.adapters[k if len(self.adapters) > 1 else 0] if self.adapters else None
            with finite_model(self.name, self.lm.decoder, adapter):
                raise NotFiniteError(sequences[int(np.flatnonzero(~right)[0])].tolist())
        return out

    def combined(self, members: Floats) -> Scores:
        """(B, K) member scores -> one score with its uncertainty."""
        value, std = combine_members(members, self.combine, self.caution)
        parts = {f"member_{k}": members[:, k] for k in range(self.members)} if self.members > 1 else {}
        return Scores(value=value, std=std, parts=parts)

    def values(self, batch: PackedBatch, *, embedded: Tensor | None = None, trunk: Tensor | None = None) -> Tensor:
        """(R, K) raw scores at the last token of each sequence, with gradients to what is trained.

        ``embedded`` (N, d) stands for the batch's embeddings where their gradient is wanted; ``trunk`` (N, d)
        for what the layers below ``first_layer`` make of them, where that is known.
        """
        decoder, first = self.lm.decoder, self.first_layer
        if trunk is None:
            with torch.no_grad() if self.adapters else nullcontext():
                trunk = decoder.embed(batch) if embedded is None else embedded
                trunk = decoder.run(trunk, batch, 0, first)
        read: list[Tensor] = []
        branches: Sequence[Adapter | None] = self.adapters or [None]
        for adapter in branches:
            x = decoder.run(trunk, batch, first, decoder.spec.layers, adapter, wanted=batch.last)
            read.append(decoder.final(x).to(self.heads.dtype))
        if len(read) == 1:
            return read[0] @ self.heads.T
        return torch.stack([(x * head).sum(-1) for x, head in zip(read, self.heads, strict=True)], -1)


def combine_members(members: Floats, combine: Combination, caution: float) -> tuple[Floats, Floats | None]:
    """(B, K) -> value (B,) and the members' standard deviation (B,), None for K = 1.

    "mean"; "worst", the lowest member (worst-case optimisation of arXiv 2310.02743); "cautious", mean minus
    ``caution`` standard deviations (that paper's uncertainty-weighted optimisation subtracts the variance; the
    standard deviation keeps the unit of the score). The standard deviation is the sample's, divided by K - 1.
    """
    K = members.shape[1]
    if K == 1:
        return members[:, 0].copy(), None
    std = members.std(axis=1, ddof=1)
    if combine == "worst":
        return members.min(axis=1), std
    mean = members.mean(axis=1)
    return (mean - caution * std if combine == "cautious" else mean), std


def new_heads(seeds: Sequence[int], hidden: int, device: torch.device) -> nn.Parameter:
    """(K, d) heads, each drawn with its own seed from N(0, 1/(d + 1)) (arXiv 2009.01325)."""
    rows = [torch.randn(hidden, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return nn.Parameter((torch.stack(rows) / (hidden + 1) ** 0.5).to(device))
