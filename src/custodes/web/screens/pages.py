"""Pages with a rule: who may see which, and who is looking at it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar, get_type_hints
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from nicegui import app as host
from nicegui import ui

from custodes.types import InputError
from custodes.web.access import COOKIE, Rule, admit, database_of
from custodes.web.accounts import Account
from custodes.web.database import MissingError
from custodes.web.screens.places import NAVIGATION, Place
from custodes.web.screens.shell import frame
from custodes.web.screens.tags import Tag
from custodes.web.work import ConflictError

P = ParamSpec("P")
T = TypeVar("T")
SLOWEST = 30.0
"""Seconds that a page may take to be built."""
OWN = ("/_nicegui/", "/_nicegui_ws", "/favicon.ico")
"""What NiceGUI itself serves: its files, and the socket of pages, which ``host.py`` lets nobody use who is not signed in."""


class SignedOutError(Exception):
    """The session has ended meanwhile."""


class Visit:
    """Somebody looking at a page. ``account`` is who they were when it was built."""

    def __init__(self, request: Request, rule: Rule) -> None:
        caller = request.state.caller
        self.database = database_of(request)
        self.account: Account = caller.account
        self.csrf: str = caller.csrf
        self.path = request.url.path
        self.theme = request.cookies.get("custodes_theme", "")
        self.heading: Tag
        """The page's first heading."""
        self._secret, self._rule = request.cookies[COOKIE], rule
        self._client = ui.context.client

    async def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function`` of these arguments, called in a thread if the person is still let in.

        Raises SignedOutError, and whatever the function raises.
        """

        def call() -> T:
            caller = self.database.accounts.by_session(self._secret)
            if caller is None or self._rule.roles is None or caller.account.role not in self._rule.roles:
                raise SignedOutError("you are signed out; sign in again.")
            return function(*args, **kwargs)

        return await asyncio.to_thread(call)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """What goes wrong in the block for a reason that the person can understand is told to them, and ends it."""
        try:
            yield
        except SignedOutError:
            self.go(door(self.path))
        except (InputError, ConflictError, MissingError) as error:
            self.say(str(error), bad=True)

    def say(self, sentence: str, bad: bool = False) -> None:
        """A sentence that is seen for a while, and read out."""
        self.browser(f"custodes.say({_js(sentence)}, {_js(bad)})")

    def go(self, path: str) -> None:
        """To another page."""
        self.browser(f"location.href = {_js(path)}")

    def browser(self, code: str) -> None:
        """Runs JavaScript in the page."""
        self._client.run_javascript(code)


Builder = Callable[..., Awaitable[None]]


def page(path: str, rule: Rule, title: str, nav: str | None = None) -> Callable[[Builder], Builder]:
    """Makes ``build(visit, ...)`` the page at ``path``; what is in braces there are its other arguments.

    ``nav`` is its name in the navigation (for addresses without braces).
    """
    if nav is not None:
        NAVIGATION.append(Place(path, nav, rule))
        NAVIGATION.sort(key=lambda place: place.path)

    def add(build: Builder) -> Builder:
        async def built(request: Request, **found: Any) -> None:
            visit = Visit(request, rule)
            with frame(visit, title):
                await build(visit, **found)

        hints = get_type_hints(build)
        own = [p.replace(annotation=hints[p.name]) for p in list(inspect.signature(build).parameters.values())[1:]]
        first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
        keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        built.__signature__ = inspect.Signature([first, *keywords])  # type: ignore[attr-defined]
        dependencies = [Depends(_guard(rule))]
        ui.page(path, title=f"{title} · Custodes", response_timeout=SLOWEST, dependencies=dependencies)(built)
        return build

    return add


def plain(path: str, endpoint: Callable[..., Any]) -> None:
    """An address without a frame that anybody may get: the door, styles."""

    def guard() -> None:
        return

    guard.rule = Rule(None)  # type: ignore[attr-defined]
    host.add_api_route(path, endpoint, dependencies=[Depends(guard)], include_in_schema=False)


def page_rules() -> dict[str, Rule]:
    """path -> rule of every page. Raises RuntimeError for an address that has none and is not NiceGUI's own."""
    found: dict[str, Rule] = {}
    for route in host.routes:
        path = getattr(route, "path", "")
        if path.startswith(OWN):
            continue
        rules = (
            [rule for d in route.dependencies if (rule := getattr(d.dependency, "rule", None)) is not None]
            if isinstance(route, APIRoute)
            else []
        )
        if len(rules) != 1 or not isinstance(route, APIRoute) or route.methods != {"GET"}:
            raise RuntimeError(f"the page {path or route} has no access rule; make it with page.")
        found[path] = rules[0]
    return found


def door(wanted: str) -> str:
    """Address of the door for somebody who wants to go to ``wanted``."""
    return f"/sign-in?next={quote(wanted)}"


def _guard(rule: Rule) -> Callable[[Request], None]:
    def guard(request: Request) -> None:
        try:
            admit(request, rule)
        except HTTPException as error:
            if error.status_code != 401:
                raise
            raise HTTPException(303, headers={"Location": door(request.url.path)}) from None

    guard.rule = rule  # type: ignore[attr-defined]
    return guard


def _js(value: object) -> str:
    return json.dumps(value)
