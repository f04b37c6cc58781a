"""The report of a gaming run again, from its folder: what ``custodes gaming report`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.gaming.jobs.run import abouts, read_summary
from custodes.gaming.report import write_played_page, write_training_page
from custodes.job.command import command
from custodes.job.options import Output


@dataclass(frozen=True, kw_only=True)
class GamingReport:
    """Write report.html of a folder that `custodes gaming run` or `custodes gaming train` filled."""

    folder: tyro.conf.Positional[Annotated[Output, tyro.conf.arg(metavar="DIR")]]
    """What was given as --out."""


@command()
def gaming_report(config: GamingReport) -> Path:
    """Write the report of a gaming run, or of a training run, again, from its folder.

    Returns the path of ``report.html``. Raises InputError where there is no run.
    """
    summary, stages = read_summary(config.folder)
    if summary.get("kind") == "training":
        return write_training_page(config.folder)
    return write_played_page(config.folder, abouts(stages, {}))
