"""The addresses of the server. The screens use the same functions and addresses as programs do."""

from __future__ import annotations

import asyncio
import tempfile
import time
import zipfile
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, HTTPException, Query, Request, Response
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.types import InputError, Message
from custodes.web import bodies, flags, oversight, people, projects, webhooks, work
from custodes.web.access import (
    ANY_ROLE,
    ANYBODY,
    COOKIE,
    DECIDERS,
    DEVICE_COOKIE,
    LEADS,
    OVERSEERS,
    READERS,
    WORKERS,
    AccountOf,
    DatabaseOf,
    Rule,
    keep_session,
    route,
)
from custodes.web.accounts import RefusedError, TooManyError
from custodes.web.desk import quality_of
from custodes.web.export import export_project, judgments_of_project
from custodes.web.imports import import_file
from custodes.web.people import require_seen
from custodes.web.refresh import is_due, refresh

LOOK = 0.5
"""Seconds between looks of a process that waits: other server processes may have taken the answer."""


@route("GET", "/health", ANYBODY)
def health(database: DatabaseOf) -> dict[str, Any]:
    """Whether the server and its database answer."""
    with database.reading() as connection:
        connection.execute(select(1))
    return {"ok": True}


@route("GET", "/openapi.json", Rule(ANY_ROLE, "read"))
def description(request: Request) -> Any:
    """The OpenAPI description of the server, with who may call what in "x-access"."""
    return request.app.openapi()


# ---------------------------------------------------------------- accounts


@route("POST", "/sign-in", ANYBODY)
def sign_in(body: bodies.SignIn, request: Request, response: Response, database: DatabaseOf) -> dict[str, Any]:
    """A new session: its cookie, and the token that changes need in the header X-CSRF-Token."""
    address = request.client.host if request.client else "unknown"
    cookies = (request.cookies.get(COOKIE), request.cookies.get(DEVICE_COOKIE, ""))
    try:
        account, session = database.accounts.log_in(body.name, body.password, address, *cookies)
    except TooManyError:  # not recorded: whoever floods would fill the ledger
        raise
    except RefusedError as error:
        database.log_access("sign-in refused", "", f"from {address}")
        raise HTTPException(401, str(error)) from None
    database.log_access("signed in", account.id, f"from {address}")
    keep_session(request, response, session)
    return {"account": account.id, "role": account.role, "csrf": session.csrf}


@route("POST", "/join", ANYBODY, status_code=201)
def join(body: bodies.Join, database: DatabaseOf) -> dict[str, Any]:
    """Makes the account that an invitation is for."""
    account = database.accounts.accept(body.invitation, body.name, body.password)
    people.joined(database, account, f"as {account.role}")
    return {"account": account.id}


@route("POST", "/sign-out", Rule(ANY_ROLE), status_code=204)
def sign_out(request: Request, response: Response, account: AccountOf, database: DatabaseOf) -> None:
    """Ends the session."""
    database.accounts.log_out(request.cookies.get(COOKIE, ""))
    database.log_access("signed out", account.id, "")
    response.delete_cookie(COOKIE, path="/")


@route("GET", "/me", Rule(ANY_ROLE, "read"))
def me(account: AccountOf, request: Request) -> dict[str, Any]:
    """Who is signed in; with a token, without "csrf"."""
    return {"account": account.id, "name": account.name, "role": account.role, "csrf": request.state.caller.csrf}


@route("POST", "/password", Rule(ANY_ROLE), status_code=204)
def password(body: bodies.ChangePassword, account: AccountOf, database: DatabaseOf) -> None:
    """Changes the caller's own password; all their sessions and tokens end."""
    database.accounts.change_password(account.id, body.old, body.new)
    database.log_access("password changed", account.id, "")


