"""Labels as arrays: N judgments of T tasks by K annotators, each one of C classes, sorted by task.

Everything that the methods do is a sum over the judgments of a task or of an annotator. Sorted by task and kept as one
sparse matrix, ten million judgments fit in the caches' reach: one round of any method reads them in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from custodes.types import Floats, InputError

Index = NDArray[np.int32]

LARGEST = 400_000_000
"""Most cells of an array of tasks by classes or annotators by classes: 3.2 GB."""


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The judgments, sorted by task, at most one of each annotator and task. Names are in the order of their numbers."""

    task: Index  # (N,), ascending
    annotator: Index  # (N,)
    label: Index  # (N,)
    tasks: Sequence[Any]  # (T,) names
    annotators: Sequence[Any]  # (K,)
    classes: Sequence[Any]  # (C,)
    notes: tuple[str, ...] = ()
    """What was assumed or left out in making it, one sentence each."""

    def __len__(self) -> int:
        return len(self.task)

    @cached_property
    def start(self) -> Index:
        """(T + 1,) where the judgments of each task begin, and N."""
        new = np.flatnonzero(self.task[1:] != self.task[:-1]) + 1
        if len(new) + 1 == len(self.tasks):  # every task was judged
            return np.concatenate([[0], new, [len(self)]]).astype(np.int32)
        return np.append(0, np.cumsum(np.bincount(self.task, minlength=len(self.tasks)))).astype(np.int32)

    @cached_property
    def votes(self) -> Floats:
        """(T, C) how often each class was given."""
        T, C = len(self.tasks), len(self.classes)
        if T * C > LARGEST:
            raise InputError(f"{T:,} tasks by {C:,} classes are too many to hold; is the label column the right one?")
        count = np.diff(self.start)
        if C != 2 or not count.all():
            return np.bincount(self.task.astype(np.int64) * C + self.label, minlength=T * C).reshape(T, C).astype(float)
        votes = np.empty((T, 2))
        votes[:, 1] = np.add.reduceat(self.label, self.start[:-1], dtype=np.int32)
        np.subtract(count, votes[:, 1], out=votes[:, 0])
        return votes

    @cached_property
    def shares(self) -> Floats:
        """(T, C - 1) of the votes that each class but the first got."""
        return self.votes[:, 1:] / np.diff(self.start)[:, None]

    @cached_property
    def shared(self) -> Floats | None:
        """(N,) 1 where the task has labels of several annotators, 0 where this is its only one; None where all are shared."""
        count = np.diff(self.start)
        return None if (count != 1).all() else np.repeat(count > 1, count).astype(float)

    def if_shared(self, value: Floats) -> Floats:  # (N,) or (N, 1) -> the same
        """``value`` where the task has labels of several annotators, else 0."""
        if self.shared is None:
            return value
        return value * (self.shared if value.ndim == 1 else self.shared[:, None])

    @cached_property
    def shared_judgments(self) -> Floats:
        """(K,) how many of each annotator's labels are of tasks that others labelled too."""
        return self.judgments.astype(float) if self.shared is None else self.by_annotator(self.shared)

    @cached_property
    def groups(self) -> int:
        """How many sets of annotators there are that share no task with each other, those alone with all theirs left out."""
        T, K = len(self.tasks), len(self.annotators)
        edges = (self.if_shared(np.ones(len(self))), (self.task, T + self.annotator))
        of = connected_components(csr_matrix(edges, shape=(T + K, T + K)), directed=False)[1]
        return len(np.unique(of[T:][self.shared_judgments > 0]))

    @cached_property
    def said(self) -> Index:
        """(N,) number of the pair (annotator, label): annotator * C + label, which is known to fit."""
        said = self.annotator * np.int32(len(self.classes))
        said += self.label
        return said

    @cached_property
    def matrix(self) -> csr_matrix:
        """(T, K * C) sparse: 1 where an annotator said a label of a task."""
        matrix = csr_matrix((len(self.tasks), len(self.annotators) * len(self.classes)))
        matrix.data, matrix.indices, matrix.indptr = np.ones(len(self)), self.said, self.start  # as checked already
        return matrix

    @property
    def judgments(self) -> NDArray[np.int64]:
        """(K,) how many each annotator gave."""
        return np.bincount(self.annotator, minlength=len(self.annotators))

    def by_annotator(self, value: Floats) -> Floats:  # (N,) -> (K,)
        return _sums(self.annotator, value, len(self.annotators))

    def by_task(self, value: Floats) -> Floats:  # (N,) -> (T,)
        return _sums(self.task, value, len(self.tasks))

    def by_saying(self, value: Floats) -> Floats:  # (N,) -> (K, C)
        K, C = len(self.annotators), len(self.classes)
        return _sums(self.said, value, K * C).reshape(K, C)


