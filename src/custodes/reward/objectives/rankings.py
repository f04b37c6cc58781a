"""The order of several answers: Plackett-Luce, with ties.

Letters: n answers of one ranking, J choices, K members, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from custodes.feedback.kinds.ranking import Ranking, ranking_choices
from custodes.ranges import ranged
from custodes.registry import objective
from custodes.reward.objective import Floats, Lesson, LessonBatch, Material, RewardObjective


@objective
@dataclass(kw_only=True)
@ranged
class Rankings(RewardObjective):
    """Rankings of two or more answers.

    An order is a series of choices: the best of all, the best of those left, and so on, each a softmax of the scores. A tie
    leaves several orders open, and its log-likelihood is their mean: for two answers that is the soft label 1/2. In ties of
    four and more the mean is taken over a balanced part of the orders.
    """

    judgment = Ranking
    source = "Plackett 1975; Luce 1959"

    def axes(self, material: Material) -> list[str]:
        return [judgment.axis for judgment in material.judgments(Ranking)]

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        taught = []
        for judgment in material.judgments(Ranking):
            weight = material.teaches(judgment, judgment.axis)
            if weight is None:
                continue
            sequences = [material.sequence(judgment, n) for n in range(len(judgment.episodes))]
            readings = tuple((sequence, -1) for sequence in sequences)
            prompt = material.episode(judgment).task.messages
            taught.append(Lesson(prompt, readings, judgment.ranks, weight, material.where(judgment)))
        return taught

    def loss(self, values: Tensor, batch: LessonBatch) -> Tensor:
        total = values.new_zeros(())
        for at, ranks, weight in zip(batch.at, batch.target, batch.weight, strict=True):
            n = int((at >= 0).sum())
            scores = values[at[:n]]  # (n, K, O)
            open_, share, top = ranking_choices(tuple(ranks[:n].tolist()))
            mask = torch.where(torch.from_numpy(open_).to(at.device), 0.0, -torch.inf).to(scores.dtype)
            among = torch.logsumexp(scores + mask[:, :, None, None], 1)  # (J, K, O)
            told = (torch.from_numpy(share).to(among)[:, None, None] * among).sum(0)
            total = total + (weight * (told - scores[torch.from_numpy(top).to(at.device)].sum(0))).sum()
        return total

    def agreement(self, values: Tensor, batch: LessonBatch) -> Floats:
        """The share of its pairs without a tie that the scores order as the ranking does."""
        shares = []
        for at, ranks, weight in zip(batch.at, batch.target, batch.weight, strict=True):
            n, output = int((at >= 0).sum()), int(weight.sum(0).argmax())
            scores, own = values[at[:n]][:, :, output].mean(1).cpu().numpy(), ranks[:n].cpu().numpy()
            i, j = np.triu_indices(n, 1)
            decided = own[i] != own[j]
            right = (scores[i] > scores[j]) == (own[i] < own[j])
            shares.append(float(right[decided].mean()) if decided.any() else 0.5)
        return np.array(shares)
