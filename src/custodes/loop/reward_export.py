"""A reward model for ``transformers``: what ``custodes reward export`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.lm.loading import DtypeName
from custodes.reward import export, load_reward
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class RewardExport:
    """Write each member of a reward model as a folder that transformers' AutoModelForSequenceClassification loads."""

    model: Path
    """Folder of a reward model, or a hub id of a Llama-like sequence classifier."""
    out: Output
    """New folder for them: member_0, member_1, ..."""
    dtype: DtypeName = "auto"
    """Precision of what is written."""


@command()
def reward_export(config: RewardExport) -> list[Path]:
    """Write each member of a reward model as a folder that transformers loads."""
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise InputError(f"{config.out} is not empty; choose another --out.")
    return list(export(load_reward(config.model, config.dtype), config.out))


@in_words(reward_export)
def _show(config: RewardExport, folders: list[Path]) -> None:
    for folder in folders:
        print(folder)
