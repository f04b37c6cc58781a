"""Commands about feedback: who among the annotators can be trusted, and files in other forms."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.types import Episode, Judgment

File = Annotated[Path, tyro.conf.arg(metavar="FILE")]


def annotators(given: list[str]) -> int:
    """Say who among the annotators of a file can be trusted."""
    from rich.console import Console
    from rich.table import Table

    from custodes.feedback import agreement, fit_annotators

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Fit reliability and biases of the annotators in a file, with standard errors; least reliable first."""

        file: tyro.conf.Positional[File]
        """Judgments, or preferences with a column "annotator": JSONL (.gz), JSON or parquet."""
        axis: str = "overall"
        """Comparisons and rankings on this axis."""
        json: bool = False
        """Print one JSON object."""

    options = parse("annotators", Options, given)
    judgments, episodes = read_judged(options.file)
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


def read_judged(path: Path) -> tuple[Sequence[Judgment], list[Episode] | None]:
    """The judgments of a file, with their episodes where it holds them: a judgments file has only their ids."""
    from custodes.feedback import feedback_from_pairs, read_judgments, read_preferences
    from custodes.tables import read_rows

    if "kind" in read_rows(path)[0].values:
        return read_judgments(path), None
    feedback = feedback_from_pairs(read_preferences(path))
    return feedback.judgments, list(feedback.episodes.values())


def convert(given: list[str]) -> int:
    """Convert a preference file into another form or file type."""
    from custodes.feedback import read_preferences, write_preferences
    from custodes.feedback.formats import Form

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Convert preferences between files (.jsonl, .jsonl.gz, .json, .parquet) and forms."""

        source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
        """Preferences in any form."""
        target: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUT")]]
        """File to write; its extension says what kind."""
        form: Form = "conversational"
        """Lists of messages, text (one question, one answer), or raw dialogues as in hh-rlhf."""

    options = parse("convert", Options, given)
    pairs = read_preferences(options.source)
    print(f"{len(pairs):,} pairs in {write_preferences(options.target, pairs, options.form)}")
    return 0
