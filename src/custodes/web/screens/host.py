"""NiceGUI inside the server's application: what may run in a page, who may use its socket.

NiceGUI has one application per process. Each of ours mounts it; whose database a page uses comes with the request.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie

from fastapi import FastAPI
from nicegui import app as host
from nicegui import ui
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from custodes.web.access import COOKIE
from custodes.web.database import ServerDatabase
from custodes.web.screens.pages import page_rules

RECONNECT = 30.0
"""Seconds for which a page waits for its browser when the connection breaks."""

POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Of pages. NiceGUI compiles its templates in the browser, hence 'unsafe-eval'. A script that somebody smuggles into a
page's HTML lacks the nonce and does not run."""


def attach(app: FastAPI, database: ServerDatabase) -> None:
    """Puts the pages behind the routes that ``app`` has. Raises RuntimeError if a page has no access rule."""
    page_rules()
    app.mount("/", host)
    app.add_middleware(_Socket, database=database)
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(outer: FastAPI) -> AsyncIterator[None]:
        async with _lifespan_host.router.lifespan_context(_lifespan_host), before(outer):
            yield

    app.router.lifespan_context = lifespan


class _Nonces:
    """Gives the scripts of NiceGUI's template, and nothing else, the right to run."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start: Message | None = None
        body = b""

        async def change(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                if not Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                    return await send(message)
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    nonce = secrets.token_urlsafe(16)
                    whole = re.sub(rb"<script(?=[\s>])", f'<script nonce="{nonce}"'.encode(), body)
                    headers = MutableHeaders(raw=start["headers"])
                    headers["Content-Length"] = str(len(whole))
                    headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
                    await send(start)
                    await send({"type": "http.response.body", "body": whole})

        await self.app(scope, receive, change)


class _Socket:
    """Pages talk over a socket that only a signed-in browser on one of our own pages gets."""

    def __init__(self, app: ASGIApp, database: ServerDatabase) -> None:
        self.app, self.database = app, database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope.get("path", "").startswith("/_nicegui_ws") or await self._lets(Headers(scope=scope)):
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _lets(self, headers: Headers) -> bool:
        origin, cookie = headers.get("origin"), SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        if origin is not None and origin.split("://")[-1] != headers.get("host"):
            return False
        secret = cookie.value if cookie else ""
        return bool(secret) and await run_in_threadpool(self.database.accounts.by_session, secret) is not None


_lifespan_host = FastAPI()
"""NiceGUI is run with it; only what that does at start and end is taken."""
host.add_middleware(_Nonces)
ui.run_with(
    _lifespan_host, title="Custodes", reconnect_timeout=RECONNECT, tailwind=False, dark=None, show_welcome_message=False
)
