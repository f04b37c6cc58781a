"""Pages with a rule: who may see which."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from fastapi import HTTPException, Request
from nicegui import app as host
from nicegui import ui

from custodes.web.access import ANYBODY, Rule, admitted, guarded, rules_of
from custodes.web.screens.shell import NAVIGATION, ScreenPlace, frame
from custodes.web.screens.visits import Visit, sign_in_address

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
        async def built(request: Request, **arguments: Any) -> None:
            visit = Visit(request, rule)
            with frame(visit, title):
                await build(visit, **arguments)

        hints, kinds = get_type_hints(build), inspect.Parameter
        own = list(inspect.signature(build).parameters)[1:]
        keywords = [kinds(name, kinds.KEYWORD_ONLY, annotation=hints[name]) for name in own]
        first = kinds("request", kinds.POSITIONAL_OR_KEYWORD, annotation=Request)
        built.__signature__ = inspect.Signature([first, *keywords])  # type: ignore[attr-defined]
        guards = [guarded(rule, _admitted_or_sent_to_sign_in)]
        ui.page(path, title=f"{title} · Custodes", response_timeout=SLOWEST, dependencies=guards)(built)
        return build

    return add


def open_page(path: str, endpoint: Callable[..., Any]) -> None:
    """An address without a frame that anybody may get: signing in, styles."""
    host.add_api_route(path, endpoint, dependencies=[guarded(ANYBODY)], include_in_schema=False)


def page_rules() -> dict[str, Rule]:
    """path -> rule of every page. Raises RuntimeError for an address that has none and is not NiceGUI's own."""
    rules = rules_of(each for each in host.routes if not getattr(each, "path", "").startswith(OWN))
    if changing := sorted(path for method, path in rules if method != "GET"):
        raise RuntimeError(f"the page {changing[0]} takes more than GET; what changes something is a route.")
    return {path: rule for (_, path), rule in rules.items()}


def _admitted_or_sent_to_sign_in(request: Request, rule: Rule) -> None:
    try:
        admitted(request, rule)
    except HTTPException as error:
        if error.status_code != 401:
            raise
        raise HTTPException(303, headers={"Location": sign_in_address(request.url.path)}) from None
