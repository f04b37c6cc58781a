"""Addresses through which a lead makes webhooks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from custodes.web import webhooks
from custodes.web.access import LEADS, AccountOf, DatabaseOf, Routes, Rule
from custodes.web.bodies import Body, Line

route = Routes("/api")


class NewWebhook(Body):
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    events: Annotated[list[Line], Field(max_length=10)]
    """Of judgment, ended, alarm, quarantine and flag."""


@route("GET", "/projects/{name}/webhooks", Rule(LEADS, "manage"))
def all_webhooks(name: str, database: DatabaseOf) -> list[dict[str, Any]]:
    """A project's webhooks, and how they fare."""
    return webhooks.webhooks_of(database, name)


@route("POST", "/projects/{name}/webhooks", Rule(LEADS, "manage"), status_code=201)
def new_webhook(
    name: str, body: NewWebhook, request: Request, account: AccountOf, database: DatabaseOf
) -> dict[str, str]:
    """Tells an address what happens in a project; the secret that signs it is shown once."""
    hosts = request.app.state.webhook_hosts
    return webhooks.add_webhook(database, name, body.url, body.events, account.id, hosts)


@route("DELETE", "/projects/{name}/webhooks/{id}", Rule(LEADS, "manage"), status_code=204)
def remove_webhook(name: str, id: str, account: AccountOf, database: DatabaseOf) -> None:
    """Tells it nothing more."""
    webhooks.remove_webhook(database, name, id, account.id)
