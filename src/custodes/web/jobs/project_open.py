"""Opening a project, so that annotators can begin: what ``custodes project open`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from custodes.feedback.items import read_items
from custodes.feedback.project import load_project
from custodes.job.command import command, in_words
from custodes.job.options import Use
from custodes.types import InputError
from custodes.web.database import DATABASE, ServerDatabase
from custodes.web.projects import create_project


@dataclass(frozen=True, kw_only=True)
class ProjectOpen:
    """Open a project with its tasks, so that annotators can begin."""

    file: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """The project's YAML file."""
    db: Annotated[str, Use.APART] = DATABASE
    """Database: a file (custodes.db), or postgresql://user:password@host/database for several servers."""


@command()
def project_open(config: ProjectOpen) -> dict[str, Any]:
    """Open a project on the server's database."""
    project = load_project(config.file)
    if not project.tasks:
        raise InputError(f"{config.file}: the field tasks names no file; the project needs tasks.")
    contents = read_items(project, config.file.parent / project.tasks)
    with ServerDatabase(config.db) as database:
        create_project(database, config.file.read_text(encoding="utf-8"), contents, "command line")
    return {"project": project.name, "db": config.db, "items": len(contents), "members": project.members}


@in_words(project_open)
def _show(config: ProjectOpen, opened: dict[str, Any]) -> None:
    print(f"The project {opened['project']!r} is open in {config.db} with {opened['items']:,} items.")
    if opened["members"] == "listed":
        print("Leads and auditors see it, and members that a lead names. The line members: everybody opens it to all.")
