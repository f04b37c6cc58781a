"""The answers side by side, in one of three views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal, get_args

from nicegui import ui

from custodes.feedback.questions import LETTERS, AnswerForm
from custodes.web.formatting.differences import Piece
from custodes.web.formatting.renderer import differing_pieces, in_thread
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.tags import tag

View = Literal["formatted", "differences", "plain"]
TOO_LONG = "These answers are too long to be compared word by word; they are shown as they were written."


class AnswerView:
    """The answers of a form. A question that marks them does so in the plain view."""

    def __init__(self, form: AnswerForm, asked: Sequence[QuestionWidget]) -> None:
        self.form, self.places = form, len(form.texts)
        self.marker = next((one for one in asked if one.marks), None)
        only_marks = self.marker is not None and all(one.marks or one.question.optional for one in asked)
        self.view: View = "plain" if only_marks else "formatted"
        self.pieces: Sequence[Sequence[Piece]] = ()
        self.root: ui.element = tag("section", aria_label="Answers")
        with self.root:
            self._tools()
            self.grid = tag("div", cls=f"answers of-{self.places}", data_together="true")
        self._fill()

    def _tools(self) -> None:
        plain = self.marker.marks if self.marker else "As written"
        views = {"formatted": ("Formatted", "v"), "differences": ("Differences", "d"), "plain": (plain, "m")}
        if self.places != 2:
            del views["differences"]
        options = [widgets.ChoiceOption(view, label, key) for view, (label, key) in views.items()]
        with tag("div", cls="tools", data_global=""):
            widgets.choice("View", options, self.view, self._look, "view", "tight").set(data_row=None)
            if self.places > 1:
                widgets.button("Scroll together", key="l", aria_pressed="true", data_scrolls="")

    async def _look(self, view: str) -> None:
        if view not in get_args(View):
            return
        self.view = view  # type: ignore[assignment]
        if view == "differences":
            self.pieces = await in_thread(differing_pieces, *self.form.texts)
        if self.view == view:
            self._fill()

    def _fill(self) -> None:
        self.grid.clear()
        with self.grid:
            for place, messages in enumerate(self.form.item["answers"]):
                name = f"Answer {LETTERS[place]}" if self.places > 1 else "Answer"
                with tag("article", cls="answer card", aria_label=name):
                    if self.places > 1:
                        tag("h2", name)
                    about: dict[str, Any] = {"tabindex": 0, "role": "region", "aria_label": f"{name}, text"}
                    with tag("div", cls="scrolls", data_answer="", **about):
                        self._show_text(place, messages)

    def _show_text(self, place: int, messages: Sequence[Mapping[str, str]]) -> None:
        if self.view == "differences":
            pieces = self.pieces[place]
            if any(differs is None for _, differs in pieces):
                tag("p", TOO_LONG, "quiet")
            html = "".join(f"<mark>{escape(text)}</mark>" if differs else escape(text) for text, differs in pieces)
            ui.html(html, sanitize=False).classes("plain").props('dir="auto"')
        elif self.view == "formatted":
            widgets.conversation(messages)
        elif self.marker is None:
            widgets.verbatim(self.form.texts[place])
        else:
            self.marker.show_answer(place)
