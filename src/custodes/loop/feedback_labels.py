"""One label per task from those of several annotators, and whom to believe: what ``custodes feedback labels`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table

from custodes import registry
from custodes.feedback.agreement import LabelAgreement, agreement_in
from custodes.feedback.labels import (
    Aggregated,
    KnownLabels,
    aggregate,
    beside_truths,
    read_labels,
    write_confusion,
    write_labels,
    write_probabilities,
)
from custodes.feedback.truths import SHARED_ERRORS, read_truths
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.registry import Chosen
from custodes.stats import Interval
from custodes.types import InputError

SHOWN = 20
"""Annotators that are printed; JSON has all."""


@dataclass(frozen=True, kw_only=True)
class FeedbackLabels:
    """One label per task, with its probability, from the labels of several annotators; and how often each annotator's
    label is right, least reliable first, with 95 % intervals."""

    judgments: Path
    """Table with the columns task, worker and label: JSONL, JSON, CSV, TSV or parquet."""
    out: Output | None = None
    """Table to write: task, label, probability."""
    aggregator: Annotated[str, Chosen(registry.aggregator, by_name=True)] = "dawid-skene"
    """A plain vote (majority), a model of who is right how often (dawid-skene, mace, glad), or FILE.py:name. Under majority
    an annotator's reliability is the agreement with the plurality of the others."""
    truth: Path | None = None
    """Table of known truths (task, label), to set what is stated beside what came."""
    probabilities: Output | None = None
    """Table to write: the probability of every class, a column for each."""
    confusion: Output | None = None
    """Table to write: how often each annotator said which label where which was true."""
    pairs_shown: int = 20
    """Show the agreement of so many pairs of annotators, those who share most tasks."""


@dataclass(frozen=True, slots=True)
class LabelsFitted:
    """Labels of tasks, how far annotators agree, and what came of the labels where truths are known."""

    labels: Aggregated
    agreement: LabelAgreement
    known: KnownLabels | None

    @property
    def order(self) -> list[int]:
        """Numbers of the annotators, the least reliable first; those of whom nothing can be told last."""
        estimates = [r.estimate if r.estimate == r.estimate else 2.0 for r in self.labels.reliability]
        return sorted(range(len(estimates)), key=estimates.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        found, known = self.labels, self.known
        return {
            "method": found.method,
            "tasks": len(found.label),
            "judgments": len(found.table),
            "classes": list(found.table.classes),
            "converged": found.converged,
            "stated": float(found.probability.max(axis=1).mean()),
            "annotators": [self._annotator(i) for i in self.order],
            "agreement": {
                "alpha": self.agreement.everybody.alpha.to_dict(),
                "tasks": self.agreement.everybody.items,
                "pairs": [pair.to_dict() for pair in self.agreement.pairs],
                "all_pairs": self.agreement.all_pairs,
            },
            "notes": [*found.notes, *self.agreement.notes, *(known.notes if known else [SHARED_ERRORS])],
        } | ({"truth": known.labels.to_dict() | {"vote": known.vote.to_dict()}} if known else {})

    def _annotator(self, i: int) -> dict[str, Any]:
        table = self.labels.table
        return {
            "annotator": table.annotators[i],
            "judgments": int(table.judgments[i]),
            "reliability": self.labels.reliability[i].to_dict(),
            "recall": dict(zip(table.classes, self.labels.recall[i].tolist(), strict=True)),
        } | ({"right": self.known.annotators[str(table.annotators[i])].to_dict()} if self.known else {})


@command()
def feedback_labels(config: FeedbackLabels) -> LabelsFitted:
    """One label per task from those of several annotators, and who labels well."""
    for path in (config.out, config.probabilities, config.confusion):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"the folder {path.parent} does not exist; make it, or choose another.")
    truths = read_truths(config.truth) if config.truth is not None else None
    table = read_labels(config.judgments)
    with _rounds_shown(config.aggregator) as on_round:
        found = aggregate(table, config.aggregator, on_round=on_round)
    known = None if truths is None else beside_truths(found, truths)
    agreed = agreement_in(table, config.pairs_shown)
    for path, write in (
        (config.out, write_labels),
        (config.probabilities, write_probabilities),
        (config.confusion, write_confusion),
    ):
        if path is not None:
            write(path, found)
    return LabelsFitted(found, agreed, known)


@in_words(feedback_labels)
def _show(config: FeedbackLabels, fitted: LabelsFitted) -> None:
    found, known = fitted.labels, fitted.known
    where = f" in {config.out}" if config.out is not None else ""
    print(f"{len(found.label):,} tasks from {len(found.table):,} judgments by {config.aggregator}{where}")
    columns = ("annotator", "judgments", "reliability", "95 % interval", *(["right of known"] if known else []))
    table = Table(*columns, box=None)
    for i in fitted.order[:SHOWN]:
        r, name = found.reliability[i], str(found.table.annotators[i])
        told = (f"{r.estimate:.3f}", f"{r.low:.3f} .. {r.high:.3f}") if r.n else ("cannot be told", "")
        right = [_of_known(known.annotators[name])] if known else []
        table.add_row(name, f"{int(found.table.judgments[i]):,}", *told, *right)
    Console().print(table)
    if len(fitted.order) > SHOWN:
        print(f"... and {len(fitted.order) - SHOWN:,} more; --json prints all.")
    what = (
        "agreement with the others' plurality" if config.aggregator == "majority" else "share of labels that are right"
    )
    print(f"Reliability: {what}, by {config.aggregator}.")
    _show_agreement(fitted.agreement)
    if known is not None:
        v = known.vote
        print(f"Labels whose truth is known: {known.labels}; calibration error {known.labels.calibration_error}.")
        print(f"The vote on the same tasks: right in {v.estimate:.1%} [{v.low:.1%}, {v.high:.1%}] of {v.n:,}.")


def _show_agreement(agreed: LabelAgreement) -> None:
    print(f"Krippendorff's alpha over tasks labelled by several: {agreed.everybody.alpha}.")
    if not agreed.pairs:
        return
    table = Table("pair", "tasks", "same label", "Cohen's kappa", "Gwet's AC1", box=None)
    for p in agreed.pairs:
        table.add_row(f"{p.first}, {p.second}", f"{p.items:,}", *(_short(i) for i in (p.share, p.kappa, p.ac1)))
    Console().print(table)
    if agreed.all_pairs > len(agreed.pairs):
        print(f"Shown are the {len(agreed.pairs):,} of {agreed.all_pairs:,} pairs that share most tasks.")


def _short(interval: Interval) -> str:
    if interval.estimate != interval.estimate:
        return "no estimate"
    if interval.low < -1 or interval.high > 1:
        return f"{interval.estimate:.2f}"
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _of_known(right: Interval) -> str:
    return f"{right.estimate:.3f} [{right.low:.3f}, {right.high:.3f}] of {right.n:,}" if right.n else "none known"


@contextmanager
def _rounds_shown(method: str) -> Iterator[Callable[[int, float], None]]:
    """A line that says how far the method has come, on a terminal's stderr."""
    with Console(stderr=True).status(f"{method} ...") as status:
        yield lambda number, left: status.update(f"{method}: round {number}, {left:.1e} left to move (ends at 1e-04)")
