"""Parts of a reward by their names: several objectives, weighed anew or held within bounds.

Letters: B episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from custodes.registry import nearest
from custodes.reward.base import RewardBase
from custodes.types import Episode, InputError, Reward, Scores


def part_named(scores: Scores, name: str, whose: str) -> NDArray[np.float64]:
    """(B,) the part of that name, or the one part whose name ends in ``/name``; NaN where it is not known.

    ``whose`` says who asks. Raises InputError where no part, or more than one, has the name.
    """
    if name in scores.parts:
        return scores.parts[name]
    held = [part for part in scores.parts if part.endswith(f"/{name}")]
    if len(held) == 1:
        return scores.parts[held[0]]
    if held:
        raise InputError(f"{whose}: {name!r} may be {' or '.join(held)}; write the whole name.")
    if not scores.parts:
        raise InputError(f"{whose}: the reward has no parts, so none is called {name!r}.")
    names = ", ".join(scores.parts)
    raise InputError(
        f"{whose}: the reward has no part {name!r}; did you mean {nearest(name, scores.parts)!r}? It has {names}."
    )


class PartWeights(RewardBase):
    """A reward whose value is a weighted sum of its parts; what is not named weighs nothing.

    An episode of which one of these parts is not known has no value: what is not known is not 0. Token scores stay as they
    are. The standard deviation is not known.
    """

    def __init__(self, reward: Reward, weights: Mapping[str, float]) -> None:
        self.reward, self.weights = reward, dict(weights)
        self.name = " + ".join(self.weights)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        scores = self.reward.score(episodes)
        value = sum(weight * part_named(scores, name, "--weights") for name, weight in self.weights.items())
        return replace(scores, value=np.asarray(value, np.float64), std=None)
