"""How good a reward model is: what ``custodes reward evaluate`` measures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from custodes.feedback.forms import JudgmentsOptions
from custodes.job.command import command, in_words
from custodes.lm.loading import DtypeName
from custodes.reward.evaluate import RewardEvaluation, evaluate_reward
from custodes.reward.storage import load_reward


@dataclass(frozen=True, kw_only=True)
class RewardEvaluate(JudgmentsOptions):
    """Evaluate a reward model on people's judgments."""

    model: Path
    """Folder of a reward model, or a hub id of a Llama-like sequence classifier."""
    dtype: DtypeName = "auto"
    """Precision of computation."""


@command()
def reward_evaluate(config: RewardEvaluate) -> RewardEvaluation:
    """Evaluate a reward model on people's judgments.

    Raises InputError for anything wrong with the folder or the file.
    """
    pairs = config.read_pairs()
    return evaluate_reward(load_reward(config.model, config.dtype), pairs, Path(config.judgments).name)


@in_words(reward_evaluate)
def _show(config: RewardEvaluate, evaluation: RewardEvaluation) -> None:
    for name in (f.name for f in fields(evaluation)):
        print(f"{name.replace('_', ' ').capitalize():<20} {getattr(evaluation, name)}")
