"""The frame of every page: who is here, where one can go, light or dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from custodes.web.screens.files import file_address
from custodes.web.screens.places import NAVIGATION
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.visits import Visit


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
    tag(
        "div",
        "The connection is lost. What you entered is kept; this page comes back by itself.",
        id="offline",
        role="alert",
    )


def _top(visit: Visit) -> Tag:
    with tag("div") as made:
        tag("a", "Skip to content", "skip", href="#main")
        with tag("header", cls="top"):
            with tag("a", cls="brand", href="/"):
                tag("img", src=file_address("mark.svg"), alt="", width=24, height=24)
                tag("span", "Custodes")
            with tag("nav", aria_label="Pages"):
                for place in NAVIGATION:
                    if place.rule.roles is not None and visit.account.role in place.rule.roles:
                        here = "page" if visit.path == place.path else None
                        tag("a", place.name, href=place.path, aria_current=here)
            with tag("div", cls="person"):
                tag("span", f"{visit.account.name}, {visit.account.role}", "quiet")
                tag(
                    "button",
                    "◐",
                    type="button",
                    data_theme_button="",
                    aria_label="Light or dark",
                    title="Light or dark",
                )
                tag("button", "?", type="button", data_opens="keys", aria_label="Keys", title="Keys (?)")
                tag("button", "Sign out", type="button", data_sign_out=visit.csrf)
    return made


def _head(visit: Visit) -> None:
    """Our styles and scripts. The page's theme is set before anything is drawn."""
    theme = visit.theme if visit.theme in ("light", "dark") else ""
    ui.dark_mode({"light": False, "dark": True}.get(theme))
    ui.add_head_html(
        f'<link rel="stylesheet" href="{file_address("screens.css")}"><link rel="icon" href="{file_address("mark.svg")}">'
        f'<script>document.documentElement.dataset.theme = "{theme}";</script>'
        f'<script src="{file_address("screens.js")}" defer></script>'
    )
