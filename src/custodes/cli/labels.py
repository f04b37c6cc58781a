"""Commands about labels: one per task from those of several annotators, and how far each annotator can be believed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from custodes.cli.options import parse
from custodes.cli.words import NOTES, print_json
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.feedback.labels import Aggregated, KnownLabels, LabelAgreement, Method

File = Annotated[Path, tyro.conf.arg(metavar="FILE")]


def labels(given: list[str]) -> int:
    """One label per task from those of several annotators."""
    from custodes.feedback.labels import Method, agreement_in, write_confusion, write_labels, write_probabilities

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """One label per task, with its probability, from the labels of several annotators."""

        file: tyro.conf.Positional[File]
        """Table with the columns task, worker and label: JSONL, JSON, CSV, TSV or parquet."""
        out: Path
        """Table to write: task, label, probability."""
        method: Method = "dawid-skene"
        """How: a plain vote, or a model of who is right how often."""
        truth: Path | None = None
        """Table of known truths (task, label), to set what is stated beside what came."""
        probabilities: Path | None = None
        """Table to write: the probability of every class, a column for each."""
        confusion: Path | None = None
        """Table to write: how often each annotator said which label where which was true."""
        pairs: int = 20
        """Show the agreement of so many pairs of annotators, those who share most tasks."""
        json: bool = False
        """Print one JSON object."""

    options = parse("quality labels", Options, given)
    for path in (options.out, options.probabilities, options.confusion):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"the folder {path.parent} does not exist; make it, or choose another.")
    found, known = fitted(options.file, options.method, options.truth)
    agreed = agreement_in(found.table, max(options.pairs, 0))
    write_labels(options.out, found)
    if options.probabilities is not None:
        write_probabilities(options.probabilities, found)
    if options.confusion is not None:
        write_confusion(options.confusion, found)
    say([*found.notes, *agreed.notes, *(known.notes if known else ())])
    if options.json:
        told = {
            "method": options.method,
            "tasks": len(found.label),
            "judgments": len(found.table),
            "classes": list(found.table.classes),
            "converged": found.converged,
            "stated": float(found.probability.max(axis=1).mean()),
            "agreement": agreement_json(agreed),
        }
        print_json(told | truth_json(known))
        return 0
    print(f"{len(found.label):,} tasks from {len(found.table):,} judgments by {options.method} in {options.out}")
    print_agreement(agreed)
    print_truth(known)
    return 0


def annotators(given: list[str]) -> int:
    """How often each annotator's label is right, with intervals."""
    from rich.console import Console
    from rich.table import Table

    from custodes.feedback.labels import Method, agreement_in

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """How often each annotator's label is right, least reliable first, with 95 % intervals."""

        file: tyro.conf.Positional[File]
        """Table with the columns task, worker and label: JSONL, JSON, CSV, TSV or parquet."""
        method: Method = "dawid-skene"
        """How the truth is found; with majority: agreement with the plurality of the others."""
        truth: Path | None = None
        """Table of known truths (task, label), to set what is stated beside what came."""
        json: bool = False
        """Print one JSON object."""

    options = parse("quality annotators", Options, given)
    found, known = fitted(options.file, options.method, options.truth)
    table, judgments = found.table, found.table.judgments.tolist()
    agreed = agreement_in(table)
    say([*found.notes, *agreed.notes, *(known.notes if known else ())])
    order = sorted(range(len(judgments)), key=lambda i: _least_first(found.reliability[i].estimate))
    if options.json:
        rows = [
            {
                "annotator": table.annotators[i],
                "judgments": judgments[i],
                "reliability": found.reliability[i].to_dict(),
                "recall": dict(zip(table.classes, found.recall[i].tolist(), strict=True)),
            }
            | ({"right": known.annotators[str(table.annotators[i])].to_dict()} if known else {})
            for i in order
        ]
        told = {"method": options.method, "annotators": rows, "agreement": agreement_json(agreed)}
        print_json(told | truth_json(known))
        return 0
    shown = Table(
        "annotator", "judgments", "reliability", "95 % interval", *(["right of known"] if known else []), box=None
    )
    for i in order:
        r = found.reliability[i]
        told_of = (f"{r.estimate:.3f}", f"{r.low:.3f} .. {r.high:.3f}") if r.n else ("cannot be told", "")
        name = str(table.annotators[i])
        shown.add_row(name, f"{judgments[i]:,}", *told_of, *([_known(known, name)] if known else []))
    Console().print(shown)
    what = "agreement with the others' plurality" if options.method == "majority" else "share of labels that are right"
    print(f"Reliability: {what}, by {options.method}.")
    print_agreement(agreed)
    print_truth(known)
    return 0


