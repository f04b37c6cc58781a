"""What DPO and IPO want of a pair, by the gains of its replies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from custodes.policy.methods import Dpo, Ipo
from custodes.policy.pairs import Gains


def gains(chosen: Tensor, rejected: Tensor, label: float = 1.0, margin: float = 0.0, tokens: int = 1) -> Gains:
    one = torch.ones(len(chosen))
    return Gains(chosen, rejected, tokens * one, tokens * one, label * one, margin * one, one)


def each(method: Dpo | Ipo, chosen: Tensor, rejected: Tensor, **more: float) -> Tensor:
    """(P,) the loss of every pair by itself."""
    return torch.stack(
        [method.losses(gains(a, b, **more)) for a, b in zip(chosen.split(1), rejected.split(1), strict=True)]
    )


ZERO, MARGIN = torch.zeros(13), torch.linspace(-3, 3, 13)


def test_dpo_starts_at_log_two_falls_with_the_margin_and_a_tie_is_the_same_both_ways() -> None:
    assert float(each(Dpo(beta=0.1), ZERO, ZERO)[0]) == pytest.approx(math.log(2))
    assert (each(Dpo(beta=0.5), MARGIN, ZERO).diff() < 0).all()
    tie = each(Dpo(beta=0.5), MARGIN, ZERO, label=0.5)
    assert torch.allclose(tie, each(Dpo(beta=0.5), ZERO, MARGIN, label=0.5))


def test_a_margin_asks_for_more_of_it() -> None:
    for method in (Dpo(beta=0.5), Ipo(beta=0.5)):
        chosen = torch.zeros(1, requires_grad=True)
        slopes = []
        for margin in (0.0, 1.0):
            (slope,) = torch.autograd.grad(method.losses(gains(chosen, torch.zeros(1), margin=margin)), chosen)
            slopes.append(float(slope))
        assert slopes[1] < slopes[0] < 0


@pytest.mark.parametrize(("per_token", "tokens", "best"), [(True, 1, 5.0), (True, 2, 10.0), (False, 2, 5.0)])
def test_ipo_wants_a_finite_gap_per_token_or_of_the_sum(per_token: bool, tokens: int, best: float) -> None:
    gap = torch.linspace(0, 20, 201)
    losses = each(Ipo(beta=0.1, per_token=per_token), gap, torch.zeros(201), tokens=tokens)
    assert float(gap[losses.argmin()]) == pytest.approx(best)
