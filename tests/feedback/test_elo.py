"""Elo over problems, and the frontier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.feedback.elo import elo, frontier
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
        for found in [elo(*rated(true, 100, seed))]
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


@pytest.mark.parametrize("problems", [1, 5])
def test_who_wins_all_of_few_problems_has_a_finite_rating_and_an_interval_with_width(problems: int) -> None:
    data = [k for k in range(problems) for _ in "ab"], ["a", "b"] * problems, [2, 1] * problems
    found = elo(*data).difference("a", "b")
    assert 100 < found.estimate < 450
    assert found.low < 60
    assert found.estimate + 400 < found.high < 2500


def test_few_problems_cover_whether_writers_are_close_or_far_apart() -> None:
    for true, problems in (
        ({"a": 100.0, "b": -100.0}, 5),
        ({"a": 300.0, "b": -300.0}, 20),
        ({"a": 0.0, "b": 80.0, "c": -80.0}, 2),
    ):
        found = [elo(*rated(true, problems, seed)) for seed in range(40)]
        differences = [one.difference("a", "b") for one in found]
        held = [i.low < true["a"] - true["b"] < i.high for i in differences]
        assert np.mean(held) > 0.85


def test_critiques_of_one_problem_are_not_so_many_problems() -> None:
    """Ten critiques a policy on five problems, and each problem suits one policy: five observations."""
    rng = np.random.default_rng(0)
    held, blind = [], []
    for _ in range(40):
        suits = rng.normal(0, 3, (5, 2))
        rows = [
            (k, name, suits[k, i] + rng.gumbel()) for k in range(5) for i, name in enumerate("ab") for _ in range(10)
        ]
        problems, names, values = zip(*rows, strict=True)
        i = elo(problems, names, values).difference("a", "b")
        held.append(i.low < 0 < i.high)
        alone = elo([f"{k} {j % 10}" for j, k in enumerate(problems)], names, values).difference("a", "b")
        blind.append(alone.low < 0 < alone.high)
    assert np.mean(held) > 0.85
    assert np.mean(blind) < 0.6


def test_versions_of_one_function_are_counted_once() -> None:
    problems, names, values = rated({"a": 100.0, "b": 0.0}, 60)
    apart = elo(problems, names, values).difference("a", "b")
    together = elo(problems, names, values, clusters={k: k // 20 for k in range(60)}).difference("a", "b")
    assert together.estimate == pytest.approx(apart.estimate)
    assert (together.n, apart.n) == (3, 60)
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


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
