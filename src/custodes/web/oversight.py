"""Direct human oversight: a policy proposes an action and waits, and a person approves or blocks it. A rule answers where
nobody does.

Everything is in the ledger, in a run of its own. The proposal is a task and an episode. The person's answer is a label with
their seconds and the hash of what they saw. Every answer, also the rule's, is a decision. Whether an action was harmful can
be told with it or later: what people catch is measured by it, and the person who decides never sees it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection, Row, select, update

from custodes.feedback.kinds.label import Label
from custodes.ledger import Decision
from custodes.stats import mean_interval, rate
from custodes.types import Episode, InputError, Message, Task, hash_shown
from custodes.web.accounts import Account
from custodes.web.database import MissingError, ServerDatabase, to_json
from custodes.web.schema import actions
from custodes.web.work import ConflictError

OversightAnswer = Literal["approve", "block"]
DONE: dict[OversightAnswer, str] = {"approve": "approved", "block": "blocked"}
RUN = ("oversight", "oversight run")
"""Recipe and key of the run that holds everything about oversight; made with the first action."""
SHOWN = 50
"""Waiting actions that a list has at most, the most urgent first."""


def propose(
    database: ServerDatabase,
    account: Account,
    policy: str,
    context: Sequence[Message],
    action: str,
    reason: str = "",
    timeout: float = 300.0,
    rule: OversightAnswer = "block",
    harmful: bool | None = None,
    key: str = "",
) -> str:
    """Puts an action before people; its id. Without an answer within ``timeout`` seconds, ``rule`` is the answer.

    ``context`` is what the policy was told and did before. ``harmful``, where it is known, is for measuring alone. The same
    ``key`` of the same account again is the same action: a process that was killed finds the answer to what it asked before.
    """
    id_ = hashlib.sha256(f"{account.id}\0{key}".encode()).hexdigest()[:32] if key else uuid.uuid4().hex
    now = database.clock()
    screen = {"context": [m.to_dict() for m in context], "action": action, "reason": reason}
    hidden = {"rule": rule, "timeout": timeout} | ({} if harmful is None else {"harmful": harmful})
    task = Task(f"oversight-{id_}", tuple(context), "oversight", hidden)
    episode = Episode.written(f"action-{id_}", task, (*context, Message("assistant", action)), policy)
    row = {"id": id_, "account": account.id, "policy": policy, "screen": to_json(screen), "rule": rule, "asked": now}
    row |= {"until": now + timeout, "state": "waiting", "by": "", "why": ""}
    run = database.run_of(*RUN)
    with database.writing() as connection:
        if connection.execute(select(actions.c.id).where(actions.c.id == id_)).first() is not None:
            return id_
        database.ledger.write(run, [task, episode], connection=connection)
        connection.execute(actions.insert().values(**row, harmful=None if harmful is None else int(harmful)))
    return id_


def answer_to(database: ServerDatabase, id_: str, account: Account) -> dict[str, Any]:
    """What was decided about an action that ``account`` proposed; its state is "waiting" while nobody has answered.

    ``who`` is the account that answered, ``seconds`` that person's time, ``waited`` how long the action waited.

    Raises MissingError, also for somebody else's action.
    """
    _apply_rule(database)
    with database.reading() as connection:
        row = _find(connection, id_)
    if row.account != account.id:
        raise MissingError("there is no such action.")
    answered = row.state != "waiting"
    by = ("person" if row.by else "rule") if answered else ""
    answer = {"id": row.id, "state": row.state, "by": by, "why": row.why, "until": row.until}
    if answered:
        answer |= {"who": row.by, "seconds": row.seconds, "waited": row.decided - row.asked}
    return answer


def waiting(database: ServerDatabase) -> list[dict[str, Any]]:
    """What people have to decide on now, the most urgent first: everything but whether it is harmful."""
    _apply_rule(database)
    with database.reading() as connection:
        query = select(actions).where(actions.c.state == "waiting").order_by(actions.c.until, actions.c.id).limit(SHOWN)
        return [_screen(row) for row in connection.execute(query)]


def decide(
    database: ServerDatabase, id_: str, account: Account, answer: OversightAnswer, seconds: float, why: str = ""
) -> None:
    """A person's answer: a label and a decision in the ledger. The first answer counts.

    Raises MissingError, and ConflictError where it was answered before or the time is over.
    """
    _apply_rule(database)
    run = database.run_of(*RUN)
    with database.writing() as connection:
        row = _find(connection, id_)
        if row.account == account.id:
            raise InputError("nobody decides on what their own account proposed; ask somebody else.")
        if row.state != "waiting":
            by = "by somebody else" if row.by else "when its time ended"
            raise ConflictError(f"this was {row.state} already {by}.")
        seconds = min(seconds, max(0.0, database.clock() - row.asked))
        screen, key = json.loads(row.screen), f"oversight-{id_}"
        shown = hash_shown(*(m["content"] for m in screen["context"]), screen["action"], screen["reason"])
        about: dict[str, Any] = {"id": key, "annotator": account.id, "task": key, "episodes": (f"action-{id_}",)}
        label = Label(**about, shown=shown, seconds=seconds, name="oversight", value=answer)
        database.ledger.write(run, [label], connection=connection)
        _close(database, connection, run, row, answer, account.id, why or "no reason given", seconds)


def tell_truth(database: ServerDatabase, id_: str, harmful: bool, by: str) -> None:
    """Says afterwards whether an action was harmful. Raises MissingError, ConflictError where something else was said."""
    run = database.run_of(*RUN)
    with database.writing() as connection:
        row = _find(connection, id_)
        if row.harmful is not None and bool(row.harmful) != harmful:
            raise ConflictError("something else was said about this action before.")
        if row.harmful is None:
            what = "action harmful" if harmful else "action harmless"
            entry = Decision(f"truth-{id_}", what, f"by {by}", f"action-{id_}")
            database.ledger.write(run, [entry], connection=connection)
            connection.execute(update(actions).where(actions.c.id == id_).values(harmful=int(harmful)))


def measures(database: ServerDatabase) -> dict[str, Any]:
    """What oversight catches and what it costs: rates with intervals, seconds of people.

    ``caught`` is the share of harmful actions that were blocked, ``stopped_for_nothing`` that of harmless ones.
    ``by_people`` has the same of those that a person answered. ``seconds`` is a person's time per answer, ``delay`` how
    long an action waited for it.
    """
    _apply_rule(database)
    with database.reading() as connection:
        rows = connection.execute(select(actions)).all()
    decided = [row for row in rows if row.state != "waiting"]
    answered = [row for row in decided if row.by]
    by_person = {name: [row for row in answered if row.by == name] for name in sorted({row.by for row in answered})}
    return {
        "waiting": len(rows) - len(decided),
        "decided": len(decided),
        "answered_in_time": rate([bool(row.by) for row in decided]).to_dict(),
        "blocked": rate([row.state == "blocked" for row in answered]).to_dict(),
        **_rates(decided),
        "by_people": _rates(answered),
        "people": {name: _rates(own) | {"answers": len(own)} for name, own in by_person.items()},
        "seconds": mean_interval([row.seconds for row in answered]).to_dict(),
        "seconds_in_all": float(np.sum([row.seconds for row in answered])),
        "delay": mean_interval([row.decided - row.asked for row in answered]).to_dict(),
    }


def last_decided(database: ServerDatabase, most: int = 20) -> list[dict[str, Any]]:
    """The newest answers, the last first, with who or what gave them."""
    with database.reading() as connection:
        query = select(actions).where(actions.c.state != "waiting").order_by(actions.c.decided.desc()).limit(most)
        return [
            _screen(row) | {name: getattr(row, name) for name in ("state", "by", "why", "harmful", "seconds")}
            for row in connection.execute(query)
        ]


def _rates(rows: Sequence[Any]) -> dict[str, Any]:
    blocked = {known: [row.state == "blocked" for row in rows if row.harmful == known] for known in (1, 0)}
    return {"caught": rate(blocked[1]).to_dict(), "stopped_for_nothing": rate(blocked[0]).to_dict()}


def _apply_rule(database: ServerDatabase) -> None:
    """What nobody answered in time gets its rule's answer, as of the time it ended, whoever looks first."""
    late = (actions.c.state == "waiting", actions.c.until <= database.clock())
    with database.reading() as connection:
        if connection.scalar(select(actions.c.id).where(*late).limit(1)) is None:
            return
    run = database.run_of(*RUN)
    with database.writing() as connection:
        for row in connection.execute(select(actions).where(*late)).all():
            _close(database, connection, run, row, row.rule, "", "nobody answered in time", None)


def _close(
    database: ServerDatabase,
    connection: Connection,
    run: str,
    row: Row[Any],
    answer: OversightAnswer,
    by: str,
    why: str,
    seconds: float | None,
) -> None:
    what = f"action {DONE[answer]}" if by else f"action {DONE[answer]} by time-out"
    entry = Decision(f"oversight-{row.id}", what, f"{why} (by {by})" if by else why, f"action-{row.id}")
    database.ledger.write(run, [entry], connection=connection)
    decided = database.clock() if by else row.until
    values = {"state": DONE[answer], "by": by, "why": why, "decided": decided, "seconds": seconds}
    connection.execute(update(actions).where(actions.c.id == row.id).values(**values))


def _screen(row: Row[Any]) -> dict[str, Any]:
    columns = ("id", "account", "policy", "rule", "asked", "until")
    return {name: getattr(row, name) for name in columns} | json.loads(row.screen)


def _find(connection: Connection, id_: str) -> Row[Any]:
    row = connection.execute(select(actions).where(actions.c.id == id_)).first()
    if row is None:
        raise MissingError("there is no such action.")
    return row
