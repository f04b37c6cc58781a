"""Kahneman-Tversky optimisation: single replies that people found desirable or not.

Letters: P replies of an update, B of a micro-batch, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from custodes.feedback.exchange import labelled_replies
from custodes.feedback.reading import JudgmentsOptions
from custodes.policy.learner import Forward, Learner, Reference
from custodes.policy.pairs import HalfShare, reply_gains
from custodes.policy.rollout import Pack, make_packs
from custodes.policy.tuning import LearnsFrom, TuneMethod
from custodes.policy.turns import demonstration_of
from custodes.ranges import AnyFloat, Positive, Range, at_least, ranged
from custodes.registry import method
from custodes.train import Metrics
from custodes.types import Episode, Example, InputError, Task

Weight = Annotated[float, Range(0, 1e6, open_low=True)]
HIGHEST_RATIO = {"first": 4 / 3, "later": 3 / 2}
"""Upper end of lam_D n_D / (lam_U n_U) in the versions of the paper; the lower end is 1 in both."""


@method
@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Kto(TuneMethod):
    """lam_D (1 - sigmoid(beta (g - z0))) of a desirable reply and lam_U (1 - sigmoid(beta (z0 - g))) of an undesirable one.

    g is what log p of the reply gained over the reference, the policy as it comes; z0 estimates the KL from it. Each update
    takes z0 from mismatched pairs: each prompt with the reply to another prompt of the update, so that needs two. No gradient flows through
    z0, and it is at least 0. ``kl`` is z0; ``desirable`` and ``undesirable`` say what such replies gained: nats, before the
    update.
    """

    name: ClassVar[str] = "kto"
    source: ClassVar[str] = "arXiv 2402.01306, section 4"
    learns_from: ClassVar[LearnsFrom] = "labels"

    batch: Annotated[int, at_least(2)] = 16
    """Examples per update."""
    beta: Positive = 0.1
    """Strength of the tie to the reference."""
    desirable_weight: Weight | None = None
    """lam_D; None: the least weight from 1 up by which lam_D n_D / (lam_U n_U) is within the bounds of the paper."""
    undesirable_weight: Weight | None = None
    """lam_U; None: likewise."""
    paper: Literal["first", "later"] = "later"
    """The version of the paper whose bounds of lam_D n_D / (lam_U n_U) hold: first, 1 to 4/3; later, 1 to 3/2."""
    label_smoothing: HalfShare = 0.0
    """Chance that a label is the wrong way round."""
    desirable_from: AnyFloat | None = None
    """Ratings from this number on are desirable, lower ones undesirable; None: above and below the middle of their scale."""

    def examples(self, judgments: JudgmentsOptions) -> list[Example]:
        file = judgments.read()
        file.warn()
        return labelled_replies(file.feedback, file.axis(judgments.axis), self.desirable_from)

    def objective(self, learner: Learner, examples: Sequence[Example]) -> _Desirability:
        return _Desirability(self, learner, examples)

    def weights(self, desirable: float, undesirable: float) -> tuple[float, float]:
        """(lam_D, lam_U) for so many replies of both kinds: n_D and n_U, by weight."""
        own = [self.desirable_weight or 1.0, self.undesirable_weight or 1.0]
        ratio = own[0] * desirable / (own[1] * undesirable)
        factor = min(max(ratio, 1.0), HIGHEST_RATIO[self.paper]) / ratio
        free = [weight is None for weight in (self.desirable_weight, self.undesirable_weight)]
        if free[0] and (factor > 1 or not free[1]):
            own[0] *= factor
        elif free[1]:
            own[1] /= factor
        return own[0], own[1]

    def losses(self, gain: Tensor, z0: float, desirable: Tensor, undesirable: Tensor) -> Tensor:
        """(B,) of replies that gained so many nats; the last two are the weights of either label's loss."""
        value = self.beta * (gain - z0)
        return desirable * torch.sigmoid(-value) + undesirable * torch.sigmoid(value)


