"""Who may come in, by whose decision, who did, and who sees which project; all of it noted in the ledger.

Leads and auditors see every project, everybody else those of which they are members. A project that is for everybody
with an account has the member ``everybody``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from custodes.ledger.codec import Entry, decode
from custodes.ledger.schema import log
from custodes.types import Annotator, InputError
from custodes.web.accounts import Account, AccountRole
from custodes.web.database import MissingError, ServerDatabase
from custodes.web.projects import open_project
from custodes.web.schema import EVERYBODY, members, projects

NEWEST = 500
"""Entries of the access log that are read."""


def invite(database: ServerDatabase, role: str, by: str, profile: Mapping[str, Any] | None = None) -> str:
    """The secret of an invitation for one person. Raises InputError for an unknown role."""
    secret = database.accounts.invite(cast(AccountRole, role), by, profile)
    database.log_access("invitation made", by, f"for the role {role}")
    return secret


def joined(database: ServerDatabase, account: Account, how: str) -> None:
    """A new account is an annotator in the ledger from now on."""
    database.ledger.write(database.run, [Annotator(account.id, "human", dict(account.profile))])
    database.log_access("joined", account.id, how)


def disable(database: ServerDatabase, id_: str, by: str, disabled: bool = True) -> None:
    """Lets somebody in no more, or again; their sessions end. Raises MissingError, and InputError for oneself."""
    if database.accounts.of(id_) is None:
        raise MissingError("there is no such account.")
    if id_ == by:
        raise InputError("nobody can shut themselves out; ask another lead.")
    database.accounts.disable(id_, disabled)
    database.log_access("account disabled" if disabled else "account enabled", id_, f"by {by}")


def access_log(database: ServerDatabase, most: int = NEWEST) -> list[dict[str, str]]:
    """Who came in, who did not, and who read what: the newest entries of the server's run in the ledger, newest first.

    ``at`` is UTC, ISO 8601.
    """
    decisions = select(log.c.at, log.c.kind, log.c.key, log.c.body).where(
        log.c.run == database.run, log.c.kind == "decision"
    )
    with database.reading() as connection:
        rows = connection.execute(decisions.order_by(log.c.seq.desc()).limit(most)).all()
    entries = [(row.at, decode(Entry(row.kind, row.key, row.body))) for row in rows]
    return [{"at": at, "what": entry.what, "who": entry.subject, "why": entry.why} for at, entry in entries]


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


# ---------------------------------------------------------------- members of projects


def may_see(account: Account) -> ColumnElement[bool]:
    """The condition on ``projects`` under which an account sees one."""
    if account.role in ("lead", "auditor"):
        return projects.c.name.is_not(None)
    own = members.c.account.in_((account.id, EVERYBODY))
    return select(members.c.project).where(members.c.project == projects.c.name, own).exists()


def require_seen(connection: Connection, project: str, account: Account) -> None:
    """Raises MissingError, in the same words, where there is no such project and where the account may not see it."""
    query = select(projects.c.name).where(projects.c.name == project, may_see(account))
    if connection.scalar(query) is None:
        raise MissingError(f"there is no project {project!r}.")


def members_of(database: ServerDatabase, project: str) -> list[str]:
    """Ids of a project's members; ``everybody`` is one of them where it is for all. Raises MissingError."""
    with database.reading() as connection:
        open_project(connection, project)
        query = select(members.c.account).where(members.c.project == project).order_by(members.c.account)
        return list(connection.scalars(query))


def set_member(database: ServerDatabase, project: str, account: str, by: str, member: bool = True) -> None:
    """Makes somebody, or ``everybody``, a member of a project, or one no more.

    Raises MissingError for an unknown project or account, InputError where nothing changes.
    """
    if account != EVERYBODY and database.accounts.of(account) is None:
        raise MissingError(f"there is no account {account!r}.")
    with database.writing() as connection:
        open_project(connection, project)
        here = (members.c.project == project) & (members.c.account == account)
        if (connection.scalar(select(members.c.account).where(here)) is not None) == member:
            raise InputError(f"{account} is {'a member already' if member else 'no member'}.")
        row = {"project": project, "account": account}
        connection.execute(insert(members).values(**row) if member else delete(members).where(here))
        what = "member added" if member else "member removed"
        database.log_access(what, account, f"of {project}, by {by}", connection)
