"""A mean and a variance for each reply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_up_rewards import small

from custodes.lm.loading import LanguageModel
from custodes.reward.objective import LessonBatch
from custodes.reward.spread_pairs import SPREAD, SpreadPairs, r2_of_scores, train_spread_reward
from custodes.types import PreferencePair, Scores


def loss(values: list[list[float]], label: float) -> float:
    """Of one pair: (mean, log-variance) of the chosen and of the rejected."""
    batch = LessonBatch(torch.tensor([[0, 1]]), torch.tensor([[label, 0.0]]), torch.tensor([[[1.0, 0.0]]]))
    return float(SpreadPairs(center_coefficient=0.0).loss(torch.tensor(values)[:, None], batch))


def test_only_mean_over_deviation_counts_and_a_variance_of_either_makes_less_sure() -> None:
    assert loss([[2.0, 0.0], [0.0, 0.0]], 1.0) == pytest.approx(
        loss([[4.0, np.log(4)], [0.0, np.log(4)]], 1.0), abs=1e-5
    )
    sure, doubtful = loss([[1.0, -2.0], [0.0, -2.0]], 1.0), loss([[1.0, -2.0], [0.0, 3.0]], 1.0)
    assert sure < doubtful < np.log(2)
    assert loss([[1.0, 0.0], [0.0, 1.0]], 0.0) == pytest.approx(loss([[0.0, 1.0], [1.0, 0.0]], 1.0), abs=1e-6)
    assert loss([[0.0, 0.0], [0.0, 0.0]], 0.5) == pytest.approx(np.log(2), abs=1e-6)


def test_r2_is_one_without_variance_and_falls_with_it() -> None:
    value = np.random.default_rng(0).normal(size=200)
    prompts = [n // 4 for n in range(200)]
    shares = [r2_of_scores(Scores(value, parts={SPREAD: np.full(200, v)}), prompts).estimate for v in (-12.0, 0.0, 2.0)]
    assert shares[0] > 0.999
    assert shares[0] > shares[1] > shares[2] > 0
    assert shares[1] == pytest.approx(value.var() / (value.var() + 1))


def test_training_orders_pairs_by_the_mean_and_keeps_the_variance_in_the_values_unit(
    lm: LanguageModel, pairs: list[PreferencePair]
) -> None:
    model = train_spread_reward(lm, pairs, small("adapter"), "pairs", progress=False)
    scores = model.score_messages([(*p.prompt, *side) for p in pairs for side in (p.chosen, p.rejected)])
    assert (scores.value[0::2] > scores.value[1::2]).mean() > 0.8
    assert scores.value == pytest.approx(scores.parts["overall"])
    factor = float(model.scale[0])
    raw = scores.parts[SPREAD] + 2 * np.log(factor)
    assert np.isfinite(raw).all()
    z = (scores.value[0::2] - scores.value[1::2]) / np.sqrt(
        np.exp(scores.parts[SPREAD][0::2]) + np.exp(scores.parts[SPREAD][1::2])
    )
    raw_z = factor * (scores.value[0::2] - scores.value[1::2]) / np.sqrt(np.exp(raw[0::2]) + np.exp(raw[1::2]))
    assert z == pytest.approx(raw_z)
