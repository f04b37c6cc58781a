"""Who among annotators can be trusted: what ``custodes feedback annotators`` says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from custodes.feedback.agreement import Consistency, InterAnnotatorAgreement, agreement, repeat_consistency
from custodes.feedback.annotator_model import AnnotatorMethod, AnnotatorModel, Style, fit_annotators
from custodes.feedback.gaps import GroupGap, gaps_of_groups
from custodes.feedback.inversion import suspect_inversions
from custodes.feedback.raking import Raked, rake, read_margins, read_profiles
from custodes.feedback.reading import FeedbackFile, JudgmentsOptions
from custodes.feedback.self_agreement import CHANCE, Transitivity, transitivity
from custodes.job.command import command, in_words
from custodes.job.invocation import begin
from custodes.ranges import ranged
from custodes.reward.group_choice import choose_groups
from custodes.reward.named_groups import NamedGroups
from custodes.reward.plain_features import plain_pairs
from custodes.reward.whose_values import WhoseValues


@dataclass(frozen=True, kw_only=True)
@ranged
class FeedbackAnnotators(JudgmentsOptions, WhoseValues):
    """Fit reliability and biases of the annotators in a file, with 95 % intervals; least reliable first."""

    annotator_model: AnnotatorMethod = "hierarchical"
    """Reliability and bias of every annotator, or everybody believed equally."""
    style: tuple[Style, ...] = ()
    """What qualities are controlled for: length, markdown. Needs preferences, which hold the answers."""


@dataclass(frozen=True, slots=True)
class AnnotatorsFitted:
    """The annotators of a file, fitted, and how far they agree."""

    model: AnnotatorModel
    agreement: InterAnnotatorAgreement
    texts: bool
    """Whether the file holds the answers, and not which of them was shown first."""
    repeats: Consistency
    circles: Transitivity
    groups: NamedGroups | None
    gaps: list[GroupGap]
    raked: Raked | None

    def to_dict(self) -> dict[str, Any]:
        model, shared = self.model, self.agreement
        return {
            "annotators": [asdict(e) for e in model.estimates],
            "agreement": shared.to_dict(),
            "method": model.method,
            "style": [asdict(effect) for effect in model.style],
            "shared_length": asdict(model.shared_length) if model.shared_length is not None else None,
            "converged": model.fit.converged,
            "repeats": {
                "same": self.repeats.overall.to_dict(),
                "annotators": {name: interval.to_dict() for name, interval in self.repeats.annotators.items()},
            },
            "transitivity": self.circles.to_dict(),
            "groups": self.groups.to_dict() if self.groups is not None else None,
            "gaps": [gap.to_dict() for gap in self.gaps],
            "raked": self.raked.to_dict() if self.raked is not None else None,
            "notes": [*model.notes, *([shared.note] if shared.note else [])],
        }


@command()
def feedback_annotators(config: FeedbackAnnotators) -> AnnotatorsFitted:
    """Say who among the annotators of a file can be trusted."""
    file = config.read()
    file.warn()
    judgments, axis = file.feedback.judgments, file.axis(config.axis)
    profiles = read_profiles(config.profiles) if config.profiles is not None else {}
    margins = read_margins(config.population) if config.population is not None else None
    model = fit_annotators(judgments, file.unordered, axis, config.annotator_model, config.style)
    who = {name: profiles.get(name, {}) for name in model.annotators}
    return AnnotatorsFitted(
        model,
        agreement(judgments, axis=axis),
        file.unordered is not None,
        repeat_consistency(judgments, axis),
        transitivity(judgments, axis),
        _groups(config, file, model) if config.groups is not None else None,
        gaps_of_groups(model, profiles) if profiles else [],
        rake(who, margins, str(config.population)) if margins is not None else None,
    )


def _groups(config: FeedbackAnnotators, file: FeedbackFile, model: AnnotatorModel) -> NamedGroups:
    """Groups on features that have names. What a person decided of them is recorded."""
    held = file.feedback
    suspicions = suspect_inversions(model, held.judgments, held.tasks.values())
    pairs = plain_pairs(model, held.judgments, held.episodes.values(), suspicions, file.name)
    groups = NamedGroups.of(
        choose_groups(pairs.data, config.groups or 0, where=pairs.where), pairs.names, config.decide
    )
    if groups.decided and (recording := begin()) is not None:
        recording.ledger.write(recording.run, groups.decisions())
    return groups


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
    repeats, circles = fitted.repeats.overall, fitted.circles.overall
    if repeats.n:
        print(f"Pairs that somebody judged again and answered the same: {repeats}.")
    if circles.n:
        print(f"Circles among what one person prefers: {circles} of their triads; guessing gives {CHANCE:.0%}.")
    for line in fitted.groups.lines() if fitted.groups is not None else ():
        print(line)
    for gap in fitted.gaps:
        print(
            f"{gap.attribute} {gap.category}, {gap.annotators} annotators: agree with everybody else in {gap.agreement}, "
            f"{gap.gap.estimate:+.3f} [{gap.gap.low:+.3f}, {gap.gap.high:+.3f}] against the others."
        )
    if fitted.raked is not None:
        print(fitted.raked)
        print(", ".join(f"{name} {weight:.2f}" for name, weight in fitted.raked.weights.items()))
