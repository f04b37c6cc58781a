"""One call for every method: which label is true of each task, how surely, and how reliable each annotator is."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from custodes import registry
from custodes.feedback.labels.rounds import EmRound, with_first
from custodes.feedback.labels.table import Index, LabelTable
from custodes.feedback.truths import Realised, realised
from custodes.stats import Interval, wilson
from custodes.types import Floats

CELLS = 200_000
"""Votes of judgments by classes that are held at once: what stays in a processor's cache."""


@dataclass(frozen=True, eq=False)
class Aggregated:
    """What a method found. T tasks, C classes, K annotators."""

    method: str
    """Name of an aggregator."""
    table: LabelTable
    probability: Floats  # (T, C) of each class
    parameters: Mapping[str, Floats]  # the method's own, by name: see its module
    rounds: int
    converged: bool

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What must be said with the result, one sentence each."""
        return (*self.table.notes, *_notes(self))

    @cached_property
    def label(self) -> Index:
        """(T,) number of the likeliest class; of equals the first."""
        p = self.probability
        return (p[:, 1] > p[:, 0]).astype(np.int32) if p.shape[1] == 2 else p.argmax(axis=1).astype(np.int32)

    @property
    def labels(self) -> list[Any]:
        """(T,) the likeliest classes by name."""
        return [self.table.classes[c] for c in self.label]

    @cached_property
    def reliability(self) -> Sequence[Interval]:
        """(K,) how often the annotator's label is the true one, with 95 % intervals.

        The truth is not known, so n judgments tell as much as n - sum g (1 - g) / (p (1 - p)) judgments of known truth.
        Here g is the probability that a judgment was right, and p the mean of these. It is the observed information of
        Louis (1982) with the other parameters held, and the interval's n (Wilson). Where it is 0 nothing can be told: the
        estimate is NaN. Under "majority" it is agreement with the plurality of the others instead.
        """
        return _against_others(self.table) if self.method == "majority" else _reliability(self.table, self.probability)

    @cached_property
    def recall(self) -> Floats:
        """(K, C) P(annotator says c | the truth is c); 1 / C throughout is no information. NaN where never met."""
        K, C = len(self.table.annotators), len(self.table.classes)
        met = np.asarray(self.table.matrix.T @ self.probability).reshape(K, C, C)  # [k, said, true]
        with np.errstate(invalid="ignore"):
            return met[:, np.arange(C), np.arange(C)] / met.sum(axis=1)


def aggregate(
    table: LabelTable,
    method: str = "dawid-skene",
    rounds: int = 200,
    tolerance: float = 1e-4,
    on_round: Callable[[int, float], None] | None = None,
) -> Aggregated:
    """Aggregates ``table`` by ``method``, the name of an aggregator.

    The rounds end when the probabilities have, on average, less than ``tolerance`` left to move. What is left is what
    moved in this round, continued as the geometric series that the last two rounds suggest. ``on_round`` is called with
    the round's number and that estimate. Raises InputError for an unknown method.
    """
    run: Callable[[LabelTable], Iterable[EmRound]] = registry.aggregator.find(method)
    before, moved, left, number, at = table.shares, np.inf, np.inf, 0, EmRound(table.votes, {})
    for number, at in enumerate(run(table), 1):
        moved, earlier = float(np.abs(at.truth - before).sum() / len(before)), moved
        ratio = min(moved / earlier, 0.999) if earlier > 0 else 0.0
        left = moved * ratio / (1 - ratio) if number > 1 else moved
        if on_round is not None:
            on_round(number, left)
        if left <= tolerance or number >= rounds:
            break
        before = at.truth
    return Aggregated(method, table, with_first(at.truth), at.parameters, number, left <= tolerance)


def _reliability(table: LabelTable, probability: Floats) -> list[Interval]:
    right = probability[table.task, table.label]
    n = table.shared_judgments
    total, unsure = (table.by_annotator(table.if_shared(v)) for v in (right, right * (1 - right)))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = total / n
        drawn = (total + 4 * total.sum() / n.sum()) / (n + 4)
        worth = np.where(drawn * (1 - drawn) > 0, n - unsure / (drawn * (1 - drawn)), n)
    known = np.floor(np.clip(np.nan_to_num(worth), 0, n) + 1e-9).astype(int)
    return [
        wilson(share * m, m) if m else Interval(float("nan"), 0.0, 1.0, 0)
        for share, m in zip(np.clip(np.nan_to_num(p), 0, 1).tolist(), known.tolist(), strict=True)
    ]


def _notes(found: Aggregated) -> list[str]:
    table, notes = found.table, []
    alone = int((table.shared_judgments == 0).sum())
    if alone == len(table.annotators):
        notes.append(
            "Nothing overlaps: no task has labels of two annotators, so how reliable they are cannot be told and "
            "probabilities are no more than a guess made beforehand."
        )
    elif alone:
        notes.append(
            f"{alone:,} of {len(table.annotators):,} annotators share no task with anybody; how reliable they are cannot be told."
        )
    if table.groups > 1:
        notes.append(
            f"The annotators fall into {table.groups:,} groups that share no task; compare reliabilities within a group only."
        )
    if not found.converged:
        notes.append(
            f"{found.method} had not converged after {found.rounds:,} rounds; its probabilities may still move."
        )
    return notes


def _against_others(table: LabelTable) -> list[Interval]:
    """Agreement with the others' plurality; of k classes in front each counts 1 / k."""
    agreed, size = np.empty(len(table)), max(CELLS // len(table.classes), 1)
    for start in range(0, len(table), size):
        rows = slice(start, start + size)
        others, label = table.votes[table.task[rows]], table.label[rows]  # (n, C), (n,)
        place = np.arange(len(label))
        others[place, label] -= 1
        most = others.max(axis=1)
        leads = (others[place, label] == most) & (most > 0)
        agreed[rows] = leads / (others == most[:, None]).sum(axis=1)
    k, n = table.by_annotator(table.if_shared(agreed)), table.shared_judgments.astype(int)
    return [wilson(min(a, m), m) for a, m in zip(k.tolist(), n.tolist(), strict=True)]


# ---------------------------------------------------------------- beside known truths


@dataclass(frozen=True)
class KnownLabels:
    """What came of labels where the truth is known."""

    labels: Realised
    vote: Interval
    """How often the plurality of the votes is right on the same tasks; of equals the first class counts."""
    annotators: Mapping[str, Interval]
    """How often each annotator's own label is right; n is how many of them are known."""
    notes: tuple[str, ...]


def beside_truths(labels: Aggregated, truths: Mapping[str, str]) -> KnownLabels:
    """Sets what ``labels`` state beside ``truths``, task -> class. Raises InputError where none of the tasks was labelled."""
    table = labels.table
    place = {str(task): t for t, task in enumerate(table.tasks)}
    number = {same_class(str(name)): c for c, name in enumerate(table.classes)}
    truth = np.full(len(table.tasks), -1)  # -1 unknown, -2 a class that nobody said
    for task, name in truths.items():
        if task in place:
            truth[place[task]] = number.get(same_class(name), -2)
    known = np.flatnonzero(truth != -1)
    notes = []
    if len(known) < len(truths):
        notes.append(f"{len(truths) - len(known):,} of {len(truths):,} known truths are of tasks that nobody labelled.")
    if unsaid := int((truth == -2).sum()):
        notes.append(f"{unsaid:,} tasks are truly of a class that nobody said.")
    right = table.by_annotator((table.label == truth[table.task]).astype(float)).tolist()
    judged = table.by_annotator((truth[table.task] != -1).astype(float)).tolist()
    counts = zip(map(str, table.annotators), right, judged, strict=True)
    return KnownLabels(
        realised(labels.probability[known, labels.label[known]], labels.label[known] == truth[known]),
        wilson(int((table.votes[known].argmax(axis=1) == truth[known]).sum()), len(known)),
        {name: wilson(int(k), int(n)) for name, k, n in counts},
        tuple(notes),
    )


def same_class(name: str) -> str:
    """What classes have in common that differ in case and blanks only."""
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()