def label_table(task: ArrayLike, annotator: ArrayLike, label: ArrayLike) -> LabelTable:
    """A table from three columns (N,) of names or numbers. Raises InputError where they differ in length or are empty."""
    columns = [np.asarray(column) for column in (task, annotator, label)]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise InputError(f"labels need columns of one length; task, annotator and label have {lengths} rows.")
    (t, tasks), (k, annotators), (c, classes) = (_numbered(column) for column in columns)
    return sorted_table(t, k, c, tasks, annotators, classes)


def sorted_table(
    task: NDArray[Any],
    annotator: NDArray[Any],
    label: NDArray[Any],
    tasks: Sequence[Any],
    annotators: Sequence[Any],
    classes: Sequence[Any],
) -> LabelTable:
    """A table from numbers (N,) that begin at 0."""
    if len(annotators) * len(classes) > np.iinfo(np.int32).max:
        raise InputError(
            f"{len(annotators):,} annotators by {len(classes):,} classes are too many to hold; "
            "is the label column the right one?"
        )
    t, k, c = (np.asarray(column, np.int32) for column in (task, annotator, label))
    if (t[1:] < t[:-1]).any():
        order = np.argsort(t, kind="stable")
        t, k, c = t[order], k[order], c[order]
    first = _first_votes(t, k)
    if first is None:
        return LabelTable(t, k, c, tasks, annotators, classes)
    other = len(t) - int(first.sum()) - int((c[~first] == c[first][_kept_of(t, k, first)]).sum())
    note = f"{len(t) - int(first.sum()):,} of {len(t):,} rows repeat an annotator and a task"
    note += f", {other:,} of them with another label; the first of each counts." if other else "; each counts once."
    return LabelTable(t[first], k[first], c[first], tasks, annotators, classes, (note,))


SHORT = 16
"""Labels of a task up to which all pairs of them are compared, which is faster than sorting."""


def _first_votes(task: Index, annotator: Index) -> NDArray[np.bool_] | None:
    """(N,) whether a judgment is its annotator's first of the task; None where all are. ``task`` ascends."""
    longest = int(np.bincount(task).max())
    if longest <= SHORT:
        again = np.zeros(len(task), bool)
        for d in range(1, longest):
            again[d:] |= (task[d:] == task[:-d]) & (annotator[d:] == annotator[:-d])
        return ~again if again.any() else None
    _, at = np.unique(_pairs(task, annotator), return_index=True)
    if len(at) == len(task):
        return None
    first = np.zeros(len(task), bool)
    first[at] = True
    return first


def _kept_of(task: Index, annotator: Index, first: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For every judgment that is left out, the place among the kept of the one that it repeats."""
    pairs = _pairs(task, annotator)
    order = np.argsort(pairs[first])
    return order[np.searchsorted(pairs[first], pairs[~first], sorter=order)]


def _pairs(task: Index, annotator: Index) -> NDArray[np.int64]:
    return task.astype(np.int64) * (int(annotator.max()) + 1) + annotator


def _numbered(names: NDArray[Any]) -> tuple[NDArray[Any], Sequence[Any]]:
    """Numbers (N,), and the names in their order. Whole numbers that lie close together are not sorted but looked up."""
    if names.dtype.kind in "iu":
        low, high = int(names.min()), int(names.max())
        if high - low < 4 * len(names) + 1000:
            number = names if low == 0 else names - low
            held = np.zeros(high - low + 1, bool)
            held[number] = True
            if held.all():
                return number, range(low, high + 1)
            place = np.cumsum(held, dtype=np.int32) - 1
            return place[number], (np.flatnonzero(held) + low).tolist()
    known, number = np.unique(names, return_inverse=True)
    return number, known.tolist()


def _sums(index: NDArray[Any], value: Floats, n: int) -> Floats:
    """(n,) sums of ``value`` over equal ``index``."""
    return np.bincount(index, value, minlength=n).astype(np.float64, copy=False)
