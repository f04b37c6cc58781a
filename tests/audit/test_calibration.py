"""Folded confidence: the order in which a pair was shown is arbitrary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.audit.calibration import agrees, confidence, policy_confidence
from custodes.stats import calibration_error

margins = st.lists(st.floats(-20, 20), min_size=1, max_size=20)


@given(margins)
def test_swapping_the_order_of_a_pair_changes_nothing(margin: list[float]) -> None:
    m, better = np.array(margin), np.where(np.arange(len(margin)) % 2, 1, -1)
    assert confidence(m) == pytest.approx(confidence(-m))
    assert (agrees(m, better) == agrees(-m, -better)).all()


@given(margins)
def test_confidence_is_at_least_a_half_and_falls_with_temperature(margin: list[float]) -> None:
    assert (confidence(margin) >= 0.5).all()
    assert (confidence(margin, temperature=3) <= confidence(margin) + 1e-12).all()


def test_no_margin_is_half_right() -> None:
    assert agrees([0.0, 2.0, -2.0], [1, 1, 1]).tolist() == [0.5, 1.0, 0.0]


def test_the_right_temperature_calibrates_an_overconfident_reward() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, 20_000)
    better = np.where(rng.random(20_000) < 1 / (1 + np.exp(-true)), 1, -1)
    right = agrees(3 * true, better)
    raw, tempered = (calibration_error(confidence(3 * true, t), right, 8).estimate for t in (1, 3))
    assert raw > 0.08
    assert tempered < 0.02


def test_confidence_of_a_policy_is_the_geometric_mean_probability() -> None:
    found = policy_confidence([np.log([0.25, 1.0]), np.zeros(0)])
    assert found == pytest.approx([0.5, 1.0])
