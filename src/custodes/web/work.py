"""An annotator's work: getting the next item, keeping a draft, handing in, correcting, skipping.

Each of these is one transaction. What was handed in is acknowledged after the commit that put it into the ledger;
handing the same in again changes nothing, so a browser that heard no answer can simply try again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, select, update

from custodes.feedback.assignment import OpenItem, Person, choose, draw, finished, over_quota, shown_order
from custodes.feedback.items import Item, gold_result
from custodes.feedback.project import Project, parse_project
from custodes.ledger import Decision
from custodes.types import InputError, Judgment
from custodes.web.accounts import Account
from custodes.web.answers import Answer, judgments_of, new_episodes
from custodes.web.database import Database, MissingError, to_json
from custodes.web.projects import end_project, load_item, open_project, progress_of, quarantined
from custodes.web.schema import assignments, items, projects

OFFERED = 64
"""Open items among which the rule chooses."""
REPEAT_AFTER = 600.0
"""Seconds before an item can be shown to the same person again."""
LONGEST_DRAFT = 200_000
Stage = Literal["alone", "assisted"]
"""Which of the two judgments of an assisted project."""


class ConflictError(Exception):
    """It was decided otherwise in the meantime; the text is for the person."""


def claim(database: Database, project_name: str, account: Account) -> tuple[dict[str, Any] | None, str]:
    """(what lies before the person now, "") or (None, why there is nothing). Raises MissingError.

    Somebody who has an item already gets it again, with its draft: after a reconnect, or on another device.
    """
    profiles = {person.id: person.profile for person in database.accounts.all()}
    with database.writing() as connection:
        project, run, closed = open_project(connection, project_name)
        _expire(database, connection, project_name)
        held = connection.execute(
            select(assignments).where(
                assignments.c.project == project_name,
                assignments.c.account == account.id,
                assignments.c.state == "leased",
            )
        ).first()
        if held is not None:
            return screen_of(connection, project, held), ""
        if closed is not None:
            return None, f"the project has ended: {closed}."
        if account.id in quarantined(connection, project_name):
            return None, "there is nothing for you here at the moment."
        progress = progress_of(connection, project, profiles)
        if why := finished(project, progress):
            end_project(database, connection, project_name, run, why)
            return None, f"the project has ended: {why}."
        if over_quota(project.quotas, account.profile, progress):
            return None, "enough has been heard from people like you; thank you."
        row = _give(database, connection, project, account)
        if row is None:
            return None, "there is nothing for you here at the moment."
        return screen_of(connection, project, row), ""


def hand_in(
    database: Database,
    id_: str,
    account: Account,
    answers: Sequence[Answer],
    seconds: float,
    reasons: Sequence[str] = (),
    assistance: str = "",
    revise: bool = False,
    stage: Stage | None = None,
) -> list[str]:
    """Ids of the judgments, once they are safe. ``revise`` corrects what was handed in before; the earlier stays.

    In an assisted project ``stage`` says which of the two this is: "alone", after which the item comes again with its
    help, or "assisted", after which it is done. Both are kept.

    Raises MissingError for an assignment that is not the account's, InputError for answers that do not fit, and
    ConflictError where something else was handed in before.
    """
    with database.writing() as connection:
        row = _own(connection, id_, account)
        project, run, _ = open_project(connection, row.project)
        item = load_item(connection, row.project, row.item)
        key, assistance = _staged(project, item, row, stage, assistance)
        order = json.loads(row.shown)
        judgments = judgments_of(project, item, order, answers, key, account.id, seconds, sorted(reasons), assistance)
        ids = [judgment.id for judgment in judgments]
        if row.state == "skipped":
            raise ConflictError("this item was skipped.")
        if stage == "alone":
            _keep_alone(database, connection, row, run, judgments, answers, seconds)
            return ids
        database.ledger.write(run, new_episodes(project, item, answers, account.id), connection=connection)
        if row.state == "done" and not revise:
            try:
                return database.ledger.write(run, judgments, connection=connection)  # the same again: quietly ignored
            except InputError:
                raise ConflictError("this was handed in before with other answers; correct it instead.") from None
        if row.state == "done":
            for judgment in judgments:
                try:
                    database.ledger.write(run, [judgment], supersedes=judgment.id, connection=connection)
                except InputError:
                    database.ledger.write(run, [judgment], connection=connection)
            return ids
        database.ledger.write(run, judgments, connection=connection)
        spent = seconds + (json.loads(row.alone)["seconds"] if row.alone else 0.0)
        values = {"state": "done", "ended": database.clock(), "seconds": spent, "draft": ""}
        connection.execute(update(assignments).where(assignments.c.id == id_).values(**values))
        if row.purpose == "normal":
            _count(connection, row, done=1, leased=-1 if row.state == "leased" else 0)
        results = [gold_result(item, judgment) for judgment in judgments] if item.gold else []
        if any(result is False for result in results):
            missed = Decision(f"gold-{id_}", "gold item missed", f"item {item.id}", account.id)
            database.ledger.write(run, [missed], connection=connection)
    return ids


def _staged(project: Project, item: Item, row: Row[Any], stage: Stage | None, assistance: str) -> tuple[str, str]:
    """(what the judgments' ids begin with, which help was shown) of one of the two judgments of an assisted project."""
    if not project.assisted or item.assistance is None:
        if stage is not None:
            raise InputError(f"stage {stage!r}: the project is not assisted; leave it out.")
        return row.id, assistance
    if stage is None:
        raise InputError("the field 'stage' is missing; the project is assisted: say alone or assisted.")
    if stage == "alone":
        return row.id, ""
    if row.alone is None:
        raise ConflictError("judge this alone first.")
    return f"{row.id}-assisted", item.assistance.by


def _keep_alone(
    database: Database,
    connection: Connection,
    row: Row[Any],
    run: str,
    judgments: Sequence[Judgment],
    answers: Sequence[Answer],
    seconds: float,
) -> None:
    """The first of two judgments: final as soon as it is there, because the help has been seen after it."""
    try:
        database.ledger.write(run, judgments, connection=connection)  # the same again: quietly ignored
    except InputError:
        raise ConflictError("this was judged alone before; what is asked now is the judgment with help.") from None
    if row.alone is None:
        said = [answer.model_dump(exclude_none=True) for answer in answers]
        values = {"alone": to_json({"at": database.clock(), "seconds": seconds, "answers": said}), "draft": ""}
        connection.execute(update(assignments).where(assignments.c.id == row.id).values(**values))


def keep_draft(database: Database, id_: str, account: Account, draft: dict[str, Any]) -> float:
    """Saves what is on the screen and extends the lease; when it ends, in seconds since 1970.

    Raises MissingError, ConflictError when the item has gone to somebody else, InputError for a draft that is too long.
    """
    text = to_json(draft)
    if len(text) > LONGEST_DRAFT:
        raise InputError(f"the draft has {len(text):,} characters; at most {LONGEST_DRAFT:,} are kept.")
    with database.writing() as connection:
        row = _own(connection, id_, account)
        if row.state != "leased":
            raise ConflictError("this item is not before you any more.")
        project, _, _ = open_project(connection, row.project)
        until = database.clock() + 60 * project.assignment.lease_minutes
        connection.execute(update(assignments).where(assignments.c.id == id_).values(draft=text, until=until))
    return float(until)


def skip(database: Database, id_: str, account: Account, why: str, flag: bool = False) -> None:
    """Gives the item back; with ``flag``, says in the ledger that something is wrong with it.

    Raises MissingError, ConflictError where it was handed in.
    """
    with database.writing() as connection:
        row = _own(connection, id_, account)
        if row.state == "done":
            raise ConflictError("this item was handed in.")
        if row.state == "leased":
            values = {"state": "skipped", "ended": database.clock(), "draft": ""}
            connection.execute(update(assignments).where(assignments.c.id == id_).values(**values))
            if row.purpose == "normal":
                _count(connection, row, leased=-1)
        _, run, _ = open_project(connection, row.project)
        what = "item flagged" if flag else "item skipped"
        entry = Decision(f"{what.replace(' ', '-')}-{id_}", what, why or "no reason given", row.item)
        database.ledger.write(run, [entry], connection=connection)


def projects_of(database: Database, account: str) -> list[dict[str, Any]]:
    """Every project, oldest first, and what the account has done in each."""
    with database.reading() as connection:
        return [
            {
                "name": row.name,
                "title": parse_project(row.text).title,
                "closed": row.closed,
                "own": own_progress(connection, row.name, account),
            }
            for row in connection.execute(select(projects).order_by(projects.c.created)).all()
        ]


def own_progress(connection: Connection, project: str, account: str) -> dict[str, float]:
    """What the account has done in a project: items handed in and seconds spent."""
    here = (assignments.c.project == project, assignments.c.account == account, assignments.c.state == "done")
    count, seconds = connection.execute(select(func.count(), func.sum(assignments.c.seconds)).where(*here)).one()
    return {"items": count, "seconds": float(seconds or 0.0)}


def screen_of(connection: Connection, project: Project, row: Row[Any]) -> dict[str, Any]:
    """What the person may see: no model names, no ids of answers, no gold, no purpose; help only after judging alone."""
    item = load_item(connection, project.name, row.item)
    order = json.loads(row.shown)
    alone = json.loads(row.alone) if row.alone else None
    helped = alone is not None and item.assistance is not None
    return {
        "assignment": row.id,
        "project": project.name,
        "prompt": [m.to_dict() for m in item.task.messages],
        "reference": item.reference,
        "answers": [[m.to_dict() for m in item.episodes[n].messages[len(item.task.messages) :]] for n in order],
        "questions": [question.model_dump(mode="json") for question in project.questions],
        "axes": [axis.model_dump(mode="json") for axis in project.axes],
        "reasons": list(project.reasons),
        "guidelines": project.guidelines.model_dump(),
        "stage": ("assisted" if helped else "alone") if project.assisted else None,
        "assistance": item.assistance.text if helped and item.assistance else "",
        "said_alone": alone["answers"] if alone else [],
        "until": row.until,
        "draft": json.loads(row.draft) if row.draft else None,
    }


def _give(database: Database, connection: Connection, project: Project, account: Account) -> Row[Any] | None:
    """A new lease for the person, if the rule finds something."""
    choice = choose(
        project.assignment,
        _person(database, connection, project, account),
        _open_items(connection, project, account),
        _unseen_gold(connection, project, account),
        project.seed,
    )
    if choice is None:
        return None
    met = (assignments.c.item == choice.item, assignments.c.account == account.id)
    turn = connection.scalar(select(func.count()).where(assignments.c.project == project.name, *met)) or 0
    answers = len(load_item(connection, project.name, choice.item).episodes)
    if _from_nothing(project, account.id, choice.item):
        answers = 0
    row = {
        "id": uuid.uuid4().hex,
        "project": project.name,
        "item": choice.item,
        "account": account.id,
        "purpose": choice.purpose,
        "turn": turn,
        "shown": to_json(shown_order(project.seed, account.id, choice.item, turn, answers)),
        "state": "leased",
        "given": database.clock(),
        "until": database.clock() + 60 * project.assignment.lease_minutes,
        "draft": "",
    }
    connection.execute(assignments.insert().values(**row))
    if choice.purpose == "normal":
        _count(connection, choice.item, project.name, leased=1)
    return connection.execute(select(assignments).where(assignments.c.id == row["id"])).first()


def _from_nothing(project: Project, account: str, item: str) -> bool:
    """Whether this person writes the critique of this item without the given one: drawn once, so that nobody meets a
    problem both ways."""
    shares = [question.prefilled for question in project.questions if question.kind == "critique"]
    share = next((share for share in shares if share is not None), 1.0)
    return bool(draw(project.seed, f"{account}\0{item} prefilled", 0).random() >= share)


def _open_items(connection: Connection, project: Project, account: Account) -> list[OpenItem]:
    mine = items.c.project == project.name
    tags = connection.scalars(select(items.c.tags).where(mine).distinct()).all()
    allowed = [some for some in tags if set(json.loads(some)) <= set(account.profile.get("expertise", ()))]
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
        .where(mine, items.c.gold == "", items.c.tags.in_(allowed), ~met.exists())
        .where(items.c.done + items.c.leased < project.assignment.overlap)
        .order_by(*first)
        .limit(OFFERED)
    )
    return [OpenItem(*row) for row in connection.execute(query)]


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


def _expire(database: Database, connection: Connection, project: str) -> None:
    late = (
        assignments.c.project == project,
        assignments.c.state == "leased",
        assignments.c.until < database.clock(),
    )
    for row in connection.execute(select(assignments).where(*late)).all():
        values = {"state": "expired", "ended": database.clock()}
        connection.execute(update(assignments).where(assignments.c.id == row.id).values(**values))
        if row.purpose == "normal":
            _count(connection, row, leased=-1)


def _own(connection: Connection, id_: str, account: Account) -> Row[Any]:
    """Somebody else's assignment is not there, for whoever asks."""
    mine = (assignments.c.id == id_, assignments.c.account == account.id)
    row = connection.execute(select(assignments).where(*mine)).first()
    if row is None:
        raise MissingError("there is no such assignment.")
    return row


def _count(
    connection: Connection, item: Row[Any] | str, project: str | None = None, done: int = 0, leased: int = 0
) -> None:
    id_, name = (item, project) if isinstance(item, str) else (item.item, item.project)
    here = (items.c.project == name) & (items.c.id == id_)
    values = {"done": items.c.done + done, "leased": items.c.leased + leased}
    connection.execute(update(items).where(here).values(**values))
