"""The application: routes, limits and what errors look like from outside."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError

from custodes import __version__
from custodes.types import InputError
from custodes.web import api, exchange_api, oidc_api, oversight_api, screens, webhooks_api
from custodes.web.access import COOKIE, rules_of
from custodes.web.accounts import TooManyError
from custodes.web.database import Database, MissingError
from custodes.web.oidc import Provider
from custodes.web.work import ConflictError

LARGEST_BODY = 64 << 20
"""Bytes; a project's tasks are the largest thing that is sent."""
REQUESTS, MINUTE = 600, 60.0
"""Requests a minute from one session, token or address, per server process."""

STATIC = ("/_nicegui/", "/static/")
"""Files that a browser keeps; they are not counted."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(database: Database, requests_a_minute: int = REQUESTS, provider: Provider | None = None) -> FastAPI:
    """The server's application over ``database``; with ``provider``, people may sign in there.

    Raises RuntimeError if a route or a page has no access rule.
    """
    app = FastAPI(title="Custodes", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.database, app.state.provider = database, provider
    for routes in (api.route, exchange_api.route, oidc_api.route, oversight_api.route, webhooks_api.route):
        app.router.routes.extend(routes.router.routes)
    screens.attach(app, database)
    rules_of(app)
    _answer_errors(app)
    app.middleware("http")(_Limits(requests_a_minute))
    return app


class _Limits:
    """Refuses what is too large or comes too often, and sets the headers of every answer."""

    def __init__(self, requests_a_minute: int) -> None:
        self.most = requests_a_minute
        self.recent: dict[str, deque[float]] = {}

    async def __call__(self, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.database, request.state.provider = request.app.state.database, request.app.state.provider
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY or "transfer-encoding" in request.headers:
            answer: Response = _said(413, "the body is too large, or does not say how large it is.")
        elif not request.url.path.startswith(STATIC) and not self._lets(request):
            answer = _said(429, "too many requests; wait a minute.", {"Retry-After": "60"})
        else:
            answer = await call(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    def _lets(self, request: Request) -> bool:
        host = request.client.host if request.client else ""
        who = request.headers.get("Authorization") or request.cookies.get(COOKIE) or host
        now, times = time.monotonic(), self.recent.setdefault(who, deque())
        while times and times[0] < now - MINUTE:
            times.popleft()
        if len(self.recent) > 10_000:  # whoever was quiet for a minute is forgotten
            self.recent = {name: held for name, held in self.recent.items() if held and held[-1] > now - MINUTE}
        times.append(now)
        return len(times) <= self.most


def _answer_errors(app: FastAPI) -> None:
    """One sentence for the person, whatever went wrong."""

    def answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return _said(status, str(error))

        return handle

    async def invalid(request: Request, error: Exception) -> Response:
        place: Sequence[str | int] = ()
        what = str(error)
        if isinstance(error, RequestValidationError):
            first = error.errors()[0]
            place, what = tuple(first["loc"])[1:], str(first["msg"])
        field = ".".join(str(part) for part in place)
        return _said(422, f"{field or 'the body'}: {what.replace('Input should', 'it should')}.")

    async def unstorable(request: Request, error: Exception) -> Response:
        return _said(422, "a text here cannot be stored: it holds a NUL character or half of one (a lone surrogate).")

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(UnicodeEncodeError, unstorable)
    app.add_exception_handler(DataError, unstorable)
    for kind, status in (
        (InputError, 422),
        (TooManyError, 429),
        (ConflictError, 409),
        (MissingError, 404),
    ):
        app.add_exception_handler(kind, answer(status))


def _said(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    told = sentence.encode("utf-8", "replace").decode()  # what was sent may be no text, and is named in the sentence
    return JSONResponse({"detail": told}, status, headers)
