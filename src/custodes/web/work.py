"""An annotator's work: getting the next item, keeping a draft, handing in, correcting, skipping.

Each of these is one transaction. What was handed in is acknowledged after the commit that put it into the ledger;
handing the same in again changes nothing, so a browser that heard no answer can simply try again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from hashlib import sha256
from secrets import token_hex
from threading import BoundedSemaphore
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, case, func, select, update

from custodes.environments.pasted_test import run_test
from custodes.environments.sandbox import SandboxFailure
from custodes.feedback.assignment import finished, over_quota
from custodes.feedback.items import Item, gold_result
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.project import Project, Stopping
from custodes.feedback.questions import Answer
from custodes.ledger import Decision
from custodes.types import InputError, Judgment
from custodes.web.accounts import Account
from custodes.web.answers import judgments_of
from custodes.web.database import MissingError, ServerDatabase, to_json
from custodes.web.leases import count, end_leases, lease, leases_of, offer_for, open_items_for
from custodes.web.people import may_see, require_seen
from custodes.web.projects import end_project, load_item, open_project, parsed_project, progress_of, quarantined
from custodes.web.schema import assignments, projects
from custodes.web.webhooks import tell

LONGEST_DRAFT = 200_000
NOTHING = "there is nothing for you here at the moment."
_RUNNING = BoundedSemaphore(2)
"""Tests that are run at once."""
WorkStage = Literal["alone", "assisted"]
"""Which of the two judgments of an assisted project."""


class ConflictError(InputError):
    """It was decided otherwise in the meantime; the text is for the person."""


def claim(database: ServerDatabase, project_name: str, account: Account) -> tuple[dict[str, Any] | None, str]:
    """(what lies before the person now, "") or (None, why there is nothing). Raises MissingError.

    Somebody who has an item already gets it again, with its draft: after a reconnect, or on another device.
    """
    with database.reading() as connection:  # most of it is looking, in which nobody waits for anybody
        require_seen(connection, project_name, account)
        project, run, closed = open_project(connection, project_name)
        held, late = leases_of(database, connection, project, account)
        if held is not None:
            return _screen_of(project, held, load_item(connection, project_name, held.item)), ""
        offer, out = None, account.id in quarantined(connection, project_name)
        if closed is None and not late and not out and not _counts(project):
            open_items = open_items_for(connection, project, run, account)
            offer = offer_for(database, connection, project, run, account, open_items)
    if offer is not None:
        with database.writing() as connection:
            row = lease(database, connection, project, account, offer)
        if row is not None:
            return _screen_of(project, row, offer.item), ""
    return _claim_alone(database, project_name, account)


def _claim_alone(database: ServerDatabase, project_name: str, account: Account) -> tuple[dict[str, Any] | None, str]:
    """:func:`claim` while nobody else claims: where leases end, the project may, or others were faster."""
    with database.writing() as connection:
        project, run, closed = open_project(connection, project_name)
        held, late = leases_of(database, connection, project, account)
        end_leases(database, connection, project, late)
        if held is not None:
            return _screen_of(project, held, load_item(connection, project_name, held.item)), ""
        if closed is not None:
            return None, f"the project has ended: {closed}."
        if account.id in quarantined(connection, project_name):
            return None, NOTHING
        open_items = open_items_for(connection, project, run, account)
        if not open_items or _counts(project):  # as long as items are open, it goes on
            people = database.accounts.all() if project.quotas else []
            progress = progress_of(connection, project, {person.id: person.profile for person in people})
            if why := finished(project, progress):
                end_project(database, connection, project_name, run, why)
                return None, f"the project has ended: {why}."
            if over_quota(project.quotas, account.profile, progress):
                return None, "enough has been heard from people like you; thank you."
        offer = offer_for(database, connection, project, run, account, open_items)
        row = lease(database, connection, project, account, offer) if offer is not None else None
        return (None, NOTHING) if offer is None or row is None else (_screen_of(project, row, offer.item), "")


def _counts(project: Project) -> bool:
    """Whether all that was handed in decides if there is more for somebody."""
    return bool(project.quotas) or project.stopping != Stopping()


def hand_in(
    database: ServerDatabase,
    id_: str,
    account: Account,
    answers: Sequence[Answer],
    seconds: float,
    reasons: Sequence[str] = (),
    assistance: str = "",
    revise: bool = False,
    stage: WorkStage | None = None,
) -> list[str]:
    """Ids of the judgments, once they are safe. ``revise`` corrects what was handed in before; the earlier stays.

    In an assisted project ``stage`` says which of the two this is: "alone", after which the item comes again with its
    help, or "assisted", after which it is done. Both are kept.

    Raises MissingError for an assignment that is not the account's, InputError for answers that do not fit, and
    ConflictError where something else was handed in before.
    """
    with database.reading() as connection:
        row = _own(connection, id_, account)
        project, run, _ = open_project(connection, row.project)
        item = load_item(connection, row.project, row.item)
    earlier = [j for j in database.ledger.judgments(run) if j.id.startswith(f"{id_}-")] if revise else []
    with database.writing() as connection:
        row = _own(connection, id_, account)
        key, assistance = _staged(project, item, row, stage, assistance)
        now = database.clock()
        seconds = min(seconds, _passed(row, stage, revise, now))
        common = (key, account.id, seconds, sorted(reasons), assistance)
        judgments, made = judgments_of(project, item, json.loads(row.shown), answers, *common)
        ids = [judgment.id for judgment in judgments]
        event = {"judgments": ids, "annotator": account.id, "item": row.item}
        if row.state == "skipped":
            raise ConflictError("this item was skipped.")
        if stage == "alone":  # final as soon as it is there, because the help has been seen after it
            again = "this was judged alone before; what is asked now is the judgment with help."
            _write_once(database, connection, run, judgments, again)
            if row.alone is None:
                stated = [answer.model_dump(exclude_none=True) for answer in answers]
                alone = {"alone": to_json({"at": now, "seconds": seconds, "answers": stated})}
                connection.execute(update(assignments).where(assignments.c.id == id_).values(**alone))
            return ids
        database.ledger.write(run, made, connection=connection)
        if row.state == "done" and not revise:
            again = "this was handed in before with other answers; correct it instead."
            _write_once(database, connection, run, judgments, again)
            return ids
        if row.state == "done":
            gone = [j for j in earlier if j.id.startswith(f"{key}-") and j.id not in ids]
            _revise(database, connection, run, judgments, gone)
            tell(database, connection, project.name, "judgment", **event, revised=True)
            return ids
        database.ledger.write(run, judgments, connection=connection)
        spent = seconds + (json.loads(row.alone)["seconds"] if row.alone else 0.0)
        values = {"state": "done", "ended": now, "seconds": spent}  # the draft stays: who corrects it begins there
        connection.execute(update(assignments).where(assignments.c.id == id_).values(**values))
        if row.purpose == "normal":
            count(connection, project, row.item, done=1, leased=-1 if row.state == "leased" else 0)
        tell(database, connection, project.name, "judgment", **event, revised=False)
        if item.gold and any(gold_result(item, judgment) is False for judgment in judgments):
            missed = Decision(f"gold-{id_}", "gold item missed", f"item {item.id}", account.id)
            database.ledger.write(run, [missed], connection=connection)
    return ids


def _write_once(
    database: ServerDatabase, connection: Connection, run: str, judgments: Sequence[Judgment], otherwise: str
) -> None:
    """The same again is quietly ignored; where other ones are there, ``otherwise`` is said."""
    try:
        database.ledger.write(run, judgments, connection=connection)
    except InputError:
        raise ConflictError(otherwise) from None


def _revise(
    database: ServerDatabase, connection: Connection, run: str, judgments: Sequence[Judgment], gone: Sequence[Judgment]
) -> None:
    """Put judgments in place of earlier ones of the same ids, and withdraw those that are ``gone``: a mark, say."""
    for judgment in judgments:
        try:
            database.ledger.write(run, [judgment], supersedes=judgment.id, connection=connection)
        except InputError:  # there was none
            database.ledger.write(run, [judgment], connection=connection)
    for earlier in gone:
        withdrawn = Comment(**{f.name: getattr(earlier, f.name) for f in fields(Judgment)}, text="withdrawn")
        database.ledger.write(run, [withdrawn], supersedes=earlier.id, connection=connection)


def _passed(row: Row[Any], stage: WorkStage | None, revise: bool, now: float) -> float:
    """Seconds by the server's own clock in which the answers can have been made.

    They end where these answers were handed in for the first time: the same again has the same seconds.
    """
    began, ended = row.given, row.ended or now
    if row.alone and stage is not None:
        at = json.loads(row.alone)["at"]
        began, ended = (row.given, at) if stage == "alone" else (at, ended)
    if revise and row.ended:
        began, ended = row.ended, now
    return max(0.0, float(ended - began))


def _staged(project: Project, item: Item, row: Row[Any], stage: WorkStage | None, assistance: str) -> tuple[str, str]:
    """(what the judgments' ids begin with, which help was shown); in an assisted project, of one of its two judgments."""
    if project.assisted is not True or item.assistance is None:
        if stage is not None:
            raise InputError(f"stage {stage!r}: nothing is judged twice in this project; leave it out.")
        if project.assisted:
            assistance = item.assistance.by if item.assistance and _helped_by_chance(project, item, row.account) else ""
        return row.id, assistance
    if stage is None:
        raise InputError("the field 'stage' is missing; the project is assisted: say alone or assisted.")
    if stage == "alone":
        return row.id, ""
    if row.alone is None:
        raise ConflictError("judge this alone first.")
    return f"{row.id}-assisted", item.assistance.by


def _helped_by_chance(project: Project, item: Item, account: str) -> bool:
    """Whether this person sees the help of this item, where help is given at random: the same answer each time."""
    return sha256(f"{project.seed} {item.id} {account}".encode()).digest()[0] % 2 == 0


def keep_draft(database: ServerDatabase, id_: str, account: Account, draft: dict[str, Any]) -> float:
    """Saves what is on the screen and extends the lease; when it ends, in seconds since 1970.

    The draft of an item that was handed in is kept for a correction. Raises MissingError, ConflictError when the item has gone to somebody else, InputError for a draft that is too long.
    """
    text = to_json(draft)
    if len(text) > LONGEST_DRAFT:
        raise InputError(f"the draft has {len(text):,} characters; at most {LONGEST_DRAFT:,} are kept.")
    with database.beside() as connection:  # autosaves are many, and nobody has to wait for them
        row = _own(connection, id_, account)
        project, _, _ = open_project(connection, row.project)
        until = database.clock() + 60 * project.assignment.lease_minutes
        open_or_done = (assignments.c.id == id_, assignments.c.state.in_(("leased", "done")))
        extended = case((assignments.c.state == "leased", until), else_=assignments.c.until)
        saved = update(assignments).where(*open_or_done).values(draft=text, until=extended)
        ends = connection.scalar(saved.returning(assignments.c.until))
    if ends is None:
        raise ConflictError("this item is not before you any more.")
    return float(ends)


def skip(database: ServerDatabase, id_: str, account: Account, why: str, flag: bool = False) -> None:
    """Gives the item back; with ``flag``, says in the ledger that something is wrong with it.

    Raises MissingError, ConflictError where it was handed in.
    """
    with database.writing() as connection:
        row = _own(connection, id_, account)
        if row.state == "done":
            raise ConflictError("this item was handed in.")
        project, run, _ = open_project(connection, row.project)
        if row.state == "leased":
            values = {"state": "skipped", "ended": database.clock(), "draft": ""}
            connection.execute(update(assignments).where(assignments.c.id == id_).values(**values))
            if row.purpose == "normal":
                count(connection, project, row.item, leased=-1)
        what, why = "item flagged" if flag else "item skipped", why or "no reason given"
        entry = Decision(f"{what.replace(' ', '-')}-{id_}", what, why, row.item)
        database.ledger.write(run, [entry], connection=connection)
        if flag and row.state != "skipped":
            tell(database, connection, project.name, "flag", annotator=account.id, item=row.item, flag=id_, why=why)


def run_test_again(database: ServerDatabase, id_: str, account: Account, place: int) -> str:
    """Runs a test of the help in the server's sandbox: what it comes to, in a sentence. That it was run is recorded.

    Raises MissingError where the person is shown no such test, InputError where no sandbox works on the server.
    """
    with database.reading() as connection:
        row = _own(connection, id_, account)
        project, run, _ = open_project(connection, row.project)
        item = load_item(connection, row.project, row.item)
        shown = _screen_of(project, row, item)["tests"]
    if not 0 <= place < len(shown) or item.assistance is None:
        raise MissingError("there is no such test.")
    found = item.assistance.tests[place]
    with _RUNNING:
        try:
            came = run_test(found.module, found.code, found.test)
        except SandboxFailure as failure:
            came = f"not run: {failure}"
        except InputError as error:
            raise InputError(f"the test cannot be run here: {error}") from None
    words = "it passes" if not came else "it does not end" if came == "slow" else came
    said = f"item {item.id}, test {place + 1}: {words}"
    entry = Decision(f"test-run-{id_}-{place}-{token_hex(4)}", "test run again", said, account.id)
    with database.writing() as connection:
        database.ledger.write(run, [entry], connection=connection)
    fails = came and came != "slow" and not came.startswith(("not run", "not loaded"))
    return f"It fails again: {came}." if fails else f"{words[:1].upper()}{words[1:]}."


def projects_of(database: ServerDatabase, account: Account) -> list[dict[str, Any]]:
    """Every project that the account may see, oldest first, and what it has done in each."""
    with database.reading() as connection:
        return [
            {
                "name": row.name,
                "title": parsed_project(row.text, row.name).title,
                "closed": row.closed,
                "own": _own_progress(connection, row.name, account.id),
            }
            for row in connection.execute(select(projects).where(may_see(account)).order_by(projects.c.created)).all()
        ]


def last(database: ServerDatabase, project_name: str, account: Account) -> dict[str, Any] | None:
    """The screen of what the account handed in last, with what was on it, to correct it. Raises MissingError."""
    with database.reading() as connection:
        require_seen(connection, project_name, account)
        project, _, _ = open_project(connection, project_name)
        query = select(assignments).where(*_done_by(project_name, account.id)).order_by(assignments.c.ended.desc())
        row = connection.execute(query.limit(1)).first()
        return None if row is None else _screen_of(project, row, load_item(connection, project_name, row.item))


def own_work(database: ServerDatabase, project: str, account: str) -> dict[str, float]:
    """What the account has done in a project: items handed in and seconds spent."""
    with database.reading() as connection:
        return _own_progress(connection, project, account)


def _own_progress(connection: Connection, project: str, account: str) -> dict[str, float]:
    query = select(func.count(), func.sum(assignments.c.seconds)).where(*_done_by(project, account))
    count, seconds = connection.execute(query).one()
    return {"items": count, "seconds": float(seconds or 0.0)}


def _done_by(project: str, account: str) -> tuple[ColumnElement[bool], ...]:
    return assignments.c.project == project, assignments.c.account == account, assignments.c.state == "done"


def _screen_of(project: Project, row: Row[Any], item: Item) -> dict[str, Any]:
    """What the person may see: no model names, no ids of answers, no gold, no purpose; help only after judging alone, or by chance."""
    alone = json.loads(row.alone) if row.alone else None
    twice = project.assisted is True
    helped = alone is not None if twice else bool(project.assisted) and _helped_by_chance(project, item, row.account)
    order = json.loads(row.shown)
    reference, help_ = item.told(order, helped)
    return {
        "assignment": row.id,
        "project": project.name,
        "title": project.title,
        "prompt": [m.to_dict() for m in item.task.messages],
        "reference": reference,
        "answers": [[m.to_dict() for m in item.episodes[n].messages[len(item.task.messages) :]] for n in order],
        "questions": [question.model_dump(mode="json") for question in project.questions],
        "axes": [axis.model_dump(mode="json") for axis in project.axes],
        "reasons": list(project.reasons),
        "guidelines": project.guidelines.model_dump(),
        "stage": ("assisted" if helped else "alone") if twice else None,
        "assistance": help_,
        "tests": [one.test for one in item.assistance.tests] if helped and item.assistance else [],
        "said_alone": alone["answers"] if alone else [],
        "until": row.until,
        "draft": json.loads(row.draft) if row.draft else None,
    }


def _own(connection: Connection, id_: str, account: Account) -> Row[Any]:
    """Somebody else's assignment is not there, for whoever asks."""
    query = select(assignments).where(assignments.c.id == id_, assignments.c.account == account.id)
    row = connection.execute(query).first()
    if row is None:
        raise MissingError("there is no such assignment.")
    return row
