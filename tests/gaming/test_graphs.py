"""Graphs of places: ends counted exactly, POWER against closed forms, and what must hold of any graph."""

from __future__ import annotations

import random

import numpy as np
import pytest

from custodes.gaming.graphs import Graph, draw_graph, power, reachable_ends

DRAWS = 4000
SLACK = 4 * 0.5 / DRAWS**0.5


def paths(graph: Graph, place: str) -> list[tuple[str, ...]]:
    """Every path from a place to an end, one by one."""
    return [(place, *rest) for to in graph[place] for rest in paths(graph, to)] if graph[place] else [(place,)]


def star(k: int) -> dict[str, tuple[str, ...]]:
    """A place from which k ends follow."""
    ends = [f"end {i}" for i in range(k)]
    return {"start": tuple(ends), **dict.fromkeys(ends, ())}


def test_ends_are_those_of_all_paths_and_as_many_as_were_asked_for() -> None:
    several = 0
    for seed in range(60):
        draw = random.Random(seed)
        rooms = [[f"{layer}{k}" for k in range(2)] for layer in range(draw.randrange(3))]
        ends = [f"end {k}" for k in range(draw.randint(1, 6))]
        graph = draw_graph("start", ends, rooms, draw)
        every = paths(graph, "start")
        assert reachable_ends(graph, "start") == {path[-1] for path in every} == set(ends)
        for place in graph:
            assert reachable_ends(graph, place) == {path[-1] for path in paths(graph, place)}
        several += len(every) > len(ends)
    assert several > 10  # else paths and ends were never told apart


def test_ends_are_counted_where_one_can_go_round() -> None:
    graph = {"a": ("b",), "b": ("a", "c", "d"), "c": (), "d": ("d", "a", "e"), "e": ()}
    assert reachable_ends(graph, "a") == {"c", "e"}
    assert reachable_ends(graph, "c") == {"c"}


@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_power_before_k_ends_is_that_of_the_best_of_k(k: int, discount: float) -> None:
    """The best of k rewards that are uniform between 0 and 1 is k / (k + 1) on average; an end offers its own mean for ever."""
    found = power(star(k), discount, DRAWS)
    assert found["start"] == pytest.approx(k / (k + 1), abs=SLACK)
    assert all(found[f"end {i}"] == pytest.approx(1 / 2, abs=SLACK) for i in range(k))


@pytest.mark.parametrize("discount", [0.5, 0.9])
def test_a_place_on_the_way_is_worth_its_own_mean_for_one_step(discount: float) -> None:
    graph = {"before": ("start",), **star(3)}
    expected = (1 - discount) / 2 + discount * 3 / 4
    assert power(graph, discount, DRAWS)["before"] == pytest.approx(expected, abs=SLACK)


def test_power_where_one_can_go_round() -> None:
    """By turns an agent has the mean of two rewards; where it may stay, the better of the two."""
    turns, stays = {"a": ("b",), "b": ("a",)}, {"a": ("a", "b"), "b": ("a", "b")}
    assert power(turns, 0.9, DRAWS)["a"] == pytest.approx(1 / 2, abs=SLACK)
    assert power(stays, 0.9, DRAWS)["a"] == pytest.approx(2 / 3, abs=SLACK)


def test_another_end_never_takes_power_away() -> None:
    for seed in range(10):
        draw = random.Random(seed)
        graph = draw_graph("start", ["x", "y", "z"], [["p", "q"]], draw)
        fewer = {place: tuple(to for to in after if to != "z") for place, after in graph.items()}
        fewer = {place: after or graph[place] for place, after in fewer.items()}  # nothing new becomes an end
        more, less = power(graph, seed=seed), power(fewer, seed=seed)
        assert all(more[place] >= less[place] - 1e-9 for place in graph)


def test_power_is_the_same_for_the_same_seed_and_lies_between_0_and_1() -> None:
    graph = draw_graph("start", ["x", "y"], [["p", "q"]], random.Random(1))
    found = power(graph, seed=3)
    assert found == power(graph, seed=3)
    assert found != power(graph, seed=4)
    assert np.all((np.array(list(found.values())) >= 0) & (np.array(list(found.values())) <= 1))
