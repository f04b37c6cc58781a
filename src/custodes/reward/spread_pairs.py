"""A reward that says how far judges differ about a reply: a mean and a variance in place of one score.

P(a is better than b) = Phi((mu_a - mu_b) / sqrt(sigma_a^2 + sigma_b^2)): the mean-and-variance model of distributional
preference learning (arXiv 2312.08358, section 4). The variance holds the noise of single judges too.

Letters: P pairs, M readings, K members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custodes.lm.loading import LanguageModel
from custodes.reward.config import RewardConfig
from custodes.reward.model import OVERALL, RewardModel
from custodes.reward.objective import LessonBatch
from custodes.reward.objectives.pairs import Pairs
from custodes.reward.train import train_reward
from custodes.stats import Interval, jackknife
from custodes.types import Floats, PreferencePair, Scores

SPREAD = "log_variance"
"""The output with the logarithm of sigma^2, in the unit of the value."""


@dataclass(kw_only=True)
class SpreadPairs(Pairs):
    """Comparisons of two answers, by a mean and a variance each."""

    source = "arXiv 2312.08358, section 4: the mean-and-variance model"

    def loss(self, values: Tensor, batch: LessonBatch) -> Tensor:
        chosen, rejected = values[batch.at[:, 0]], values[batch.at[:, 1]]  # (P, K, 2)
        label, margin, weight = batch.target[:, :1], batch.target[:, 1:2], batch.weight[..., 0]
        variance = chosen[..., 1].clamp(-10, 10).exp() + rejected[..., 1].clamp(-10, 10).exp()
        z, sd = chosen[..., 0] - rejected[..., 0], variance.sqrt()
        up, down = torch.special.log_ndtr((z - margin) / sd), torch.special.log_ndtr((-z - margin) / sd)
        nats = -label * up - (1 - label) * down
        # only mean over deviation is told by comparisons: both outputs are kept near 0
        near = (chosen[..., 0] + rejected[..., 0]).square() + chosen[..., 1].square() + rejected[..., 1].square()
        return (weight * (nats + self.center_coefficient * near)).sum()


def train_spread_reward(
    lm: LanguageModel,
    pairs: Sequence[PreferencePair],
    config: RewardConfig,
    source: str,
    objective: SpreadPairs | None = None,
    **run: Any,
) -> RewardModel:
    """A reward whose value is the mean and whose part ``log_variance`` is log sigma^2 in the unit of the value."""
    weights = np.array([[pair.weight, 0.0] for pair in pairs])
    model = train_reward(
        lm,
        pairs,
        config,
        axes=(OVERALL, SPREAD),
        weights=weights,
        objective=objective or SpreadPairs(),
        source=source,
        **run,
    )
    model.center[1::2], model.scale[1::2] = 2 * np.log(model.scale[0::2]), 1.0
    return model


def r2_of_scores(scores: Scores, prompts: Sequence[object]) -> Interval:
    """Share of the variance of worth that replies explain, by the reward's own means and variances; over prompts."""
    numbers: dict[object, int] = {}
    prompt = np.array([numbers.setdefault(p, len(numbers)) for p in prompts])
    variance = np.exp(scores.parts[SPREAD])

    def share(kept: Floats) -> float:
        rows = np.isin(prompt, kept)
        explained = float(scores.value[rows].var())
        return explained / (explained + float(variance[rows].mean()))

    return jackknife(share, np.arange(len(numbers)), bounds=(0.0, 1.0))
