"""What a person gets next: from the tables to the rule in :mod:`custodes.feedback.assignment`, and back into a lease.

Choosing only reads, for any number of people at once. Leasing is few statements, through which everybody passes one after
the other, and which look whether the choice still holds. An index answers each.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, func, select, update

from custodes.feedback.assignment import Assignee, Choice, OpenItem, choose, draw_items, shown_order
from custodes.feedback.items import Item
from custodes.feedback.project import Project
from custodes.web.accounts import Account
from custodes.web.database import ServerDatabase, to_json
from custodes.web.projects import load_item
from custodes.web.schema import assignments, projects, work_items

OFFERED = 64
"""Open items among which the rule chooses."""
REPEAT_AFTER = 600.0
"""Seconds before an item can be shown to the same person again."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the rule has chosen for somebody, before it is given."""

    choice: Choice
    item: Item
    turn: int  # how often they have met the item
    shown: tuple[int, ...]  # order of the answers


def offer_for(
    database: ServerDatabase,
    connection: Connection,
    project: Project,
    run: str,
    account: Account,
    open_items: list[OpenItem],
) -> Offer | None:
    """What the person should get, if the rule finds something. Only reads."""
    gold = _unseen_gold(connection, project, account) if _stock(connection, project, run).gold else []
    person = _person(database, connection, project, account)
    choice = choose(project.assignment, person, open_items, gold, project.seed)
    if choice is None:
        return None
    met = (assignments.c.project == project.name, assignments.c.item == choice.item)
    turn = connection.scalar(select(func.count()).where(*met, assignments.c.account == account.id)) or 0
    item = load_item(connection, project.name, choice.item)
    # whether somebody writes without the given critique is drawn once: nobody meets a problem both ways
    share = min(question.given_share for question in project.questions)
    from_nothing = draw_items(project.seed, f"{account.id}\0{item.id} prefilled", 0).random() >= share
    answers = 0 if from_nothing else len(item.episodes)
    return Offer(choice, item, turn, shown_order(project.seed, account.id, item.id, turn, answers))


def lease(
    database: ServerDatabase, connection: Connection, project: Project, account: Account, offer: Offer
) -> Row[Any] | None:
    """A new lease. None where since the offer the last place was taken, the project ended, or the person got another."""
    holds = select(assignments.c.id).where(_leases(project), assignments.c.account == account.id).exists()
    still = select(projects.c.name).where(projects.c.name == project.name, projects.c.closed.is_(None), ~holds)
    if connection.scalar(still) is None:
        return None
    if offer.choice.purpose == "normal" and not count(connection, project, offer.item.id, leased=1, open_only=True):
        return None
    now, purpose = database.clock(), offer.choice.purpose
    row: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "project": project.name,
        "item": offer.item.id,
        "account": account.id,
        "draft": "",
    }
    row |= {"purpose": purpose, "turn": offer.turn, "shown": to_json(offer.shown), "state": "leased"}
    row |= {"given": now, "until": now + 60 * project.assignment.lease_minutes}
    return connection.execute(assignments.insert().values(**row).returning(*assignments.c)).one()


def open_items_for(connection: Connection, project: Project, run: str, account: Account) -> list[OpenItem]:
    """Items that the person may get as new ones, the first ``OFFERED`` in the order of the project's selection."""
    expertise = set(account.profile.get("expertise", ()))
    allowed = [text for text, tags in _stock(connection, project, run).tags if tags <= expertise]
    met = _met(account).where(assignments.c.state != "expired")
    first = (
        (work_items.c.information.desc(), work_items.c.place)
        if project.assignment.selection == "active"
        else (work_items.c.leased, work_items.c.done.desc(), work_items.c.place)
    )
    query = (
        select(work_items.c.id, work_items.c.done, work_items.c.leased, work_items.c.information)
        .where(work_items.c.project == project.name, work_items.c.open == 1, work_items.c.gold == "")
        .where(work_items.c.tags.in_(allowed), ~met.exists())
        .order_by(*first)
        .limit(OFFERED)
    )
    return [OpenItem(*row) for row in connection.execute(query)]


