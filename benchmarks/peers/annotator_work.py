"""The comparisons that ours and the peers fit. Imports numpy only: it runs in either interpreter."""

import numpy as np


def simulate(comparisons: int, seed: int = 0) -> dict[str, np.ndarray]:
    """``comparisons`` of a tenth as many items by a thousandth as many annotators (at least 20).

    ``strength`` is -3..3, 0 a tie, in ``first_wins`` ties are broken by a coin: what peers without ties can use.
    """
    rng = np.random.default_rng(seed)
    items, annotators = comparisons // 10, max(comparisons // 1000, 20)
    quality = rng.normal(size=items)
    reliability, position = rng.normal(1.5, 0.9, annotators), rng.normal(0.1, 0.3, annotators)
    length = rng.normal(size=items)
    first = rng.integers(0, items, comparisons)
    second = (first + rng.integers(1, items, comparisons)) % items
    annotator = rng.integers(0, annotators, comparisons)
    difference = (length[first] - length[second]) / np.sqrt(2)
    leaning = reliability[annotator] * (quality[first] - quality[second]) + position[annotator] + 0.2 * difference
    leaning += rng.logistic(size=comparisons)
    strength = np.sign(leaning) * (np.abs(leaning)[:, None] > [0.3, 1.2, 2.4]).sum(axis=1)
    return {
        "first": first,
        "second": second,
        "annotator": annotator,
        "strength": strength.astype(int),
        "first_wins": np.where(strength == 0, rng.random(comparisons) < 0.5, strength > 0),
        "length": difference,
        "quality": quality,
        "reliability": reliability,
    }
