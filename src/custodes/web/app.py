"""The application: routes, limits and what errors look like from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError

from custodes import __version__
from custodes.types import InputError
from custodes.web import api, oidc, screens  # noqa: F401 (their routes are made where they are defined)
from custodes.web.access import api_routes, rules_of_app
from custodes.web.accounts import TooManyError
from custodes.web.database import MissingError, ServerDatabase
from custodes.web.limits import RateLimits
from custodes.web.work import ConflictError

REQUESTS = 600
"""Requests a minute from one account, or from one network that nobody is known of, per server process."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATUSES: dict[type[Exception], int] = {InputError: 422, TooManyError: 429, ConflictError: 409, MissingError: 404}


def create_app(
    database: ServerDatabase,
    requests_a_minute: int = REQUESTS,
    provider: oidc.Provider | None = None,
    webhook_hosts: Collection[str] | None = None,
) -> FastAPI:
    """The server's application over ``database``; with ``provider``, people may sign in there.

    ``webhook_hosts`` as :func:`~custodes.web.addresses.check_url` takes them. Raises RuntimeError if a route or a page
    has no access rule.
    """
    app = FastAPI(title="Custodes", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.database, app.state.provider, app.state.webhook_hosts = database, provider, webhook_hosts
    app.router.routes.extend(api_routes.routes)
    screens.attach(app, database)
    rules_of_app(app)
    _answer_errors(app)
    limits = RateLimits(requests_a_minute, _refusal)

    @app.middleware("http")
    async def careful(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.database, request.state.provider = database, provider
        answer = await limits(request, call)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    return app


def _answer_errors(app: FastAPI) -> None:
    """One sentence for the person, whatever went wrong."""

    async def refused(request: Request, error: Exception) -> Response:
        return _refusal(next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), str(error))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return _refusal(422, f"{field or 'the body'}: {first['msg'].replace('Input should', 'it should')}.")

    async def unstorable(request: Request, error: Exception) -> Response:
        return _refusal(
            422, "a text here cannot be stored: it holds a NUL character or half of one (a lone surrogate)."
        )

    app.add_exception_handler(RequestValidationError, invalid)
    for kind in (UnicodeEncodeError, DataError):
        app.add_exception_handler(kind, unstorable)
    for known in STATUSES:
        app.add_exception_handler(known, refused)


def _refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    text = sentence.encode("utf-8", "replace").decode()  # what was sent may be no text, and is named in the sentence
    return JSONResponse({"detail": text}, status, headers)
