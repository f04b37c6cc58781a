"""The application: routes, limits and what errors look like from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError

from custodes import __version__
from custodes.types import InputError
from custodes.web import api, exchange_api, oidc_api, oversight_api, screens, webhooks_api
from custodes.web.access import rules_of
from custodes.web.accounts import TooManyError
from custodes.web.database import Database, MissingError
from custodes.web.limits import RateLimits
from custodes.web.oidc import Provider
from custodes.web.work import ConflictError

REQUESTS = 600
"""Requests a minute from one account, or from one network that nobody is known of, per server process."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(
    database: Database,
    requests_a_minute: int = REQUESTS,
    provider: Provider | None = None,
    webhook_hosts: Collection[str] | None = None,
) -> FastAPI:
    """The server's application over ``database``; with ``provider``, people may sign in there. ``webhook_hosts`` as
    :func:`~custodes.web.addresses.check_url` takes them.

    Raises RuntimeError if a route or a page has no access rule.
    """
    app = FastAPI(title="Custodes", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.database, app.state.provider, app.state.webhook_hosts = database, provider, webhook_hosts
    for routes in (api.route, exchange_api.route, oidc_api.route, oversight_api.route, webhooks_api.route):
        app.router.routes.extend(routes.router.routes)
    screens.attach(app, database)
    rules_of(app)
    _answer_errors(app)
    limits = RateLimits(requests_a_minute, _said)

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
