"""Commands about feedback: who among the annotators can be trusted, and files in other forms."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.cli.answer import answer
from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.types import Episode, Judgment

File = Annotated[str, tyro.conf.arg(metavar="FILE")]


def annotators(given: list[str]) -> int:
    """Say who among the annotators of a file can be trusted."""
    from rich.console import Console
    from rich.table import Table

    from custodes.feedback import agreement, fit_annotators

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Fit reliability and biases of the annotators in a file, with standard errors; least reliable first."""

        judgments: tyro.conf.Positional[File]
        """Judgments in any form that says who judged: a table, a folder of shards, a hub id, or a ledger."""
        axis: str = "overall"
        """Comparisons and rankings on this axis."""
        skip_bad_rows: bool = False
        """Leave out rows that cannot be used; how many is said."""
        json: bool = False
        """Print one JSON object."""

    options = parse("annotators", Options, given)
    judgments, episodes = read_judged(options.judgments, options.skip_bad_rows)
    model = fit_annotators(judgments, episodes, options.axis)
    shared = agreement(judgments, axis=options.axis)
    estimates = sorted((model.of(name) for name in model.annotators), key=lambda e: e.reliability)
    if options.json:
        alpha = {"alpha": shared.alpha.to_dict(), "pairs": shared.items, "judgments": shared.judgments}
        print_json({"annotators": [asdict(e) for e in estimates], "agreement": alpha})
        return 0
    bias = "position" if episodes is None else "length"  # preference files do not say what was shown first
    table = Table("annotator", "judgments", "reliability", f"{bias} bias", box=None)
    for e in estimates:
        told = ((e.reliability, e.reliability_se), (getattr(e, bias), getattr(e, f"{bias}_se")))
        table.add_row(e.annotator, f"{e.judgments:,}", *(f"{value:+.2f} ± {1.96 * se:.2f}" for value, se in told))
    Console().print(table)
    print(f"± is the 95 % interval. Krippendorff's alpha over pairs judged by several: {shared.alpha}.")
    return 0


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
    from custodes.recipes.converting import Convert, Converted
    from custodes.recipes.converting import convert as run_convert

    def show(_: Convert, done: Converted) -> None:
        print(done)

    return answer("convert", Convert, given, run_convert, show, lambda done: done.to_dict())
