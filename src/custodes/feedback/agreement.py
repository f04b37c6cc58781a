"""Do annotators agree with each other, and with themselves?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import krippendorff
import numpy as np
from numpy.typing import NDArray

from custodes.feedback.annotator_model import comparisons_in
from custodes.stats import Interval, bootstrap, wilson
from custodes.types import Annotator, Judgment, Label, Rating

Level = Literal["ordinal", "nominal"]


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha: 1 perfect agreement, 0 what chance gives, below 0 systematic disagreement."""

    alpha: Interval
    """With a bootstrap interval over items; its n is ``items``. Not a number where nothing varies."""
    level: Level
    items: int
    """Pairs of episodes (for ratings and labels, episodes) that at least two annotators judged."""
    judgments: int
    """Judgments of those."""


@dataclass(frozen=True)
class Consistency:
    """How often the same annotator chose the same when shown the same two episodes again (Wilson intervals)."""

    overall: Interval
    annotators: Mapping[str, Interval]  # those who saw something again


def agreement(
    judgments: Iterable[Judgment], level: Level = "ordinal", axis: str = "overall", resamples: int = 999, seed: int = 0
) -> Agreement:
    """Krippendorff's alpha over the comparisons and rankings on ``axis``.

    "ordinal" compares strengths (-3..3, turned to one order of the two episodes), "nominal" only who won. Where an
    annotator judged a pair several times, the first answer counts. Source: Krippendorff (2011), Computing alpha.
    """
    answers: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for pair, annotator, strength in _answers(judgments, axis):
        answers[pair].setdefault(annotator, strength if level == "ordinal" else int(np.sign(strength)))
    shared = [list(given.values()) for given in answers.values() if len(given) > 1]
    return _agreement([[strength + 3 for strength in given] for given in shared], 7, level, resamples, seed)


def agreement_on_ratings(
    judgments: Iterable[Judgment], axis: str = "overall", resamples: int = 999, seed: int = 0
) -> Agreement:
    """Ordinal alpha over the ratings on ``axis``: what is agreed about is an episode, its first rating by each counts."""
    given: dict[str, dict[str, float]] = defaultdict(dict)
    for judgment in judgments:
        if isinstance(judgment, Rating) and judgment.axis == axis:
            given[judgment.episodes[0]].setdefault(judgment.annotator, judgment.value)
    shared = [list(g.values()) for g in given.values() if len(g) > 1]
    place = {value: n for n, value in enumerate(sorted({v for g in shared for v in g}))}  # whatever the scale
    counted = [[place[v] for v in g] for g in shared]
    return _agreement(counted, max(len(place), 1), "ordinal", resamples, seed)


def agreement_on_labels(judgments: Iterable[Judgment], name: str, resamples: int = 999, seed: int = 0) -> Agreement:
    """Nominal alpha over the labels called ``name``, as for ratings."""
    given: dict[str, dict[str, int]] = defaultdict(dict)
    values: dict[str, int] = {}
    for judgment in judgments:
        if isinstance(judgment, Label) and judgment.name == name:
            number = values.setdefault(judgment.value, len(values))
            given[judgment.episodes[0]].setdefault(judgment.annotator, number)
    shared = [list(g.values()) for g in given.values() if len(g) > 1]
    return _agreement(shared, max(len(values), 1), "nominal", resamples, seed)


def agreement_by_group(
    judgments: Iterable[Judgment],
    annotators: Iterable[Annotator],
    key: str,
    level: Level = "ordinal",
    resamples: int = 999,
) -> dict[str, Agreement]:
    """Agreement within each group of annotators that share ``profile[key]`` ("" where they have none)."""
    group = {annotator.id: str(annotator.profile.get(key, "")) for annotator in annotators}
    members: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        members[group.get(judgment.annotator, "")].append(judgment)
    return {name: agreement(members[name], level, resamples=resamples) for name in sorted(members)}


def repeat_consistency(judgments: Iterable[Judgment], axis: str = "overall") -> Consistency:
    """Each judgment against the annotator's previous one of the same two episodes, in whatever order shown."""
    seen: dict[tuple[str, tuple[str, str]], list[int]] = defaultdict(list)
    for pair, annotator, strength in _answers(judgments, axis):
        seen[annotator, pair].append(int(np.sign(strength)))
    same: dict[str, list[bool]] = defaultdict(list)
    for (annotator, _), choices in seen.items():
        same[annotator] += [before == after for before, after in pairwise(choices)]
    every = [ok for oks in same.values() for ok in oks]
    return Consistency(
        overall=wilson(sum(every), len(every)),
        annotators={annotator: wilson(sum(oks), len(oks)) for annotator, oks in sorted(same.items()) if oks},
    )


def _answers(judgments: Iterable[Judgment], axis: str) -> Iterable[tuple[tuple[str, str], str, int]]:
    """(pair in order of ids, annotator, strength for the first of the pair) of every comparison."""
    for judgment in judgments:
        for row in comparisons_in(judgment, axis):
            turned = row.second < row.first
            pair = (row.second, row.first) if turned else (row.first, row.second)
            yield pair, row.annotator, -row.strength if turned else row.strength


def _agreement(shared: list[list[int]], values: int, level: Level, resamples: int, seed: int) -> Agreement:
    """``shared``: of every item that several judged, the number (from 0) of each one's value."""
    counts = np.array([np.bincount(np.array(given), minlength=values) for given in shared], dtype=np.int64)
    counts = counts.reshape(-1, values)
    alpha = bootstrap(lambda c: _alpha(c, level), counts, seed=seed, resamples=resamples)
    return Agreement(alpha, level, items=len(shared), judgments=int(counts.sum()))


def _alpha(counts: NDArray[np.int64], level: Level) -> float:
    """``counts`` (items, values): how often each value was given."""
    used = counts[:, counts.any(axis=0)]
    if used.shape[1] < 2:
        return float("nan")
    return float(krippendorff.alpha(value_counts=used, level_of_measurement=level))
