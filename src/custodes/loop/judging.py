"""Judges compare samples, and the annotator model says whom to believe."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from custodes.audit import AnnotatorAgreement, AnnotatorEstimate
from custodes.audit.sections.values import AnnotatorGroups
from custodes.feedback.agreement import agreement, repeat_consistency
from custodes.feedback.annotator_model import AnnotatorModel, fit_annotators
from custodes.feedback.collection import UNNAMED
from custodes.feedback.inversion import Suspicion, suspect_inversions
from custodes.feedback.reading import FeedbackFile
from custodes.feedback.simulated import SimulatedAnnotator, simulated_annotators
from custodes.job.workspace import Workspace
from custodes.ledger import Decision
from custodes.reward.group_choice import ChosenGroups, choose_groups
from custodes.reward.plain_features import plain_pairs
from custodes.types import Episode, Judgment, Task

UNDECIDED = 0.4
"""Where several judge each pair: a probability of being better within this of 1/2 leaves open which answer is."""

REPEAT_SHARE = 0.1
"""Share of an annotator's comparisons that are asked again, to see whether they agree with themselves."""


@dataclass(frozen=True)
class Judged:
    """What judges said, of which episodes, and who is to be believed."""

    tasks: dict[str, Task]
    episodes: dict[str, Episode]
    judgments: list[Judgment]
    simulated: tuple[SimulatedAnnotator, ...] = ()  # none where people judged
    undecided: float = 0.0
    """Nothing is learned from and measured on pairs whose probability of being better is within this of 1/2."""

    axis: str = "overall"
    """What is compared on."""

    def decides(self, better: float) -> bool:
        """Whether a probability of being better says which of two answers is."""
        return abs(better - 0.5) > self.undecided


def simulate_judges(
    work: Workspace,
    episodes: Sequence[Episode],
    gold: Callable[[Task, str], float],
    judges: Mapping[str, int],
    overlap: int,
    seed: int,
) -> Judged:
    """Simulated annotators compare every two samples of each task, ``overlap`` of them each; recorded in the ledger."""
    annotators = simulated_annotators(judges, seed=seed)
    work.ledger.write(work.run, [a.annotator for a in annotators])
    judgments = compare_pairs(annotators, episodes, gold, overlap, seed)
    work.ledger.write(work.run, judgments)
    return judged_by(annotators, episodes, judgments, overlap)


def judged_by(
    annotators: Sequence[SimulatedAnnotator], episodes: Sequence[Episode], judgments: list[Judgment], overlap: int
) -> Judged:
    """What simulated annotators said, ``overlap`` of them of each pair."""
    tasks = {e.task.id: e.task for e in episodes}
    undecided = UNDECIDED if overlap > 1 else 0.0  # a single judge always decides
    return Judged(tasks, {e.id: e for e in episodes}, judgments, tuple(annotators), undecided)


def compare_pairs(
    annotators: Sequence[SimulatedAnnotator],
    episodes: Sequence[Episode],
    gold: Callable[[Task, str], float],
    overlap: int,
    seed: int,
) -> list[Judgment]:
    """What annotators say of every two samples of each task, ``overlap`` of them each, and of some a second time."""
    by_task: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_task.setdefault(episode.task.id, []).append(episode)
    rng = random.Random(seed)
    judgments: list[Judgment] = []
    turn: list[int] = []
    for samples in by_task.values():
        for first, second in ((a, b) for a, b in combinations(samples, 2) if a.completion != b.completion):
            if len(turn) < overlap:  # everybody gets work before anybody gets more
                turn += rng.sample(range(len(annotators)), len(annotators))
            chosen, turn = turn[:overlap], turn[overlap:]
            golds = gold(first.task, first.completion), gold(first.task, second.completion)
            for annotator in (annotators[i] for i in dict.fromkeys(chosen)):
                judgments.append(annotator.compare(first.task, first, second, golds))
                if rng.random() < REPEAT_SHARE:
                    judgments.append(annotator.compare(first.task, first, second, golds, repeat=1))
    return judgments


def from_file(work: Workspace, own: FeedbackFile, axis: str = "") -> Judged:
    """A person's own judgments in place of simulated judges."""
    held = own.feedback
    work.ledger.write(
        work.run, [*held.annotators.values(), *held.tasks.values(), *held.episodes.values(), *held.judgments]
    )
    return Judged(held.tasks, held.episodes, held.judgments, axis=own.axis(axis))


