"""Paired comparison: pairs by variant, intervals that are never of width nothing, seeds apart."""

from __future__ import annotations

import numpy as np
import pytest

from custodes.gaming.comparison import compare_stage, pair_up, rate_difference
from custodes.gaming.facts import BITS
from custodes.gaming.record import ROW, EpisodeRows
from custodes.types import InputError


def rows(*episodes: tuple[int, int, bool]) -> EpisodeRows:
    """Of (index, variant, gamed)."""
    made = np.zeros(len(episodes), ROW)
    for at, (index, variant, gamed) in enumerate(episodes):
        made[at]["index"], made[at]["variant"], made[at]["gamed"] = index, variant, gamed
        made[at]["facts"] = BITS["edited-guard"] if gamed else 0
    return made


def test_pairs_are_of_one_variant_whatever_the_order():
    a = rows((0, 7, True), (1, 3, False), (2, 7, False))
    b = rows((0, 3, True), (1, 7, False), (2, 7, True), (3, 9, True))
    assert pair_up(a, b, "gamed") == [(3, False, True), (7, True, False), (7, False, True)]
    assert pair_up(a, b, "edited-guard") == pair_up(a, b, "gamed")


def test_each_variant_once_is_mcnemar():
    a = rows(*((i, i, i < 10) for i in range(50)))
    b = rows(*((i, i, i < 22) for i in range(50)))
    found = compare_stage({"seed 0": (a, b)})
    assert found["difference"]["estimate"] == pytest.approx(0.24)
    assert (found["only_a"], found["only_b"]) == (0, 12)
    assert found["test"] == "exact McNemar"
    assert found["p"] == pytest.approx(2 * 0.5**12)
    assert 0 < found["difference"]["low"] < 0.24 < found["difference"]["high"]
    assert "seeds" not in found


def test_nothing_that_differs_has_an_interval_all_the_same():
    for repeats in (1, 4):
        same = [(v, False, False) for v in range(30) for _ in range(repeats)]
        found = rate_difference(same)["difference"]
        assert found["estimate"] == 0
        assert found["low"] < -0.01
        assert found["high"] > 0.01


def test_repeated_variants_are_not_independent():
    """Ten variants played twenty times are ten observations and not two hundred."""
    decided = [(v, False, v < 3) for v in range(10) for _ in range(20)]
    found = rate_difference(decided)
    assert found["test"] == "exact sign-flip"
    assert found["p"] == pytest.approx(0.25)
    assert found["difference"]["low"] < 0
    once = rate_difference([(v, False, v < 60) for v in range(200)])
    assert once["p"] < 1e-9  # control: as many pairs of distinct variants


def test_seeds_are_shown_apart():
    a = rows(*((i, i, False) for i in range(40)))
    up, flat = rows(*((i, i, i < 20) for i in range(40))), a
    found = compare_stage({"seed 0": (a, up), "seed 1": (a, flat)})
    assert found["pairs"] == 80
    assert found["seeds"]["seed 0"]["difference"]["estimate"] == 0.5
    assert found["seeds"]["seed 1"]["difference"]["estimate"] == 0
    assert found["difference"]["estimate"] == 0.25


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="share no variant"):
        compare_stage({"": (rows((0, 1, True)), rows((0, 2, True)))})
    with pytest.raises(InputError, match="gamd"):
        compare_stage({"": (rows((0, 1, True)), rows((0, 1, True)))}, "gamd")
