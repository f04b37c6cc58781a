"""Commands about those who compare: what their comparisons say together, and whose answers go against the others'."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from custodes.cli.feedback import estimates_of, print_notes, read_judged
from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.ranges import Range, Share
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.feedback import AnnotatorModel
    from custodes.feedback.poisoning import Watch
    from custodes.feedback.ranking import Standing

File = Annotated[Path, tyro.conf.arg(metavar="FILE")]
SHOWN = 20


def comparisons(given: list[str]) -> int:
    """Who can be trusted among those who compared, and what is best."""
    from custodes.feedback.annotator_model import Method
    from custodes.feedback.labels import fit_comparison_file, write_qualities
    from custodes.feedback.ranking import bootstrap, standings
    from custodes.feedback.truths import read_winners

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Fit reliability and position bias of those who compared items, and the items' quality and rank."""

        file: tyro.conf.Positional[File]
        """Table with the columns worker, left, right, label (the winner, or empty for a tie) and, if there is one, task."""
        out: Path | None = None
        """CSV to write: item, group, quality, se, low, high, rank, rank_low, rank_high; the best first."""
        method: Method = "hierarchical"
        """Reliability and bias of every annotator, or everybody believed equally."""
        reference: str | None = None
        """Tell qualities as differences to this item; by default to the mean of all that are connected."""
        style: tuple[str, ...] = ()
        """Measures to control for: NAME stands in the columns left_NAME and right_NAME, as a count."""
        bootstrap: int = 0
        """Take errors and ranks from this many crowds drawn from the annotators; 0: from the fitted model."""
        truth: Path | None = None
        """Table with the columns left, right and label of pairs whose better one is known."""
        json: bool = False
        """Print one JSON object."""

    options = parse("quality comparisons", Options, given)
    if options.bootstrap < 0 or options.bootstrap == 1:
        raise InputError(f"--bootstrap {options.bootstrap}: give 0, or 2 and more.")
    truths = read_winners(options.truth) if options.truth is not None else None
    model = fit_comparison_file(options.file, options.method, options.style)
    if options.bootstrap:
        ranked = bootstrap(model, options.bootstrap, options.reference)
    else:
        ranked = standings(model, options.reference)
    if options.out is not None:
        write_qualities(options.out, ranked)
    right = model.realised(truths) if truths is not None else None
    if options.json:
        print_json(
            {
                "method": model.method,
                "annotators": [asdict(e) for e in estimates_of(model)],
                "items": [asdict(s) for s in ranked],
                "style": [asdict(effect) for effect in model.style],
                "truth": right.to_dict() if right is not None else None,
                "converged": model.fit.converged,
                "notes": model.notes,
            }
        )
        return 0
    _print_annotators(model)
    _print_items(ranked)
    for effect in model.style:
        print(f"{effect.name}: {effect.estimate:+.2f} ± {1.96 * effect.se:.2f} log-odds per standard deviation.")
    if right is not None:
        print(f"Where the truth is known, the better one of a pair is {right}.")
    print_notes(model.notes)
    if options.out is not None:
        print(f"{len(ranked):,} items with their quality in {options.out}")
    return 0


def _print_annotators(model: "AnnotatorModel") -> None:
    from rich.console import Console
    from rich.table import Table

    if model.method == "bradley-terry":
        print(f"{len(model.annotators):,} annotators, all believed equally (plain Bradley-Terry).")
        return
    table = Table("annotator", "comparisons", "reliability", "95 % interval", "position bias", box=None)
    estimates = estimates_of(model)
    for e in estimates[:SHOWN]:
        interval = f"{e.reliability_low:+.2f} .. {e.reliability_high:+.2f}"
        bias = f"{e.position:+.2f} ± {1.96 * e.position_se:.2f}"
        table.add_row(e.annotator, f"{e.judgments:,}", f"{e.reliability:+.2f}", interval, bias)
    Console().print(table)
    if len(estimates) > SHOWN:
        print(f"... and {len(estimates) - SHOWN:,} more; --json prints all.")
    print("± is the 95 % interval. Reliability: 1 typical, 0 carries nothing, below 0 answers against the others.")


