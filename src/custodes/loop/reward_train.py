"""A reward model from a file of judgments: what ``custodes reward train`` does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from custodes.feedback.forms import JudgmentsOptions, hash_of
from custodes.files import save_json
from custodes.job.command import command
from custodes.job.locks import alone_in
from custodes.job.recording import begin
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
"""Written last: what was trained, on what, and how good it was."""


@dataclass(frozen=True, kw_only=True)
@ranged
class RewardTrain(JudgmentsOptions):
    """Train a reward model on people's judgments."""

    out: Path
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


@command(resumes=True)
def reward_train(config: RewardTrain, on_step: OnStep | None = None) -> RewardTrained:
    """Train a reward model on people's judgments.

    It is calibrated and saved, with a progress bar unless ``on_step`` takes its place.
    What is in the output folder already is not trained again, only evaluated. Raises InputError for anything wrong with
    the file, the model, the options or the output folder, which belongs to one configuration and to one process.
    """
    source, pairs = Path(config.judgments).name, config.read_pairs()
    training, held_out = split_by_prompt(pairs, config.held_out, config.training.seed)
    identity = _identity(config)
    with alone_in(config.out):
        if _trained(config.out, identity):
            Console(stderr=True).print(
                f"The reward model in {config.out} is trained; it is only evaluated again.",
                soft_wrap=True,
                highlight=False,
            )
            if (recording := begin()) is not None:
                recording.rely(config.out)
            model = load_reward(config.out, config.dtype)
            return RewardTrained(model, config.out, calibrate(model, held_out, source) if held_out else None)
        begin()
        checkpoints = config.out / "checkpoints"
        lm = load(config.model, dtype=config.dtype)
        Reader(lm, config.training.max_length).check_replies(pairs, source)  # those held out too, before training
        model = train_reward(
            lm,
            training,
            config.training,
            source=source,
            checkpoints=checkpoints,
            on_step=on_step,
            progress=on_step is None,
        )
        evaluation = None
        if held_out:
            evaluation = calibrate(model, held_out, source)
        save_reward(model, config.out)
        measured = {"pairs": len(training), "held_out_evaluation": evaluation.to_dict() if evaluation else None}
        save_json(config.out / RECORD, identity | measured)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return RewardTrained(model, config.out, evaluation)


def split_by_prompt(
    pairs: Sequence[PreferencePair], share: float, seed: int
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """(training, held out): about ``share`` of the pairs are held out, all pairs of one prompt on the same side."""
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    order = np.random.default_rng([seed, 4]).permutation(len(prompts))
    held = {prompts[i] for i in order[: int(share * len(prompts))]}
    return [p for p in pairs if p.prompt not in held], [p for p in pairs if p.prompt in held]


def _trained(folder: Path, now: Mapping[str, Any]) -> bool:
    """Whether ``folder`` holds this very model. Raises InputError where it holds another."""
    if not (folder / RECORD).is_file():
        foreign = (folder / "config.json").is_file() or (folder / SETTINGS).is_file()
        if foreign and not (folder / "checkpoints").is_dir():
            raise InputError(f"{folder} holds a model that this command did not make; use another --out.")
        return False
    try:
        was = json.loads((folder / RECORD).read_text())
    except ValueError:
        raise InputError(f"{folder / RECORD} is not valid JSON; restore it or use another --out.") from None
    if was.get("judgments_sha256") != now["judgments_sha256"]:
        raise InputError(
            f"{folder} holds a reward model trained on other judgments ({was.get('judgments')}); use another --out."
        )
    for mine, theirs in ((now, was), (now["training"], was.get("training", {}))):
        for name, value in mine.items():
            if name not in NO_PART and value != theirs.get(name):
                raise InputError(
                    f"{folder} holds a reward model with {name} = {theirs.get(name)!r}, now it is {value!r}; "
                    "use the same options or another --out."
                )
    return True


NO_PART = ("training", "out", "judgments", "checkpoint_every")
"""What may differ between two commands for one model; judgments are compared by what they hold."""


def _identity(config: RewardTrain) -> dict[str, Any]:
    """What this model is, as JSON: for whoever finds the folder."""
    known = {**asdict(config), "judgments_sha256": hash_of(config.judgments)}
    return dict(json.loads(json.dumps(known, default=str)))
