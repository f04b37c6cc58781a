"""Crowds of annotators whose groups are known: replies with two attributes, of which a minority wants the opposite of the first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from custodes.reward.groups import FeaturePairs
from custodes.types import Floats

WORTH = np.array([1.35, 0.7])
OPPOSITE = WORTH * [-1, 1]


@dataclass
class Crowd:
    data: FeaturePairs
    first: Floats  # (N, 2)
    second: Floats
    group: NDArray[np.int64]  # (K,)


def make_crowd(
    seed: int = 0,
    minority: float = 0.3,
    values: Floats = OPPOSITE,
    *,
    people: int = 40,
    each: int = 30,
    spread: float = 0.0,
) -> Crowd:
    """``spread``: standard deviation of the logarithm of how sharply people judge."""
    rng = np.random.default_rng([seed, 9])
    group = (np.arange(people) >= round(people * (1 - minority))) * 1
    person = np.repeat(np.arange(people), each)
    first, second = rng.normal(size=(2, people * each, 2))
    worth = np.stack([WORTH, values])[group[person]] * np.exp(rng.normal(0, spread, people))[person, None]
    label = (rng.random(len(person)) < expit(((first - second) * worth).sum(axis=1))) * 1.0
    return Crowd(FeaturePairs.of(first - second, label, [f"p{k}" for k in person]), first, second, group)
