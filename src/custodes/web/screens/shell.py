"""The frame of every page: who is here, where one can go, light or dark; and the files of ``static/``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fastapi import HTTPException, Response
from nicegui import ui

from custodes.web.access import Rule
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.visits import Visit

FOLDER = Path(__file__).parent / "static"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class ScreenPlace(NamedTuple):
    """A page in the navigation."""

    path: str
    name: str
    rule: Rule


NAVIGATION: list[ScreenPlace] = []


def file_address(name: str) -> str:
    """Where the browser gets a file of ``static/``; changes with its content, so that it can be kept for ever."""
    return f"/static/{hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}/{name}"


def static_file(version: str, name: str) -> Response:
    """A file of ``static/``, whatever its version was. Raises HTTPException for another one."""
    if name not in {file.name for file in FOLDER.iterdir()}:
        raise HTTPException(404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response((FOLDER / name).read_bytes(), media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)


@contextmanager
def frame(visit: Visit, title: str) -> Iterator[None]:
    """A page's header, then its content, which the block makes inside ``<main>``."""
    _head(visit)
    layout = ui.context.client.layout
    with layout:
        top = _top(visit)
    top.move(layout, target_index=0)  # before what Quasar makes the page's <main>
    with tag("div", id="main", tabindex=-1):
        visit.heading = tag("h1", title, tabindex=-1)
        yield
    with tag("dialog", id="keys", aria_labelledby="keys-title"):
        with tag("div", cls="dialog-head"):
            tag("h2", "Keys", id="keys-title")
            tag("button", "✕", "bare", type="button", data_closes="", aria_label="Close")
        tag("dl")
    tag("div", id="said", role="status", aria_live="polite")
    sentence = "The connection is lost. What you entered is kept; this page comes back by itself."
    tag("div", sentence, id="offline", role="alert")


def _top(visit: Visit) -> Tag:
    with tag("div") as top:
        tag("a", "Skip to content", "skip", href="#main")
        with tag("header", cls="top"):
            with tag("a", cls="brand", href="/"):
                tag("img", src=file_address("mark.svg"), alt="", width=24, height=24)
                tag("span", "Custodes")
            with tag("nav", aria_label="Pages"):
                for place in NAVIGATION:
                    if place.rule.lets(visit.account):
                        here = "page" if visit.path == place.path else None
                        tag("a", place.name, href=place.path, aria_current=here)
            with tag("div", cls="person"):
                tag("span", f"{visit.account.name}, {visit.account.role}", "quiet")
                about = {"type": "button", "aria_label": "Light or dark", "title": "Light or dark"}
                tag("button", "◐", data_theme_button="", **about)
                tag("button", "?", type="button", data_opens="keys", aria_label="Keys", title="Keys (?)")
                tag("button", "Sign out", type="button", data_sign_out=visit.csrf)
    return top


def _head(visit: Visit) -> None:
    """Our styles and scripts. The page's theme is set before anything is drawn."""
    theme = visit.theme if visit.theme in ("light", "dark") else ""
    ui.dark_mode({"light": False, "dark": True}.get(theme))
    ui.add_head_html(
        f'<link rel="stylesheet" href="{file_address("screens.css")}"><link rel="icon" href="{file_address("mark.svg")}">'
        f'<script>document.documentElement.dataset.theme = "{theme}";</script>'
        f'<script src="{file_address("screens.js")}" defer></script>'
    )
