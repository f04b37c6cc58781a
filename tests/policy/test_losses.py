from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from custodes.policy import Actions, losses
from custodes.policy.algorithms.ppo import PPO


def policies() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a policy (with gradient), of the one that sampled, and of the reference."""
    g = torch.Generator().manual_seed(1)
    now, old, reference = torch.randn(3, 6, generator=g, dtype=torch.float64)
    return now.requires_grad_(), old, reference


def true_kl(now: Tensor, reference: Tensor) -> Tensor:
    p, q = now.log_softmax(-1), reference.log_softmax(-1)
    return (p.exp() * (p - q)).sum()


def expectation(loss: Tensor, sampled_from: Tensor) -> Tensor:
    """Exact: each outcome's loss weighted by its probability under the policy that sampled."""
    return (sampled_from.softmax(-1).detach() * loss).sum()


def gradient(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of, retain_graph=True)[0]


def test_importance_corrected_k3_is_unbiased_in_value_and_gradient_off_policy() -> None:
    now, old, reference = policies()
    loss = losses.kl_k3_loss(now.log_softmax(-1), old.log_softmax(-1), reference.log_softmax(-1))
    estimate, truth = expectation(loss, old), true_kl(now, reference)
    assert torch.allclose(estimate, truth)
    assert torch.allclose(gradient(estimate, now), gradient(truth, now))


def test_k2_has_the_gradient_of_the_kl_on_policy() -> None:
    now, _, reference = policies()
    estimate = expectation(losses.kl_k2_loss(now.log_softmax(-1), reference.log_softmax(-1)), now)
    assert torch.allclose(gradient(estimate, now), gradient(true_kl(now, reference), now))


def test_k1_in_the_reward_has_the_gradient_of_the_kl_and_as_a_loss_has_none() -> None:
    now, _, reference = policies()
    logprobs = now.log_softmax(-1)
    k1 = losses.kl_k1(logprobs, reference.log_softmax(-1))
    in_reward = expectation(k1.detach() * logprobs, now)
    assert torch.allclose(gradient(in_reward, now), gradient(true_kl(now, reference), now))
    assert gradient(expectation(k1, now), now).abs().max() < 1e-12
    assert (k1 < 0).any()  # never clamped


def test_first_update_is_the_policy_gradient() -> None:
    logprobs = torch.tensor([-1.0, -2.0], requires_grad=True)
    advantages = torch.tensor([3.0, -5.0])
    losses.clipped_policy_loss(logprobs, logprobs.detach(), advantages, 0.2, 0.2).sum().backward()
    assert torch.equal(logprobs.grad, -advantages)


@pytest.mark.parametrize(
    ("ratio", "advantage", "flows"),
    [(1.3, 1.0, False), (1.3, -1.0, True), (0.7, 1.0, True), (0.7, -1.0, False), (1.05, 1.0, True), (0.95, -1.0, True)],
)
def test_clipping_stops_gain_but_never_repair(ratio: float, advantage: float, flows: bool) -> None:
    logprobs = torch.tensor([math.log(ratio)], requires_grad=True)
    losses.clipped_policy_loss(logprobs, torch.zeros(1), torch.tensor([advantage]), 0.2, 0.2).sum().backward()
    assert bool(logprobs.grad != 0) == flows


def test_clip_high_leaves_more_room_above() -> None:
    logprobs = torch.tensor([math.log(1.25)], requires_grad=True)
    losses.clipped_policy_loss(logprobs, torch.zeros(1), torch.ones(1), 0.2, 0.3).sum().backward()
    assert logprobs.grad != 0


def test_value_clip_is_never_lenient_and_stops_large_moves() -> None:
    values = torch.linspace(-2, 2, 41, requires_grad=True)
    old, returns = torch.zeros(41), torch.full((41,), 1.5)
    actions = Actions(*[old] * 5, values, old, returns, torch.zeros(41, dtype=torch.int64))
    clipped = PPO(value_clip=0.2).value_loss(actions)
    assert (clipped >= PPO(value_clip=None).value_loss(actions)).all()
    clipped.sum().backward()
    assert values.grad[-6] == 0  # moved towards its return by more than the clip: no further pull
    assert values.grad[0] != 0
