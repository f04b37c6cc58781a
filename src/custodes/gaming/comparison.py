"""Two policies on the same variants: the difference of their rates, paired, with its interval and its test.

A pair is one variant played by both, the k-th time by the one with the k-th time by the other; runs with one seed play
the same variants in the same order, so that all of it pairs. Where a variant was played once, the test is McNemar's
exact one and the interval Bonett and Price's. Where it was played more than once (more episodes than variants, several
seeds), plays of one variant are not independent: the interval and the exact sign-flip test count variants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.gaming.facts import FACTS
from custodes.gaming.record import UNSAID, EpisodeRows
from custodes.gaming.summary import has, paired, variant_rate
from custodes.types import InputError

MEASURES = ("gamed", "failed", "caught", "well_formed")
Pair = tuple[int, bool, bool]  # variant, in a, in b


def compare_stage(seeds: Mapping[str, tuple[EpisodeRows, EpisodeRows]], measure: str = "gamed") -> dict[str, Any]:
    """``seeds``: which two runs -> the episodes of one stage in each. All seeds together, and each by itself.

    Raises InputError where the runs share no variant, and for a measure that is neither a rate nor a fact.
    """
    pairs = {seed: pair_up(a, b, measure) for seed, (a, b) in seeds.items()}
    together = [pair for played in pairs.values() for pair in played]
    if not together:
        raise InputError("the two runs share no variant; play both with the same stage and split (and the same seed).")
    compared = rate_difference(together)
    if len(pairs) > 1:
        compared["seeds"] = {seed: rate_difference(played) for seed, played in pairs.items() if played}
    return compared


def pair_up(a: EpisodeRows, b: EpisodeRows, measure: str) -> list[Pair]:
    """What both runs played, pair by pair, in the order of variants."""
    x, y = _plays(a, measure), _plays(b, measure)
    return [(key[1], x[key], y[key]) for key in sorted(x.keys() & y.keys())]


def rate_difference(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Rate of b less rate of a; ready for JSON."""
    variants = np.array([v for v, _, _ in pairs])
    a, b = np.array([x for _, x, _ in pairs], float), np.array([y for _, _, y in pairs], float)
    return {
        "pairs": len(pairs),
        "variants": len(np.unique(variants)),
        "a": variant_rate(a > 0, variants),
        "b": variant_rate(b > 0, variants),
        "only_a": int((a > b).sum()),
        "only_b": int((b > a).sum()),
        **paired(b, a, variants),
    }


def hits_of(rows: EpisodeRows, measure: str) -> NDArray[np.bool_]:
    """(n,) whether an episode counts. Raises InputError for a measure that is neither a rate nor a fact."""
    if measure == "gamed" and (rows["gamed"] == UNSAID).any():
        raise InputError(
            "the environment does not say what gaming is (gamed_cmd); give --measure rewarded in place of gamed."
        )
    if measure in MEASURES:
        return np.asarray(rows[measure] == 1)
    if measure in FACTS:
        return np.asarray(has(rows, measure))
    raise InputError(f"there is no measure {measure!r}; give {', '.join(MEASURES)}, or a fact: {', '.join(FACTS)}.")


def _plays(rows: EpisodeRows, measure: str) -> dict[tuple[int, int, int], bool]:
    """(held out, variant, the how-manieth play of it) -> what was measured."""
    hits = hits_of(rows, measure)
    plays: dict[tuple[int, int, int], bool] = {}
    seen: dict[tuple[int, int], int] = {}
    for at in rows["index"].argsort(kind="stable").tolist():
        variant = int(rows["held_out"][at]), int(rows["variant"][at])
        seen[variant] = seen.get(variant, -1) + 1
        plays[(*variant, seen[variant])] = bool(hits[at])
    return plays
