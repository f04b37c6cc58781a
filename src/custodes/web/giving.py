"""What a person gets next: from the tables to the rule in :mod:`custodes.feedback.assignment`, and back into a lease.

Everybody who asks passes through here one after the other, so it is few statements, each of which an index answers.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, case, func, select, update

from custodes.feedback.assignment import OpenItem, Person, choose, draw, shown_order
from custodes.feedback.project import Project
from custodes.web.accounts import Account
from custodes.web.database import Database, to_json
from custodes.web.projects import load_item
from custodes.web.schema import assignments, items

OFFERED = 64
"""Open items among which the rule chooses."""
REPEAT_AFTER = 600.0
"""Seconds before an item can be shown to the same person again."""


def give(
    database: Database, connection: Connection, project: Project, run: str, account: Account, open_items: list[OpenItem]
) -> Row[Any] | None:
    """A new lease for the person, if the rule finds something."""
    gold = _unseen_gold(connection, project, account) if _stock(connection, project, run).gold else []
    person = _person(database, connection, project, account)
    choice = choose(project.assignment, person, open_items, gold, project.seed)
    if choice is None:
        return None
    met = (assignments.c.item == choice.item, assignments.c.account == account.id)
    turn = connection.scalar(select(func.count()).where(assignments.c.project == project.name, *met)) or 0
    answers = len(load_item(connection, project.name, choice.item).episodes)
    if _from_nothing(project, account.id, choice.item):
        answers = 0
    if choice.purpose == "normal":
        count(connection, project, choice.item, leased=1)
    lease = assignments.insert().values(
        id=uuid.uuid4().hex,
        project=project.name,
        item=choice.item,
        account=account.id,
        purpose=choice.purpose,
        turn=turn,
        shown=to_json(shown_order(project.seed, account.id, choice.item, turn, answers)),
        state="leased",
        given=database.clock(),
        until=database.clock() + 60 * project.assignment.lease_minutes,
        draft="",
    )
    return connection.execute(lease.returning(*assignments.c)).one()


def open_items_for(connection: Connection, project: Project, run: str, account: Account) -> list[OpenItem]:
    """Items that the person may get as new ones, the first ``OFFERED`` in the order of the project's selection."""
    expertise = set(account.profile.get("expertise", ()))
    allowed = [text for text, tags in _stock(connection, project, run).tags if tags <= expertise]
    met = select(assignments.c.id).where(
        assignments.c.project == items.c.project,
        assignments.c.item == items.c.id,
        assignments.c.account == account.id,
        assignments.c.state != "expired",
    )
    first = (
        (items.c.information.desc(), items.c.place)
        if project.assignment.selection == "active"
        else (items.c.leased, items.c.done.desc(), items.c.place)
    )
    query = (
        select(items.c.id, items.c.done, items.c.leased, items.c.information)
        .where(items.c.project == project.name, items.c.open == 1, items.c.gold == "")
        .where(items.c.tags.in_(allowed), ~met.exists())
        .order_by(*first)
        .limit(OFFERED)
    )
    return [OpenItem(*row) for row in connection.execute(query)]


def leased_to(database: Database, connection: Connection, project: Project, account: Account) -> Row[Any] | None:
    """What lies before the person already. Leases that are over, anybody's, end here."""
    now = database.clock()
    mine_or_late = (assignments.c.account == account.id) | (assignments.c.until < now)
    here = (assignments.c.project == project.name, assignments.c.state == "leased", mine_or_late)
    held = None
    for row in connection.execute(select(assignments).where(*here)).all():
        if row.until >= now:
            held = row
            continue
        values = {"state": "expired", "ended": now}
        connection.execute(update(assignments).where(assignments.c.id == row.id).values(**values))
        if row.purpose == "normal":
            count(connection, project, row.item, leased=-1)
    return held


def count(connection: Connection, project: Project, item: str, done: int = 0, leased: int = 0) -> None:
    """Adds to an item's normal judgments and to the people who have it before them."""
    now_done, now_leased = items.c.done + done, items.c.leased + leased
    values = {"done": now_done, "leased": now_leased}
    wanted = case((now_done + now_leased < project.assignment.overlap, 1), else_=0)
    here = (items.c.project == project.name) & (items.c.id == item)
    connection.execute(update(items).where(here).values(**values, open=wanted))


@dataclass(frozen=True)
class _Stock:
    """What never changes of a project's items."""

    tags: tuple[tuple[str, frozenset[str]], ...]  # every set of tags: as stored, and as a set
    gold: bool  # whether there are gold items


_stocks: dict[str, _Stock] = {}  # by the project's run


def _stock(connection: Connection, project: Project, run: str) -> _Stock:
    if run not in _stocks:
        mine = items.c.project == project.name
        tags = connection.scalars(select(items.c.tags).where(mine).distinct()).all()
        gold = connection.scalar(select(items.c.id).where(mine, items.c.gold != "").limit(1))
        _stocks[run] = _Stock(tuple((text, frozenset(json.loads(text))) for text in tags), gold is not None)
    return _stocks[run]


def _from_nothing(project: Project, account: str, item: str) -> bool:
    """Whether this person writes the critique of this item without the given one: drawn once, so that nobody meets a
    problem both ways."""
    shares = [question.prefilled for question in project.questions if question.kind == "critique"]
    share = next((share for share in shares if share is not None), 1.0)
    return bool(draw(project.seed, f"{account}\0{item} prefilled", 0).random() >= share)


def _unseen_gold(connection: Connection, project: Project, account: Account) -> list[str]:
    met = select(assignments.c.id).where(
        assignments.c.project == items.c.project,
        assignments.c.item == items.c.id,
        assignments.c.account == account.id,
    )
    mine = (items.c.project == project.name, items.c.gold != "", ~met.exists())
    return list(connection.scalars(select(items.c.id).where(*mine).order_by(items.c.place).limit(OFFERED)))


def _person(database: Database, connection: Connection, project: Project, account: Account) -> Person:
    mine = (assignments.c.project == project.name, assignments.c.account == account.id)
    by_purpose = select(assignments.c.purpose, func.count()).where(*mine).group_by(assignments.c.purpose)
    given: dict[str, int] = dict(connection.execute(by_purpose).tuples().all())
    often = (
        select(assignments.c.item)
        .where(*mine, assignments.c.purpose != "gold", assignments.c.state == "done")
        .group_by(assignments.c.item)
        .having(func.count() == 1, func.max(assignments.c.ended) < database.clock() - REPEAT_AFTER)
        .order_by(assignments.c.item)
        .limit(OFFERED)
    )
    return Person(
        account.id,
        sum(given.values()),
        given.get("gold", 0),
        given.get("repeat", 0),
        tuple(connection.scalars(often)),
        account.profile,
    )
