"""Plackett-Luce with ties."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_rewards import judged, material_of, taught_by

from custodes.feedback.kinds.ranking import Ranking
from custodes.lm.loading import LanguageModel
from custodes.reward.objective import LessonBatch
from custodes.reward.objectives.pairs import preference_loss
from custodes.reward.objectives.rankings import Rankings

SCORES = st.lists(st.floats(-5, 5), min_size=2, max_size=5)


def loss(scores: list[float], ranks: list[int]) -> float:
    values = torch.tensor(scores, dtype=torch.float64)[:, None, None]
    at = torch.arange(len(scores))[None]
    batch = LessonBatch(at, torch.tensor([ranks], dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64))
    return float(Rankings().loss(values, batch))


@given(SCORES)
@settings(deadline=None)
def test_the_probabilities_of_all_orders_sum_to_1(scores: list[float]) -> None:
    orders = permutations(range(1, len(scores) + 1))
    assert math.isclose(sum(math.exp(-loss(scores, list(order))) for order in orders), 1, rel_tol=1e-9)


@given(SCORES, st.floats(-5, 5), st.data())
@settings(deadline=None)
def test_only_differences_of_scores_count_with_ties_too(scores: list[float], shift: float, data: st.DataObject) -> None:
    ranks = data.draw(st.lists(st.integers(1, 3), min_size=len(scores), max_size=len(scores)))
    assert math.isclose(loss(scores, ranks), loss([s + shift for s in scores], ranks), abs_tol=1e-8)


@given(st.floats(-5, 5), st.floats(-5, 5))
@settings(deadline=None)
def test_a_ranking_of_two_is_a_comparison_and_a_tie_its_soft_label(a: float, b: float) -> None:
    one = [torch.tensor([[x]], dtype=torch.float64) for x in (a, b)]
    plain = [torch.tensor([[x]], dtype=torch.float64) for x in (0.0, 1.0)]  # margin, weight
    for label, ranks in ((1.0, [1, 2]), (0.0, [2, 1]), (0.5, [1, 1])):
        expected = float(preference_loss(*one, torch.tensor([[label]], dtype=torch.float64), *plain))
        assert math.isclose(loss([a, b], ranks), expected, abs_tol=1e-9)


def test_a_tie_of_three_is_the_mean_of_the_orders_that_it_leaves_open() -> None:
    scores = [0.3, -1.2, 0.8, 2.0]
    orders = [loss(scores, [*order, 4]) for order in permutations((1, 2, 3))]
    assert math.isclose(loss(scores, [1, 1, 1, 4]), float(np.mean(orders)), rel_tol=1e-9)


def test_rankings_teach_and_those_on_other_axes_are_counted(lm: LanguageModel) -> None:
    feedback, answers = judged(60)
    for n in range(0, len(answers), 2):
        prompt = answers[n][0]
        shown = [answers[n][1], answers[n + 1][1]]
        ranks = tuple(1 if good else 2 for _, _, good in answers[n : n + 2])
        feedback.add(Ranking, prompt, shown, id=f"r{n}", ranks=ranks, axis="overall" if n < 110 else "style")
    material = material_of(lm, feedback, ("overall",))
    model = taught_by(lm, Rankings(), material)
    assert material.used == {"ranking": 55}
    assert material.unused == {("ranking", "no output is called 'style'"): 5}
    held_out = [(*prompt, *answer) for prompt, answer, _ in judged(40, seed=1)[1]]
    scores = model.score_messages(held_out).value.reshape(-1, 2)
    assert (scores[:, 0] > scores[:, 1]).mean() > 0.8


@pytest.mark.parametrize("ranks", [(1, 2, 3), (1, 1, 2), (2, 1, 1)])
def test_agreement_is_the_share_of_pairs_in_order(ranks: tuple[int, ...]) -> None:
    values = -torch.tensor(ranks, dtype=torch.float64)[:, None, None]
    batch = LessonBatch(torch.arange(3)[None], torch.tensor([ranks]).double(), torch.ones(1, 1, 1))
    assert Rankings().agreement(values, batch).tolist() == [1.0]
    assert Rankings().agreement(-values, batch).tolist() == [0.0]
