"""Writing a project's judgments as files: what ``custodes project export`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from custodes.job.command import command, in_words
from custodes.job.options import Output, Use
from custodes.web.database import DATABASE, ServerDatabase
from custodes.web.export import JudgedWith, export_project


@dataclass(frozen=True, kw_only=True)
class ProjectExport:
    """Export a project: preferences with a row per judgment, and aggregated with soft labels."""

    project: str
    """Name of the project."""
    out: Output
    """Folder for the files."""
    db: Annotated[str, Use.APART] = DATABASE
    """Database: a file (custodes.db), or postgresql://user:password@host/database for several servers."""
    form: Literal["trl", "argilla", "label-studio", "huggingface"] = "trl"
    """Whose form."""
    judged: JudgedWith = "all"
    """Which judgments: all, those made without help, or those made with it (of what was judged twice, the first or the second)."""


@command()
def project_export(config: ProjectExport) -> list[Path]:
    """Write a project's judgments as training data and for other platforms."""
    with ServerDatabase(config.db) as database:
        return export_project(database, config.project, config.out, config.form, judged=config.judged)


@in_words(project_export)
def _show(config: ProjectExport, written: list[Path]) -> None:
    for path in written:
        print(path)
