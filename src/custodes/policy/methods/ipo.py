"""Identity preference optimisation: the gap between two replies is pulled to a finite size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from custodes.policy.pairs import Gains, PairMethod
from custodes.ranges import ranged
from custodes.registry import method


@method
@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Ipo(PairMethod):
    """((g - h) - 1 / (2 beta))^2, with g and h what log p gained over the reference (eq. 17).

    Equation 17 sums gains over each reply; the authors' own runs took the mean over its tokens, the default here. A label p
    between 0 and 1 asks for a gap of (2 p - 1) / (2 beta).
    """

    name: ClassVar[str] = "ipo"
    source: ClassVar[str] = "arXiv 2310.12036, eq. 17"

    per_token: bool = True
    """Gains are means over a reply's tokens (as the authors trained), not sums (as equation 17 is written)."""

    def losses(self, gains: Gains) -> Tensor:
        g, h = gains.chosen, gains.rejected
        if self.per_token:
            g, h = g / gains.chosen_tokens, h / gains.rejected_tokens
        target = (2 * gains.label - 1) / (2 * self.beta) + gains.margin
        return (gains.weight * (g - h - target).square()).sum()
