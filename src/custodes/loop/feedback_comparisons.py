"""What comparisons of items say together: what ``custodes feedback comparisons`` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from custodes.feedback.annotator_model import AnnotatorMethod, AnnotatorModel
from custodes.feedback.labels import fit_comparison_file, write_qualities
from custodes.feedback.ranking import Standing, bootstrap, standings
from custodes.feedback.truths import Realised, read_winners
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.types import InputError

SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class FeedbackComparisons:
    """Fit reliability and position bias of those who compared items, and the items' quality and rank."""

    judgments: Path
    """Table with the columns worker, left, right, label (the winner, or empty for a tie) and, if there is one, task."""
    out: Output | None = None
    """CSV to write: item, group, quality, se, low, high, rank, rank_low, rank_high; the best first."""
    annotator_model: AnnotatorMethod = "hierarchical"
    """Reliability and bias of every annotator, or everybody believed equally."""
    reference: str | None = None
    """Tell qualities as differences to this item; by default to the mean of all that are connected."""
    style: tuple[str, ...] = ()
    """Measures to control for: NAME stands in the columns left_NAME and right_NAME, as a count."""
    resamples: int = 0
    """Take errors and ranks from this many crowds drawn from the annotators; 0: from the fitted model."""
    truth: Path | None = None
    """Table with the columns left, right and label of pairs whose better one is known."""


@dataclass(frozen=True, slots=True)
class ComparisonsFitted:
    """Those who compared, the items, the best first, and what came where the better one is known."""

    model: AnnotatorModel
    items: list[Standing]
    truth: Realised | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.model.method,
            "annotators": [asdict(e) for e in self.model.estimates],
            "items": [asdict(s) for s in self.items],
            "style": [asdict(effect) for effect in self.model.style],
            "truth": self.truth.to_dict() if self.truth is not None else None,
            "converged": self.model.fit.converged,
            "notes": self.model.notes,
        }


@command()
def feedback_comparisons(config: FeedbackComparisons) -> ComparisonsFitted:
    """Who can be trusted among those who compared, and what is best."""
    if config.resamples < 0 or config.resamples == 1:
        raise InputError(f"--resamples {config.resamples}: give 0, or 2 and more.")
    truths = read_winners(config.truth) if config.truth is not None else None
    model = fit_comparison_file(config.judgments, config.annotator_model, config.style)
    if config.resamples:
        items = bootstrap(model, config.resamples, config.reference)
    else:
        items = standings(model, config.reference)
    if config.out is not None:
        write_qualities(config.out, items)
    return ComparisonsFitted(model, items, model.realised(truths) if truths is not None else None)


@in_words(feedback_comparisons)
def _show(config: FeedbackComparisons, fitted: ComparisonsFitted) -> None:
    _show_annotators(fitted.model)
    _show_items(fitted.items)
    for effect in fitted.model.style:
        print(f"{effect.name}: {effect.estimate:+.2f} ± {1.96 * effect.se:.2f} log-odds per standard deviation.")
    if fitted.truth is not None:
        print(f"Where the truth is known, the better one of a pair is {fitted.truth}.")
    if config.out is not None:
        print(f"{len(fitted.items):,} items with their quality in {config.out}")


def _show_annotators(model: AnnotatorModel) -> None:
    if model.method == "bradley-terry":
        print(f"{len(model.annotators):,} annotators, all believed equally (plain Bradley-Terry).")
        return
    table = Table("annotator", "comparisons", "reliability", "95 % interval", "position bias", box=None)
    for e in model.estimates[:SHOWN]:
        interval = f"{e.reliability_low:+.2f} .. {e.reliability_high:+.2f}"
        bias = f"{e.position:+.2f} ± {1.96 * e.position_se:.2f}"
        table.add_row(e.annotator, f"{e.judgments:,}", f"{e.reliability:+.2f}", interval, bias)
    Console().print(table)
    if len(model.annotators) > SHOWN:
        print(f"... and {len(model.annotators) - SHOWN:,} more; --json prints all.")
    print("± is the 95 % interval. Reliability: 1 typical, 0 carries nothing, below 0 answers against the others.")


def _show_items(items: list[Standing]) -> None:
    table = Table("item", "quality", "95 % interval", "rank", "95 % interval", box=None)
    groups = len({s.group for s in items})
    for s in items[:SHOWN]:
        name = s.item if groups == 1 else f"{s.item} (group {s.group + 1})"
        ranks = f"{s.rank_low:,} .. {s.rank_high:,}"
        table.add_row(name, f"{s.quality:+.2f}", f"{s.low:+.2f} .. {s.high:+.2f}", f"{s.rank:,}", ranks)
    Console().print(table)
    if len(items) > SHOWN:
        print(f"... and {len(items) - SHOWN:,} more; --json prints all, --out writes them.")
