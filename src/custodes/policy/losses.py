"""Losses, per action or per pair, as pure functions.

Letters: M actions, flat over the episodes of a micro-batch: there is no padding, so there is nothing to
mask; P pairs or episodes of preference tuning. All probabilities are logarithms, in nats, at the sampling
temperature. Each function returns one loss per action (or per pair); who calls it sums them and divides by
the number of actions (or pairs) of the *global* batch, so that any split into micro-batches gives the same gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """PPO's clipped surrogate (arXiv 1707.06347, eq. 7), negated: all (M,).

    The ratio exp(logprobs - old) gains nothing beyond [1 - low, 1 + high]; ``high`` above ``low`` lets unlikely
    tokens grow (arXiv 2503.14476).
    """
    ratio = torch.exp(logprobs - old)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def kl_k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """log p - log q, (M,): unbiased for KL(p || q) on samples of p, with negative terms; never clamped.

    *Inside the reward* (detached) it gives the unbiased gradient of the KL of whole episodes. *As a loss* its
    gradient has expectation 0 and it regularises nothing: it is not offered there (arXiv 2512.21852).
    """
    return logprobs - reference


def kl_k2_loss(logprobs: Tensor, reference: Tensor) -> Tensor:
    """(log p - log q)^2 / 2, (M,). Its value is biased for the KL; on samples of p its *gradient* is unbiased for
    that of the KL of each next-token distribution (not for what an action does to later states)."""
    return (logprobs - reference).square() / 2


def kl_k3_loss(logprobs: Tensor, old: Tensor, reference: Tensor) -> Tensor:
    """p / p_old (q / p - 1 - log(q / p)), (M,): k3, importance-corrected, with gradient through both factors.

    On samples of p_old, value and gradient are both unbiased for KL(p || q) of each next-token distribution.
    Without the factor (as GRPO was published) the value is unbiased on-policy but the gradient is that of the
    *forward* KL (arXiv 2512.21852).
    """
    difference = reference - logprobs
    return torch.exp(logprobs - old) * (torch.expm1(difference) - difference)


def supervised_loss(logprobs: Tensor) -> Tensor:
    """Negative log-likelihood of each token, (M,)."""
    return -logprobs
