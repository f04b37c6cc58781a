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

    The text stands in a field that cannot be edited, where keys and mouse select as everywhere. Behind it the same text
    shows what is marked. Places are counted in characters (Unicode code points) of the answer.
    """

    def __init__(self, widget: SpanWidget, place: int) -> None:
        self.text, self.name = in_field(widget.form.texts[place]), f"{widget.name}.{place}"
        self.changed = widget.changed
        self.titles = {category.value: category.title for category in widget.question.values}
        self.marks = marks_in(widget.form, self.name)
        field = f"{self.name}-text"
        with tag("div", cls="ask", data_row=self.name):
            with tag("div", cls="marker"):
                self.behind = tag("div", cls="behind plain", aria_hidden="true", dir="auto")
                label = f"Text of answer {LETTERS[place]}; select a passage, then choose what is wrong with it"
                area = tag("textarea", self.text, "plain", id=field, aria_label=label, data_marks="")
                area.set(aria_readonly="true", inputmode="none", spellcheck="false")
            with tag("div", cls="marking", role="group", aria_label="Mark the selected passage as"):
                js = f"() => emit(custodes.selection({json.dumps(field)}))"
                for n, (value, title) in enumerate(self.titles.items(), 1):
                    widgets.button(title, key=str(n)).on("click", partial(self._add, value), js_handler=js)
        self.list = widgets.LiveRegion("ul", "marks", aria_label="Marked passages")
        self._show()

    def _add(self, category: str, event: Any) -> None:
        start, end = event.args or (0, 0)
        if 0 <= start < end <= len(self.text) and len(self.marks) < MOST:
            self._set([*self.marks, (start, end, category, 1)])

    def _set(self, marks: list[tuple[int, int, str, int]]) -> None:
        self.marks = sorted(marks)
        self.changed(self.name, json.dumps(self.marks) if marks else "")
        self._show()

    def _show(self) -> None:
        edges = sorted({0, len(self.text), *(edge for start, end, *_ in self.marks for edge in (start, end))})
        self.behind.clear()
        with self.behind:
            for start, end in pairwise(edges):
                worst = max((s for a, b, _, s in self.marks if a <= start and end <= b), default=0)
                tag("mark" if worst else "span", self.text[start:end], f"severity-{worst}" if worst else "")
        with self.list.drawn_again():
            for mark in self.marks:
                self._mark(mark)

    def _mark(self, mark: tuple[int, int, str, int]) -> None:
        start, end, category, severity = mark
        short = widgets.shortened(self.text[start:end])

        def others() -> list[tuple[int, int, str, int]]:
            """Without one mark of this passage and category."""
            same = next((n for n, other in enumerate(self.marks) if other[:3] == mark[:3]), len(self.marks))
            return [*self.marks[:same], *self.marks[same + 1 :]]

        with tag("li"):
            tag("q", short)
            tag("span", self.titles.get(category, category), "tagged")
            weigh = lambda value: self._set([*others(), (start, end, category, int(value))])  # noqa: E731
            with tag("select", aria_label=f"How bad: {short}").on_value(weigh):
                for value, word in SEVERITIES.items():
                    tag("option", word, value=value, selected=value == severity)
            act = f"remove {start} {end} {category}"
            self.list.button("Remove", act, lambda: self._set(others()), aria_label=f"Remove: {short}")
