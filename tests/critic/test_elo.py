"""Elo over problems, and the frontier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.critic.elo import elo, frontier
from custodes.types import InputError


def rated(strengths: dict[str, float], problems: int, seed: int = 0) -> tuple[list[int], list[str], list[float]]:
    """Values whose order follows Bradley-Terry with these Elo strengths (Gumbel noise makes it exact)."""
    rng = np.random.default_rng(seed)
    rows = [
        (k, name, strength * np.log(10) / 400 + rng.gumbel())
        for k in range(problems)
        for name, strength in strengths.items()
    ]
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


def test_known_strengths_are_recovered_within_their_intervals() -> None:
    true = {"person": -120.0, "critic": 60.0, "team": 160.0, "base": -100.0}
    found = elo(*rated(true, 2000))
    assert found.problems == 2000
    assert found.pairs == 12_000
    for name, strength in true.items():
        interval = found.of(name)
        assert interval.low < strength < interval.high
        assert interval.high - interval.low < 60
    difference = found.difference("team", "base")
    assert difference.low < 260 < difference.high
    assert found.rating.mean() == pytest.approx(0, abs=1e-9)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    true = {"a": -50.0, "b": 0.0, "c": 50.0}
    covered = [
        interval.low < strength < interval.high
        for seed in range(60)
        for found in [elo(*rated(true, 100, seed), resamples=200)]
        for name, strength in true.items()
        for interval in [found.of(name)]
    ]
    assert 0.88 < np.mean(covered) <= 1


def test_ties_are_half_a_win_each() -> None:
    found = elo([1, 1, 2, 2], ["a", "b", "a", "b"], [3, 3, 5, 5])
    assert found.of("a").estimate == pytest.approx(found.of("b").estimate)


def test_lower_is_better_turns_the_table_round() -> None:
    data = rated({"a": 100.0, "b": 0.0}, 200)
    up, down = elo(*data), elo(*data, higher_is_better=False)
    np.testing.assert_allclose(up.rating, -down.rating, atol=1e-6)


def test_who_always_wins_has_a_finite_rating() -> None:
    found = elo([0, 0, 1, 1], ["a", "b", "a", "b"], [2, 1, 2, 1])
    assert 300 < found.difference("a", "b").estimate < 5000


def test_critiques_of_one_policy_are_not_compared_and_unrated_ones_are_left_out() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        elo([0, 0], ["a", "a"], [1, 2])
    with pytest.raises(InputError, match="nothing to compare"):
        elo([0, 0], ["a", "b"], [1, float("nan")])
    with pytest.raises(InputError, match="one of each"):
        elo([0], ["a", "b"], [1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_everybody_is_on_the_frontier_or_beaten_by_somebody_who_is(points: list[tuple[int, int]]) -> None:
    cost, gain = (np.array(column) for column in zip(*points, strict=True))
    on = frontier(cost, gain)
    assert on.any()
    for i in range(len(points)):
        beaten = [j for j in range(len(points)) if cost[j] <= cost[i] and gain[j] >= gain[i] and points[j] != points[i]]
        assert on[i] == (not beaten)
        assert on[i] or any(on[j] for j in beaten)
