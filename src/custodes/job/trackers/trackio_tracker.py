"""trackio: a database on this machine (``TRACKIO_DIR``); ``trackio show`` opens its page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trackio


class __TrackioTracker:
    """One run of the project ``custodes``, taken up again where the folder is the same."""

    def __init__(self, folder: Path, name: str, id_: str, config: dict[str, Any]) -> None:
        self.run = trackio.init(
            project="custodes",
            name=f"{name}-{id_[:6]}",
            config=config,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        trackio.log(dict(metrics), step=step)

    def finish(self) -> None:
        trackio.finish()


make = __TrackioTracker
