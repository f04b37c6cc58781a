"""Who among annotators can be trusted: what ``custodes feedback annotators`` says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from custodes.feedback import AnnotatorModel, agreement, fit_annotators
from custodes.feedback.agreement import InterAnnotatorAgreement
from custodes.feedback.annotator_model import AnnotatorMethod, Style
from custodes.feedback.reading import JudgmentsOptions
from custodes.job.command import command, in_words


@dataclass(frozen=True, kw_only=True)
class FeedbackAnnotators(JudgmentsOptions):
    """Fit reliability and biases of the annotators in a file, with 95 % intervals; least reliable first."""

    annotator_model: AnnotatorMethod = "hierarchical"
    """Reliability and biases of every annotator, or everybody believed equally."""
    style: tuple[Style, ...] = ()
    """What qualities are controlled for: length, markdown. Needs preferences, which hold the answers."""


@dataclass(frozen=True, slots=True)
class AnnotatorsFitted:
    """The annotators of a file, fitted, and how far they agree."""

    model: AnnotatorModel
    agreement: InterAnnotatorAgreement
    texts: bool
    """Whether the file holds the answers, and not which of them was shown first."""

    def to_dict(self) -> dict[str, Any]:
        model, shared = self.model, self.agreement
        return {
            "annotators": [asdict(e) for e in model.estimates],
            "agreement": {"alpha": shared.alpha.to_dict(), "pairs": shared.items, "judgments": shared.judgments},
            "method": model.method,
            "style": [asdict(effect) for effect in model.style],
            "shared_length": asdict(model.shared_length) if model.shared_length is not None else None,
            "converged": model.fit.converged,
            "notes": [*model.notes, *([shared.note] if shared.note else [])],
        }


@command()
def feedback_annotators(config: FeedbackAnnotators) -> AnnotatorsFitted:
    """Say who among the annotators of a file can be trusted."""
    file = config.read()
    file.warn()
    judgments, axis = file.feedback.judgments, file.axis(config.axis)
    model = fit_annotators(judgments, file.unordered, axis, config.annotator_model, config.style)
    return AnnotatorsFitted(model, agreement(judgments, axis=axis), file.unordered is not None)


@in_words(feedback_annotators)
def _show(config: FeedbackAnnotators, fitted: AnnotatorsFitted) -> None:
    bias = "length" if fitted.texts else "position"  # preference files do not say what was shown first
    table = Table("annotator", "judgments", "reliability", "95 % interval", f"{bias} bias", box=None)
    for e in fitted.model.estimates:
        interval = f"{e.reliability_low:+.2f} .. {e.reliability_high:+.2f}"
        own = f"{getattr(e, bias):+.2f} ± {1.96 * getattr(e, f'{bias}_se'):.2f}"
        table.add_row(e.annotator, f"{e.judgments:,}", f"{e.reliability:+.2f}", interval, own)
    Console().print(table)
    print(f"± is the 95 % interval. Krippendorff's alpha over pairs judged by several: {fitted.agreement.alpha}.")
    if bias == "length":
        print("Length bias: how much more than the typical annotator somebody favours the longer answer.")
    for effect in fitted.model.style:
        print(f"{effect.name}: {effect.estimate:+.2f} ± {1.96 * effect.se:.2f} log-odds per standard deviation.")
