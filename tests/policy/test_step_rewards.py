"""Rewards of steps: which action hears of which, for every algorithm."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_optimise import BASE, run, same
from tiny_policy import adapted

from custodes.policy import Outcomes
from custodes.policy.advantages import on_last_action
from custodes.policy.algorithm import Algorithm
from custodes.registry import algorithm
from custodes.types import Scores

GROUPED = ["grpo", "dr_grpo", "rloo"]
NAN = float("nan")


def outcomes(steps: list[list[float]], groups: list[int], scores: list[float] | None = None) -> Outcomes:
    """Steps end on the tokens where ``steps`` is a number; every token is an action."""
    table = torch.tensor(steps).double()
    mask = torch.ones(table.shape, dtype=torch.bool)
    of_score = torch.zeros(len(steps)).double() if scores is None else torch.tensor(scores).double()
    rewards = on_last_action(of_score, mask) + table.nan_to_num(0)
    values = torch.zeros(table.shape).double()
    return Outcomes(rewards, torch.zeros(table.shape).double(), mask, torch.tensor(groups), values, steps=table)


def advantages(name: str, *args) -> torch.Tensor:
    own: Algorithm = algorithm.make(name)
    return own.advantages(outcomes(*args))


STEPS = [[NAN, 1.3, NAN, 0.0], [0.2, NAN, NAN, NAN], [NAN, NAN, 2.1, NAN], [0.9, NAN, 3.4, -1.7]]


@pytest.mark.parametrize("name", GROUPED)
def test_an_action_hears_of_its_own_step_and_of_later_ones_alone(name: str) -> None:
    found = advantages(name, STEPS, [0, 0, 0, 0])
    for row, steps in zip(found, STEPS, strict=True):
        for t in range(3):
            same_step = np.isnan(steps[t])  # no step ends at t: the next action hears of the same ones
            assert (row[t] == row[t + 1]) == bool(same_step)
        last = max(t for t in range(4) if not np.isnan(steps[t]))
        assert (row[last + 1 :] == 0).all()  # after the last step there is nothing to hear of


@pytest.mark.parametrize("name", GROUPED)
def test_steps_that_are_all_alike_teach_nothing_however_many_a_reply_has(name: str) -> None:
    found = advantages(name, [[1.0, 1.0, 1.0], [NAN, NAN, 1.0], [NAN, 1.0, 1.0]], [0, 0, 0])
    assert found.abs().max() < 1e-9  # a sum of rewards would pay the first reply three times


@pytest.mark.parametrize("name", GROUPED)
def test_a_step_that_is_worth_nothing_is_a_step(name: str) -> None:
    """0 beside 1 is worse than 1; where 0 were no step, all steps would be alike."""
    found = advantages(name, [[1.0], [0.0], [1.0], [0.0]], [0, 0, 0, 0])[:, 0]
    assert (found[[0, 2]] > 0.1).all()
    assert (found[[1, 3]] < -0.1).all()


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from(GROUPED))
def test_groups_do_not_hear_of_each_other_and_a_constant_changes_nothing(data: st.DataObject, name: str) -> None:
    value = st.one_of(st.just(NAN), st.floats(-4, 4).map(lambda x: round(x, 3)))
    steps = data.draw(st.lists(st.lists(value, min_size=3, max_size=3), min_size=4, max_size=4))
    together = advantages(name, steps, [0, 0, 1, 1])
    torch.testing.assert_close(together[:2], advantages(name, steps[:2], [0, 0]))
    torch.testing.assert_close(together[2:], advantages(name, steps[2:], [0, 0]))
    shifted = [[x + 8 for x in row] for row in steps]
    if name != "rloo" or all(any(not np.isnan(x) for x in row) for row in steps):
        torch.testing.assert_close(together, advantages(name, shifted, [0, 0, 1, 1]), atol=1e-6, rtol=1e-6)


def test_all_steps_of_a_group_together_are_in_standard_deviations() -> None:
    found = advantages("grpo", [[NAN, 3.0], [NAN, 5.0], [NAN, 10.0]], [0, 0, 0])[:, -1]
    assert float(found.mean()) == pytest.approx(0, abs=1e-9)
    assert float(found.std()) == pytest.approx(1)
    torch.testing.assert_close(found, advantages("grpo", [[NAN, 30.0], [NAN, 50.0], [NAN, 100.0]], [0, 0, 0])[:, -1])


def test_rloo_compares_a_step_with_those_of_other_replies_alone() -> None:
    found = advantages("rloo", [[4.0, 8.0], [NAN, 3.0], [NAN, 1.0]], [0, 0, 0])
    assert found[0].tolist() == [(4 - 2) + (8 - 2), 8 - 2]
    assert found[1, 1] == 3 - (4 + 8 + 1) / 3


@pytest.mark.parametrize("name", GROUPED)
def test_a_score_of_the_whole_is_compared_as_without_steps(name: str) -> None:
    scores, groups = [1.0, 5.0, 2.0, 2.5], [0, 0, 0, 0]
    both = advantages(name, STEPS, groups, scores)
    none = [[NAN] * 4] * 4
    torch.testing.assert_close(both, advantages(name, none, groups, scores) + advantages(name, STEPS, groups))


@pytest.mark.parametrize("name", ["ppo", "reinforce_pp"])
def test_token_rewards_reach_their_tokens(name: str) -> None:
    """A reward that comes before an action is not its doing: it moves all of these by the same."""
    late = advantages(name, [[NAN, NAN, 1.0], [NAN, NAN, 0.0]], [0, 1])
    assert (late[0] > late[1]).all()
    early = advantages(name, [[1.0, NAN, NAN], [0.0, NAN, NAN]], [0, 1])
    assert early[0, 0] > early[1, 0]
    torch.testing.assert_close(early[0, 1:], early[1, 1:])


class EvenSteps:
    """A step is a token; it is worth 1 where its id is even. The whole is worth nothing."""

    def score(self, episodes) -> Scores:
        token = np.full((len(episodes), max(len(e.token_ids) for e in episodes)), np.nan)
        for row, e in zip(token, episodes, strict=True):
            at = np.flatnonzero(e.action_mask)
            row[at] = e.token_ids[at] % 2 == 0
        share = [np.mean(e.token_ids[e.action_mask] % 2 == 0) if e.actions else 0.0 for e in episodes]
        return Scores(np.zeros(len(episodes)), token=token, parts={"even": np.array(share)})


@pytest.mark.parametrize("name", ["ppo", "grpo", "dr_grpo", "rloo", "reinforce_pp"])
def test_every_algorithm_learns_from_steps(tiny_model: Path, name: str) -> None:
    config = replace(BASE, algorithm=name, steps=24, sampling=replace(BASE.sampling, n=8), kl_coefficient=0.001)
    metrics = run(adapted(tiny_model), replace(config, learning_rate=3e-2), reward=EvenSteps()).metrics
    even = [m["part/even"] for m in metrics]
    assert np.mean(even[-3:]) > np.mean(even[:3]) + 0.05


@pytest.mark.parametrize("name", ["expert_iteration", "best_of_n", "all_successes"])
def test_algorithms_that_add_steps_up_say_so_once(tiny_model: Path, name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(adapted(tiny_model), replace(BASE, algorithm=name), reward=EvenSteps())
    assert [str(w.message) for w in caught] == [f"{name} adds the token rewards of each reply up."]


def test_a_table_without_a_nan_has_no_reward_where_it_is_zero(tiny_model: Path) -> None:
    class Zeros(EvenSteps):
        def score(self, episodes) -> Scores:
            found = super().score(episodes)
            assert found.token is not None
            return replace(found, token=np.nan_to_num(found.token) * 2 - np.nan_to_num(found.token))

    class Sparse(EvenSteps):
        def score(self, episodes) -> Scores:
            found = super().score(episodes)
            assert found.token is not None
            return replace(found, token=np.where(found.token == 0, np.nan, found.token))

    a, b = adapted(tiny_model), adapted(tiny_model)
    run(a, replace(BASE, algorithm="grpo"), reward=Zeros())
    run(b, replace(BASE, algorithm="grpo"), reward=Sparse())
    assert same(a, b)