def leases_of(
    database: ServerDatabase, connection: Connection, project: Project, account: Account
) -> tuple[Row[Any] | None, list[Row[Any]]]:
    """(what lies before the person already, leases that are over, anybody's)."""
    now = database.clock()
    mine_or_late = (assignments.c.account == account.id) | (assignments.c.until < now)
    rows = connection.execute(select(assignments).where(_leases(project), mine_or_late)).all()
    return next((row for row in rows if row.until >= now), None), [row for row in rows if row.until < now]


def end_leases(database: ServerDatabase, connection: Connection, project: Project, late: list[Row[Any]]) -> None:
    """Leases that are over make room for others."""
    values = {"state": "expired", "ended": database.clock()}
    for row in late:
        connection.execute(update(assignments).where(assignments.c.id == row.id).values(**values))
        if row.purpose == "normal":
            count(connection, project, row.item, leased=-1)


def count(
    connection: Connection, project: Project, item: str, done: int = 0, leased: int = 0, open_only: bool = False
) -> bool:
    """Adds to an item's normal judgments and to the people who have it before them; ``open_only``: where it wants more.

    Whether it was done.
    """
    now_done, now_leased = work_items.c.done + done, work_items.c.leased + leased
    values = {"done": now_done, "leased": now_leased}
    wanted = case((now_done + now_leased < project.assignment.overlap, 1), else_=0)
    here = [
        work_items.c.project == project.name,
        work_items.c.id == item,
        *([work_items.c.open == 1] if open_only else []),
    ]
    return connection.execute(update(work_items).where(*here).values(**values, open=wanted)).rowcount > 0


def _leases(project: Project) -> ColumnElement[bool]:
    return (assignments.c.project == project.name) & (assignments.c.state == "leased")


@dataclass(frozen=True)
class _Stock:
    """What never changes of a project's items."""

    tags: tuple[tuple[str, frozenset[str]], ...]  # every set of tags: as stored, and as a set
    gold: bool  # whether there are gold items


_stocks: dict[str, _Stock] = {}  # by the project's run


def _stock(connection: Connection, project: Project, run: str) -> _Stock:
    if run not in _stocks:
        mine = work_items.c.project == project.name
        tags = connection.scalars(select(work_items.c.tags).where(mine).distinct()).all()
        gold = connection.scalar(select(work_items.c.id).where(mine, work_items.c.gold != "").limit(1))
        _stocks[run] = _Stock(tuple((text, frozenset(json.loads(text))) for text in tags), gold is not None)
    return _stocks[run]


def _unseen_gold(connection: Connection, project: Project, account: Account) -> list[str]:
    unseen = (work_items.c.project == project.name, work_items.c.gold != "", ~_met(account).exists())
    return list(connection.scalars(select(work_items.c.id).where(*unseen).order_by(work_items.c.place).limit(OFFERED)))


def _met(account: Account) -> Select[Any]:
    """The person's assignments of an item, correlated with the table of items."""
    same = (assignments.c.project == work_items.c.project, assignments.c.item == work_items.c.id)
    return select(assignments.c.id).where(*same, assignments.c.account == account.id)


def _person(database: ServerDatabase, connection: Connection, project: Project, account: Account) -> Assignee:
    mine = (assignments.c.project == project.name, assignments.c.account == account.id)
    by_purpose = select(assignments.c.purpose, func.count()).where(*mine).group_by(assignments.c.purpose)
    leased: dict[str, int] = dict(connection.execute(by_purpose).tuples().all())
    once = (
        select(assignments.c.item)
        .where(*mine, assignments.c.purpose != "gold", assignments.c.state == "done")
        .group_by(assignments.c.item)
        .having(func.count() == 1, func.max(assignments.c.ended) < database.clock() - REPEAT_AFTER)
        .order_by(assignments.c.item)
        .limit(OFFERED)
    )
    counts = (sum(leased.values()), leased.get("gold", 0), leased.get("repeat", 0))
    return Assignee(account.id, *counts, tuple(connection.scalars(once)), account.profile)
