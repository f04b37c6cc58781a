"""Whose answers go against the others': what ``custodes feedback watch`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from custodes.feedback.agreement import InterAnnotatorAgreement, PairAgreement, agreement, agreement_of_annotators
from custodes.feedback.annotator_model import AnnotatorModel, fit_annotators
from custodes.feedback.poisoning import RewardInfluence, Watch, influence_on_reward, watch_annotators
from custodes.feedback.reading import JudgmentsOptions
from custodes.feedback.self_agreement import AttentionCheck, attention_checks
from custodes.feedback.truths import Realised, read_winners
from custodes.job.command import command, in_words
from custodes.job.invocation import begin
from custodes.ranges import Range, Share, ranged
from custodes.types import Floats, InputError

MOST = 100
"""Annotators up to which the agreement of every two is computed."""


@dataclass(frozen=True, kw_only=True)
@ranged
class FeedbackWatch(JudgmentsOptions):
    """Raise an alarm for annotators whose answers go against the others', everywhere or where a word is."""

    level: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.01
    """Probability that the alarm ever rings for an honest annotator."""
    honest: Share = 0.5
    """Reliability from which an annotator counts as honest; 1 is typical."""
    truth: Path | None = None
    """Table with the columns left, right and label (ids of episodes, or answers) of pairs whose better one is known: what
    is stated is set beside them, and they are everybody's attention checks."""
    passing: Share = 0.8
    """Share of the known pairs that somebody who pays attention answers rightly."""
    reward: Path | None = None
    """Folder of a reward model. Its last layer is fitted with and without each annotator, and judges the pairs of --truth."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Alarms and groups, how far annotators agree, and where the truth is known what came and who missed it."""

    watch: Watch
    agreement: InterAnnotatorAgreement
    by_pair: list[PairAgreement]
    truth: Realised | None
    reward: RewardInfluence | None
    checks: list[AttentionCheck]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        watch, shared, reward = self.watch, self.agreement, self.reward
        return {
            "level": watch.level,
            "annotators": [{"annotator": e.subject, "judgments": e.n, **e.metrics} for e in watch.evaluations("watch")],
            "clusters": [asdict(cluster) | {"meaning": cluster.meaning} for cluster in watch.clusters],
            "agreement": shared.to_dict(),
            "agreement_by_pair": [pair.to_dict() for pair in self.by_pair],
            "truth": self.truth.to_dict() if self.truth is not None else None,
            "reward": [
                {"annotator": name, "loss_without": float(loss), "flipped": float(flipped)}
                for name, loss, flipped in zip(watch.annotators, reward.loss, reward.flipped, strict=True)
            ]
            if reward is not None
            else None,
            "attention_checks": [check.to_dict() for check in self.checks],
            "notes": self.notes,
        }


@command()
def feedback_watch(config: FeedbackWatch) -> Watched:
    """Who among the annotators seems to poison, and which groups agree beyond what they see.

    The run that is being recorded gets one evaluation per annotator.
    """
    if config.reward is not None and config.truth is None:
        raise InputError(
            "--reward needs --truth: pairs whose better one is known say what an annotator did to the reward."
        )
    truths = read_winners(config.truth) if config.truth is not None else None
    file = config.read()
    file.warn()
    judgments, episodes, axis = file.feedback.judgments, file.unordered, file.axis(config.axis)
    model = fit_annotators(judgments, episodes, axis)
    names = {episode.id: episode.completion for episode in episodes or ()}
    right = model.realised(truths, names) if truths is not None else None
    checks = (
        attention_checks(judgments, truths, names, passing=config.passing, level=config.level, axis=axis)
        if truths
        else []
    )
    tasks = {episode.task.id: episode.task for episode in episodes or ()}
    watch = watch_annotators(model, judgments, tasks.values(), level=config.level, honest=config.honest)
    if (recording := begin()) is not None:
        recording.ledger.write(recording.run, watch.evaluations("watch"))
    by_pair = agreement_of_annotators(judgments, axis) if len(model.annotators) <= MOST else []
    reward = None
    if config.reward is not None and truths is not None:
        from custodes.reward.model import last_hidden_states  # which load torch
        from custodes.reward.storage import load_reward

        shown = [file.feedback.episodes[id] for id in model.episodes]
        hidden = last_hidden_states(load_reward(config.reward), shown)
        reward = _influence(model, hidden, model.known_pairs(truths, names))
    return Watched(watch, agreement(judgments, axis=axis), by_pair, right, reward, checks, list(model.notes))


def _influence(model: AnnotatorModel, hidden: Floats, known: Mapping[int, bool]) -> RewardInfluence:
    """What the last layer over ``hidden`` (I, D) states of the episodes owes to each annotator, by the ``known`` pairs."""
    data = model.comparisons
    features = (hidden[data.first] - hidden[data.second]) / np.sqrt(hidden.shape[1])
    label = (np.sign(data.strength) + 1) / 2
    return influence_on_reward(
        features, label, data.annotator, features[list(known)], np.array([*known.values()], float)
    )


@in_words(feedback_watch)
def _show(config: FeedbackWatch, watched: Watched) -> None:
    watch = watched.watch
    table = Table("annotator", "judgments", "alarm", "evidence", "suspicion", "labels turned", box=None)
    for alarm, e in zip(watch.alarms, watch.evaluations("watch"), strict=True):
        rang = f"after {alarm.rang_at}" if alarm.rang_at else ""
        told = (f"{alarm.evidence:.1f}", alarm.suspicion if rang else "", f"{e.metrics['flipped']:.1%}")
        table.add_row(alarm.annotator, f"{alarm.judgments:,}", rang, *told)
    Console().print(table)
    print(
        f"The alarm rings at evidence {math.log(1 / watch.level):.1f}; for an honest annotator it does with probability "
        f"{watch.level:g} at most."
    )
    for cluster in watch.clusters:
        print(f"{', '.join(cluster.annotators)} {cluster.meaning} (p = {cluster.p:.2g}).")
    print(f"Krippendorff's alpha over pairs judged by several: {watched.agreement.alpha}.")
    if by_pair := watched.by_pair:
        least = min(by_pair[: max(1, len(by_pair) // 2)], key=lambda p: p.ac1.estimate)  # of those who share most
        print(
            f"Least agreement of two, among those who share most: {least.first} and {least.second}, kappa {least.kappa}, "
            f"AC1 {least.ac1}."
        )
    if (reward := watched.reward) is not None:
        moved = ", ".join(f"{watch.annotators[k]} {reward.loss[k]:+.4f}" for k in np.argsort(reward.loss)[:3])
        print(f"The reward's loss on known pairs would change most, in nats per pair, without: {moved}.")
    if watched.truth is not None:
        print(f"Where the truth is known, the better one of a pair is {watched.truth}.")
    for check in watched.checks:
        if check.failed:
            print(
                f"{check.annotator} answers {check.right} of the known pairs rightly: surely below {config.passing:g}."
            )
    if watched.checks and not any(check.failed for check in watched.checks):
        print(f"Nobody surely answers fewer than {config.passing:g} of the known pairs rightly.")
