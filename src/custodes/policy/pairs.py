"""Tuning on preferences without a reward model: what its methods share.

Letters: P pairs of a micro-batch, M its actions, B episodes, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from custodes.feedback.reading import JudgmentsOptions
from custodes.policy.learner import Forward, Learner, Reference
from custodes.policy.rollout import Pack, make_packs
from custodes.policy.tuning import LearnsFrom, TuneMethod
from custodes.policy.turns import demonstration_of
from custodes.ranges import Positive, Range, ranged
from custodes.train import Metrics
from custodes.types import PreferencePair, Task

HalfShare = Annotated[float, Range(0, 0.5, open_high=True)]
"""0 or more, below one half."""


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """What log p of the replies of P pairs gained over the reference, and what people said of them: each (P,)."""

    chosen: Tensor  # nats, summed over the reply; with gradient
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    label: Tensor  # P(chosen is better)
    margin: Tensor  # by how much it should win
    weight: Tensor  # relative to the mean of all pairs


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class PairMethod(TuneMethod):
    """A method that compares what log p of two replies gained over the reference, the policy as it comes.

    ``loss`` is the mean over an update's pairs; ``accuracy``, how often the chosen reply gained more; ``margin``, by how much;
    ``chosen`` and ``rejected``, what each gained: nats, means over the update's pairs, before the update.
    """

    learns_from: ClassVar[LearnsFrom] = "preferences"

    beta: Positive = 0.1
    """Strength of the tie to the reference."""
    label_smoothing: HalfShare = 0.0
    """Chance that a label is the wrong way round."""

    def examples(self, judgments: JudgmentsOptions) -> list[PreferencePair]:
        return judgments.read_pairs()

    def objective(self, learner: Learner, examples: Sequence[PreferencePair]) -> _Comparison:
        return _Comparison(self, learner, examples)

    def losses(self, gains: Gains) -> Tensor:
        """Scalar: the sum over P pairs."""
        raise NotImplementedError


class _Comparison:
    def __init__(self, method: PairMethod, learner: Learner, pairs: Sequence[PreferencePair]) -> None:
        self.method, self.learner = method, learner
        self.reference = Reference.of(learner.lm)
        places = [pair.place or f"pair {i:,}" for i, pair in enumerate(pairs, 1)]
        self.episodes = [
            demonstration_of(learner.lm, Task(place, pair.prompt), said, f"{place}, {side}")
            for pair, place in zip(pairs, places, strict=True)
            for side, said in (("chosen", pair.chosen), ("rejected", pair.rejected))
        ]
        self.T = max(len(e.token_ids) for e in self.episodes)
        weights = np.array([pair.weight for pair in pairs])
        wrong = method.label_smoothing
        labels = [pair.label * (1 - wrong) + (1 - pair.label) * wrong for pair in pairs]
        columns = labels, [pair.margin for pair in pairs], (weights / weights.mean()).tolist()
        self.labels = [value for column in columns for value in column]
        self.label, self.margin, self.weight = (torch.tensor(column) for column in columns)

    def packs(self, chosen: Sequence[int]) -> list[Pack]:
        rows = [row for pair in chosen for row in (2 * pair, 2 * pair + 1)]
        groups = [i // 2 for i in range(len(self.episodes))]
        packs = make_packs(self.episodes, rows, self.method.micro_tokens, groups)
        self.before = torch.zeros(len(self.episodes), self.T)
        self.learner.measure_reference(packs, 1.0, self.reference, self.before)
        self.P, self.sums = len(chosen), dict[str, float]()
        return packs

    def loss(self, pack: Pack, seen: Forward) -> Tensor:
        present, sums, tokens = reply_gains(pack, seen, self.before)  # a pair's two are neighbours
        own = present[0::2] // 2
        told = (column[own].to(sums) for column in (self.label, self.margin, self.weight))
        loss = self.method.losses(Gains(sums[0::2], sums[1::2], tokens[0::2], tokens[1::2], *told))
        first, second = sums[0::2].detach(), sums[1::2].detach()
        accurate, margin = first > second, first - second
        of_pack = {"loss": loss.detach(), "accuracy": accurate, "margin": margin, "chosen": first, "rejected": second}
        for name, values in of_pack.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(values.sum())
        return loss / self.P

    def metrics(self) -> Metrics:
        return {name: total / self.P for name, total in self.sums.items()}


def reply_gains(pack: Pack, seen: Forward, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of B replies of a pack: their places (B,) among all episodes, rising; what each gained in nats over ``before``, the
    reference's (all episodes, T); and its tokens (B,)."""
    device = seen.logprobs.device
    gain = seen.logprobs - before.view(-1)[pack.place].to(device)
    present, local = pack.episode.to(device).unique(return_inverse=True)
    return present.cpu(), gain.new_zeros(len(present)).index_add(0, local, gain), torch.bincount(local)
