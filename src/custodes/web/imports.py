"""From files into a project: what they say becomes judgments in its run of the ledger, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from custodes.feedback.collection import Feedback
from custodes.feedback.exchange import feedback_from_pairs, pairs_from_corrections, pairs_from_judgments
from custodes.feedback.formats import read_preferences
from custodes.feedback.platform import read_platform
from custodes.feedback.reading import read_feedback
from custodes.ledger.schema import log
from custodes.registry import platform
from custodes.types import InputError, PreferencePair
from custodes.web.database import ServerDatabase
from custodes.web.export import read_project
from custodes.web.projects import open_project

IMPORT_FORMS = ("preferences", "judgments", *platform.names())
PAGE = 500
"""Keys that one statement asks for."""


def import_file(
    database: ServerDatabase, name: str, path: Path, form: str = "preferences", by: str = "command line"
) -> int:
    """Adds what a file says to the project ``name``; how many judgments it holds. All of it or none.

    "preferences" is any table with chosen and rejected. "judgments" is any form of feedback that
    :func:`~custodes.feedback.reading.read_feedback` reads, an export's judgments.jsonl among them. The others are the platforms'
    JSON. What the project has already (the same file, another form of its own export) changes nothing.

    Raises MissingError for an unknown project, InputError for a file that cannot be used.
    """
    if form not in IMPORT_FORMS:
        raise InputError(f"form {form!r} is unknown; choose from {', '.join(IMPORT_FORMS)}.")
    if form == "preferences":
        pairs = read_preferences(path)
        own = _own_pairs(database, name)
        feedback = feedback_from_pairs(pair for pair in pairs if _preference(pair) not in own)
    else:
        feedback = read_feedback(path).feedback if form == "judgments" else read_platform(path, form)
    count = len(pairs) if form == "preferences" else len(feedback.judgments)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]  # the rows of two files are not each other's
    numbered = ("imported-", *(f"{name}-" for name in platform.names()))
    feedback.judgments = [
        replace(j, id=f"{digest}-{j.id}") if j.id.startswith(numbered) else j for j in feedback.judgments
    ]
    _add_feedback(database, name, feedback, by, path.name)
    return count


def _own_pairs(database: ServerDatabase, name: str) -> set[tuple[object, ...]]:
    """What the project's own people said, as their export writes it: rows of preferences have no ids."""
    content = read_project(database, name, with_gold=True, with_quarantined=True)
    people = {a.id for a in content.annotators if not a.profile.get("imported")}
    judgments = [j for j in content.judgments if j.annotator in people]
    episodes = list(content.episodes.values())
    pairs = pairs_from_judgments(judgments, episodes) + pairs_from_corrections(judgments, episodes)
    return {_preference(pair) for pair in pairs}


def _preference(pair: PreferencePair) -> tuple[object, ...]:
    """Who preferred what to what; of a tie, in either order."""
    texts = (pair.chosen, pair.rejected)
    return pair.annotator, pair.prompt, frozenset(texts) if pair.label == 0.5 else texts


def _add_feedback(database: ServerDatabase, name: str, feedback: Feedback, by: str, source: str) -> None:
    """Writes what the project has not yet, tasks, episodes, annotators and judgments, in one transaction.

    Raises InputError where a task or an episode of the same id has another text there.
    """
    with database.writing() as connection:
        _, run, _ = open_project(connection, name)
        _require_same("task", "prompt", feedback.tasks, {t.id: t for t in database.ledger.tasks(run)})
        _require_same("episode", "text", feedback.episodes, {e.id: e for e in database.ledger.episodes(run)})

        def add(run: str, kind: str, records: Iterable[Any]) -> int:
            records = list(records)
            there = _there(connection, run, kind, {record.id for record in records})
            new = [record for record in records if record.id not in there]
            database.ledger.write(run, new, connection=connection)
            return len(new)

        add(database.run, "annotator", feedback.annotators.values())
        add(run, "task", feedback.tasks.values())
        add(run, "episode", feedback.episodes.values())
        count = add(run, "judgment", feedback.judgments)
        summary = f"{source} into {name}, {count:,} new of {len(feedback.judgments):,} judgments"
        database.log_access("import", by, summary, connection)


def _there(connection: Connection, run: str, kind: str, ids: Iterable[str]) -> set[str]:
    """Those of ``ids`` under which the run holds a record, superseded ones included."""
    wanted, there = sorted(ids), set[str]()
    for start in range(0, len(wanted), PAGE):
        page = (log.c.run == run, log.c.kind == kind, log.c.key.in_(wanted[start : start + PAGE]))
        there |= set(connection.scalars(select(log.c.key).where(*page)))
    return there


def _require_same(kind: str, what: str, new: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    for id_, record in new.items():
        if id_ in there and there[id_].messages != record.messages:
            raise InputError(f"{kind} {id_} has another {what} in the project; give this one an id of its own.")
