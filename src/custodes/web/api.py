"""Every address of the server. The screens use the same functions and addresses as programs do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import BackgroundTasks, HTTPException, Request, Response
from sqlalchemy import select

from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.types import Annotator
from custodes.web import bodies, flags, members, people, projects, work
from custodes.web.access import (
    ANYBODY,
    COOKIE,
    EVERYBODY,
    LEADS,
    READERS,
    WORKERS,
    AccountOf,
    CsrfOf,
    DatabaseOf,
    Routes,
    Rule,
)
from custodes.web.accounts import DEVICE, LONGEST, AccountRole, RefusedError, TooManyError
from custodes.web.desk import quality_of
from custodes.web.export import judgments_of_project
from custodes.web.members import require_seen
from custodes.web.refresh import is_due, refresh

DEVICE_COOKIE = "custodes_device"
OVERSEERS: frozenset[AccountRole] = frozenset({"lead", "auditor"})

route = Routes("/api")


@route("GET", "/health", ANYBODY)
def health(database: DatabaseOf) -> dict[str, Any]:
    """Whether the server and its database answer."""
    with database.reading() as connection:
        connection.execute(select(1))
    return {"ok": True}


# ---------------------------------------------------------------- coming in


@route("POST", "/sign-in", ANYBODY)
def sign_in(body: bodies.SignIn, request: Request, response: Response, database: DatabaseOf) -> dict[str, Any]:
    """A new session: its cookie, and the token that changes need in the header X-CSRF-Token."""
    address = request.client.host if request.client else "unknown"
    try:
        held = (request.cookies.get(COOKIE), request.cookies.get(DEVICE_COOKIE, ""))
        account, session = database.accounts.log_in(body.name, body.password, address, *held)
    except TooManyError:  # not recorded: whoever floods would fill the ledger
        raise
    except RefusedError as error:
        database.log_access("sign-in refused", "", f"from {address}")
        raise HTTPException(401, str(error)) from None
    database.log_access("signed in", account.id, f"from {address}")
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIE, session.secret, max_age=int(LONGEST), httponly=True, samesite="lax", secure=secure, path="/"
    )
    response.set_cookie(
        DEVICE_COOKIE,
        session.device,
        max_age=int(DEVICE),
        httponly=True,
        samesite="strict",
        secure=secure,
        path="/api/sign-in",
    )
    return {"account": account.id, "role": account.role, "csrf": session.csrf}


@route("POST", "/join", ANYBODY, status_code=201)
def join(body: bodies.Join, database: DatabaseOf) -> dict[str, Any]:
    """Makes the account that an invitation is for."""
    account = database.accounts.accept(body.invitation, body.name, body.password)
    database.ledger.write(database.run, [Annotator(account.id, "human", dict(account.profile))])
    database.log_access("joined", account.id, f"as {account.role}")
    return {"account": account.id}


@route("POST", "/sign-out", Rule(EVERYBODY), status_code=204)
def sign_out(request: Request, response: Response, account: AccountOf, database: DatabaseOf) -> None:
    """Ends the session."""
    database.accounts.log_out(request.cookies.get(COOKIE, ""))
    database.log_access("signed out", account.id, "")
    response.delete_cookie(COOKIE, path="/")


@route("GET", "/me", Rule(EVERYBODY, "read"))
def me(account: AccountOf, csrf: CsrfOf) -> dict[str, Any]:
    """Who is signed in."""
    return {"account": account.id, "name": account.name, "role": account.role, "csrf": csrf}


@route("POST", "/password", Rule(EVERYBODY), status_code=204)
def password(body: bodies.ChangePassword, account: AccountOf, database: DatabaseOf) -> None:
    """Changes the caller's own password; all their sessions and tokens end."""
    database.accounts.change_password(account.id, body.old, body.new)
    database.log_access("password changed", account.id, "")


