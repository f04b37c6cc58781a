from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from custodes.policy import Outcomes
from custodes.policy import advantages as adv
from custodes.policy.algorithms.all_successes import AllSuccesses
from custodes.policy.algorithms.dr_grpo import DrGRPO
from custodes.policy.algorithms.expert_iteration import ExpertIteration
from custodes.policy.algorithms.grpo import GRPO

RELATIVE = [GRPO().relative, DrGRPO().relative, adv.leave_one_out]
seeds = st.integers(0, 2**31)


def episodes(seed: int, B: int = 4, T: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, values and a mask with holes; every episode has an action; garbage off the actions."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(B, T, generator=g) < 0.5
    mask[:, T // 2] = True
    rewards, values = torch.randn(2, B, T, generator=g, dtype=torch.float64)
    return rewards, values, mask


def outcomes(totals: Tensor, groups: Tensor, lengths: Tensor) -> Outcomes:
    """Episodes with these totals, each on its last action, of these numbers of actions."""
    mask = torch.arange(int(lengths.max()) or 1) < lengths[:, None]
    return Outcomes(adv.on_last_action(totals, mask), torch.zeros(mask.shape), mask, groups)


def best(totals: Tensor, groups: Tensor, lengths: Tensor) -> Tensor:
    return ExpertIteration().select(outcomes(totals, groups, lengths))


def poison(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, torch.nan)


@given(seeds)
def test_terminal_reward_sits_on_last_action(seed: int) -> None:
    _, _, mask = episodes(seed)
    scores = torch.arange(1.0, len(mask) + 1)
    table = adv.on_last_action(scores, mask)
    for row, chosen, score in zip(table, mask, scores, strict=True):
        last = int(chosen.nonzero().max())
        assert row[last] == score
        assert row.abs().sum() == score


def test_an_episode_without_action_gets_no_terminal_reward() -> None:
    mask = torch.tensor([[False, False], [True, False]])
    assert adv.on_last_action(torch.tensor([5.0, 7.0]), mask).tolist() == [[0, 0], [7, 0]]


@given(seeds, st.floats(0.5, 1), st.floats(0, 1))
def test_gae_steps_over_environment_tokens(seed: int, gamma: float, lam: float) -> None:
    rewards, values, mask = episodes(seed)
    advantages, returns = adv.gae(poison(rewards, mask), poison(values, mask), mask, gamma, lam)
    assert not advantages[~mask].any()
    assert not returns[~mask].any()
    for b in range(len(mask)):  # the same actions with nothing in between
        on = mask[b]
        alone = adv.gae(
            rewards[b, on][None], values[b, on][None], torch.ones(1, int(on.sum()), dtype=torch.bool), gamma, lam
        )
        assert torch.allclose(advantages[b, on], alone[0][0])
        assert torch.allclose(returns[b, on], alone[1][0])


@given(seeds)
def test_gae_with_lambda_one_returns_what_was_earned_whatever_the_values(seed: int) -> None:
    rewards, values, mask = episodes(seed)
    _, returns = adv.gae(rewards, values, mask, 1.0, 1.0)
    for b in range(len(mask)):
        on = mask[b]
        assert torch.allclose(returns[b, on], rewards[b, on].flip(0).cumsum(0).flip(0))


@given(seeds, st.floats(0, 1))
def test_a_perfect_value_function_leaves_no_advantage(seed: int, lam: float) -> None:
    rewards, _, mask = episodes(seed)
    earned = adv.returns_to_go(rewards, mask, 0.9)
    assert adv.gae(rewards, earned, mask, 0.9, lam)[0].abs().max() < 1e-12


@given(seeds)
def test_whitening_has_mean_zero_and_variance_one_over_actions_only(seed: int) -> None:
    x, _, mask = episodes(seed)
    white = adv.whiten(poison(x, mask) * 7 + 3, mask)
    assert abs(white[mask].mean()) < 1e-9
    assert abs(white[mask].std() - 1) < 1e-9
    assert not white[~mask].any()


def test_whitening_a_constant_or_a_single_action_gives_zero() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert adv.whiten(torch.full((2, 3), 0.1, dtype=torch.float64), mask).abs().max() < 1e-6
    assert not adv.whiten(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)).any()


@given(st.floats(-1e3, 1e3), st.integers(1, 7), st.sampled_from(RELATIVE))
def test_equal_rewards_and_groups_of_one_give_exactly_zero(reward: float, size: int, function) -> None:
    totals = torch.tensor([reward] * size + [3.7], dtype=torch.float64)
    groups = torch.tensor([0] * size + [1])
    assert function(totals, groups).tolist() == [0.0] * (size + 1)


@given(seeds, st.sampled_from(RELATIVE))
def test_group_advantages_sum_to_zero_in_each_group_and_ignore_its_level(seed: int, function) -> None:
    g = torch.Generator().manual_seed(seed)
    totals, groups = torch.randn(12, generator=g, dtype=torch.float64), torch.arange(12) // 4
    advantages = function(totals, groups)
    assert advantages.view(3, 4).sum(1).abs().max() < 1e-9
    assert torch.allclose(function(totals + 100.0 * groups, groups), advantages)


def test_grpo_ignores_the_scale_of_rewards_and_dr_grpo_keeps_it() -> None:
    totals, groups = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    assert torch.allclose(GRPO().relative(10 * totals, groups), GRPO().relative(totals, groups))
    assert torch.allclose(DrGRPO().relative(10 * totals, groups), 10 * DrGRPO().relative(totals, groups))


def test_grpo_does_not_blow_up_rounding_noise() -> None:
    totals = torch.tensor([0.3, 0.3 + 1e-12, 0.3], dtype=torch.float64)
    assert GRPO().relative(totals, torch.zeros(3, dtype=torch.int64)).abs().max() < 1e-6


def test_rloo_baseline_is_of_the_others_only() -> None:
    totals, groups = torch.tensor([1.0, 2.0, 6.0]), torch.zeros(3, dtype=torch.int64)
    more = totals + torch.tensor([5.0, 0.0, 0.0])
    assert torch.allclose(adv.leave_one_out(more, groups)[0] - adv.leave_one_out(totals, groups)[0], torch.tensor(5.0))


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=8, max_size=8))
def test_best_of_group_keeps_one_of_the_best_of_each(rewards: list[float]) -> None:
    totals, groups = torch.tensor(rewards), torch.arange(8) // 4
    keep = best(totals, groups, torch.arange(1, 9))
    telling = [row for row in totals.view(2, 4) if row.amax() > row.amin()]
    assert keep.view(2, 4).sum(1).tolist() == [int(row.amax() > row.amin()) for row in totals.view(2, 4)]
    assert totals[keep].tolist() == [float(row.amax()) for row in telling]


def test_among_equally_good_episodes_the_shortest_is_kept() -> None:
    totals, groups = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.5, 2.0, 2.0]), torch.tensor([0, 0, 0, 0, 1, 1, 1])
    lengths = torch.tensor([9, 4, 1, 4, 2, 7, 7])
    assert best(totals, groups, lengths).tolist() == [False, True, False, False, False, True, False]


def test_all_successes_are_selected_and_nothing_else() -> None:
    totals, groups = torch.tensor([1.0, 0.0, 2.0, 0.0, 0.0]), torch.tensor([0, 0, 0, 1, 1])
    assert AllSuccesses().select(outcomes(totals, groups, torch.ones(5))).tolist() == [True, False, True, False, False]
