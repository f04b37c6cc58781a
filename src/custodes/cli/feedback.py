"""Commands about feedback: who among the annotators can be trusted, and files in other forms."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from custodes.cli.answer import answer
from custodes.cli.options import parse
from custodes.cli.words import NOTES, print_json
from custodes.types import Episode, Judgment

if TYPE_CHECKING:
    from custodes.feedback import AnnotatorModel, Estimate

File = Annotated[str, tyro.conf.arg(metavar="FILE")]


def annotators(given: list[str]) -> int:
    """Say who among the annotators of a file can be trusted."""
    from rich.console import Console
    from rich.table import Table

    from custodes.feedback import agreement, fit_annotators
    from custodes.feedback.annotator_model import Method, Style

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Fit reliability and biases of the annotators in a file, with 95 % intervals; least reliable first."""

        judgments: tyro.conf.Positional[File]
        """Judgments in any form that says who judged: a table, a folder of shards, a hub id, or a ledger."""
        axis: str = "overall"
        """Comparisons and rankings on this axis."""
        skip_bad_rows: bool = False
        """Leave out rows that cannot be used; how many is said."""
        method: Method = "hierarchical"
        """Reliability and biases of every annotator, or everybody believed equally."""
        style: tuple[Style, ...] = ()
        """What qualities are controlled for: length, markdown. Needs preferences, which hold the answers."""
        json: bool = False
        """Print one JSON object."""

    options = parse("annotators", Options, given)
    judgments, episodes = read_judged(options.judgments, options.skip_bad_rows)
    model = fit_annotators(judgments, episodes, options.axis, options.method, options.style)
    shared = agreement(judgments, axis=options.axis)
    if shared.note:
        warnings.warn(shared.note, stacklevel=1)
    estimates = estimates_of(model)
    if options.json:
        alpha = {"alpha": shared.alpha.to_dict(), "pairs": shared.items, "judgments": shared.judgments}
        shared_length = asdict(model.shared_length) if model.shared_length is not None else None
        effects = {"style": [asdict(effect) for effect in model.style], "shared_length": shared_length}
        told = {"annotators": [asdict(e) for e in estimates], "agreement": alpha, "method": model.method}
        print_json(told | effects | {"converged": model.fit.converged, "notes": model.notes})
        return 0
    bias = "position" if episodes is None else "length"  # preference files do not say what was shown first
    table = Table("annotator", "judgments", "reliability", "95 % interval", f"{bias} bias", box=None)
    for e in estimates:
        interval = f"{e.reliability_low:+.2f} .. {e.reliability_high:+.2f}"
        own = f"{getattr(e, bias):+.2f} ± {1.96 * getattr(e, f'{bias}_se'):.2f}"
        table.add_row(e.annotator, f"{e.judgments:,}", f"{e.reliability:+.2f}", interval, own)
    Console().print(table)
    print(f"± is the 95 % interval. Krippendorff's alpha over pairs judged by several: {shared.alpha}.")
    if bias == "length":
        print("Length bias: how much more than the typical annotator somebody favours the longer answer.")
    for effect in model.style:
        print(f"{effect.name}: {effect.estimate:+.2f} ± {1.96 * effect.se:.2f} log-odds per standard deviation.")
    print_notes(model.notes)
    return 0


def estimates_of(model: "AnnotatorModel") -> "list[Estimate]":
    """Everybody, the least reliable first."""
    return sorted((model.of(name) for name in model.annotators), key=lambda e: e.reliability)


def print_notes(notes: Sequence[str]) -> None:
    """One line each; what was told as a warning already is not told again."""
    for note in notes:
        if note not in NOTES:
            print(f"Note: {note}")


def read_judged(path: str | Path, skip_bad_rows: bool = False) -> tuple[Sequence[Judgment], list[Episode] | None]:
    """The judgments of a file, with their episodes where the file does not say which answer was shown first."""
    from custodes.feedback import read_feedback

    file = read_feedback(path, skip_bad_rows=skip_bad_rows)
    file.warn()
    return file.feedback.judgments, None if file.form in ("judgments", "ledger") else list(
        file.feedback.episodes.values()
    )


def convert(given: list[str]) -> int:
    """Convert feedback in any known form into another form or file type."""
    from custodes.loop.feedback_convert import Convert, Converted
    from custodes.loop.feedback_convert import convert as run_convert

    def show(_: Convert, done: Converted) -> None:
        print(done)

    return answer("convert", Convert, given, run_convert, show, lambda done: done.to_dict())
