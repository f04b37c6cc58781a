"""What people said is wrong with items, and what leads answered: decisions in a project's run of the ledger."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from custodes.ledger import Decision
from custodes.ledger.codec import Entry, decode
from custodes.ledger.schema import log
from custodes.types import InputError
from custodes.web.database import MissingError, ServerDatabase
from custodes.web.projects import load_item, open_project
from custodes.web.schema import assignments

RAISED, ANSWERED = "item flagged", "flag answered"
LONGEST = 200
"""Characters of a prompt that are shown with a flag."""


def flags_of(database: ServerDatabase, project: str, account: str | None = None) -> list[dict[str, Any]]:
    """Flags of a project, or those that one account raised: the unanswered first, in each the newest first.

    ``id`` is the assignment's, ``by`` whoever raised it, ``at`` seconds since 1970; ``answer`` is "" while there is none.
    Raises MissingError for an unknown project.
    """
    with database.reading() as connection:
        _, run, _ = open_project(connection, project)
        raised, answers = (_decisions(connection, run, what) for what in (RAISED, ANSWERED))
        flags = []
        for id_, flag in raised.items():
            row = connection.execute(select(assignments).where(assignments.c.id == id_)).one()
            if account is not None and row.account != account:
                continue
            prompt = " ".join(message.content for message in load_item(connection, project, row.item).task.messages)
            about = {"id": id_, "item": row.item, "by": row.account, "at": row.ended, "prompt": prompt[:LONGEST]}
            flags.append(about | {"why": flag.why, "answer": answers[id_].why if id_ in answers else ""})
    return sorted(flags, key=lambda flag: (bool(flag["answer"]), -float(flag["at"] or 0.0)))


def answer_flag(database: ServerDatabase, project: str, id_: str, text: str, by: str) -> None:
    """Answers a flag, once. Raises MissingError for an unknown one, InputError where it was answered or the text is empty."""
    if not text.strip():
        raise InputError("write an answer.")
    answers = {flag["id"]: flag["answer"] for flag in flags_of(database, project)}
    if id_ not in answers:
        raise MissingError("there is no such flag.")
    if answers[id_]:
        raise InputError("this flag was answered already.")
    with database.writing() as connection:
        _, run, _ = open_project(connection, project)
        entry = Decision(f"{ANSWERED}-{id_}".replace(" ", "-"), ANSWERED, f"{text.strip()} (by {by})", id_)
        database.ledger.write(run, [entry], connection=connection)


def _decisions(connection: Connection, run: str, what: str) -> dict[str, Decision]:
    """Decisions of one sort by the assignment that they are about, by their keys and without reading the others."""
    first = f"{what.replace(' ', '-')}-"
    mine = (log.c.run == run, log.c.kind == "decision", log.c.key.startswith(first, autoescape=True))
    rows = connection.execute(select(log.c.kind, log.c.key, log.c.body).where(*mine))
    return {row.key.removeprefix(first): decode(Entry(row.kind, row.key, row.body)) for row in rows}
