"""Held-out rows of one arm set side by side: the same tasks under the base policy, along training, and at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.audit.overoptimisation import OveroptimisationTest, overoptimisation_test
from custodes.audit.rows import PolicyHeldout
from custodes.stats import Interval, mean_interval, paired_difference

Array = NDArray[np.float64]


def chosen_row(rows: Sequence[PolicyHeldout]) -> PolicyHeldout:
    """The policy that the run hands over: the last one marked as chosen, otherwise the last. ``rows`` are in order of steps."""
    return next((r for r in reversed(rows) if r.chosen), rows[-1])


def task_matrix(rows: Sequence[PolicyHeldout], name: str) -> Array | None:
    """(rows, tasks): the mean of field ``name`` over each task's episodes, on the tasks that all rows share.

    None where a row lacks the field or no task is shared. Columns are in the order of :func:`shared_tasks`.
    """
    tasks = shared_tasks(rows)
    if not tasks or any(getattr(r, name) is None for r in rows):
        return None
    out = np.empty((len(rows), len(tasks)))
    for i, row in enumerate(rows):
        names, index = np.unique(row.task, return_inverse=True)
        means = np.bincount(index, np.asarray(getattr(row, name), float)) / np.bincount(index)
        place = {task: j for j, task in enumerate(names.tolist())}
        out[i] = means[[place[t] for t in tasks]]
    return out


def shared_tasks(rows: Sequence[PolicyHeldout]) -> list[str]:
    return sorted(set.intersection(*(set(r.task) for r in rows)))


def turn_of_gold(rows: Sequence[PolicyHeldout]) -> OveroptimisationTest | None:
    """Whether gold turned down, or stayed behind the proxy, along an arm's checkpoints; None where gold is not known."""
    gold = task_matrix(rows, "gold") if rows else None
    names = [f"step {row.step}" if row.step else "the base policy" for row in rows]
    return None if gold is None else overoptimisation_test(gold, task_matrix(rows, "proxy"), names)


def gain_over_base(values: Array | None, i: int) -> Interval | None:
    """Paired gain of point i over point 0; exactly 0 for point 0 itself."""
    if values is None or values.shape[1] < 2:
        return None
    return paired_difference(values[i], values[0]) if i else Interval(0.0, 0.0, 0.0, values.shape[1])


def mean_of(values: Sequence[float] | None) -> Interval | None:
    return mean_interval(np.asarray(values, float)) if values is not None and len(values) > 1 else None


def paired_values(base: Sequence[float] | Array, optimised: Sequence[float] | Array) -> dict[str, Any] | None:
    """Both means and their difference, over the items where both are defined (a text without words has no n-grams).

    None where fewer than two are.
    """
    b, o = np.asarray(base, float), np.asarray(optimised, float)
    both = np.isfinite(b) & np.isfinite(o)
    b, o = b[both], o[both]
    if len(b) < 2:
        return None
    return {"base": mean_interval(b), "optimised": mean_interval(o), "difference": paired_difference(o, b)}
