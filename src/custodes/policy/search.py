"""Search instead of learning: draw n replies and keep the one that the reward likes best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from custodes.types import Engine, Episode, InputError, Reward, Sampling, Scores, Task


@dataclass(frozen=True, slots=True, eq=False)
class BestReplies:
    """Every reply with its score; :meth:`chosen` for any number of draws up to n."""

    episodes: list[Episode]
    """tasks * n, those of one task side by side."""
    scores: Scores
    """Of all episodes, in the same order."""
    n: int

    def values(self) -> NDArray[np.float64]:
        """(tasks, n) scores."""
        return self.scores.total().reshape(-1, self.n)

    def chosen(self, k: int | None = None) -> list[Episode]:
        """For each task the best of its first ``k`` replies (all n by default), the first among equals."""
        k = self.n if k is None else k
        if not 1 <= k <= self.n:
            raise InputError(f"best of {k} was asked of {self.n} replies; ask for 1 to {self.n}.")
        known = np.nan_to_num(self.values(), nan=-np.inf)  # no opinion: taken where there is nothing else
        return [self.episodes[i * self.n + int(row[:k].argmax())] for i, row in enumerate(known)]


def best_of_n(
    engine: Engine, tasks: Sequence[Task], reward: Reward, n: int, sampling: Sampling | None = None
) -> BestReplies:
    """Draw ``n`` replies to each task and score them.

    The KL from the policy of taking the best is at most log n - (n - 1) / n nats (arXiv 2009.01325, appendix G.3).
    """
    episodes = engine.generate(tasks, replace(sampling or Sampling(), n=n))
    return BestReplies(episodes, reward.score(episodes), n)
