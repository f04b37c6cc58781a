"""How many groups there are, and what is said of a small one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_crowds import OPPOSITE, WORTH, make_crowd

from custodes.reward.group_choice import GAIN, choose_groups
from custodes.reward.named_groups import NamedGroups
from custodes.types import InputError


def test_a_minority_makes_two_groups() -> None:
    chosen = choose_groups(make_crowd().data)
    assert chosen.groups.count == 2
    assert chosen.gains[0] > GAIN > chosen.gains[1]


@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_people_with_the_same_values_are_one_group_however_sharply_they_judge(spread: float) -> None:
    chosen = choose_groups(make_crowd(minority=0.0, spread=spread).data)
    assert chosen.groups.count == 1
    assert not chosen.readings


def test_a_minority_has_values_of_its_own_and_inverters_cannot_be_told_from_one() -> None:
    (minority,) = choose_groups(make_crowd(5, 0.3, OPPOSITE).data, 2).readings
    (inverters,) = choose_groups(make_crowd(5, 0.3, -WORTH).data, 2).readings
    assert minority.own_values
    assert not inverters.own_values
    assert inverters.correlation < -0.8 < minority.correlation
    for reading in (minority, inverters):  # both readings, whatever the evidence
        first, second = reading.readings
        assert "a minority with values of its own" in first
        assert "turn group 1's answers round" in second
    assert "cannot tell a minority from poisoners" in inverters.readings[1]


def test_who_turns_answers_round_only_somewhere_is_read_so() -> None:
    crowd = make_crowd(6, 0.3, WORTH, each=60)
    inside = np.random.default_rng(0).random(len(crowd.data.label)) < 0.5
    bad = crowd.group[crowd.data.person] == 1
    x = crowd.data.difference
    split = np.concatenate([x * ~inside[:, None], x * inside[:, None]], axis=1)
    label = np.where(bad & inside, 1 - crowd.data.label, crowd.data.label)
    data = replace(crowd.data, difference=split, label=label)
    chosen = choose_groups(data, 2, where={"where the prompt has 'x'": inside})
    assert (chosen.groups.likeliest == crowd.group).mean() > 0.9
    (reading,) = chosen.readings
    assert reading.where == "where the prompt has 'x'"
    assert not reading.own_values
    assert "turn group 1's answers round where the prompt has 'x'" in reading.readings[1]


def test_what_a_person_decides_is_a_decision_with_both_readings() -> None:
    chosen = choose_groups(make_crowd(7).data, 2)
    groups = NamedGroups.of(chosen, ["length", "rhyme"], ["2=minority"])
    (decision,) = groups.decisions()
    assert decision.what == "group 2 of the annotators is taken for people whose values differ"
    assert "Reading 1" in decision.why
    assert "Reading 2" in decision.why
    assert decision.subject.split(", ") == groups.members(1)
    assert groups.to_dict()["groups"][1]["decided"] == "minority"
    assert groups.preferences(1).startswith("length -")
    told = "\n".join(groups.lines())
    assert "Decided: group 2 is people whose values differ; the ledger has it." in told
    undecided = "\n".join(NamedGroups.of(chosen, ["length", "rhyme"]).lines())
    assert "a person decides: --decide 2=minority or --decide 2=poisoners" in undecided


@pytest.mark.parametrize("text", ["2=bad", "1=minority", "3=poisoners", "two=minority", ""])
def test_a_decision_that_means_nothing_is_refused(text: str) -> None:
    chosen = choose_groups(make_crowd(7).data, 2)
    with pytest.raises(InputError, match="2=minority or 2=poisoners"):
        NamedGroups.of(chosen, ["length", "rhyme"], [text])
