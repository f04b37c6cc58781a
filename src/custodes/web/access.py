"""Who may call what: every route has a rule, and a route without one cannot be made.

A person comes with a session cookie, and for whatever changes something with the session's CSRF token in a header; a
program comes with an API token, which has scopes. What a session may do, its role says; what a token may do, its
account's role and its scopes say both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.routing import Mount

from custodes.web.accounts import ACCOUNT_ROLES, Account, AccountRole, Caller, Scope
from custodes.web.database import Database

COOKIE, CSRF = "custodes_session", "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
EVERYBODY: frozenset[AccountRole] = frozenset(ACCOUNT_ROLES)
WORKERS: frozenset[AccountRole] = frozenset({"annotator", "reviewer", "lead"})
READERS: frozenset[AccountRole] = frozenset({"reviewer", "lead", "auditor"})
LEADS: frozenset[AccountRole] = frozenset({"lead"})


@dataclass(frozen=True)
class Rule:
    """``roles`` None: anybody, signed in or not. ``scope`` None: no token will do, only a session."""

    roles: frozenset[AccountRole] | None
    scope: Scope | None = None


ANYBODY = Rule(None)


def _described(rule: Rule) -> dict[str, Any]:
    """A rule as the OpenAPI description has it."""
    roles = ["anybody"] if rule.roles is None else sorted(rule.roles)
    return {"roles": roles, "token": f"scope {rule.scope}" if rule.scope else "none"}


class Routes:
    """A router whose every route is made with a rule."""

    def __init__(self, prefix: str = "") -> None:
        self.router = APIRouter(prefix=prefix)

    def __call__(self, method: str, path: str, rule: Rule, **more: Any) -> Callable[[Any], Any]:
        def add(endpoint: Any) -> Any:
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                dependencies=[Depends(_guard(rule))],
                openapi_extra={"x-access": _described(rule)},
                **more,
            )
            return endpoint

        return add


def rules_of(app: FastAPI) -> dict[tuple[str, str], Rule]:
    """(method, path) -> rule of every route. Raises RuntimeError for a route that has none."""
    found: dict[tuple[str, str], Rule] = {}
    for route in app.routes:
        if isinstance(route, Mount) and route.path == "":
            continue  # the screens: every page has a rule, by screens.page_rules
        if not isinstance(route, APIRoute):
            raise RuntimeError(f"the route {getattr(route, 'path', route)} has no access rule.")
        rules = [rule for d in route.dependencies if (rule := getattr(d.dependency, "rule", None)) is not None]
        if len(rules) != 1:
            raise RuntimeError(f"the route {route.path} has {len(rules)} access rules; make it with Routes.")
        found |= {(method, route.path): rules[0] for method in route.methods or ()}
    return found


def database_of(request: Request) -> Database:
    database: Database = request.state.database
    return database


def _account_of(request: Request) -> Account:
    """Who is asking; the guard has let them in."""
    account: Account = request.state.caller.account
    return account


def _csrf_of(request: Request) -> str | None:
    """The session's CSRF token; None where a token asks."""
    csrf: str | None = request.state.caller.csrf
    return csrf


DatabaseOf = Annotated[Database, Depends(database_of)]
AccountOf = Annotated[Account, Depends(_account_of)]
CsrfOf = Annotated[str | None, Depends(_csrf_of)]


def admit(request: Request, rule: Rule) -> None:
    """Lets a request in, with its caller in ``request.state``. Raises HTTPException: 401 for nobody, 403 for the wrong one."""
    if rule.roles is None:
        return
    caller = identify(request)
    if caller is None:
        raise HTTPException(401, "sign in first.", headers={"WWW-Authenticate": "Bearer"})
    if caller.account.role not in rule.roles:
        raise HTTPException(403, f"this is for {', '.join(sorted(rule.roles))}.")
    by_token = caller.csrf is None
    if by_token and (rule.scope is None or not caller.may(rule.scope)):
        raise HTTPException(403, f"the token lacks the scope {rule.scope}." if rule.scope else "sign in for this.")
    if request.method not in SAFE and not caller.carries(request.headers.get(CSRF)):
        raise HTTPException(403, f"the header {CSRF} is missing or wrong; reload the page.")
    request.state.caller = caller


def _guard(rule: Rule) -> Callable[[Request], None]:
    def guard(request: Request) -> None:
        admit(request, rule)

    guard.rule = rule  # type: ignore[attr-defined]
    return guard


def identify(request: Request) -> Caller | None:
    """Whose session or token a request carries; None for nobody's."""
    accounts = database_of(request).accounts
    header = request.headers.get("Authorization", "")
    if header:
        scheme, _, secret = header.partition(" ")
        return accounts.by_token(secret.strip()) if scheme.lower() == "bearer" else None
    secret = request.cookies.get(COOKIE, "")
    return accounts.by_session(secret) if secret else None
