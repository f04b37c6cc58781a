"""Webhooks: other people's servers are told what happens in a project.

An event is written into an outbox in the transaction in which it happens. So nothing is told that was undone, and nothing
is forgotten when the server stops. :mod:`custodes.web.webhook_delivery` sends it afterwards. A lead makes webhooks.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections import Counter
from collections.abc import Collection
from typing import Any, Literal, get_args

from sqlalchemy import Connection, delete, func, select

from custodes.types import InputError
from custodes.web.addresses import check_url
from custodes.web.database import MissingError, ServerDatabase
from custodes.web.schema import outbox, projects, webhooks

Event = Literal["judgment", "ended", "alarm", "quarantine", "flag"]
EVENTS: tuple[Event, ...] = get_args(Event)
"""Answers were handed in; the project ended; an annotator's alarm rang; somebody was put into quarantine or let out; somebody
said that something is wrong with an item."""
MOST = 20
"""Webhooks of one project."""


def add_webhook(
    database: ServerDatabase, project: str, url: str, events: list[str], by: str, hosts: Collection[str] | None = None
) -> dict[str, str]:
    """Tells ``url`` of ``events`` of a project from now on; the webhook's id, and the secret that signs what is sent.

    ``hosts`` as :func:`~custodes.web.addresses.check_url` takes them. The secret is one of the Standard Webhooks.

    Raises MissingError for an unknown project, InputError for an address or events that are not possible.
    """
    _, host, _ = check_url(url, hosts)
    if not events or not set(events) <= set(EVENTS):
        raise InputError(f"events {events} are not possible; give one or more of {', '.join(EVENTS)}.")
    id_, secret = uuid.uuid4().hex, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    row = {"id": id_, "project": project, "url": url, "secret": secret, "created": database.clock()}
    with database.writing() as connection:
        _require(connection, project)
        count = connection.scalar(select(func.count()).where(webhooks.c.project == project)) or 0
        if count >= MOST:
            raise InputError(f"the project {project!r} has {count} webhooks already; take one away first.")
        connection.execute(webhooks.insert().values(**row, events=f" {' '.join(sorted(set(events)))} "))
        database.log_access("webhook made", by, f"{id_} of {project} to {host}", connection)
    return {"id": id_, "secret": secret}


def remove_webhook(database: ServerDatabase, project: str, id_: str, by: str) -> None:
    """Tells it nothing more, what was waiting included. Raises MissingError."""
    with database.writing() as connection:
        gone = connection.execute(delete(webhooks).where(webhooks.c.id == id_, webhooks.c.project == project))
        if not gone.rowcount:
            raise MissingError("there is no such webhook.")
        connection.execute(delete(outbox).where(outbox.c.webhook == id_))
        database.log_access("webhook removed", by, f"{id_} of {project}", connection)


def webhooks_of(database: ServerDatabase, project: str) -> list[dict[str, Any]]:
    """A project's webhooks without their secrets, how much each was told, and what came of the last try."""
    rows = []
    with database.reading() as connection:
        _require(connection, project)
        for row in connection.execute(select(webhooks).where(webhooks.c.project == project)).all():
            own = outbox.c.webhook == row.id
            states = select(outbox.c.state, func.count()).where(own).group_by(outbox.c.state)
            counts: Counter[str] = Counter(dict(connection.execute(states).tuples().all()))
            last = select(outbox.c.said).where(own, outbox.c.tries > 0).order_by(outbox.c.due.desc()).limit(1)
            by_state = {state.replace(" ", "_"): counts[state] for state in ("waiting", "delivered", "given up")}
            shown = {"id": row.id, "url": row.url, "events": row.events.split()}
            rows.append(shown | by_state | {"last": connection.scalar(last) or ""})
    return rows


def tell(database: ServerDatabase, connection: Connection, project: str, event: Event, **content: Any) -> None:
    """Puts what happened into the outbox of every webhook that wants to know, within the transaction of ``connection``."""
    for webhook in connection.scalars(_wanting(project, event)).all():
        now, id_ = database.clock(), uuid.uuid4().hex
        body = {"delivery": id_, "event": event, "project": project, "at": now, **content}
        row = {"id": id_, "webhook": webhook, "body": json.dumps(body, ensure_ascii=False), "state": "waiting"}
        connection.execute(outbox.insert().values(**row, created=now, due=now, tries=0, said=""))


def wanted(connection: Connection, project: str, event: Event) -> bool:
    """Whether any webhook wants to know of ``event``."""
    return connection.scalar(_wanting(project, event).limit(1)) is not None


def _wanting(project: str, event: Event) -> Any:
    return select(webhooks.c.id).where(webhooks.c.project == project, webhooks.c.events.like(f"% {event} %"))


def _require(connection: Connection, project: str) -> None:
    if connection.scalar(select(projects.c.name).where(projects.c.name == project)) is None:
        raise MissingError(f"there is no project {project!r}.")
