"""Whether annotators agree with themselves: circles among what one person prefers, and known answers that they miss.

Test and retest, the third of these, is :func:`custodes.feedback.agreement.repeat_consistency`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import scipy  # its parts are imported where they are first used: scipy.stats takes a second

from custodes.stats import Interval, rate
from custodes.types import InputError, Judgment

CHANCE = 0.25
"""Share of circles among the triads of somebody who answers at random (Kendall and Babington Smith, Biometrika 1940)."""


@dataclass(frozen=True)
class Transitivity:
    """Shares of an annotator's triads (three answers, each two of which they compared) that go in a circle."""

    overall: Interval
    """With an interval over tasks, since triads of one task share comparisons."""
    annotators: Mapping[str, Interval]  # those with a triad

    def to_dict(self) -> dict[str, Any]:
        each = {name: interval.to_dict() for name, interval in self.annotators.items()}
        return {"circles": self.overall.to_dict(), "annotators": each, "chance": CHANCE}


def transitivity(judgments: Iterable[Judgment], axis: str = "overall") -> Transitivity:
    """How often what one annotator prefers goes in a circle, a over b over c over a; somebody who guesses does in a quarter.

    Of a pair judged several times the first answer counts. Triads with a tie are left out.
    """
    better: dict[tuple[str, str], dict[tuple[str, str], bool]] = defaultdict(dict)
    for judgment in judgments:
        for row in judgment.comparisons(axis):
            if row.strength:
                low, high = sorted((row.first, row.second))
                better[row.annotator, judgment.task].setdefault((low, high), (row.strength > 0) == (row.first == low))
    circles: dict[str, list[bool]] = defaultdict(list)
    tasks: dict[str, list[str]] = defaultdict(list)
    for (annotator, task), wins in better.items():
        items = sorted({item for pair in wins for item in pair})
        for a, b, c in combinations(items, 3):
            if (a, b) in wins and (b, c) in wins and (a, c) in wins:
                circles[annotator].append(wins[a, b] == wins[b, c] != wins[a, c])
                tasks[annotator].append(task)
    every = [circle for own in circles.values() for circle in own]
    of_task = [task for own in tasks.values() for task in own]
    each = {name: rate(own, tasks[name]) for name, own in sorted(circles.items())}
    return Transitivity(rate(every, of_task), each)


@dataclass(frozen=True, slots=True)
class AttentionCheck:
    """How one annotator did on comparisons whose better answer is known."""

    annotator: str
    right: Interval
    """Share of them answered rightly; a tie counts as half."""
    p: float
    """Of so few right answers, or fewer, from somebody who passes at the rate asked for; corrected by Holm for all
    annotators."""
    failed: bool

    def to_dict(self) -> dict[str, Any]:
        return {"annotator": self.annotator, "right": self.right.to_dict(), "p": self.p, "failed": self.failed}


def attention_checks(
    judgments: Iterable[Judgment],
    winners: Mapping[tuple[str, str], str],
    names: Mapping[str, str] | None = None,
    *,
    passing: float = 0.8,
    level: float = 0.01,
    axis: str = "overall",
) -> list[AttentionCheck]:
    """Everybody's answers to comparisons whose better one is known (see ``read_winners``), the worst first.

    Failed: surely below the rate ``passing``, by an exact binomial test at ``level`` for all annotators together (Holm,
    1979). ``winners`` has ids of episodes, or what ``names`` calls them. Raises InputError where none was judged.
    """
    right: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for judgment in judgments:
        for row in judgment.comparisons(axis):
            called = [(names or {}).get(id_, id_) for id_ in (row.first, row.second)]
            for one, other in ((row.first, row.second), called):
                if winner := winners.get((min(one, other), max(one, other)), ""):
                    value = 0.5 if not row.strength else float((row.strength > 0) == (winner == one))
                    right[row.annotator].setdefault((min(one, other), max(one, other)), value)
    if not right:
        raise InputError("none of the known answers is of a comparison that was judged; do the names agree?")
    people = list(right)
    scores = [np.array(list(right[name].values())) for name in people]
    p = [float(scipy.stats.binom.cdf(np.ceil(score.sum()), len(score), passing)) for score in scores]
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1)), 1.0)
    found = [
        AttentionCheck(name, rate(score), q, q <= level)
        for name, score, q in zip(people, scores, corrected.tolist(), strict=True)
    ]
    return sorted(found, key=lambda check: (not check.failed, check.right.estimate, check.annotator))
