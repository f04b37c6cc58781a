"""Passages of the answers, marked in the view of their plain text."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from typing import Any

from custodes.feedback.fields import in_field
from custodes.feedback.kinds.span import marks_in
from custodes.feedback.questions import LETTERS, MOST
from custodes.registry import widget
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.tags import tag

SEVERITIES = {1: "slight", 2: "clear", 3: "severe"}


@widget
class SpanWidget(QuestionWidget):
    marks = "Mark passages"

    def show(self) -> None:
        hint = "To mark a passage, switch the view to “Mark passages”, select it, and say what is wrong with it."
        tag("p", hint, "quiet")

    def show_answer(self, place: int) -> None:
        _Marks(self, place)


class _Marks:
    """Passages of one answer, marked with a category and a severity.

    The text stands in a field that cannot be edited, where keys and mouse select as everywhere; behind it the same text
    shows what is marked. Places are counted in characters (Unicode code points) of the answer.
    """

    def __init__(self, widget: SpanWidget, place: int) -> None:
        self.text, self.name, self.changed = (
            in_field(widget.form.texts[place]),
            f"{widget.name}.{place}",
            widget.changed,
        )
        self.titles = {category.value: category.title for category in widget.question.values}
        self.marks = marks_in(widget.form, self.name)
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
                    made = widgets.button(title, key=str(n))
                    made.on(
                        "click",
                        partial(self._add, value),
                        js_handler=f"() => emit(custodes.selection({json.dumps(field)}))",
                    )
        self.list = tag("ul", cls="marks", aria_label="Marked passages")
        self._show()

    def _add(self, category: str, event: Any) -> None:
        start, end = event.args or (0, 0)
        if 0 <= start < end <= len(self.text) and len(self.marks) < MOST:
            self._set(sorted([*self.marks, (start, end, category, 1)]))

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
            widgets.button(
                "Remove", lambda: self._set([*self.marks[:n], *self.marks[n + 1 :]]), aria_label=f"Remove: {short}"
            )
