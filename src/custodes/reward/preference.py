"""The Bradley-Terry loss, for hard, soft and graded preferences.

Letters: P pairs, K members.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def preference_loss(
    chosen: Tensor,  # (P, K) scores
    rejected: Tensor,  # (P, K)
    label: Tensor,  # (P, 1) P(chosen is better)
    margin: Tensor,  # (P, 1) by how much the better one should win
    weight: Tensor,  # (P, K)
    center_coefficient: float = 0.0,
) -> Tensor:
    """Weighted sum over pairs and members of the loss, nats.

    With z = chosen - rejected it is -label log sigmoid(z - margin) - (1 - label) log sigmoid(-z - margin):
    Bradley-Terry for label 1 and margin 0, the margin loss of Llama 2 (arXiv 2307.09288, eq. 2) for label 1,
    cross-entropy for soft labels. ``center_coefficient`` times (chosen + rejected)^2 keeps scores near 0
    (arXiv 2312.09244, eq. 3). A pair of weight 0 adds exactly 0.
    """
    z = chosen - rejected
    loss = -label * F.logsigmoid(z - margin) - (1 - label) * F.logsigmoid(-z - margin)
    if center_coefficient:
        loss = loss + center_coefficient * (chosen + rejected).square()
    return (weight * loss).sum()
