"""Commands of the quality desk about comparisons: who can be believed, what is best, and who seems to poison."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from custodes.cli.feedback import read_judged
from custodes.cli.options import parse
from custodes.cli.words import print_json

if TYPE_CHECKING:
    from custodes.feedback.poisoning import Watch

File = Annotated[Path, tyro.conf.arg(metavar="FILE")]


def comparisons(given: list[str]) -> int:
    """Who can be trusted among those who compared, and what is best."""
    from rich.console import Console
    from rich.table import Table

    from custodes.feedback.labels import fit_comparison_file, write_qualities

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Fit reliability and position bias of those who compared items, and the items' quality."""

        file: tyro.conf.Positional[File]
        """Table with the columns worker, left, right and label (the winner, or empty for a tie)."""
        out: Path | None = None
        """CSV to write: item, quality, se; the best first."""
        json: bool = False
        """Print one JSON object."""

    options = parse("quality comparisons", Options, given)
    model = fit_comparison_file(options.file)
    if options.out is not None:
        write_qualities(options.out, model)
    estimates = sorted((model.of(name) for name in model.annotators), key=lambda e: e.reliability)
    if options.json:
        items = zip(model.episodes, model.quality.tolist(), model.quality_se.tolist(), strict=True)
        print_json(
            {
                "annotators": [
                    {
                        "annotator": e.annotator,
                        "judgments": e.judgments,
                        "reliability": e.reliability,
                        "reliability_se": e.reliability_se,
                        "position": e.position,
                        "position_se": e.position_se,
                    }
                    for e in estimates
                ],
                "items": [{"item": i, "quality": q, "se": se} for i, q, se in sorted(items, key=lambda row: -row[1])],
            }
        )
        return 0
    table = Table("annotator", "comparisons", "reliability", "position bias", box=None)
    for e in estimates:
        told = ((e.reliability, e.reliability_se), (e.position, e.position_se))
        table.add_row(e.annotator, f"{e.judgments:,}", *(f"{value:+.2f} ± {1.96 * se:.2f}" for value, se in told))
    Console().print(table)
    print("± is the 95 % interval. Reliability: 1 typical, 0 carries nothing, below 0 answers against the others.")
    if options.out is not None:
        print(f"{len(model.episodes):,} items with their quality in {options.out}")
    return 0


def watch(given: list[str]) -> int:
    """Who among those who compared seems to poison, and who colludes."""
    from rich.console import Console
    from rich.table import Table

    from custodes.feedback import fit_annotators
    from custodes.feedback.poisoning import watch_annotators

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Raise an alarm for annotators whose answers go against the others', everywhere or where a word is."""

        file: tyro.conf.Positional[File]
        """Judgments, or preferences with a column "annotator": JSONL (.gz), JSON or parquet."""
        level: float = 0.01
        """Probability that the alarm ever rings for an honest annotator."""
        honest: float = 0.5
        """Reliability from which an annotator counts as honest; 1 is typical."""
        json: bool = False
        """Print one JSON object."""

    options = parse("quality watch", Options, given)
    judgments, episodes = read_judged(options.file)
    model = fit_annotators(judgments, episodes)
    tasks = {episode.task.id: episode.task for episode in episodes or ()}
    found = watch_annotators(model, judgments, tasks.values(), level=options.level, honest=options.honest)
    record_watch(found)
    evaluations = found.evaluations("watch")
    if options.json:
        annotators = [{"annotator": e.subject, "judgments": e.n, **e.metrics} for e in evaluations]
        clusters = [asdict(cluster) for cluster in found.clusters]
        print_json({"level": found.level, "annotators": annotators, "clusters": clusters})
        return 0
    table = Table("annotator", "judgments", "alarm", "evidence", "suspicion", "labels turned", box=None)
    for alarm, e in zip(found.alarms, evaluations, strict=True):
        rang = f"after {alarm.rang_at}" if alarm.rang_at else ""
        told = (f"{alarm.evidence:.1f}", alarm.suspicion if rang else "", f"{e.metrics['flipped']:.1%}")
        table.add_row(alarm.annotator, f"{alarm.judgments:,}", rang, *told)
    Console().print(table)
    limit = f"{math.log(1 / found.level):.1f}"
    print(
        f"The alarm rings at evidence {limit}; for an honest annotator it does with probability {found.level:g} at most."
    )
    for cluster in found.clusters:
        print(f"Agree beyond what they see (p = {cluster.p:.2g}): {', '.join(cluster.annotators)}.")
    return 0


def record_watch(found: "Watch") -> None:
    """In the command's run: one evaluation per annotator."""
    from custodes.recording import begin

    if (recording := begin()) is not None:
        recording.ledger.write(recording.run, found.evaluations("watch"))
