"""What is judged: the prompt, pinned, and the answers side by side, in one of three views."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, Literal, get_args

from nicegui import ui

from custodes.web.fields import in_field
from custodes.web.screens import parts
from custodes.web.screens.difference import Piece
from custodes.web.screens.renderer import in_thread, renderer
from custodes.web.screens.sheet import LETTERS, MOST, Sheet
from custodes.web.screens.tags import tag

View = Literal["formatted", "differences", "plain"]
SEVERITIES = {1: "slight", 2: "clear", 3: "severe"}
TOO_LONG = "These answers are too long to be compared word by word; they are shown as they were written."
Changed = Callable[[str, str], Any]


def prompt(messages: Sequence[Mapping[str, str]]) -> None:
    """Stays in sight while the answers scroll; folds away."""
    with tag("details", cls="prompt card", open=True):
        tag("summary", "Prompt")
        with tag("div", cls="scrolls", tabindex=0, role="region", aria_label="Prompt"):
            parts.conversation(messages)


class Panes:
    """The answers of a sheet. With a question about spans, passages can be marked in the plain view."""

    def __init__(self, sheet: Sheet, changed: Changed) -> None:
        self.sheet, self.changed = sheet, changed
        self.places = len(sheet.texts)
        spans = [(n, q) for n, q in enumerate(sheet.item["questions"], 1) if q["kind"] == "span"]
        self.span = spans[0] if spans else None
        only_spans = self.span is not None and all(
            q["kind"] == "span" or q["optional"] for q in sheet.item["questions"]
        )
        self.view: View = "plain" if only_spans else "formatted"
        self.pieces: Sequence[Sequence[Piece]] = ()
        self.root: ui.element = tag("section", cls="panes", aria_label="Answers")
        with self.root:
            self._tools()
            self.grid = tag("div", cls=f"answers of-{self.places}", data_together="true")
        self._fill()

    def _tools(self) -> None:
        plain = "Mark passages" if self.span else "As written"
        views = {"formatted": ("Formatted", "v"), "differences": ("Differences", "d"), "plain": (plain, "m")}
        if self.places != 2:
            del views["differences"]
        points = [parts.Point(view, label, key) for view, (label, key) in views.items()]
        with tag("div", cls="tools", data_global=""):
            parts.choice("View", points, self.view, self._look, "view", "tight").set(data_row=None)
            if self.places > 1:
                parts.button("Scroll together", key="l", aria_pressed="true", data_scrolls="")

    async def _look(self, view: str) -> None:
        if view not in get_args(View):
            return
        self.view = view  # type: ignore[assignment]
        if view == "differences":
            found = await in_thread(renderer.ask, "words", *self.sheet.texts)
            self.pieces = found or [[(text, None)] for text in self.sheet.texts]
        if self.view == view:
            self._fill()

    def _fill(self) -> None:
        self.grid.clear()
        with self.grid:
            for place, messages in enumerate(self.sheet.item["answers"]):
                name = f"Answer {LETTERS[place]}" if self.places > 1 else "Answer"
                with tag("article", cls="answer card", aria_label=name):
                    if self.places > 1:
                        tag("h2", name)
                    with tag("div", cls="scrolls", data_pane="", tabindex=0, role="region", aria_label=f"{name}, text"):
                        if self.view == "differences":
                            _different(self.pieces[place])
                        elif self.view == "formatted":
                            parts.conversation(messages)
                        elif self.span is None:
                            parts.plain(self.sheet.texts[place])
                        else:
                            Marks(self.sheet, place, *self.span, self.changed)


def _different(pieces: Sequence[Piece]) -> None:
    if any(differs is None for _, differs in pieces):
        tag("p", TOO_LONG, "quiet")
    html = "".join(f"<mark>{escape(text)}</mark>" if differs else escape(text) for text, differs in pieces)
    ui.html(html, sanitize=False).classes("plain").props('dir="auto"')


class Marks:
    """Passages of one answer, marked with a category and a severity.

    The text stands in a field that cannot be edited, where keys and mouse select as everywhere; behind it the same text
    shows what is marked. Places are counted in characters (Unicode code points) of the answer.
    """

    def __init__(self, sheet: Sheet, place: int, number: int, question: Mapping[str, Any], changed: Changed) -> None:
        self.text, self.name, self.changed = in_field(sheet.texts[place]), f"q{number}.{place}", changed
        self.titles = {category["value"]: category["title"] for category in question["values"]}
        self.marks = sheet.marks(self.name)
        field = f"{self.name}-text"
        with tag("div", cls="ask", data_row=self.name):
            with tag("div", cls="marker"):
                self.behind = tag("div", cls="behind plain", aria_hidden="true", dir="auto")
                label = f"Text of answer {LETTERS[place]}; select a passage, then choose what is wrong with it"
                area = tag(
                    "textarea", self.text, "plain", id=field, aria_label=label, aria_readonly="true", data_marks=""
                )
                area.set(inputmode="none", spellcheck="false")
            with tag("div", cls="marking", role="group", aria_label="Mark the selected passage as"):
                for n, (value, title) in enumerate(self.titles.items(), 1):
                    made = parts.button(title, key=str(n))
                    made.on(
                        "click", self._adding(value), js_handler=f"() => emit(custodes.selection({json.dumps(field)}))"
                    )
        self.list = tag("ul", cls="marks", aria_label="Marked passages")
        self._show()

    def _adding(self, category: str) -> Callable[[Any], None]:
        def add(event: Any) -> None:
            start, end = event.args or (0, 0)
            if 0 <= start < end <= len(self.text) and len(self.marks) < MOST:
                self._set(sorted([*self.marks, (start, end, category, 1)]))

        return add

    def _set(self, marks: list[tuple[int, int, str, int]]) -> None:
        self.marks = marks
        self.changed(self.name, json.dumps(marks) if marks else "")
        self._show()

    def _show(self) -> None:
        edges = sorted({0, len(self.text), *(edge for start, end, *_ in self.marks for edge in (start, end))})
        self.behind.clear()
        with self.behind:
            for start, end in pairwise(edges):
                worst = max((s for a, b, _, s in self.marks if a <= start and end <= b), default=0)
                tag("mark" if worst else "span", self.text[start:end], f"severity-{worst}" if worst else "")
        self.list.clear()
        with self.list:
            for n, mark in enumerate(self.marks):
                self._mark(n, mark)

    def _mark(self, n: int, mark: tuple[int, int, str, int]) -> None:
        start, end, category, severity = mark
        passage = self.text[start:end]
        short = passage if len(passage) <= 60 else f"{passage[:57]}..."

        def weigh(value: str) -> None:
            self._set([*self.marks[:n], (start, end, category, int(value)), *self.marks[n + 1 :]])

        with tag("li"):
            tag("q", short)
            tag("span", self.titles.get(category, category), "tagged")
            with tag("select", aria_label=f"How bad: {short}").on_value(weigh):
                for value, word in SEVERITIES.items():
                    tag("option", word, value=value, selected=value == severity)
            parts.button(
                "Remove", lambda: self._set([*self.marks[:n], *self.marks[n + 1 :]]), aria_label=f"Remove: {short}"
            )
