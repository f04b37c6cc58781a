"""Commands about projects of the annotation server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.cli.options import parse

File = Annotated[Path, tyro.conf.arg(metavar="FILE")]


def new(given: list[str]) -> int:
    """Write a commented project file to begin from."""
    from custodes.feedback.project import new_project

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Write a project file with every field and a comment beside it."""

        file: tyro.conf.Positional[File]
        """YAML file to write."""

    options = parse("project new", Options, given)
    print(f"{new_project(options.file)} is yours to edit; then: custodes project check {options.file}")
    return 0


def check(given: list[str]) -> int:
    """Check a project file and its tasks."""
    from custodes.feedback.items import read_items
    from custodes.feedback.project import load_project

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Check a project file and the tasks that it names: what is wrong, with line and field."""

        file: tyro.conf.Positional[File]
        """The project's YAML file."""
        tasks: bool = True
        """Check the file of tasks too."""

    options = parse("project check", Options, given)
    project = load_project(options.file)
    asked = ", ".join(question.kind for question in project.questions)
    print(f"{options.file}: the project {project.name!r} is sound: {asked}.")
    if options.tasks and project.tasks:
        items = read_items(project, options.file.parent / project.tasks)
        gold = sum(bool(item.gold) for item in items)
        wanted = (len(items) - gold) * project.assignment.overlap
        print(
            f"{project.tasks}: {len(items):,} items, {gold:,} of them gold; {wanted:,} judgments give every item its overlap."
        )
    return 0
