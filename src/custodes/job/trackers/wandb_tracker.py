"""Weights & Biases. Offline with WANDB_MODE=offline; ``wandb sync`` sends such a run later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb


class __WandbTracker:
    """One run of the project ``custodes``, taken up again where the folder is the same."""

    def __init__(self, folder: Path, name: str, id_: str, config: dict[str, Any]) -> None:
        self.run = wandb.init(
            project="custodes",
            name=name,
            id=id_,
            resume="allow",
            dir=str(folder),
            config=config,
            reinit="finish_previous",
        )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.run.log(
            {**metrics, "step": step}
        )  # as a column: arms begin at 1 again, and wandb's own step never goes back

    def finish(self) -> None:
        self.run.finish()


make = __WandbTracker
