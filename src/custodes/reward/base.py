"""Rewards combine by arithmetic.

    reward = helpful - 0.5 * FunctionReward(length_penalty, "length")
    reward = mixture({"helpful": (helpful, 1.0), "length": (FunctionReward(length_penalty), -0.5)})

Letters: B episodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.types import Episode, InputError, Reward, Scores

Floats = NDArray[np.float64]


class RewardBase(ABC):
    """What a reward inherits to have a name and arithmetic: ``a + b``, ``a - b``, ``0.5 * a``, ``-a``, ``sum([...])``."""

    name: str = "reward"

    @abstractmethod
    def score(self, episodes: Sequence[Episode]) -> Scores: ...

    def __add__(self, other: Reward | int) -> RewardBase:
        if other == 0:  # the start value of sum()
            return self
        return Mixture(_terms(self) + _terms(other)) if isinstance(other, Reward) else NotImplemented

    __radd__ = __add__

    def __mul__(self, factor: float) -> RewardBase:
        if not isinstance(factor, (int, float, np.floating, np.integer)):
            return NotImplemented
        return Mixture(tuple((name, reward, weight * float(factor)) for name, reward, weight in _terms(self)))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> RewardBase:
        return self * (1 / divisor)

    def __neg__(self) -> RewardBase:
        return self * -1.0

    def __sub__(self, other: Reward) -> RewardBase:
        return self + -1.0 * Mixture(_terms(other)) if isinstance(other, Reward) else NotImplemented


class Mixture(RewardBase):
    """A weighted sum of rewards.

    ``parts[name]`` is each term's own value before its weight, ``parts["name/part"]`` a part of a term; a
    term that occurs twice is numbered. A part is NaN where a term has no opinion; the sum is then that of the others,
    and NaN where none has one.
    Standard deviations are combined as those of independent terms, sqrt(sum (w std)^2): for terms that
    err together (two members of one family) this is too small. Token scores are added.
    """

    def __init__(self, terms: Sequence[tuple[str, Reward, float]]) -> None:
        if not terms:
            raise InputError("a mixture of rewards holds no reward; give at least one.")
        self.terms = tuple(terms)
        self.name = " + ".join(name for name, _, _ in terms)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        value, silent = np.zeros(len(episodes)), np.ones(len(episodes), bool)
        weighed = any(weight for _, _, weight in self.terms)
        variance: Floats | None = None
        token: Floats | None = None
        parts: dict[str, Floats] = {}
        for term, reward, weight in self.terms:
            name = _unused(term, parts)
            scores = reward.score(episodes)
            own = np.isnan(scores.value)
            value = value + np.where(own, 0, weight * scores.value)
            silent &= own | (weight == 0 and weighed)  # what weighs nothing beside others has no say
            parts[name] = scores.parts.get(term, scores.value)
            parts |= {f"{name}/{part}": column for part, column in scores.parts.items() if part != term}
            if scores.std is not None:
                variance = (weight * scores.std) ** 2 + (0.0 if variance is None else variance)
            if (of_tokens := scores.token_rewards()) is not None and weight != 0:
                token = _add_tokens(token, weight * of_tokens)
        value[silent] = np.nan
        return Scores(value=value, std=None if variance is None else np.sqrt(variance), token=token, parts=parts)


def mixture(terms: Mapping[str, tuple[Reward, float]]) -> Mixture:
    """``{name: (reward, weight)}`` -> their weighted sum, parts kept under these names."""
    return Mixture([(name, reward, float(weight)) for name, (reward, weight) in terms.items()])


def _terms(reward: Reward) -> tuple[tuple[str, Reward, float], ...]:
    if isinstance(reward, Mixture):
        return reward.terms
    return ((getattr(reward, "name", type(reward).__name__), reward, 1.0),)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _add_tokens(a: Floats | None, b: Floats) -> Floats:
    if a is None:
        return b
    T = max(a.shape[1], b.shape[1])
    a, b = (np.pad(x, ((0, 0), (0, T - x.shape[1])), constant_values=np.nan) for x in (a, b))
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, a + b))
