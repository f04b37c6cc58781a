"""The preference loss."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from custodes.reward.objectives.pairs import preference_loss

SCORE = st.floats(-20, 20)


def loss(
    chosen: float, rejected: float, label: float = 1.0, margin: float = 0.0, weight: float = 1.0, **more: float
) -> float:
    one = [torch.tensor([[x]], dtype=torch.float64) for x in (chosen, rejected, label, margin, weight)]
    return float(preference_loss(*one, **more))


def test_equal_scores_cost_one_bit() -> None:
    assert math.isclose(loss(0.3, 0.3), math.log(2))


@given(SCORE, SCORE, st.floats(0, 1), st.floats(0, 3))
def test_swapping_sides_and_label_changes_nothing(a: float, b: float, label: float, margin: float) -> None:
    assert math.isclose(loss(a, b, label, margin), loss(b, a, 1 - label, margin), abs_tol=1e-9)


@given(SCORE, SCORE, st.floats(-5, 5))
def test_only_the_difference_of_scores_counts(a: float, b: float, shift: float) -> None:
    assert math.isclose(loss(a, b), loss(a + shift, b + shift), abs_tol=1e-9)


@given(st.floats(0.05, 0.95))
def test_a_soft_label_is_best_met_by_its_own_logit(label: float) -> None:
    best = math.log(label / (1 - label))
    assert loss(best, 0, label) <= min(loss(best + d, 0, label) for d in (-0.1, 0.1))


@given(SCORE, st.floats(0.1, 3))
def test_a_margin_asks_for_a_lead_of_that_size(lead: float, margin: float) -> None:
    assert math.isclose(loss(lead + margin, 0, margin=margin), loss(lead, 0), abs_tol=1e-9)


def test_center_coefficient_pulls_both_scores_to_zero() -> None:
    assert loss(1.0, -1.0, center_coefficient=0.1) == loss(1.0, -1.0)
    assert loss(2.0, 1.0, center_coefficient=0.1) > loss(1.0, 0.0, center_coefficient=0.1)


def test_weight_zero_leaves_a_pair_out() -> None:
    chosen, rejected = torch.randn(3, 2), torch.randn(3, 2)
    label, margin = torch.ones(3, 1), torch.zeros(3, 1)
    weight = torch.ones(3, 2)
    weight[1] = 0.0
    kept = [t[[0, 2]] for t in (chosen, rejected, label, margin, weight)]
    torch.testing.assert_close(preference_loss(chosen, rejected, label, margin, weight), preference_loss(*kept))