def fitted(file: Path, method: "Method", truth: Path | None) -> "tuple[Aggregated, KnownLabels | None]":
    """The labels of a file by a method, beside the known truths of another where there is one."""
    from custodes.feedback.labels import aggregate, beside_truths, read_labels
    from custodes.feedback.truths import read_truths

    truths = read_truths(truth) if truth is not None else None
    table = read_labels(file)
    with rounds_shown(method) as on_round:
        found = aggregate(table, method, on_round=on_round)
    return found, None if truths is None else beside_truths(found, truths)


def say(notes: Sequence[str]) -> None:
    """Says each sentence that no reader has said yet."""
    from custodes.tables import warn

    warn(note for note in notes if note not in NOTES)


def agreement_json(agreed: "LabelAgreement") -> dict[str, Any]:
    return {
        "alpha": agreed.everybody.alpha.to_dict(),
        "tasks": agreed.everybody.items,
        "pairs": [
            {"annotators": [p.first, p.second], "tasks": p.items}
            | {name: getattr(p, name).to_dict() for name in ("share", "kappa", "ac1")}
            for p in agreed.pairs
        ],
        "all_pairs": agreed.all_pairs,
    }


def truth_json(known: "KnownLabels | None") -> dict[str, Any]:
    """What came where truths are known; where none are, a note on what is stated."""
    from custodes.feedback.truths import SHARED_ERRORS

    if known is None:
        return {"notes": [SHARED_ERRORS]}
    return {"truth": known.labels.to_dict() | {"vote": known.vote.to_dict()}}


def print_agreement(agreed: "LabelAgreement") -> None:
    from rich.console import Console
    from rich.table import Table

    print(f"Krippendorff's alpha over tasks labelled by several: {agreed.everybody.alpha}.")
    if not agreed.pairs:
        return
    shown = Table("pair", "tasks", "same label", "Cohen's kappa", "Gwet's AC1", box=None)
    for p in agreed.pairs:
        shown.add_row(f"{p.first}, {p.second}", f"{p.items:,}", *(_short(i) for i in (p.share, p.kappa, p.ac1)))
    Console().print(shown)
    if agreed.all_pairs > len(agreed.pairs):
        print(f"Shown are the {len(agreed.pairs):,} of {agreed.all_pairs:,} pairs that share most tasks.")


def print_truth(known: "KnownLabels | None") -> None:
    """What is stated, beside what came where truths are known; where none are, why it may be too high."""
    from custodes.feedback.truths import SHARED_ERRORS

    if known is None:
        print(SHARED_ERRORS)
        return
    v = known.vote
    print(f"Labels whose truth is known: {known.labels}; calibration error {known.labels.calibration_error}.")
    print(f"The vote on the same tasks: right in {v.estimate:.1%} [{v.low:.1%}, {v.high:.1%}] of {v.n:,}.")


def _short(interval: Any) -> str:
    if interval.estimate != interval.estimate:
        return "no estimate"
    if interval.low < -1 or interval.high > 1:
        return f"{interval.estimate:.2f}"
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _known(known: "KnownLabels", name: str) -> str:
    right = known.annotators[name]
    return f"{right.estimate:.3f} [{right.low:.3f}, {right.high:.3f}] of {right.n:,}" if right.n else "none known"


def _least_first(estimate: float) -> float:
    """What cannot be told comes last."""
    return estimate if estimate == estimate else 2.0


@contextmanager
def rounds_shown(method: str) -> Iterator[Callable[[int, float], None]]:
    """A line that says how far the method has come, on a terminal's stderr."""
    from rich.console import Console

    with Console(stderr=True).status(f"{method} ...") as status:
        yield lambda number, left: status.update(f"{method}: round {number}, {left:.1e} left to move (ends at 1e-04)")
