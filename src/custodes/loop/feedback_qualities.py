"""What all judgments of a file say of its answers together: what ``custodes feedback qualities`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from custodes.feedback.joint import JointFit, fit_judgments
from custodes.feedback.reading import JudgmentsOptions
from custodes.job.command import command, in_words
from custodes.ranges import Count, ranged

Z = 1.959964  # 97.5th percentile of the normal distribution


@dataclass(frozen=True, kw_only=True)
@ranged
class FeedbackQualities(JudgmentsOptions):
    """Fit the answers' qualities to judgments of all kinds at once: comparisons, rankings, ratings, labels, corrections."""

    kinds: tuple[str, ...] = ("comparison", "correction", "ranking", "rating", "label")
    """Kinds of judgments that count."""
    show: Count = 20
    """So many are shown, the first of them."""


@dataclass(frozen=True, slots=True)
class QualitiesFitted:
    """The fit, and what the answers are called."""

    fitted: JointFit
    axis: str
    texts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        fit = self.fitted
        rows = zip(fit.episodes, fit.quality.tolist(), fit.se.tolist(), strict=True)
        return {
            "axis": self.axis,
            "judgments": fit.counts,
            "slopes": fit.slopes,
            "nats": fit.information,
            "nats_a_minute": fit.nats_a_minute,
            "reliability": dict(zip(fit.annotators, fit.reliability.tolist(), strict=True)),
            "qualities": [{"episode": episode, "quality": quality, "se": se} for episode, quality, se in rows],
            "converged": fit.converged,
        }


@command()
def feedback_qualities(config: FeedbackQualities) -> QualitiesFitted:
    """Fit the answers' qualities to judgments of all kinds at once.

    Raises InputError where nothing was judged on the axis.
    """
    file = config.read()
    file.warn()
    axis = file.axis(config.axis)
    fitted = fit_judgments(file.feedback.judgments, axis, config.kinds)
    held = file.feedback.episodes
    texts = [held[id].completion if id in held else f"correction {id}" for id in fitted.episodes]
    return QualitiesFitted(fitted, axis, tuple(texts))


@in_words(feedback_qualities)
def _show(config: FeedbackQualities, found: QualitiesFitted) -> None:
    fit, table = found.fitted, Table("answer", "quality", "95 % interval", box=None)
    for place in np.argsort(-fit.quality)[: config.show]:
        middle, half = fit.quality[place], Z * fit.se[place]
        text = " ".join(found.texts[place].split())
        table.add_row(
            text if len(text) < 60 else f"{text[:57]}...",
            f"{middle:+.2f}",
            f"{middle - half:+.2f} .. {middle + half:+.2f}",
        )
    Console().print(table)
    print("Qualities are in standard deviations; only differences mean something.")
    for kind, count in fit.counts.items():
        minute = f", {fit.nats_a_minute[kind]:.2f} a minute" if kind in fit.nats_a_minute else ""
        print(f"{count:,} {kind}s tell {fit.information[kind]:.1f} nats of the qualities{minute}.")
    if not fit.converged:
        print(f"The fit has not converged after {fit.rounds} rounds: its numbers are rough.")
