"""How good a reward model is: what ``custodes reward evaluate`` measures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from custodes.feedback.collection import UNNAMED
from custodes.feedback.reading import JudgmentsOptions
from custodes.job.command import command, in_words
from custodes.lm.loading import DtypeName
from custodes.reward.config import RewardConfig
from custodes.reward.evaluate import RewardEvaluation, evaluate_reward
from custodes.reward.group_training import (
    GroupAccuracy,
    NamedPairs,
    RewardGroups,
    accuracy_of_groups,
    find_reward_groups,
)
from custodes.reward.objective import Material
from custodes.reward.spread_pairs import SPREAD, r2_of_scores
from custodes.reward.storage import load_reward
from custodes.reward.teaching import measures_of, open_objectives, value_pairs
from custodes.stats import Interval
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class RewardEvaluate(JudgmentsOptions):
    """Evaluate a reward model on people's judgments."""

    model: Path
    """Folder of a reward model, or a hub id of a Llama-like sequence classifier."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    objectives: tuple[str, ...] = ()
    """How judgments teach: NAME or NAME,OPTION=VALUE, of pairs, rankings, ratings, labels, corrections, comments, steps, spans,
    or one of your own, FILE.py:NAME. Without: all of them."""


@dataclass(frozen=True, slots=True)
class RewardMeasured:
    """How good a reward is on comparisons (None where there are none), and what each kind of judgment says of it."""

    evaluation: RewardEvaluation | None
    measures: dict[str, Interval]
    groups: RewardGroups | None = None
    served: GroupAccuracy | None = None
    r2: Interval | None = None
    """Of a reward with a mean and a variance: the share of the variance of worth that replies explain."""
    spread: RewardGroups | None = None
    """Of that reward's judgments: their r2, and the r2 of one group with the same noise. None where nobody is named."""

    def to_dict(self) -> dict[str, Any]:
        """Those of the evaluation, and ``measures``."""
        evaluation = self.evaluation.to_dict() if self.evaluation else {}
        told = evaluation | {"measures": {name: found.to_dict() for name, found in self.measures.items()}}
        if self.groups is not None and self.served is not None:
            told |= {"groups": dict(self.groups.held), "accuracy_of_groups": self.served.to_dict()}
        told |= {"r2": self.r2.to_dict()} if self.r2 is not None else {}
        return told | ({"r2_of_judgments": self.spread.held["r2"]} if self.spread is not None else {})


@command()
def reward_evaluate(config: RewardEvaluate) -> RewardMeasured:
    """Evaluate a reward model on people's judgments.

    Raises InputError for anything wrong with the folder or the file, and where no judgment is about what the reward judges.
    """
    file = config.read()
    file.check_texts()
    file.warn()
    model = load_reward(config.model, config.dtype)
    material = Material(file.feedback, model.reader, model.axes, model.marks)
    on_axis = value_pairs(material, file.axis(config.axis) if len(model.axes) == 1 else config.axis)
    pairs = [pair for pair in on_axis if pair.weight > 0]
    evaluation = evaluate_reward(model, pairs, file.name) if pairs and model.axes else None
    measures = measures_of(model, material, open_objectives(config.objectives))
    if evaluation is None and not measures:
        raise InputError(f"{file.name} holds no judgment about {', '.join(model.outputs)}.")
    groups, served, r2, spread = RewardGroups.load(config.model), None, None, None
    people = {judgment.annotator for judgment in file.feedback.judgments}
    if groups is not None or (SPREAD in model.axes and UNNAMED not in people):
        named = NamedPairs.of(file.feedback.judgments, file.feedback, file.axis(config.axis), file.name)
    if groups is not None:
        served, _ = accuracy_of_groups(model, named, groups)
    if SPREAD in model.axes:
        judged = {id for judgment in file.feedback.judgments for id in judgment.episodes}
        replies = [episode for id, episode in file.feedback.episodes.items() if id in judged]
        r2 = r2_of_scores(model.score(replies), [e.task.id for e in replies])
        if UNNAMED not in people:
            reading = RewardConfig(max_length=model.max_length)
            spread, *_ = find_reward_groups(model.lm, named, 0, (), reading, file.name)
    return RewardMeasured(evaluation, measures, groups, served, r2, spread)


@in_words(reward_evaluate)
def _show(config: RewardEvaluate, measured: RewardMeasured) -> None:
    evaluation = measured.evaluation
    for name in (f.name for f in fields(evaluation)) if evaluation else ():
        print(f"{name.replace('_', ' ').capitalize():<20} {getattr(evaluation, name)}")
    for name, interval in measured.measures.items():
        print(f"{name.capitalize():<40} {interval}")
    if measured.groups is not None and measured.served is not None:
        print("\n".join([*measured.groups.lines, *measured.served.lines()]))
    if measured.r2 is not None:
        print(
            f"r2, the share of the variance of worth that replies explain: {measured.r2}. Judges' noise counts as variance."
        )
        unnamed = "Nobody is named in the judgments, so r2 without disagreement cannot be told."
        print(f"Of these judgments: {measured.spread.lines[-1]}" if measured.spread is not None else unnamed)
