"""TensorBoard: event files in the folder ``tensorboard`` of the run; ``tensorboard --logdir DIR`` shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class __TensorboardTracker:
    """One writer. A run that goes on adds a file, and steps that are made again take the place of those before."""

    def __init__(self, folder: Path, name: str, id_: str, config: dict[str, Any]) -> None:
        self.writer = SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]
        self.writer.add_text("config", f"```json\n{json.dumps(config, indent=1)}\n```")  # type: ignore[no-untyped-call]

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        self.writer.close()  # type: ignore[no-untyped-call]


make = __TensorboardTracker