@route("POST", "/tokens", Rule(ANY_ROLE), status_code=201)
def new_token(body: bodies.NewToken, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """A new API token. It can do what its scopes say and its account may; its secret is shown once."""
    id_, secret = database.accounts.create_token(account.id, body.name, body.scopes, body.days)
    database.log_access("token made", account.id, f"{id_} for {', '.join(sorted(body.scopes))}, {body.days:g} days")
    return {"id": id_, "token": secret}


@route("DELETE", "/tokens/{id}", Rule(ANY_ROLE), status_code=204)
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


@route("GET", "/access", Rule(OVERSEERS, "manage"))
def access_log(database: DatabaseOf) -> list[dict[str, Any]]:
    """Who came in, who did not, and who read what, newest first: from the ledger."""
    return people.access_log(database)


# ---------------------------------------------------------------- projects


@route("GET", "/projects", Rule(ANY_ROLE, "read"))
def all_projects(account: AccountOf, database: DatabaseOf) -> list[dict[str, Any]]:
    """The projects, and what the caller has done in each."""
    return work.projects_of(database, account)


@route("POST", "/projects", Rule(LEADS, "manage"), status_code=201)
def new_project(body: bodies.NewProject, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Opens a project: its YAML and its tasks."""
    items = items_from_rows(parse_project(body.text), body.tasks)
    project = projects.create_project(database, body.text, items, account.id)
    return {"name": project.name, "items": len(items)}


@route("GET", "/projects/{name}/progress", Rule(READERS, "read"))
def progress(name: str, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """How far a project is."""
    with database.reading() as connection:
        require_seen(connection, name, account)
        project, _, closed = projects.open_project(connection, name)
        far = projects.progress_of(connection, project)
    return {n: getattr(far, n) for n in ("judgments", "wanted", "hours", "uncertainty")} | {"closed": closed}


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
    return people.members_of(database, name)


@route("POST", "/projects/{name}/members", Rule(LEADS, "manage"), status_code=204)
def change_member(name: str, body: bodies.Member, account: AccountOf, database: DatabaseOf) -> None:
    """Makes somebody, or "everybody", a member of a project, or one no more. Leads and auditors see every project."""
    people.set_member(database, name, body.account, account.id, not body.remove)


@route("GET", "/projects/{name}/flags", Rule(LEADS, "manage"))
def all_flags(name: str, database: DatabaseOf) -> list[dict[str, Any]]:
    """What people said is wrong with items, and what was answered; those without an answer first."""
    return flags.flags_of(database, name)


@route("POST", "/projects/{name}/flags/{id}/answer", Rule(LEADS, "manage"), status_code=204)
def answer_flag(name: str, id: str, body: bodies.FlagAnswer, account: AccountOf, database: DatabaseOf) -> None:
    """Answers a flag; whoever raised it sees the answer."""
    flags.answer_flag(database, name, id, body.text, account.id)


@route("POST", "/projects/{name}/close", Rule(LEADS, "manage"), status_code=204)
def close(name: str, body: bodies.Why, account: AccountOf, database: DatabaseOf) -> None:
    """Ends a project: no more items are given out."""
    projects.close_project(database, name, body.why or "closed by a lead", account.id)


@route(
    "GET",
    "/projects/{name}/export/{form}",
    Rule(READERS, "read"),
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
def export(name: str, form: str, account: AccountOf, database: DatabaseOf) -> Response:
    """A project's training data, as `custodes project export` writes it, in a zip file. Forms: trl, huggingface, argilla, label-studio."""
    with database.reading() as connection:
        require_seen(connection, name, account)
    packed = BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in export_project(database, name, Path(folder), form, account.id):
            archive.write(file, file.name)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{form}.zip"'}
    return Response(packed.getvalue(), media_type="application/zip", headers=headers)


@route("POST", "/projects/{name}/import", Rule(LEADS, "manage"), status_code=201)
def import_(name: str, body: bodies.Import, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Adds the judgments of a file to a project; how many. All of it or none, and the same file again changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{body.ending}"
        path.write_text(body.content, encoding="utf-8")
        try:
            return {"judgments": import_file(database, name, path, body.form, account.id)}
        except InputError as error:
            error.args = (str(error).replace(f"{folder}/", ""),)
            raise


@route("GET", "/projects/{name}/webhooks", Rule(LEADS, "manage"))
def all_webhooks(name: str, database: DatabaseOf) -> list[dict[str, Any]]:
    """A project's webhooks, and how they fare."""
    return webhooks.webhooks_of(database, name)


@route("POST", "/projects/{name}/webhooks", Rule(LEADS, "manage"), status_code=201)
def new_webhook(
    name: str, body: bodies.NewWebhook, request: Request, account: AccountOf, database: DatabaseOf
) -> dict[str, str]:
    """Tells an address what happens in a project; the secret that signs it is shown once."""
    hosts = request.app.state.webhook_hosts
    return webhooks.add_webhook(database, name, body.url, body.events, account.id, hosts)


@route("DELETE", "/projects/{name}/webhooks/{id}", Rule(LEADS, "manage"), status_code=204)
def remove_webhook(name: str, id: str, account: AccountOf, database: DatabaseOf) -> None:
    """Tells it nothing more."""
    webhooks.remove_webhook(database, name, id, account.id)


# ---------------------------------------------------------------- an annotator's work


@route("POST", "/projects/{name}/next", Rule(WORKERS, "annotate"))
def next_item(name: str, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """The item before the caller now, or why there is none."""
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
    fields = (body.answers, body.seconds, body.reasons, body.assistance, body.revise, body.stage)
    ids = work.hand_in(database, id, account, *fields)
    if (name := is_due(database, id)) is not None:
        afterwards.add_task(refresh, database, name)
    return {"judgments": ids}


@route("POST", "/assignments/{id}/tests/{place}", Rule(WORKERS, "annotate"))
def run_test_again(id: str, place: int, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Runs a test of the help that the caller is shown, by its place from 0, in the server's sandbox."""
    return {"came": work.run_test_again(database, id, account, place)}


@route("POST", "/assignments/{id}/skip", Rule(WORKERS, "annotate"), status_code=204)
def skip(id: str, body: bodies.Skip, account: AccountOf, database: DatabaseOf) -> None:
    """Gives the item back, or flags that something is wrong with it."""
    work.skip(database, id, account, body.why, body.flag)


# ---------------------------------------------------------------- the oversight queue: a process asks, a person answers


@route("POST", "/oversight/actions", Rule(WORKERS, "propose"), status_code=201)
def propose(body: bodies.Proposal, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Puts an action before people. Ask for the answer at the address of its id."""
    context = [Message(turn.role, turn.content) for turn in body.context]
    fields = (body.policy, context, body.action, body.reason, body.timeout, body.rule, body.harmful, body.key)
    return {"id": oversight.propose(database, account, *fields)}


@route("GET", "/oversight/actions/{id}", Rule(WORKERS, "propose"))
async def answer(
    id: str, account: AccountOf, database: DatabaseOf, wait: Annotated[float, Query(ge=0, le=55)] = 0.0
) -> dict[str, Any]:
    """The answer to an action of the caller's; waits for it up to ``wait`` seconds. Its state: waiting, approved, blocked."""
    until = time.monotonic() + wait
    while True:
        action = await run_in_threadpool(oversight.answer_to, database, id, account)
        left = until - time.monotonic()
        if action["state"] != "waiting" or left <= 0:
            return action
        await asyncio.sleep(min(LOOK, left))


@route("GET", "/oversight/waiting", Rule(DECIDERS, "read"))
def waiting(database: DatabaseOf) -> list[dict[str, Any]]:
    """What people have to decide on now, the most urgent first."""
    return oversight.waiting(database)


@route("POST", "/oversight/actions/{id}/answer", Rule(DECIDERS), status_code=204)
def decide(id: str, body: bodies.Decided, account: AccountOf, database: DatabaseOf) -> None:
    """Approves or blocks an action. A person does this: no token will do, and nobody answers for their own account."""
    oversight.decide(database, id, account, body.answer, body.seconds, body.why)


@route("PUT", "/oversight/actions/{id}/truth", Rule(LEADS, "manage"), status_code=204)
def tell_truth(id: str, body: bodies.Truth, account: AccountOf, database: DatabaseOf) -> None:
    """Says afterwards whether an action was harmful: what people caught is measured by it."""
    oversight.tell_truth(database, id, body.harmful, account.id)


@route("GET", "/oversight/measures", Rule(READERS, "read"))
def measures(database: DatabaseOf) -> dict[str, Any]:
    """What oversight catches and what it costs, with intervals."""
    return oversight.measures(database)
