"""Gaps between groups of people, with intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from judged_world import make_world

from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.gaps import gaps_of_groups
from custodes.types import InputError


def test_a_group_that_guesses_has_a_gap_below_0_and_the_others_one_above() -> None:
    world = make_world(each=80, counts={"expert": 8, "random": 6})
    profiles = {p.annotator.id: {"nature": p.nature.name} for p in world.people}
    gaps = {gap.category: gap for gap in gaps_of_groups(fit_annotators(world.judgments), profiles)}
    assert gaps["random"].gap.high < -0.1
    assert gaps["expert"].gap.low > 0.1
    assert gaps["random"].annotators == gaps["random"].agreement.n == 6
    assert gaps["random"].gap.estimate == pytest.approx(-gaps["expert"].gap.estimate)


def test_groups_that_are_drawn_by_lot_have_gaps_around_0() -> None:
    held = 0
    for seed in range(30):
        world = make_world(seed, counts={"expert": 6, "hasty": 8}, each=30)
        order = np.random.default_rng(seed).permutation(len(world.people))
        profiles = {world.people[k].annotator.id: {"lot": "one" if n < 7 else "two"} for n, k in enumerate(order)}
        gap = gaps_of_groups(fit_annotators(world.judgments), profiles)[0].gap
        held += gap.low <= 0 <= gap.high
    assert held >= 24  # 28.5 expected at 95 %


def test_profiles_of_other_people_are_refused() -> None:
    world = make_world(each=10)
    with pytest.raises(InputError, match="none of the 24 annotators who judged has a profile"):
        gaps_of_groups(fit_annotators(world.judgments), {"somebody": {"country": "DE"}})