def _print_items(ranked: "list[Standing]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("item", "quality", "95 % interval", "rank", "95 % interval", box=None)
    groups = len({s.group for s in ranked})
    for s in ranked[:SHOWN]:
        name = s.item if groups == 1 else f"{s.item} (group {s.group + 1})"
        ranks = f"{s.rank_low:,} .. {s.rank_high:,}"
        table.add_row(name, f"{s.quality:+.2f}", f"{s.low:+.2f} .. {s.high:+.2f}", f"{s.rank:,}", ranks)
    Console().print(table)
    if len(ranked) > SHOWN:
        print(f"... and {len(ranked) - SHOWN:,} more; --json prints all, --out writes them.")


def watch(given: list[str]) -> int:
    """Who among the annotators seems to poison, and which groups agree beyond what they see."""
    from custodes.feedback import agreement, fit_annotators
    from custodes.feedback.agreement import agreement_of_annotators
    from custodes.feedback.poisoning import watch_annotators
    from custodes.feedback.truths import read_winners

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Raise an alarm for annotators whose answers go against the others', everywhere or where a word is."""

        file: tyro.conf.Positional[File]
        """Judgments, or preferences with a column "annotator": JSONL (.gz), JSON or parquet."""
        level: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.01
        """Probability that the alarm ever rings for an honest annotator."""
        honest: Share = 0.5
        """Reliability from which an annotator counts as honest; 1 is typical."""
        truth: Path | None = None
        """Table with the columns left, right and label (ids of episodes, or answers) of pairs whose better one is known."""
        json: bool = False
        """Print one JSON object."""

    options = parse("quality watch", Options, given)
    truths = read_winners(options.truth) if options.truth is not None else None
    judgments, episodes = read_judged(options.file)
    model = fit_annotators(judgments, episodes)
    names = {episode.id: episode.completion for episode in episodes or ()}
    right = model.realised(truths, names) if truths is not None else None
    tasks = {episode.task.id: episode.task for episode in episodes or ()}
    found = watch_annotators(model, judgments, tasks.values(), level=options.level, honest=options.honest)
    record_watch(found)
    shared = agreement(judgments)
    by_pair = agreement_of_annotators(judgments) if len(model.annotators) <= MOST else []
    if options.json:
        print_json(
            {
                "level": found.level,
                "annotators": [
                    {"annotator": e.subject, "judgments": e.n, **e.metrics} for e in found.evaluations("watch")
                ],
                "clusters": [asdict(cluster) | {"meaning": cluster.meaning} for cluster in found.clusters],
                "agreement": {"alpha": shared.alpha.to_dict(), "pairs": shared.items, "judgments": shared.judgments},
                "agreement_by_pair": [_pair(p) for p in by_pair],
                "truth": right.to_dict() if right is not None else None,
                "notes": model.notes,
            }
        )
        return 0
    _print_alarms(found)
    print(f"Krippendorff's alpha over pairs judged by several: {shared.alpha}.")
    if by_pair:
        least = min(by_pair[: max(1, len(by_pair) // 2)], key=lambda p: p.ac1.estimate)  # of those who share most
        print(
            f"Least agreement of two, among those who share most: {least.first} and {least.second}, kappa {least.kappa}, "
            f"AC1 {least.ac1}."
        )
    if right is not None:
        print(f"Where the truth is known, the better one of a pair is {right}.")
    print_notes(model.notes)
    return 0


MOST = 100
"""Annotators up to which the agreement of every two is computed."""


def _pair(p: Any) -> dict[str, Any]:
    told = {"annotators": [p.first, p.second], "items": p.items}
    return told | {name: getattr(p, name).to_dict() for name in ("share", "kappa", "ac1")}


def _print_alarms(found: "Watch") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("annotator", "judgments", "alarm", "evidence", "suspicion", "labels turned", box=None)
    for alarm, e in zip(found.alarms, found.evaluations("watch"), strict=True):
        rang = f"after {alarm.rang_at}" if alarm.rang_at else ""
        told = (f"{alarm.evidence:.1f}", alarm.suspicion if rang else "", f"{e.metrics['flipped']:.1%}")
        table.add_row(alarm.annotator, f"{alarm.judgments:,}", rang, *told)
    Console().print(table)
    limit = f"{math.log(1 / found.level):.1f}"
    print(
        f"The alarm rings at evidence {limit}; for an honest annotator it does with probability {found.level:g} at most."
    )
    for cluster in found.clusters:
        print(f"{', '.join(cluster.annotators)} {cluster.meaning} (p = {cluster.p:.2g}).")


def record_watch(found: "Watch") -> None:
    """In the command's run: one evaluation per annotator."""
    from custodes.job.recording import begin

    if (recording := begin()) is not None:
        recording.ledger.write(recording.run, found.evaluations("watch"))
