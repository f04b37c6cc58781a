"""Who sees which project: leads and auditors all of them, everybody else those of which they are members.

A project that is for everybody with an account has the member ``everybody``.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from custodes.types import InputError
from custodes.web.accounts import Account
from custodes.web.database import Database, MissingError
from custodes.web.projects import open_project
from custodes.web.schema import EVERYBODY, members, projects

ALL = frozenset({"lead", "auditor"})
"""Roles that see every project."""


def may_see(account: Account) -> ColumnElement[bool]:
    """The condition on ``projects`` under which an account sees one."""
    if account.role in ALL:
        return projects.c.name.is_not(None)
    mine = members.c.account.in_((account.id, EVERYBODY))
    return select(members.c.project).where(members.c.project == projects.c.name, mine).exists()


def require_seen(connection: Connection, project: str, account: Account) -> None:
    """Raises MissingError, in the same words, where there is no such project and where the account may not see it."""
    query = select(projects.c.name).where(projects.c.name == project, may_see(account))
    if connection.scalar(query) is None:
        raise MissingError(f"there is no project {project!r}.")


def members_of(database: Database, project: str) -> list[str]:
    """Ids of a project's members; ``everybody`` is one of them where it is for all. Raises MissingError."""
    with database.reading() as connection:
        open_project(connection, project)
        query = select(members.c.account).where(members.c.project == project).order_by(members.c.account)
        return list(connection.scalars(query))


def set_member(database: Database, project: str, account: str, by: str, member: bool = True) -> None:
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
        connection.execute(
            insert(members).values(project=project, account=account) if member else delete(members).where(here)
        )
        what = "member added" if member else "member removed"
        database.log_access(what, account, f"of {project}, by {by}", connection)
