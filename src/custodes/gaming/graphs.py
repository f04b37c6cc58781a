"""Small graphs of places: which ends can be reached from each, and POWER, how well placed one is for whatever may be wanted.

A graph is a table: place -> the places that follow it. Places that nothing follows are its ends; whoever comes there stays there.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import numpy as np

Graph = Mapping[str, Sequence[str]]
DISCOUNT = 0.9
DRAWS = 1000


def reachable_ends(graph: Graph, start: str) -> frozenset[str]:
    """The ends that can be reached from ``start``, each once however many ways lead to it."""
    seen, waiting = {start}, [start]
    while waiting:
        fresh = set(graph[waiting.pop()]) - seen
        seen |= fresh
        waiting += fresh
    return frozenset(place for place in seen if not graph[place])


def power(graph: Graph, discount: float = DISCOUNT, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
    """POWER of each place, from 0 to 1: the optimal value that an agent has there on average over what it may want.

    Rewards of the places are drawn independently and uniformly between 0 and 1, ``draws`` times. For each draw value iteration gives
    the optimal values V. POWER is the mean of ``(1 - discount) / discount * (V - R)`` (arXiv 1912.01683, definition 5.2): what
    the place offers beyond its own reward. Its standard error is at most ``0.5 / sqrt(draws)``.
    """
    places = list(graph)
    number = {place: i for i, place in enumerate(places)}
    following = [[number[to] for to in graph[place]] or [i] for i, place in enumerate(places)]
    rewards = np.random.default_rng(seed).random((len(places), draws))
    values = rewards / (1 - discount)  # the fixed point of ends already; elsewhere any beginning will do
    while True:
        best = np.stack([values[after].max(0) for after in following])
        updated = rewards + discount * best
        moved, values = float(np.abs(updated - values).max()), updated
        if moved < 1e-9 * (1 - discount):
            break
    mean = ((1 - discount) / discount * (values - rewards)).mean(1)
    return dict(zip(places, mean.tolist(), strict=True))


def draw_graph(
    start: str, ends: Sequence[str], rooms: Sequence[Sequence[str]], draw: random.Random
) -> dict[str, tuple[str, ...]]:
    """A graph in which every one of ``ends`` can be reached from ``start``, by way of layers of ``rooms``.

    Each room leads to some of the next layer, and each of the next layer can be reached. Several ways may lead to one end.
    """
    layers = [[start], *map(list, rooms), list(ends)]
    graph: dict[str, tuple[str, ...]] = dict.fromkeys(ends, ())
    for here, after in itertools.pairwise(layers):
        chosen = {place: set(draw.sample(after, draw.randint(1, len(after)))) for place in here}
        reached = set().union(*chosen.values())
        for missing in (place for place in after if place not in reached):
            chosen[draw.choice(here)].add(missing)
        graph |= {place: tuple(to for to in after if to in some) for place, some in chosen.items()}
    return graph
