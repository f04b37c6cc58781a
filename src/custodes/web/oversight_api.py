"""Addresses of the oversight queue: a policy's process asks and waits, a person answers in a browser."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import Query
from starlette.concurrency import run_in_threadpool

from custodes.types import Message
from custodes.web import bodies, oversight
from custodes.web.access import LEADS, READERS, WORKERS, AccountOf, DatabaseOf, Routes, Rule
from custodes.web.accounts import AccountRole

DECIDERS: frozenset[AccountRole] = frozenset({"reviewer", "lead"})
LOOK = 0.5
"""Seconds between looks of a process that waits: other server processes may have taken the answer."""

route = Routes("/api/oversight")


@route("POST", "/actions", Rule(WORKERS, "propose"), status_code=201)
def propose(body: bodies.Proposal, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Puts an action before people. Ask for the answer at the address of its id."""
    context = [Message(turn.role, turn.content) for turn in body.context]
    told = (body.policy, context, body.action, body.reason, body.timeout, body.rule, body.harmful)
    return {"id": oversight.propose(database, account, *told)}


@route("GET", "/actions/{id}", Rule(WORKERS, "propose"))
async def answer(
    id: str, account: AccountOf, database: DatabaseOf, wait: Annotated[float, Query(ge=0, le=55)] = 0.0
) -> dict[str, Any]:
    """The answer to an action of the caller's; waits for it up to ``wait`` seconds. Its state: waiting, approved, blocked."""
    until = time.monotonic() + wait
    while True:
        found = await run_in_threadpool(oversight.answer_to, database, id, account)
        left = until - time.monotonic()
        if found["state"] != "waiting" or left <= 0:
            return found
        await asyncio.sleep(min(LOOK, left))


@route("GET", "/waiting", Rule(DECIDERS, "read"))
def waiting(database: DatabaseOf) -> list[dict[str, Any]]:
    """What people have to decide on now, the most urgent first."""
    return oversight.waiting(database)


@route("POST", "/actions/{id}/answer", Rule(DECIDERS), status_code=204)
def decide(id: str, body: bodies.Decided, account: AccountOf, database: DatabaseOf) -> None:
    """Approves or blocks an action. A person does this: no token will do, and nobody answers for their own account."""
    oversight.decide(database, id, account, body.answer, body.seconds, body.why)


@route("PUT", "/actions/{id}/truth", Rule(LEADS, "manage"), status_code=204)
def tell_truth(id: str, body: bodies.Truth, account: AccountOf, database: DatabaseOf) -> None:
    """Says afterwards whether an action was harmful: what people caught is measured by it."""
    oversight.tell_truth(database, id, body.harmful, account.id)


@route("GET", "/measures", Rule(READERS, "read"))
def measures(database: DatabaseOf) -> dict[str, Any]:
    """What oversight catches and what it costs, with intervals."""
    return oversight.measures(database)
