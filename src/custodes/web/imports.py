"""From files into a project: what they say becomes judgments in its run of the ledger, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, select

from custodes.feedback import (
    feedback_from_pairs,
    pairs_from_corrections,
    pairs_from_judgments,
    read_feedback,
    read_preferences,
)
from custodes.feedback.collection import Feedback
from custodes.feedback.platform import read_platform
from custodes.ledger.schema import log
from custodes.registry import platform
from custodes.types import Episode, InputError, PreferencePair, Task
from custodes.web.database import Database
from custodes.web.export import read_project
from custodes.web.projects import open_project

IMPORT_FORMS = ("preferences", "judgments", *platform.names())
PAGE = 500
"""Keys that one statement asks for."""


def import_file(database: Database, name: str, path: Path, form: str = "preferences", by: str = "command line") -> int:
    """Adds what a file says to the project ``name``; how many judgments it holds. All of it or none.

    "preferences" is any table with chosen and rejected, "judgments" any form of feedback that
    :func:`~custodes.feedback.read_feedback` reads, an export's judgments.jsonl among them; the others are the platforms'
    JSON. What the project has already (the same file, another form of its own export) changes nothing. Raises
    MissingError for an unknown project, InputError for a file that cannot be used.
    """
    if form not in IMPORT_FORMS:
        raise InputError(f"form {form!r} is unknown; choose from {', '.join(IMPORT_FORMS)}.")
    if form == "preferences":
        pairs = read_preferences(path)
        own = _own_pairs(database, name)
        found = feedback_from_pairs(pair for pair in pairs if _said(pair) not in own)
    else:
        found = read_feedback(path).feedback if form == "judgments" else read_platform(path, form)
    count = len(pairs) if form == "preferences" else len(found.judgments)
    mark = hashlib.sha256(path.read_bytes()).hexdigest()[:12]  # the rows of two files are not each other's
    numbered = ("imported-", *(f"{name}-" for name in platform.names()))
    found.judgments = [replace(j, id=f"{mark}-{j.id}") if j.id.startswith(numbered) else j for j in found.judgments]
    _add_feedback(database, name, found, by, path.name)
    return count


def _own_pairs(database: Database, name: str) -> set[tuple[object, ...]]:
    """What the project's own people said as their export writes it: rows of preferences have no ids by which they are known."""
    content = read_project(database, name, with_gold=True, with_quarantined=True)
    people = {a.id for a in content.annotators if not a.profile.get("imported")}
    judgments = [j for j in content.judgments if j.annotator in people]
    episodes = list(content.episodes.values())
    return {_said(p) for p in pairs_from_judgments(judgments, episodes) + pairs_from_corrections(judgments, episodes)}


def _said(pair: PreferencePair) -> tuple[object, ...]:
    """Who preferred what to what; of a tie, in either order."""
    texts = (pair.chosen, pair.rejected)
    return pair.annotator, pair.prompt, frozenset(texts) if pair.label == 0.5 else texts


def _add_feedback(database: Database, name: str, found: Feedback, by: str, source: str) -> None:
    """Writes what the project has not yet, tasks, episodes, annotators and judgments, in one transaction.

    Raises InputError where a task or an episode of the same id has another text there.
    """
    with database.writing() as connection:
        _, run, _ = open_project(connection, name)
        here = {
            kind: _there(connection, run, kind, ids)
            for kind, ids in (
                ("task", found.tasks),
                ("episode", found.episodes),
                ("judgment", {j.id: j for j in found.judgments}),
            )
        }
        people = _there(connection, database.run, "annotator", found.annotators)
        tasks = {task.id: task for task in database.ledger.tasks(run)}
        episodes = {episode.id: episode for episode in database.ledger.episodes(run)}
        _require_same(found, tasks, episodes)
        new = [judgment for judgment in found.judgments if judgment.id not in here["judgment"]]
        beside = [a for a in found.annotators.values() if a.id not in people]
        database.ledger.write(database.run, beside, connection=connection)
        for records, kind in ((found.tasks, "task"), (found.episodes, "episode")):
            missing = [record for id_, record in records.items() if id_ not in here[kind]]
            database.ledger.write(run, missing, connection=connection)
        database.ledger.write(run, new, connection=connection)
        told = f"{source} into {name}, {len(new):,} new of {len(found.judgments):,} judgments"
        database.log_access("import", by, told, connection)


def _there(connection: Connection, run: str, kind: str, ids: Mapping[str, object]) -> set[str]:
    """Those of ``ids`` under which the run holds a record, superseded ones included."""
    wanted, held = sorted(ids), set[str]()
    for start in range(0, len(wanted), PAGE):
        mine = (log.c.run == run, log.c.kind == kind, log.c.key.in_(wanted[start : start + PAGE]))
        held |= set(connection.scalars(select(log.c.key).where(*mine)))
    return held


def _require_same(found: Feedback, tasks: Mapping[str, Task], episodes: Mapping[str, Episode]) -> None:
    for task in found.tasks.values():
        if task.id in tasks and tasks[task.id].messages != task.messages:
            raise InputError(f"task {task.id} has another prompt in the project; give this one an id of its own.")
    for episode in found.episodes.values():
        if episode.id in episodes and episodes[episode.id].messages != episode.messages:
            raise InputError(f"episode {episode.id} has another text in the project; give this one an id of its own.")
