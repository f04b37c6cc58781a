"""How subtle bugs are: how badly a discriminator tells tampered functions from clean ones, operator by operator.

The discriminator is any scorer of lines: its probability of a bug anywhere. An area under the ROC curve of 0.5 is as
subtle as can be for this discriminator, 1 is plain to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.critic.families import clusters
from custodes.critic.lines import LineScores
from custodes.stats import Interval, auc, rate


@dataclass(frozen=True, slots=True)
class Subtlety:
    """Of one operator's tampers, against all clean functions."""

    discrimination: Interval
    """Area under the ROC curve."""
    at_1: Interval
    """Tampers whose likeliest line is one of the bug's."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"discrimination": self.discrimination.to_dict(), "at_1": self.at_1.to_dict()}


def subtlety(
    scores: Sequence[LineScores],
    bug_lines: Sequence[Sequence[int]],
    operators: Sequence[Sequence[str]],
    functions: Sequence[str],
) -> dict[str, Subtlety]:
    """Operator -> how subtle its tampers are, the subtlest first.

    Of every function its scores, the lines of its bugs (none where it is clean) and the operators that put them in. A
    function with several bugs counts for each of their operators. ``functions`` names whose version each is (""
    unknown); intervals count those.
    """
    whose = np.array(clusters(functions), object)
    alarm = np.array([1 - s.none for s in scores])
    clean = np.array([not lines for lines in bug_lines])
    found = {}
    for name in sorted({name for names in operators for name in names}):
        own = np.array([name in names for names in operators]) & ~clean
        truth = np.concatenate([np.ones(own.sum()), np.zeros(clean.sum())])
        hits = [int(scores[i].order()[0]) in bug_lines[i] for i in np.flatnonzero(own).tolist()]
        both = np.concatenate([whose[own], whose[clean]]).tolist()
        area = auc(np.concatenate([alarm[own], alarm[clean]]), truth, both)
        found[name] = Subtlety(
            Interval(area.estimate, area.low, area.high, int(own.sum())), rate(hits, whose[own].tolist())
        )
    return dict(sorted(found.items(), key=lambda item: _order(item[1])))


def _order(one: Subtlety) -> float:
    value = one.discrimination.estimate
    return np.inf if np.isnan(value) else value


def told(found: Mapping[str, Subtlety]) -> dict[str, Any]:
    """Plain JSON of every operator."""
    return {name: one.to_dict() for name, one in found.items()}
