"""Projects in the database: opened from their YAML, filled with items, closed by their stopping rule or by a lead."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, func, select

from custodes.feedback.assignment import COMPLETE, AnnotationProgress, draw_items
from custodes.feedback.items import Assistance, FailingTest, Item
from custodes.feedback.project import Project, parse_project
from custodes.ledger import Decision
from custodes.types import Episode, InputError, Message, Task
from custodes.web.database import MissingError, ServerDatabase, to_json
from custodes.web.schema import EVERYBODY, about, assignments, members, projects, quarantines, work_items
from custodes.web.webhooks import tell

PAGE = 500
UNKNOWN = 0.3
"""Nats that the answer about two answers of which nothing is known carries, about; more than any after it."""


def create_project(database: ServerDatabase, text: str, contents: Sequence[Item], by: str) -> Project:
    """Opens a project with its items; everything that it asks about goes into the ledger. Raises InputError.

    Whoever opens it (``by``, where that is an account) is its first member, unless it is for everybody.
    """
    project = parse_project(text)
    with database.reading() as connection:
        _require_new(connection, project.name)
    if not contents:
        raise InputError(f"the project {project.name!r} has no items; give it tasks.")
    run = database.ledger.start_run(f"project {project.name}", {"project": text}, seed=project.seed)
    with database.writing() as connection:
        _require_new(connection, project.name)
        row = {"name": project.name, "text": text, "run": run, "closed": None, "created": database.clock()}
        connection.execute(projects.insert().values(**row))
        seen_by = EVERYBODY if project.members == "everybody" else by if database.accounts.of(by) else None
        if seen_by is not None:
            connection.execute(members.insert().values(project=project.name, account=seen_by))
        _add(database, connection, project, run, contents)
        database.log_access("project opened", by, f"{project.name}, {len(contents):,} items", connection)
    return project


def _require_new(connection: Connection, name: str) -> None:
    if connection.scalar(select(projects.c.name).where(projects.c.name == name)):
        raise InputError(f"there is a project {name!r} already; choose another name.")


def open_project(connection: Connection, name: str) -> tuple[Project, str, str | None]:
    """(project, its run in the ledger, why it was closed or None). Raises MissingError."""
    row = connection.execute(select(projects).where(projects.c.name == name)).first()
    if row is None:
        raise MissingError(f"there is no project {name!r}.")
    return parsed_project(row.text, name), row.run, row.closed


@lru_cache(maxsize=256)
def parsed_project(text: str, name: str) -> Project:
    """The project that was checked when it was opened; its text never changes, and reading YAML takes as long as all else."""
    return parse_project(text, name)


def close_project(database: ServerDatabase, name: str, why: str, by: str) -> None:
    """No more items are given out; what is under way may be finished. Raises MissingError."""
    with database.writing() as connection:
        _, run, closed = open_project(connection, name)
        if closed is None:
            end_project(database, connection, name, run, why)
            database.log_access("project closed", by, name, connection)


def end_project(database: ServerDatabase, connection: Connection, name: str, run: str, why: str) -> None:
    connection.execute(projects.update().where(projects.c.name == name).values(closed=why))
    database.ledger.write(run, [Decision(f"closed-{name}", "project closed", why, name)], connection=connection)
    tell(database, connection, name, "ended", why=why)


def add_items(database: ServerDatabase, name: str, contents: Sequence[Item], why: str) -> int:
    """Put more items into a project; those that it has are left as they are. How many are new.

    A project that had ended since all was judged is open again. Raises MissingError for an unknown project, InputError for
    one that ended for another reason.
    """
    with database.writing() as connection:
        project, run, closed = open_project(connection, name)
        known = set(connection.scalars(select(work_items.c.id).where(work_items.c.project == name)))
        new = [item for item in contents if item.id not in known]
        if not new:
            return 0
        if closed is not None and closed != COMPLETE:
            raise InputError(f"the project {name!r} has ended: {closed}; its people cannot be asked any more.")
        connection.execute(projects.update().where(projects.c.name == name).values(closed=None))
        _add(database, connection, project, run, new)
        database.log_access("items added", why, f"{len(new):,} items into {name}", connection)
    return len(new)


def quarantine(database: ServerDatabase, project: str, account: str, why: str, by: str, lift: bool = False) -> None:
    """An annotator's judgments of a project are left out of exports and of the desk from now on, or come back with ``lift``.

    A decision in the ledger; nothing is deleted. Raises MissingError for an unknown project or account, InputError where nothing changes.
    """
    if database.accounts.of(account) is None:
        raise MissingError(f"there is no account {account!r}.")
    with database.writing() as connection:
        _, run, _ = open_project(connection, project)
        here = (quarantines.c.project == project) & (quarantines.c.account == account)
        held = connection.scalar(select(quarantines.c.decision).where(here))
        if (held is None) == lift:
            raise InputError(f"{account} is {'not ' if lift else ''}in quarantine already.")
        what = "quarantine lifted" if lift else "quarantine"
        id_ = f"{what.replace(' ', '-')}-{account}-{database.clock():.6f}"
        database.ledger.write(run, [Decision(id_, what, f"{why} (by {by})", account)], connection=connection)
        row = {"project": project, "account": account, "decision": id_}
        connection.execute(quarantines.delete().where(here) if lift else quarantines.insert().values(**row))
        tell(database, connection, project, "quarantine", annotator=account, why=why, lifted=lift)


def quarantined(connection: Connection, project: str) -> set[str]:
    return set(connection.scalars(select(quarantines.c.account).where(quarantines.c.project == project)))


def load_item(connection: Connection, project: str, id_: str) -> Item:
    """Raises MissingError."""
    query = select(work_items).where(work_items.c.project == project, work_items.c.id == id_)
    row = connection.execute(query).first()
    if row is None:
        raise MissingError(f"there is no item {id_!r} in {project}.")
    return _item(row)


def load_items(connection: Connection, project: str) -> list[Item]:
    return [_item(row) for row in connection.execute(select(work_items).where(work_items.c.project == project))]


def progress_of(
    connection: Connection, project: Project, profiles: Mapping[str, Mapping[str, Any]] | None = None
) -> AnnotationProgress:
    """How far a project is; ``profiles`` by account, where there are quotas."""
    normal = (work_items.c.gold == "") & (work_items.c.project == project.name)
    done, number = connection.execute(select(func.sum(work_items.c.done), func.count()).where(normal)).one()
    here = (assignments.c.project == project.name) & (assignments.c.state == "done")
    seconds = connection.scalar(select(func.sum(assignments.c.seconds)).where(here)) or 0.0
    groups: dict[str, Counter[str]] = {quota.field: Counter() for quota in project.quotas}
    if groups:
        by_person = (
            select(assignments.c.account, func.count())
            .where(here, assignments.c.purpose == "normal")
            .group_by(assignments.c.account)
        )
        for account, count in connection.execute(by_person):
            for field, by_group in groups.items():
                by_group[str((profiles or {}).get(account, {}).get(field, ""))] += count
    stored = connection.scalar(select(about.c.value).where(about.c.key == f"uncertainty {project.name}"))
    uncertainty = None if stored is None else float(stored)
    return AnnotationProgress(
        int(done or 0), number * project.assignment.overlap, seconds / 3600, uncertainty, dict(groups)
    )


def set_learned(
    database: ServerDatabase, project: str, information: Mapping[str, float], uncertainty: float | None
) -> None:
    """What each item can still teach (nats, by its id), and how unsure the result is."""
    key = f"uncertainty {project}"
    with database.writing() as connection:
        for id_, value in information.items():
            here = (work_items.c.project == project) & (work_items.c.id == id_)
            connection.execute(work_items.update().where(here).values(information=value))
        connection.execute(about.delete().where(about.c.key == key))
        if uncertainty is not None:
            connection.execute(about.insert().values(key=key, value=repr(uncertainty)))


def _add(
    database: ServerDatabase, connection: Connection, project: Project, run: str, contents: Sequence[Item]
) -> None:
    order = draw_items(project.seed, f"items of {project.name}", 0).permutation(len(contents))
    rows = [
        {
            "project": project.name,
            "id": item.id,
            "screen": to_json(_screen(item)),
            "gold": to_json(dict(item.gold)) if item.gold else "",
            "tags": to_json(sorted(item.tags)),
            "place": int(place),
            **{"information": UNKNOWN, "done": 0, "leased": 0, "open": 1},
        }
        for item, place in zip(contents, order, strict=True)
    ]
    for start in range(0, len(rows), PAGE):
        connection.execute(work_items.insert(), rows[start : start + PAGE])
    tasks = {item.task.id: item.task for item in contents}
    episodes = {episode.id: episode for item in contents for episode in item.episodes}
    database.ledger.write(run, [*tasks.values(), *episodes.values()], connection=connection)


def _screen(item: Item) -> dict[str, Any]:
    return {
        "task": item.task.id,
        "reference": item.reference,
        "assistance": asdict(item.assistance) if item.assistance else None,
        "prompt": [m.to_dict() for m in item.task.messages],
        "episodes": [
            {"id": e.id, "messages": [m.to_dict() for m in e.messages[len(item.task.messages) :]], "policy": e.policy}
            for e in item.episodes
        ],
    }


def _item(row: Any) -> Item:
    screen = json.loads(row.screen)
    task = Task(screen["task"], _messages(screen["prompt"]))
    episodes = tuple(
        Episode.written(e["id"], task, task.messages + _messages(e["messages"]), e["policy"])
        for e in screen["episodes"]
    )
    gold, tags = json.loads(row.gold or "{}"), tuple(json.loads(row.tags))
    help_ = _assistance(screen["assistance"]) if screen.get("assistance") else None
    return Item(row.id, task, episodes, gold, tags, screen.get("reference", ""), help_)


def _assistance(row: dict[str, Any]) -> Assistance:
    return Assistance(**row | {"tests": tuple(FailingTest(**test) for test in row.get("tests", ()))})


def _messages(rows: list[dict[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(row["role"], row["content"]) for row in rows)
