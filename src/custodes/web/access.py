"""Who may call what: every route has a rule, and a route without one cannot be made.

A person comes with a session cookie. Whatever changes something also needs the session's CSRF token in a header. A program
comes with an API token, which has scopes. What a session may do, its role says. What a token may do, its account's role
and its scopes say both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount

from custodes.web.accounts import ACCOUNT_ROLES, DEVICE, LONGEST, Account, AccountRole, Caller, Scope, Session
from custodes.web.database import ServerDatabase

COOKIE, DEVICE_COOKIE, CSRF = "custodes_session", "custodes_device", "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ANY_ROLE: frozenset[AccountRole] = frozenset(ACCOUNT_ROLES)
WORKERS: frozenset[AccountRole] = frozenset({"annotator", "reviewer", "lead"})
READERS: frozenset[AccountRole] = frozenset({"reviewer", "lead", "auditor"})
DECIDERS: frozenset[AccountRole] = frozenset({"reviewer", "lead"})
OVERSEERS: frozenset[AccountRole] = frozenset({"lead", "auditor"})
LEADS: frozenset[AccountRole] = frozenset({"lead"})


@dataclass(frozen=True)
class Rule:
    """``roles`` None: anybody, signed in or not. ``scope`` None: no token will do, only a session."""

    roles: frozenset[AccountRole] | None
    scope: Scope | None = None

    def lets(self, account: Account) -> bool:
        return self.roles is None or account.role in self.roles

    def described(self) -> dict[str, Any]:
        """As the OpenAPI description has it."""
        roles = ["anybody"] if self.roles is None else sorted(self.roles)
        return {"roles": roles, "token": f"scope {self.scope}" if self.scope else "none"}


ANYBODY = Rule(None)
api_routes = APIRouter(prefix="/api")
"""Every route that :func:`route` has made."""


def route(method: str, path: str, rule: Rule, **more: Any) -> Callable[[Any], Any]:
    """Makes a function the answer to requests at ``/api`` and ``path``; ``rule`` says whose. Others as FastAPI takes them."""

    def add(endpoint: Any) -> Any:
        about: dict[str, Any] = {"dependencies": [guarded(rule)], "openapi_extra": {"x-access": rule.described()}}
        api_routes.add_api_route(path, endpoint, methods=[method], **about, **more)
        return endpoint

    return add


def guarded(rule: Rule, admit: Callable[[Request, Rule], None] | None = None) -> Any:
    """A dependency of a route that lets in whom ``rule`` admits; :func:`rules_of` finds the rule there."""

    def guard(request: Request) -> None:
        (admit or admitted)(request, rule)

    guard.rule = rule  # type: ignore[attr-defined]
    return Depends(guard)


def rules_of(routes: Iterable[BaseRoute]) -> dict[tuple[str, str], Rule]:
    """(method, path) -> rule of every route. Raises RuntimeError for a route that has none."""
    rules: dict[tuple[str, str], Rule] = {}
    for each in routes:
        path = getattr(each, "path", str(each))
        dependencies = each.dependencies if isinstance(each, APIRoute) else []
        own = [rule for d in dependencies if (rule := getattr(d.dependency, "rule", None)) is not None]
        if not isinstance(each, APIRoute) or len(own) != 1:
            raise RuntimeError(
                f"the route {path} has {len(own)} access rules instead of one; make it with route or page."
            )
        rules |= {(method, path): own[0] for method in each.methods or ()}
    return rules


def rules_of_app(app: FastAPI) -> dict[tuple[str, str], Rule]:
    """:func:`rules_of` an application's routes, without the screens: those have their own, in ``screens.page_rules``."""
    return rules_of(each for each in app.routes if not (isinstance(each, Mount) and each.path == ""))


def database_of(request: Request) -> ServerDatabase:
    database: ServerDatabase = request.state.database
    return database


def _account_of(request: Request) -> Account:
    """Who is asking; the guard has let them in."""
    account: Account = request.state.caller.account
    return account


DatabaseOf = Annotated[ServerDatabase, Depends(database_of)]
AccountOf = Annotated[Account, Depends(_account_of)]


def admitted(request: Request, rule: Rule) -> None:
    """Lets a request in, with its caller in ``request.state``. Raises HTTPException: 401 for nobody, 403 for the wrong one."""
    if rule.roles is None:
        return
    caller = identify(request)
    if caller is None:
        raise HTTPException(401, "sign in first.", headers={"WWW-Authenticate": "Bearer"})
    if not rule.lets(caller.account):
        raise HTTPException(403, f"this is for {', '.join(sorted(rule.roles))}.")
    if caller.csrf is None and (rule.scope is None or rule.scope not in caller.scopes):
        raise HTTPException(403, f"the token lacks the scope {rule.scope}." if rule.scope else "sign in for this.")
    if request.method not in SAFE and not caller.carries(request.headers.get(CSRF)):
        raise HTTPException(403, f"the header {CSRF} is missing or wrong; reload the page.")
    request.state.caller = caller


def identify(request: Request) -> Caller | None:
    """Whose session or token a request carries; None for nobody's."""
    accounts = database_of(request).accounts
    if header := request.headers.get("Authorization", ""):
        scheme, _, secret = header.partition(" ")
        return accounts.by_token(secret.strip()) if scheme.lower() == "bearer" else None
    secret = request.cookies.get(COOKIE, "")
    return accounts.by_session(secret) if secret else None


def keep_session(request: Request, response: Response, session: Session) -> None:
    """Gives a browser the cookie of its session, and the one by which it is known after the session."""
    options: Any = {"httponly": True, "secure": request.url.scheme == "https"}
    response.set_cookie(COOKIE, session.secret, int(LONGEST), path="/", samesite="lax", **options)
    if session.device:
        response.set_cookie(
            DEVICE_COOKIE, session.device, int(DEVICE), path="/api/sign-in", samesite="strict", **options
        )
