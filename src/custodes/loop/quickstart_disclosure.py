"""The disclosure of the main job, beside its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from custodes.audit.disclosure import write_disclosure
from custodes.job.workspace import Workspace
from custodes.loop.optimised_arm import recorded_run

FOLDER = "disclosure"
LOSSES = {"pair": "the logistic loss of the difference of two rewards (Bradley-Terry), with probabilities as labels"}
"""By which loss judgments of each kind teach the rewards of the main job."""


def disclosed_run(config: Any, run: Callable[[Workspace], None]) -> Path:
    """``run`` as a recorded quickstart, with its disclosure and its report; returns the path of ``report.html``."""
    return recorded_run(config.out, "quickstart", config, config.seed, run, _disclose)


def _disclose(work: Workspace) -> list[Path]:
    written = write_disclosure([work.ledger.name], work.folder / FOLDER)
    work.console.print(f"[bold]Disclosure:[/bold] {written[0]}")
    return written
