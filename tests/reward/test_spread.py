"""r2: the share of what replies are worth that does not depend on who judges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_crowds import Crowd, Floats, make_crowd

from custodes.reward.groups import fit_groups
from custodes.reward.spread import measure_spread


def test_disagreement_lowers_r2_below_that_of_noise_alone() -> None:
    agreeing, split = (make_crowd(0, minority, each=40) for minority in (0.0, 0.3))
    none = measure_spread(agreeing.first, agreeing.second, agreeing.data, fit_groups(agreeing.data, 1), simulations=8)
    some = measure_spread(split.first, split.second, split.data, fit_groups(split.data, 2), simulations=8)
    assert not none.disagreement
    assert some.disagreement
    assert some.r2.high < none.r2.low
    assert none.r2.low < 0.9  # noise counts too
    assert "people disagree about more than their noise" in str(some)


def r2_of(crowd: Crowd, label: Floats) -> float:
    data = replace(crowd.data, label=label)
    return measure_spread(crowd.first, crowd.second, data, fit_groups(data, 1), simulations=1).r2.estimate


def test_r2_does_not_depend_on_which_answer_comes_first() -> None:
    crowd = make_crowd(1)
    r2 = r2_of(crowd, crowd.data.label)
    assert 0 < r2 < 1
    turned = replace(crowd, first=crowd.second, second=crowd.first)
    assert r2_of(turned, 1 - crowd.data.label) == pytest.approx(r2, abs=0.01)


def test_judges_without_noise_leave_little_unexplained_and_coins_nearly_everything() -> None:
    crowd = make_crowd(2)
    worth = crowd.first - crowd.second
    sure = r2_of(crowd, (worth @ [3.0, 1.0] > 0) * 1.0)
    coins = r2_of(crowd, (np.random.default_rng(0).random(len(worth)) < 0.5) * 1.0)
    assert coins < 0.1 < 0.75 < sure
