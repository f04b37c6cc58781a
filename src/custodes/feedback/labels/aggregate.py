"""One call for every method: which label is true of each task, how surely, and how reliable each annotator is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from custodes.feedback.labels.dawid_skene import dawid_skene
from custodes.feedback.labels.glad import glad
from custodes.feedback.labels.mace import mace
from custodes.feedback.labels.rounds import EmRound, with_first
from custodes.feedback.labels.table import Index, LabelTable
from custodes.stats import Interval, wilson
from custodes.types import Floats, InputError

Method = Literal["majority", "dawid-skene", "mace", "glad"]
Rounds = Callable[[LabelTable], Iterator[EmRound]]


def _majority(table: LabelTable) -> Iterator[EmRound]:
    """Vote shares; every annotator counts the same."""
    yield EmRound(table.shares, {})


METHODS: Mapping[str, Rounds] = {"majority": _majority, "dawid-skene": dawid_skene, "mace": mace, "glad": glad}


@dataclass(frozen=True, eq=False)
class Aggregated:
    """What a method found. T tasks, C classes, K annotators."""

    method: Method
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

        The truth is not known, so an annotator's n judgments tell as much as
        n - sum g (1 - g) / (p (1 - p)) judgments of known truth, g being the probability that a judgment was right and
        p their mean: the observed information of Louis (1982) with the other parameters held. That number is the
        interval's n (Wilson). Where it is 0 nothing can be told: the estimate is NaN. Under "majority" it is agreement with
        the plurality of the others instead.
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
    method: Method = "dawid-skene",
    rounds: int = 200,
    tolerance: float = 1e-4,
    on_round: Callable[[int, float], None] | None = None,
) -> Aggregated:
    """Aggregates ``table`` by ``method``.

    Ends when the probabilities have, on average, less than ``tolerance`` left to move: what they moved by in this round,
    continued as the geometric series that the last two rounds suggest. ``on_round`` is called with the round's number
    and that estimate. Raises InputError for an unknown method.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; choose from {', '.join(get_args(Method))}.")
    before, moved, left, number, at = table.shares, np.inf, np.inf, 0, EmRound(table.votes, {})
    for number, at in enumerate(METHODS[method](table), 1):
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
    votes = table.votes
    own = votes[table.task, table.label] - 1
    ranked = np.sort(votes, axis=1)[:, ::-1]
    top, second = ranked[:, 0], ranked[:, 1] if votes.shape[1] > 1 else np.zeros(len(votes))
    leading = (votes == top[:, None]).sum(axis=1)[table.task]
    top, second = top[table.task], second[table.task]
    mine_leads = own + 1 == top
    best = np.where(mine_leads & (leading == 1), np.maximum(second, own), top)  # of the others
    tied = _tied(votes, table, best, own)
    counts = (table.by_task(np.ones(len(table))) > 1)[table.task]
    agreed = np.where((own == best) & (best > 0), 1 / np.maximum(tied, 1), 0.0) * counts
    k, n = table.by_annotator(agreed), table.by_annotator(counts.astype(float)).astype(int)
    return [wilson(min(a, m), m) for a, m in zip(k.tolist(), n.tolist(), strict=True)]


def _tied(votes: Floats, table: LabelTable, best: Floats, own: Floats) -> Floats:
    """(N,) how many classes have ``best`` votes once the judgment itself is taken away."""
    tied = np.zeros(len(table))
    for c in range(votes.shape[1]):
        count = votes[table.task, c] - (table.label == c)
        tied += count == best
    return tied