class _Desirability:
    def __init__(self, method: Kto, learner: Learner, examples: Sequence[Example]) -> None:
        self.method, self.learner = method, learner
        self.reference = Reference.of(learner.lm)
        numbers: dict[object, int] = {}
        self.prompt = [numbers.setdefault(example.prompt, len(numbers)) for example in examples]
        good = np.array([bool(example.label) for example in examples])
        if good.all() or not good.any():
            raise InputError(
                f"all {len(good):,} replies are {'desirable' if good.all() else 'undesirable'}; kto learns from both kinds."
            )
        if len(numbers) < 2:
            raise InputError("all replies are to one prompt; kto needs replies to two prompts at least.")
        places = [example.place or f"reply {i:,}" for i, example in enumerate(examples, 1)]
        self.episodes = [
            demonstration_of(learner.lm, Task(place, example.prompt), example.completion, place)
            for place, example in zip(places, examples, strict=True)
        ]
        self.T = max(len(e.token_ids) for e in self.episodes)
        weight = np.array([example.weight for example in examples])
        lam = method.weights(float(weight[good].sum()), float(weight[~good].sum()))
        share = np.where(good, 1 - method.label_smoothing, method.label_smoothing)
        weight = weight / weight.mean()
        self.weight = torch.from_numpy(np.stack([lam[0] * share * weight, lam[1] * (1 - share) * weight]))  # (2, all)
        self.good = torch.from_numpy(good)
        self.labels = self.weight.flatten().tolist()

    def packs(self, chosen: Sequence[int]) -> list[Pack]:
        rows = sorted(chosen, key=self.prompt.__getitem__)  # replies to one prompt share its computation
        packs = make_packs(self.episodes, rows, self.method.micro_tokens, self.prompt)
        self.before = torch.zeros(len(self.episodes), self.T)
        self.learner.measure_reference(packs, 1.0, self.reference, self.before)
        self.P, self.z0 = len(chosen), self._reference_point(chosen)
        self.sums, self.counts = {"loss": 0.0}, {"loss": self.P}
        return packs

    def loss(self, pack: Pack, seen: Forward) -> Tensor:
        present, gain, _ = reply_gains(pack, seen, self.before)
        losses = self.method.losses(gain, self.z0, *self.weight[:, present].to(gain))
        self.sums["loss"] += float(losses.detach().sum())
        gained, good = gain.detach().cpu(), self.good[present]
        for name, of_kind in (("desirable", good), ("undesirable", ~good)):
            self.sums[name] = self.sums.get(name, 0.0) + float(gained[of_kind].sum())
            self.counts[name] = self.counts.get(name, 0) + int(of_kind.sum())
        return losses.sum() / self.P

    def metrics(self) -> Metrics:
        means = {name: total / self.counts[name] for name, total in self.sums.items() if self.counts[name]}
        return means | {"kl": self.z0}

    def _reference_point(self, chosen: Sequence[int]) -> float:
        """z0, nats: the mean gain of mismatched replies under the policy as it is, at least 0."""
        pairs = [
            (i, j) for k, i in enumerate(chosen) if (j := self._partner(i, chosen[k + 1 :], chosen[:k])) is not None
        ]
        if not pairs:
            return 0.0
        episodes = [self._mismatched(i, j) for i, j in pairs]
        packs = make_packs(episodes, range(len(pairs)), self.method.micro_tokens, [self.prompt[i] for i, _ in pairs])
        now, before = torch.zeros(2, len(pairs), max(len(e.token_ids) for e in episodes))
        self.learner.measure(packs, 1.0, now)
        self.learner.measure_reference(packs, 1.0, self.reference, before)
        return max(0.0, float((now - before).sum(dtype=torch.float64)) / len(pairs))

    def _partner(self, row: int, after: Sequence[int], before: Sequence[int]) -> int | None:
        """The next example of the update, else of all, that answers another prompt and fits behind this one's.

        An offset, and not a reversal: that leaves the middle of an odd number with its own reply. Two replies to one prompt
        may stand side by side, so the offset passes those by.
        """
        room = self.learner.lm.decoder.spec.context - _opening(self.episodes[row])
        for other in chain(after, before, range(row + 1, len(self.episodes)), range(row)):
            reply = len(self.episodes[other].token_ids) - _opening(self.episodes[other])
            if self.prompt[other] != self.prompt[row] and reply <= room:
                return other
        return None

    def _mismatched(self, row: int, other: int) -> Episode:
        """The prompt of one example with the reply of another."""
        one, two = self.episodes[row], self.episodes[other]
        start, cut = _opening(one), _opening(two)
        return Episode(
            id=f"{one.id}/mismatched",
            task=one.task,
            messages=(*one.task.messages, *two.messages[len(two.task.messages) :]),
            token_ids=np.concatenate([one.token_ids[:start], two.token_ids[cut:]]),
            action_mask=np.concatenate([one.action_mask[:start], two.action_mask[cut:]]),
            logprobs=np.zeros(start + len(two.token_ids) - cut, np.float32),
            outcome="stop",
            policy="demonstration",
        )


def _opening(episode: Episode) -> int:
    """Tokens before the reply."""
    return int(episode.action_mask.argmax())
