"""A project file to begin from: what ``custodes project new`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.feedback.project import new_project
from custodes.job.command import command, in_words
from custodes.job.options import Output


@dataclass(frozen=True, kw_only=True)
class ProjectNew:
    """Write a project file with every field and a comment beside it."""

    file: tyro.conf.Positional[Annotated[Output, tyro.conf.arg(metavar="FILE")]]
    """YAML file to write."""


@command()
def project_new(config: ProjectNew) -> Path:
    """Write a commented project file to begin from."""
    return new_project(config.file)


@in_words(project_new)
def _show(config: ProjectNew, path: Path) -> None:
    print(f"{path} is yours to edit; then: custodes project check {config.file}")
