"""Which tests to keep for a function: few, fast, and together covering what all of them cover."""

from __future__ import annotations

from typing import Any

Covering = dict[str, Any]
"""``unit`` (its id), ``seconds``, ``breadth`` (functions it exercises), ``lines`` (covered, from the function's first)."""
BREADTH = 0.002  # seconds that one more function exercised is worth: a test of little else says more


def choose(units: list[Covering], most: int) -> list[Covering]:
    """At most ``most`` of the units: those that cover new lines at least cost, then the cheapest."""
    left = sorted(units, key=lambda u: (cost(u), u["unit"]))
    chosen: list[Covering] = []
    covered: set[int] = set()
    while left and len(chosen) < most:
        best = max(left, key=lambda u: len(set(u["lines"]) - covered) / (0.05 + cost(u)))
        if not set(best["lines"]) - covered:
            best = left[0]
        left.remove(best)
        chosen.append(best)
        covered |= set(best["lines"])
    return chosen


def cost(unit: Covering) -> float:
    return unit["seconds"] + BREADTH * unit["breadth"]
