"""Rates and batches are functions of step, seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest

from custodes.train import Decay, learning_rate_factor, shuffled_batches


@pytest.mark.parametrize("decay", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("rise", "fall"), [(0.0, 0.0), (5.0, 5.0), (6.0, 5.0), (7.3, 7.3), (25.0, 25.0), (50.0, 50.0)])
def test_the_rate_rises_then_falls_and_is_never_0(rise: float, fall: float, decay: Decay) -> None:
    factors = [learning_rate_factor(step, 50, rise, fall, decay) for step in range(50)]
    top = int(np.argmax(factors))
    assert 0 < min(factors) <= max(factors) == 1
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert abs(top - max(0, rise - 1)) <= 1
    if decay == "constant":
        assert set(factors[top:]) == {1.0}
    else:
        assert factors[-1] < 0.05 or fall == 50


def test_the_rise_is_in_equal_steps_and_the_linear_fall_too() -> None:
    factors = [learning_rate_factor(step, 20, 5, 4, "linear") for step in range(20)]
    np.testing.assert_allclose(np.diff(factors[:5]), 0.2)
    np.testing.assert_allclose(np.diff(factors[4:]), -1 / 16)


def test_every_epoch_covers_everything_once_in_an_order_of_its_own() -> None:
    batches = shuffled_batches([1] * 10, 4, 2, 0)
    assert [len(b) for b in batches] == [4, 4, 2, 4, 4, 2]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(i for batch in epoch for i in batch) == list(range(10))
    assert batches[:3] != batches[3:]
    assert batches != shuffled_batches([1] * 10, 4, 2, 1)
    assert batches == shuffled_batches([1] * 10, 4, 2, 0)


def test_large_things_fill_an_update_alone() -> None:
    sizes = [1, 7, 1, 2, 9, 1]
    batches = shuffled_batches(sizes, 4, 3, 2)
    assert sorted(i for batch in batches for i in batch) == sorted([*range(6)] * 3)
    for batch in batches:
        assert sum(sizes[i] for i in batch[:-1]) < 4  # full from where it holds 4
