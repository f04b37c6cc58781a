"""What pages are made of. Every part is labelled, reached by keyboard, and looks the same everywhere.

A part with ``key`` answers to that key (several with blanks between) wherever the person is, unless they are typing; the
map on ``?`` lists the keys of what is on the screen. Within a ``row`` the keys of its own parts come first: so 1 to 7
answer the question where the person is, and go on to the next.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

from nicegui import background_tasks, ui

from custodes.web.screens.prose import as_written, known_html, to_html
from custodes.web.screens.renderer import in_thread
from custodes.web.screens.tags import Tag, tag

Act = Callable[[], Awaitable[None] | None]
Take = Callable[[str], Awaitable[None] | None]
NAMES = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
MOST_MESSAGES = 100
"""Messages of a conversation that are formatted one by one."""
_numbers = count(1)


class Point(NamedTuple):
    """One of several answers to choose from."""

    value: str
    label: str
    key: str = ""
    hint: str = ""
    """Read out, and shown where there is a mouse."""


def markdown(text: str, cls: str = "") -> ui.html:
    """What somebody wrote, as Markdown with code and maths. Safe by ``prose.py``, and cleaned again in the browser.

    Until it is formatted it stands there as it was written.
    """
    known = known_html(text)
    made = ui.html(as_written(text) if known is None else known, sanitize=True).classes(f"prose {cls}")
    made.props('dir="auto"')
    if known is None:
        background_tasks.create(_format(made, text), name="format")
    return made


async def _format(made: ui.html, text: str) -> None:
    html = await in_thread(to_html, text)
    if not made.is_deleted:
        made.set_content(html)


def conversation(messages: Sequence[Mapping[str, str]]) -> None:
    """Messages, with who says each where there are several."""
    if len(messages) > MOST_MESSAGES:
        tag("p", f"{len(messages):,} messages, shown as they were written.", "quiet")
        plain("\n\n".join(f"{NAMES.get(m['role'], m['role'])}:\n{m['content']}" for m in messages))
        return
    for message in messages:
        if len(messages) > 1:
            tag("p", NAMES.get(message["role"], message["role"]), "speaker")
        markdown(message["content"])


def plain(text: str, cls: str = "") -> Tag:
    """What somebody wrote, letter by letter."""
    return tag("div", text, f"plain {cls}")


@contextmanager
def card(title: str = "", level: int = 2, cls: str = "") -> Iterator[Tag]:
    """A part of the page with a heading."""
    id_ = f"card-{next(_numbers)}"
    with tag("section", cls=f"card {cls}", aria_labelledby=id_ if title else None) as made:
        if title:
            tag(f"h{level}", title, id=id_)
        yield made


def button(
    text: str, act: Act | None = None, key: str = "", cls: str = "", **attributes: str | int | bool | None
) -> Tag:
    """A button; ``cls`` "main" for what most people want, "danger" for what hurts."""
    made = _answer_to(tag("button", text, cls, type="button", **attributes), key)
    if key:
        with made:
            tag("kbd", key.split()[0], aria_hidden="true")
    if act is not None:
        made.on("click", act, args=[])
    return made


def choice(
    legend: str,
    points: Sequence[Point],
    chosen: str | None,
    take: Take,
    name: str,
    cls: str = "",
    about: str = "",
) -> Tag:
    """One of several, as radio buttons in a row. ``name`` is under which the browser keeps it until it is saved."""
    group = f"{name}-{next(_numbers)}"
    with tag("fieldset", cls=f"ask choice {cls}", data_row=name) as made:
        tag("legend", legend)
        if about:
            tag("p", about, "quiet")
        with tag("div", cls="points"):
            for point in points:
                with tag("label", title=point.hint or None):
                    radio = tag("input", type="radio", name=group, value=point.value, data_keep=name)
                    _answer_to(radio, point.key).set(
                        checked=point.value == chosen, aria_label=point.hint or None
                    ).on_value(take)
                    with tag("span"):
                        if point.key:
                            tag("kbd", point.key.split()[0], aria_hidden="true")
                        tag("span", point.label)
    return made


def chips(legend: str, names: Sequence[str], chosen: Sequence[str], take: Take, name: str) -> Tag:
    """Any of several; ``take`` gets a JSON list of those that are on."""
    on = set(chosen)

    def turned(which: str) -> Callable[[Any], Any]:
        def turn(event: Any) -> Any:
            (on.add if event.args else on.discard)(which)
            return take(json.dumps(sorted(on)))

        return turn

    with tag("fieldset", cls="ask chips", data_row=name) as made:
        tag("legend", legend)
        with tag("div", cls="points"):
            for which in names:
                with tag("label"):
                    box = tag("input", type="checkbox", value=which, checked=which in on, data_keep=f"{name} {which}")
                    box.on("change", turned(which), js_handler="(e) => emit(e.target.checked)")
                    tag("span", which)
    return made


def text(label: str, value: str, take: Take, name: str, rows: int = 3, hint: str = "", mono: bool = False) -> Tag:
    """Several lines of text; ``take`` gets it a moment after the last letter."""
    with tag("div", cls="ask text", data_row=name):
        id_ = f"text-{next(_numbers)}"
        tag("label", label, for_=id_)
        if hint:
            tag("p", hint, "quiet", id=f"{id_}-hint")
        area = tag("textarea", value, "mono" if mono else "", id=id_, rows=rows, data_keep=name)
        area.set(aria_describedby=f"{id_}-hint" if hint else None)
        area.on(
            "input",
            lambda e: take(e.args),
            throttle=0.3,
            leading_events=False,
            js_handler="(e) => emit(e.target.value)",
        )
    return area


def line(
    label: str, value: str = "", take: Take | None = None, hint: str = "", **attributes: str | int | bool | None
) -> Tag:
    """One line of text; ``take`` gets it with every letter."""
    id_ = str(attributes.pop("id", "") or f"line-{next(_numbers)}")
    with tag("div", cls="text"):
        tag("label", label, for_=id_)
        field = tag("input", id=id_).set(**attributes)
        field.props["^value"] = value  # the attribute, so that drawing the page again does not undo what was typed
        if hint:
            tag("small", hint, id=f"{id_}-hint")
            field.set(aria_describedby=f"{id_}-hint")
        if take is not None:
            field.on_value(take, "input")
    return field


@contextmanager
def dialog(id_: str, title: str, cls: str = "") -> Iterator[Tag]:
    """A window that ``opener`` (or ``data-opens``) opens; Escape closes it, and the rest of the page waits."""
    with tag("dialog", cls=cls, id=id_, aria_labelledby=f"{id_}-title") as made:
        with tag("div", cls="dialog-head"):
            tag("h2", title, id=f"{id_}-title")
            tag("button", "✕", "bare", type="button", data_closes="", aria_label="Close")
        yield made


def opener(text: str, opens: str, key: str = "", cls: str = "") -> Tag:
    """A button that opens a ``dialog``."""
    return button(text, None, key, cls, data_opens=opens, aria_haspopup="dialog")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> Tag:
    """Text in rows and columns; numbers stand at the right. Scrolls by itself where it is too wide."""
    with tag("div", cls="table", tabindex=0, role="region", aria_label=caption or "Table") as made, tag("table"):
        if caption:
            tag("caption", caption)
        with tag("thead"), tag("tr"):
            for name in head:
                tag("th", name, scope="col")
        with tag("tbody"):
            for row in rows:
                with tag("tr"):
                    for n, value in enumerate(row):
                        number = isinstance(value, int | float)
                        shown = f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if number else str(value)
                        tag(
                            "th" if n == 0 else "td", shown, "number" if number else "", scope="row" if n == 0 else None
                        )
    return made


def _answer_to(control: Tag, key: str) -> Tag:
    return control.set(data_key=key or None, aria_keyshortcuts=key or None)
