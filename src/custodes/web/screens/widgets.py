"""What pages are made of. Every widget is labelled, reached by keyboard, and looks the same everywhere.

A widget with ``key`` answers to that key (several with blanks between) wherever the person is, unless they are typing. The
map on ``?`` lists the keys of what is on the screen. Within a ``row`` the keys of its own widgets come first: so 1 to 7
answer the question where the person is, and go on to the next.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

from nicegui import background_tasks, ui

from custodes.feedback.questions import Axis
from custodes.web.formatting.renderer import as_written, in_thread, known_html, to_html
from custodes.web.screens.tags import Tag, tag

Act = Callable[[], Awaitable[None] | None]
Take = Callable[[str], Awaitable[None] | None]
NAMES = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
MOST_MESSAGES = 100
"""Messages of a conversation that are formatted one by one."""
_numbers = count(1)


class ChoiceOption(NamedTuple):
    """One of several answers to choose from."""

    value: str
    label: str
    key: str = ""
    hint: str = ""
    """Read out, and shown where there is a mouse."""


def markdown(text: str, cls: str = "") -> ui.html:
    """What somebody wrote, as Markdown with code and maths; until it is formatted, as it was written.

    Safe by :mod:`custodes.web.formatting.markdown`, and cleaned again in the browser.
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
        verbatim("\n\n".join(f"{NAMES.get(m['role'], m['role'])}:\n{m['content']}" for m in messages))
        return
    for message in messages:
        if len(messages) > 1:
            tag("p", NAMES.get(message["role"], message["role"]), "speaker")
        markdown(message["content"])


def pinned(title: str, messages: Sequence[Mapping[str, str]]) -> None:
    """A conversation that stays in sight while what is below scrolls; folds away."""
    with tag("details", cls="prompt card", open=True):
        tag("summary", title)
        with tag("div", cls="scrolls", tabindex=0, role="region", aria_label=title):
            conversation(messages)


def shortened(text: str) -> str:
    """At most 60 characters of a text."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def verbatim(text: str) -> Tag:
    """What somebody wrote, letter by letter."""
    return tag("div", text, "plain")


@contextmanager
def card(title: str = "", level: int = 2, cls: str = "") -> Iterator[Tag]:
    """A section of the page with a heading."""
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
    options: Sequence[ChoiceOption],
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
            for option in options:
                with tag("label", title=option.hint or None):
                    radio = tag("input", type="radio", name=group, value=option.value, data_keep=name)
                    radio.set(checked=option.value == chosen, aria_label=option.hint or None)
                    _answer_to(radio, option.key).on_value(take)
                    with tag("span"):
                        if option.key:
                            tag("kbd", option.key.split()[0], aria_hidden="true")
                        tag("span", option.label)
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


def text_area(label: str, value: str, take: Take, name: str, rows: int = 3, hint: str = "", mono: bool = False) -> Tag:
    """Several lines of text; ``take`` gets it a moment after the last letter."""
    with tag("div", cls="ask text", data_row=name):
        id_ = f"text-{next(_numbers)}"
        tag("label", label, for_=id_)
        if hint:
            tag("p", hint, "quiet", id=f"{id_}-hint")
        area = tag("textarea", value, "mono" if mono else "", id=id_, rows=rows, data_keep=name)
        area.set(aria_describedby=f"{id_}-hint" if hint else None)
        slow: Any = {"throttle": 0.3, "leading_events": False, "js_handler": "(e) => emit(e.target.value)"}
        area.on("input", lambda e: take(e.args), **slow)
    return area


def number_field(label: str, value: str, take: Take, name: str, axis: Axis, hint: str = "") -> Tag:
    """A whole number on the scale of ``axis``."""
    with tag("div", cls="ask text", data_row=name):
        id_ = f"number-{next(_numbers)}"
        tag("label", label, for_=id_)
        if hint:
            tag("p", hint, "quiet", id=f"{id_}-hint")
        field = tag("input", type="number", id=id_, min=axis.lowest, max=axis.highest, step=1, data_keep=name)
        field.set(aria_describedby=f"{id_}-hint" if hint else None).on_value(take, "input")
        field.props["^value"] = value  # the attribute, so that drawing the page again does not undo what was typed
    return field


def text_line(
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


class LiveRegion:
    """A part of a page that is drawn again, by a timer or after an action, and loses no press meanwhile.

    A press of one of its buttons comes to the region, which stays, with the button's ``act``: a name of what it does. So a
    press counts that was on its way while the region was drawn again. ``act`` is to name the thing itself (a person, a
    mark), never its place in a list, which may be another's by then.
    """

    def __init__(self, kind: str = "div", cls: str = "", **attributes: str | int | bool | None) -> None:
        self.root = tag(kind, "", cls, **attributes)
        self.seconds = 0.0  # of work on what is on the screen, when the last button was pressed
        self._acts: dict[str, Act] = {}
        self.root.on("click", self._pressed, js_handler="(e) => custodes.act(e, emit)")

    @contextmanager
    def drawn_again(self) -> Iterator[None]:
        """What the block makes stands in the region in place of what was there."""
        self.root.clear()
        with self.root:
            yield

    def button(self, text: str, act: str, do: Act, key: str = "", cls: str = "", **attributes: Any) -> Tag:
        """:func:`button` in a region."""
        self._acts[act] = do
        return button(text, None, key, cls, data_act=act, **attributes)

    async def _pressed(self, event: Any) -> None:
        act, self.seconds = str(event.args[0]), float(event.args[1])
        if (do := self._acts.get(act)) is not None and (doing := do()) is not None:
            await doing


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


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", label: str = "") -> Tag:
    """Text in rows and columns; a cell may be a function that draws it. Scrolls by itself where it is too wide."""
    label = label or caption or "Table"
    with tag("div", cls="table", tabindex=0, role="region", aria_label=label) as made, tag("table"):
        if caption:
            tag("caption", caption)
        with tag("thead"), tag("tr"):
            for name in head:
                tag("th", name, scope="col")
        with tag("tbody"):
            for row in rows:
                with tag("tr"):
                    for n, value in enumerate(row):
                        if callable(value):
                            with tag("td"):
                                value()
                        else:
                            text, cls = (f"{value:,}", "number") if isinstance(value, int) else (str(value), "")
                            tag("td" if n else "th", text, cls, scope=None if n else "row")
    return made


def _answer_to(control: Tag, key: str) -> Tag:
    return control.set(data_key=key or None, aria_keyshortcuts=key or None)
