"""How much scores differ, over a whole run: what they are divided by where they are normalised."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from custodes.policy.advantages import ROUNDING

SMALLEST_SPREAD = 0.01
"""Scores are scaled up to at most the inverse of this."""


@dataclass(slots=True)
class RunningStatistics:
    """Mean and variance of everything seen so far (Chan et al. 1979), float64."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, x: Tensor) -> None:
        n, mean = len(x), float(x.mean())
        shift, total = mean - self.mean, self.count + n
        self.squares += float((x - mean).square().sum()) + shift**2 * self.count * n / total
        self.mean += shift * n / total
        self.count = total

    def scale(self) -> float:
        """What to divide by: the standard deviation, at least ``SMALLEST_SPREAD`` of the root mean square.

        1 where everything was equal, up to rounding: a spread of rounding errors would make numbers of any size.
        """
        if not self.count:
            return 1.0
        std = math.sqrt(self.squares / self.count)
        size = math.hypot(self.mean, std)
        return 1.0 if std <= ROUNDING * size else max(std, SMALLEST_SPREAD * size)
