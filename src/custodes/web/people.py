"""Who may come in, by whose decision, and who did: what the screens and the API do with accounts, noted in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import select

from custodes.ledger.codec import Entry, decode
from custodes.ledger.schema import log
from custodes.types import InputError
from custodes.web.accounts import AccountRole
from custodes.web.database import Database, MissingError

NEWEST = 500
"""Entries of the access log that are read."""


def invite(database: Database, role: str, by: str, profile: Mapping[str, Any] | None = None) -> str:
    """The secret of an invitation for one person. Raises InputError for an unknown role."""
    secret = database.accounts.invite(cast(AccountRole, role), by, profile)
    database.log_access("invitation made", by, f"for the role {role}")
    return secret


def disable(database: Database, id_: str, by: str, disabled: bool = True) -> None:
    """Lets somebody in no more, or again; their sessions end. Raises MissingError, and InputError for oneself."""
    if database.accounts.of(id_) is None:
        raise MissingError("there is no such account.")
    if id_ == by:
        raise InputError("nobody can shut themselves out; ask another lead.")
    database.accounts.disable(id_, disabled)
    database.log_access("account disabled" if disabled else "account enabled", id_, f"by {by}")


def access_log(database: Database, most: int = NEWEST) -> list[dict[str, str]]:
    """Who came in, who did not, and who read what: the newest entries of the server's run in the ledger, newest first.

    ``at`` is UTC, ISO 8601.
    """
    newest = (
        select(log.c.at, log.c.kind, log.c.key, log.c.body)
        .where(log.c.run == database.run, log.c.kind == "decision")
        .order_by(log.c.seq.desc())
        .limit(most)
    )
    with database.reading() as connection:
        rows = [(row.at, decode(Entry(row.kind, row.key, row.body))) for row in connection.execute(newest)]
    return [{"at": at, "what": entry.what, "who": entry.subject, "why": entry.why} for at, entry in rows]


def parse_profile(text: str) -> dict[str, Any]:
    """A profile from lines such as "country: DE"; ``expertise`` is a list, separated by commas. Raises InputError."""
    profile: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        field, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not field or not value:
            raise InputError(f"profile, line {number}: {line.strip()[:40]!r}; write a field, a colon and a value.")
        if field in profile:
            raise InputError(f"profile, line {number}: {field!r} is there twice; keep one.")
        profile[field] = [v.strip() for v in value.split(",") if v.strip()] if field == "expertise" else value
    return profile
