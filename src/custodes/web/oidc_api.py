"""Addresses of signing in by a provider: out to it, and back from it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict
from typing import Annotated

from fastapi import HTTPException, Query, Request
from fastapi.responses import RedirectResponse

from custodes.types import Annotator
from custodes.web.access import ANYBODY, COOKIE, DatabaseOf, Routes
from custodes.web.accounts import LONGEST, RefusedError
from custodes.web.oidc import Journey, Provider

JOURNEY = "custodes_journey"
MINUTES = 10

route = Routes("/api/oidc")


@route("GET", "/start", ANYBODY, response_class=RedirectResponse, status_code=302)
def start(request: Request, invitation: Annotated[str, Query(max_length=200)] = "") -> RedirectResponse:
    """To the provider. ``invitation`` is for whoever has no account yet."""
    url, journey = _provider(request).begin(_back(request), invitation)
    answer = RedirectResponse(url, 302)
    answer.set_cookie(
        JOURNEY,
        json.dumps(asdict(journey)),
        max_age=60 * MINUTES,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        path="/api/oidc",
    )
    return answer


@route("GET", "/callback", ANYBODY, response_class=RedirectResponse, status_code=302)
def callback(request: Request, database: DatabaseOf) -> RedirectResponse:
    """Back from the provider: a new session."""
    provider = _provider(request)
    try:
        journey = Journey(**json.loads(request.cookies.get(JOURNEY, "")))
    except (ValueError, TypeError):
        raise HTTPException(403, "this sign-in was not begun here, or too long ago; begin again.") from None
    address = f"from {request.client.host if request.client else 'unknown'}, by {provider.name}"
    try:
        claims = provider.finish(_back(request), journey, request.query_params)
        who = (provider.issuer, str(claims["sub"]))
        if journey.invitation and database.accounts.of_identity(*who) is None:
            called = str(claims.get("preferred_username") or claims.get("email") or claims.get("name") or "person")
            name = "".join(c for c in called.lower() if c.isalnum() or c in "._-@+")[
                :70
            ]  # one that an account can have
            name = name if len(name) > 1 else f"person-{secrets.token_hex(3)}"
            account = database.accounts.accept_identity(journey.invitation, *who, name)
            database.ledger.write(database.run, [Annotator(account.id, "human", dict(account.profile))])
            database.log_access("joined", account.id, f"as {account.role}, by {provider.name}")
        account, session = database.accounts.log_in_identity(*who, ended=request.cookies.get(COOKIE))
    except RefusedError as error:
        database.log_access("sign-in refused", "", address)
        raise HTTPException(403, str(error)) from None
    database.log_access("signed in", account.id, address)
    answer = RedirectResponse("/", 302)
    answer.delete_cookie(JOURNEY, path="/api/oidc")
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, session.secret, max_age=int(LONGEST), httponly=True, samesite="lax", secure=secure, path="/"
    )
    return answer


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise HTTPException(404, "this server has no provider to sign in by.")
    return provider


def _back(request: Request) -> str:
    return str(request.url_for("callback"))
