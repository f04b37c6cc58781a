"""What is learned when, and how fast: batches by seed and epoch, and the one learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from custodes.types import InputError

Decay = Literal["constant", "linear", "cosine"]


def learning_rate_factor(step: int, steps: int, rise: float, fall: float, decay: Decay) -> float:
    """The learning rate of update ``step`` (from 0) relative to the greatest, above 0 and at most 1.

    It rises linearly over ``rise`` updates, of which the last has the whole rate, and falls by ``decay`` after ``fall``
    updates, to 0 behind the last. Both may lie between two updates.
    """
    if step + 1 < rise:
        return (step + 1) / rise
    left = min(1.0, (steps - step) / max(1.0, steps - fall))
    return {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[decay]


def check_warmup(warmup: int, updates: int) -> None:
    """Raises InputError where the learning rate would rise for longer than there are updates."""
    if warmup > updates:
        raise InputError(f"option warmup_steps is {warmup}; it must be at most the number of updates ({updates}).")


def orders(count: int, epochs: int, *seed: int) -> Iterator[list[int]]:
    """Everything once in each epoch, in an order of its own: a function of seed and epoch alone."""
    for epoch in range(epochs):
        yield np.random.default_rng([*seed, epoch]).permutation(count).tolist()


def shuffled_batches(sizes: Sequence[int], size: int, epochs: int, *seed: int) -> list[list[int]]:
    """Index lists of every update: each epoch deals out everything once, until an update holds ``size`` or more.

    ``sizes`` says how much each thing counts. The last update of an epoch may hold less.
    """
    batches: list[list[int]] = []
    for order in orders(len(sizes), epochs, *seed):
        room = 0
        for i in order:
            if room <= 0:
                batches.append([])
                room = size
            batches[-1].append(i)
            room -= sizes[i]
    return batches
