"""Pages with a rule: who may see which."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, get_type_hints

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from nicegui import app as host
from nicegui import ui

from custodes.web.access import Rule, admit
from custodes.web.screens.places import NAVIGATION, ScreenPlace
from custodes.web.screens.shell import frame
from custodes.web.screens.visits import Visit, door

P = ParamSpec("P")
T = TypeVar("T")
SLOWEST = 30.0
"""Seconds that a page may take to be built."""
OWN = ("/_nicegui/", "/_nicegui_ws", "/favicon.ico")
"""What NiceGUI itself serves: its files, and the socket of pages, which ``host.py`` lets nobody use who is not signed in."""


Builder = Callable[..., Awaitable[None]]


def page(path: str, rule: Rule, title: str, nav: str | None = None) -> Callable[[Builder], Builder]:
    """Makes ``build(visit, ...)`` the page at ``path``; what is in braces there are its other arguments.

    ``nav`` is its name in the navigation (for addresses without braces).
    """
    if nav is not None:
        NAVIGATION.append(ScreenPlace(path, nav, rule))
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