def believe(work: Workspace, judged: Judged) -> tuple[AnnotatorModel, ChosenGroups | None]:
    """Fit the annotator model and record what it says of everybody; find groups that prefer other things, None of nameless judges.

    Whoever seems to turn answers round is marked for a second look.
    """
    model = fit_annotators(judged.judgments, judged.episodes.values(), judged.axis)
    suspicions = suspect_inversions(model, judged.judgments, judged.tasks.values())
    _record_estimates(work, judged, model, {s.annotator: s for s in suspicions})
    shared = agreement(judged.judgments, axis=judged.axis)
    if shared.items:
        alpha = shared.alpha.to_dict()
        row = AnnotatorAgreement(
            alpha=shared.alpha.estimate,
            alpha_low=alpha["low"],
            alpha_high=alpha["high"],
            items=shared.items,
            judgments=shared.judgments,
        )
        work.record("agreement", row, "annotators")
    work.ledger.write(
        work.run,
        [
            Decision(
                f"suspect-{s.annotator}",
                "marked for a second look",
                f"agrees with the others in {s.agreed_inside} of {s.inside} comparisons where the prompt has the word "
                f"{s.feature!r}, and in {s.agreed_outside} of {s.outside} elsewhere (Fisher's exact test, adjusted p = {s.p_adjusted:.2g})",
                s.annotator,
            )
            for s in suspicions
        ],
    )
    return model, _find_groups(work, judged, model, suspicions)


def _find_groups(
    work: Workspace, judged: Judged, model: AnnotatorModel, suspicions: Sequence[Suspicion]
) -> ChosenGroups | None:
    if UNNAMED in model.annotators or len(model.annotators) < 2:
        return None
    pairs = plain_pairs(model, judged.judgments, judged.episodes.values(), suspicions)
    chosen = choose_groups(pairs.data, where=pairs.where)
    truths = {a.annotator.id: a for a in judged.simulated}
    people = [truths.get(name) for name in chosen.groups.people]
    row = AnnotatorGroups(
        features=list(pairs.names),
        weights=chosen.groups.typical.tolist(),
        annotator=list(chosen.groups.people),
        membership=chosen.groups.membership.tolist(),
        gains=list(chosen.gains),
        readings=[reading.to_dict() for reading in chosen.readings],
        values=[a.values.name if a else None for a in people],
        nature=[a.nature.name if a else None for a in people],
    )
    if not work.has("annotator-groups"):
        work.record("annotator-groups", row, "annotators")
    return chosen


def _record_estimates(
    work: Workspace, judged: Judged, model: AnnotatorModel, suspicions: Mapping[str, Suspicion]
) -> None:
    consistency = repeat_consistency(judged.judgments, judged.axis).annotators
    natures = {a.annotator.id: a for a in judged.simulated}
    seen: dict[str, list[Task]] = {}
    for judgment in judged.judgments:
        seen.setdefault(judgment.annotator, []).append(judged.tasks[judgment.task])
    for name in model.annotators:
        estimate, repeats = model.of(name), consistency.get(name)
        truth, suspicion = natures.get(name), suspicions.get(name)
        row = AnnotatorEstimate(
            **{name: getattr(estimate, name) for name in _ESTIMATED},
            repeats=repeats.n if repeats else 0,
            repeats_same=round(repeats.estimate * repeats.n) if repeats else 0,
            nature=truth.nature.name if truth else None,
            true_reliability=truth.true_reliability(seen[name]) if truth else None,
            true_position=truth.nature.position if truth else None,
            true_length=truth.nature.length * model.length_unit if truth else None,
            **({k: getattr(suspicion, k) for k in _EVIDENCE} if suspicion else {}),
        )
        work.record(f"annotator-{name}", row, name)


_ESTIMATED = (
    "judgments", "reliability", "reliability_se", "reliability_low", "reliability_high",
    "position", "position_se", "length", "length_se",
)  # fmt: skip
_EVIDENCE = ("feature", "agreed_inside", "inside", "agreed_outside", "outside", "p_adjusted")


def split_by_task(judged: Judged, held_out: set[str]) -> tuple[list[Judgment], list[Judgment]]:
    """Judgments of training tasks, and of held-out tasks."""
    train = [j for j in judged.judgments if j.task not in held_out]
    return train, [j for j in judged.judgments if j.task in held_out]
