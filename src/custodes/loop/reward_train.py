"""A reward model from a file of judgments: what ``custodes reward train`` does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from custodes.feedback.forms import JudgmentsOptions, hash_of
from custodes.files import save_json
from custodes.job.command import command
from custodes.job.options import Output
from custodes.job.workspace import Workspace
from custodes.lm.loading import DtypeName, load
from custodes.ranges import PartShare, ranged
from custodes.reward.config import RewardConfig
from custodes.reward.evaluate import RewardEvaluation, calibrate
from custodes.reward.reading import Reader
from custodes.reward.storage import SETTINGS, load_reward, save_reward
from custodes.reward.train import train_reward
from custodes.train import OnStep
from custodes.types import InputError, PreferencePair

if TYPE_CHECKING:
    from custodes.reward.model import RewardModel

RECORD = "training.json"
"""What was trained, on what, and how good it was: for whoever finds the folder."""


@dataclass(frozen=True, kw_only=True)
@ranged
class RewardTrain(JudgmentsOptions):
    """Train a reward model on people's judgments."""

    out: Output
    """Folder for the reward model; a run that was interrupted is continued from here."""
    model: str = "smollm2-135m"
    """Backbone: smollm2-135m (embedded), a local folder, a .gguf file or a hub id."""
    held_out: PartShare = 0.1
    """Share of the pairs (whole prompts) kept out of training, on which probabilities are calibrated."""
    dtype: DtypeName = "auto"
    """Precision of computation; what learns is kept in float32."""
    training: RewardConfig = field(default_factory=RewardConfig)
    """How it is trained."""


@dataclass(frozen=True, slots=True)
class RewardTrained:
    """What was trained, and how good it is on the pairs that were held out (None where none were)."""

    model: RewardModel
    out: Path
    evaluation: RewardEvaluation | None

    def to_dict(self) -> dict[str, Any]:
        return {"model": str(self.out), "evaluation": self.evaluation.to_dict() if self.evaluation else None}

    def __str__(self) -> str:
        accuracy = [f"Accuracy on held-out pairs: {self.evaluation.accuracy}."] if self.evaluation else []
        return "\n".join([f"The reward model is in {self.out}.", *accuracy])


@command(resumes=True, steps=True)
def reward_train(config: RewardTrain, on_step: OnStep | None = None) -> RewardTrained:
    """Train a reward model on people's judgments.

    It is calibrated and saved. What is in the output folder already is not trained again, only evaluated. Raises InputError for anything wrong with
    the file, the model, the options or the output folder, which belongs to one configuration and to one process.
    """
    source, pairs = Path(config.judgments).name, config.read_pairs()
    training, held_out = split_by_prompt(pairs, config.held_out, config.training.seed)
    contents = {"judgments": hash_of(config.judgments)}
    opened = Workspace.open(config.out, "reward train", config, config.training.seed, contents=contents, begin=False)
    with opened as work:
        if work.begun is None and any((config.out / name).is_file() for name in ("config.json", SETTINGS)):
            raise InputError(f"{config.out} holds a model that this command did not make; use another --out.")
        work.begin()
        if work.done(config.out):
            work.console.print(
                f"The reward model in {config.out} is trained; it is only evaluated again.", soft_wrap=True
            )
            model = load_reward(config.out, config.dtype)
            return RewardTrained(model, config.out, calibrate(model, held_out, source) if held_out else None)
        checkpoints = config.out / "checkpoints"
        lm = load(config.model, dtype=config.dtype)
        Reader(lm, config.training.max_length).check_replies(pairs, source)  # those held out too, before training
        model = train_reward(lm, training, config.training, source=source, checkpoints=checkpoints, on_step=on_step)
        evaluation = calibrate(model, held_out, source) if held_out else None
        save_reward(model, config.out)
        measured = {
            "judgments_file": config.judgments,
            "pairs": len(training),
            "held_out_evaluation": evaluation.to_dict() if evaluation else None,
        }
        save_json(config.out / RECORD, work.identity["config"] | measured)
        shutil.rmtree(checkpoints, ignore_errors=True)
        work.finish(config.out)
    return RewardTrained(model, config.out, evaluation)


def split_by_prompt(
    pairs: Sequence[PreferencePair], share: float, seed: int
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """(training, held out): about ``share`` of the pairs are held out, all pairs of one prompt on the same side."""
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    order = np.random.default_rng([seed, 4]).permutation(len(prompts))
    held = {prompts[i] for i in order[: int(share * len(prompts))]}
    return [p for p in pairs if p.prompt not in held], [p for p in pairs if p.prompt in held]