@route("POST", "/tokens", Rule(EVERYBODY), status_code=201)
def new_token(body: bodies.NewToken, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """A new API token. It can do what its scopes say and its account may; its secret is shown once."""
    id_, secret = database.accounts.create_token(account.id, body.name, body.scopes, body.days)
    database.log_access("token made", account.id, f"{id_} for {', '.join(sorted(body.scopes))}, {body.days:g} days")
    return {"id": id_, "token": secret}


@route("DELETE", "/tokens/{id}", Rule(EVERYBODY), status_code=204)
def revoke_token(id: str, account: AccountOf, database: DatabaseOf) -> None:
    """Ends one of the caller's tokens."""
    if not database.accounts.revoke(account.id, id):
        raise HTTPException(404, "there is no such token.")
    database.log_access("token revoked", account.id, id)


@route("POST", "/invitations", Rule(LEADS, "manage"), status_code=201)
def invite(body: bodies.Invite, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """An invitation for one person; its secret is shown once."""
    return {"invitation": people.invite(database, body.role, account.id, body.profile)}


@route("GET", "/accounts", Rule(OVERSEERS, "manage"))
def accounts(database: DatabaseOf) -> list[dict[str, Any]]:
    """Everybody with an account."""
    return [asdict(account) for account in database.accounts.all()]


@route("PATCH", "/accounts/{id}", Rule(LEADS), status_code=204)
def change_account(id: str, body: bodies.ChangeAccount, account: AccountOf, database: DatabaseOf) -> None:
    """Lets somebody in no more, or again; their sessions end."""
    people.disable(database, id, account.id, body.disabled)


# ---------------------------------------------------------------- projects


@route("GET", "/projects", Rule(EVERYBODY, "read"))
def all_projects(account: AccountOf, database: DatabaseOf) -> list[dict[str, Any]]:
    """The projects, and what the caller has done in each."""
    return work.projects_of(database, account)


@route("POST", "/projects", Rule(LEADS, "manage"), status_code=201)
def new_project(body: bodies.NewProject, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Opens a project: its YAML and its tasks."""
    project = parse_project(body.text)
    contents = items_from_rows(project, body.tasks)
    projects.create_project(database, body.text, contents, account.id)
    return {"name": project.name, "items": len(contents)}


@route("GET", "/projects/{name}/progress", Rule(READERS, "read"))
def progress(name: str, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """How far a project is."""
    with database.reading() as connection:
        require_seen(connection, name, account)
        project, _, closed = projects.open_project(connection, name)
        found = projects.progress_of(connection, project)
    told = {"judgments": found.judgments, "wanted": found.wanted, "hours": found.hours}
    return {**told, "uncertainty": found.uncertainty, "closed": closed}


@route("GET", "/projects/{name}/judgments", Rule(READERS, "read"))
def judgments(name: str, account: AccountOf, database: DatabaseOf) -> list[dict[str, Any]]:
    """Everybody's judgments of a project, as the ledger has them now."""
    with database.reading() as connection:
        require_seen(connection, name, account)
    database.log_access("judgments read", account.id, name)
    return judgments_of_project(database, name)


@route("GET", "/projects/{name}/quality", Rule(LEADS, "manage"))
def quality(name: str, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """The quality desk: agreement, reliability, gold, alarms, with intervals."""
    database.log_access("quality read", account.id, name)
    return quality_of(database, name)


@route("POST", "/projects/{name}/quarantine", Rule(LEADS, "manage"), status_code=204)
def quarantine(name: str, body: bodies.Quarantine, account: AccountOf, database: DatabaseOf) -> None:
    """Leaves somebody's judgments out from now on, or takes them in again; nothing is deleted."""
    projects.quarantine(database, name, body.account, body.why, account.id, body.lift)


@route("GET", "/projects/{name}/members", Rule(LEADS, "manage"))
def all_members(name: str, database: DatabaseOf) -> list[str]:
    """The accounts that a project is for; "everybody" is one of them where it is for all."""
    return members.members_of(database, name)


@route("POST", "/projects/{name}/members", Rule(LEADS, "manage"), status_code=204)
def change_member(name: str, body: bodies.Member, account: AccountOf, database: DatabaseOf) -> None:
    """Makes somebody, or "everybody", a member of a project, or one no more. Leads and auditors see every project."""
    members.set_member(database, name, body.account, account.id, not body.remove)


@route("GET", "/projects/{name}/flags", Rule(LEADS, "manage"))
def all_flags(name: str, database: DatabaseOf) -> list[dict[str, Any]]:
    """What people said is wrong with items, and what was answered; those without an answer first."""
    return flags.flags_of(database, name)


@route("POST", "/projects/{name}/flags/{id}/answer", Rule(LEADS, "manage"), status_code=204)
def answer_flag(name: str, id: str, body: bodies.Said, account: AccountOf, database: DatabaseOf) -> None:
    """Answers a flag; whoever raised it sees the answer."""
    flags.answer_flag(database, name, id, body.text, account.id)


@route("POST", "/projects/{name}/close", Rule(LEADS, "manage"), status_code=204)
def close(name: str, body: bodies.Why, account: AccountOf, database: DatabaseOf) -> None:
    """Ends a project: no more items are given out."""
    projects.close_project(database, name, body.why or "closed by a lead", account.id)


# ---------------------------------------------------------------- an annotator's work


@route("POST", "/projects/{name}/next", Rule(WORKERS, "annotate"))
def next_item(name: str, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """What lies before the caller now, or why there is nothing."""
    screen, why = work.claim(database, name, account)
    return {"item": screen, "why": why}


@route("GET", "/projects/{name}/last", Rule(WORKERS, "annotate"))
def last_item(name: str, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """What the caller handed in last, with what was on its screen: to correct it with ``revise``."""
    return {"item": work.last(database, name, account)}


@route("PUT", "/assignments/{id}/draft", Rule(WORKERS, "annotate"))
def draft(id: str, body: bodies.Draft, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Saves what is on the screen, and keeps the item for the caller."""
    return {"until": work.keep_draft(database, id, account, body.draft.model_dump(exclude_unset=True))}


@route("POST", "/assignments/{id}/judgments", Rule(WORKERS, "annotate"), status_code=201)
def hand_in(
    id: str, body: bodies.HandIn, account: AccountOf, database: DatabaseOf, afterwards: BackgroundTasks
) -> dict[str, Any]:
    """Hands in the answers; answered once they are safe. Handing the same in again changes nothing."""
    given = (body.answers, body.seconds, body.reasons, body.assistance, body.revise, body.stage)
    done = work.hand_in(database, id, account, *given)
    if (name := is_due(database, id)) is not None:
        afterwards.add_task(refresh, database, name)
    return {"judgments": done}


@route("POST", "/assignments/{id}/skip", Rule(WORKERS, "annotate"), status_code=204)
def skip(id: str, body: bodies.Skip, account: AccountOf, database: DatabaseOf) -> None:
    """Gives the item back, or flags that something is wrong with it."""
    work.skip(database, id, account, body.why, body.flag)


# ---------------------------------------------------------------- oversight of the overseers


@route("GET", "/access", Rule(OVERSEERS, "manage"))
def access_log(database: DatabaseOf) -> list[dict[str, Any]]:
    """Who came in, who did not, and who read what, newest first: from the ledger."""
    return people.access_log(database)
