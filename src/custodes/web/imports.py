"""From files of other platforms into a project: their answers become judgments in its run of the ledger."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from custodes.feedback import feedback_from_pairs, read_preferences
from custodes.feedback.exchange import Feedback
from custodes.feedback.platforms import read_platform
from custodes.types import InputError
from custodes.web.database import Database
from custodes.web.projects import open_project

FORMS = ("preferences", "argilla", "label-studio")


def import_file(database: Database, name: str, path: Path, form: str = "preferences", by: str = "command line") -> int:
    """Adds what a file says to the project ``name``; how many judgments. All of it or none.

    "preferences" is any table with chosen and rejected; the others are the platforms' JSON. Importing the same file
    again changes nothing. Raises MissingError for an unknown project, InputError for a file that cannot be used.
    """
    if form not in FORMS:
        raise InputError(f"form {form!r} is unknown; choose from {', '.join(FORMS)}.")
    found = feedback_from_pairs(read_preferences(path)) if form == "preferences" else read_platform(path, form)
    mark = hashlib.sha256(path.read_bytes()).hexdigest()[:12]  # the rows of two files are not each other's
    found.judgments = [replace(judgment, id=f"{mark}-{judgment.id}") for judgment in found.judgments]
    return add_feedback(database, name, found, by, path.name)


def add_feedback(database: Database, name: str, found: Feedback, by: str, source: str) -> int:
    """Writes tasks, episodes, annotators and judgments into the project's run, in one transaction."""
    with database.writing() as connection:
        _, run, _ = open_project(connection, name)
        records = [*found.tasks.values(), *found.episodes.values(), *found.judgments]
        database.ledger.write(database.run, found.annotators.values(), connection=connection)
        database.ledger.write(run, records, connection=connection)
        database.log_access("import", by, f"{source} into {name}, {len(found.judgments):,} judgments", connection)
    return len(found.judgments)
