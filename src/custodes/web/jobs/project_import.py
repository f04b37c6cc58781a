"""Adding judgments from files to a project: what ``custodes project import`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from custodes.job.command import command, in_words
from custodes.job.options import Use
from custodes.web.database import DATABASE, ServerDatabase
from custodes.web.imports import import_file


@dataclass(frozen=True, kw_only=True)
class ProjectImport:
    """Add judgments from preferences, or from Argilla's or Label Studio's JSON, to a project."""

    file: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """File to read."""
    project: str
    """Name of the project."""
    db: Annotated[str, Use.APART] = DATABASE
    """Database: a file (custodes.db), or postgresql://user:password@host/database for several servers."""
    form: Literal["preferences", "judgments", "argilla", "label-studio"] = "preferences"
    """Whose form."""


@command()
def project_import(config: ProjectImport) -> dict[str, Any]:
    """Add judgments from a file of another platform to a project."""
    with ServerDatabase(config.db) as database:
        count = import_file(database, config.project, config.file, config.form)
    return {"project": config.project, "judgments": count}


@in_words(project_import)
def _show(config: ProjectImport, added: dict[str, Any]) -> None:
    print(f"{added['judgments']:,} judgments from {config.file} in the project {config.project!r}.")
