"""Checking a project file and its tasks: what ``custodes project check`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from custodes.feedback.items import read_items
from custodes.feedback.project import load_project
from custodes.job.command import command, in_words


@dataclass(frozen=True, kw_only=True)
class ProjectCheck:
    """Check a project file and the tasks that it names: what is wrong, with line and field."""

    file: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """The project's YAML file."""
    check_tasks: bool = True
    """Check the file of tasks too."""


@command(recorded=False)
def project_check(config: ProjectCheck) -> dict[str, Any]:
    """Check a project file and its tasks."""
    project = load_project(config.file)
    checked: dict[str, Any] = {"project": project.name, "questions": [question.kind for question in project.questions]}
    if config.check_tasks and project.tasks:
        items = read_items(project, config.file.parent / project.tasks)
        gold = sum(bool(item.gold) for item in items)
        wanted = (len(items) - gold) * project.assignment.overlap
        checked |= {"tasks": project.tasks, "items": len(items), "gold": gold, "judgments_wanted": wanted}
    return checked


@in_words(project_check)
def _show(config: ProjectCheck, checked: dict[str, Any]) -> None:
    print(f"{config.file}: the project {checked['project']!r} is sound: {', '.join(checked['questions'])}.")
    if "tasks" in checked:
        print(
            f"{checked['tasks']}: {checked['items']:,} items, {checked['gold']:,} of them gold; "
            f"{checked['judgments_wanted']:,} judgments give every item its overlap."
        )
