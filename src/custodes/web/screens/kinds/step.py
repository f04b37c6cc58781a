"""A mark for each step of each answer, or one at the first error."""

from __future__ import annotations

from custodes.feedback.kinds.step import steps_of
from custodes.registry import widget
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.tags import tag
from custodes.web.screens.widgets import ChoiceOption


@widget
class StepWidget(QuestionWidget):
    shows_answer = True

    def show(self) -> None:
        for place in range(len(self.form.texts)):
            _Steps(self, place)


class _Steps:
    """One row per step; every step marked, or only where the first error is."""

    EACH = (ChoiceOption("1", "good", "+ = 1"), ChoiceOption("0", "neutral", "0 2"), ChoiceOption("-1", "wrong", "- 3"))

    def __init__(self, widget: StepWidget, place: int) -> None:
        self.widget, self.values, self.name = widget, widget.form.values, f"{widget.name}.{place}"
        self.steps = steps_of(widget.form.texts[place])
        modes = [ChoiceOption("each", "Every step", "a"), ChoiceOption("first", "Only the first error", "x")]
        with tag("div", data_global=""):
            mode = self.values.get(f"{self.name}.mode", "each")
            widgets.choice("Mark", modes, mode, self._switch, f"{self.name}.mode", "tight").set(data_row=None)
        self.root = tag("ol", cls="steps")
        self._show()

    def _switch(self, mode: str) -> None:
        self.widget.changed(f"{self.name}.mode", mode)
        self._show()

    def _show(self) -> None:
        first = self.values.get(f"{self.name}.mode") == "first"
        self.root.clear()
        with self.root:
            for n, step in enumerate(self.steps):
                with tag("li", cls="step"):
                    widgets.markdown(step)
                    if first:
                        self._first(str(n), "The first error is here", str(n + 1))
                    else:
                        self.widget.choose(f"{self.name}.{n}", f"Step {n + 1}", self.EACH, "marks")
            if first:
                with tag("li", cls="step"):
                    tag("p", "There is no error in any step.")
                    self._first("none", "No error", "n")

    def _first(self, value: str, label: str, key: str) -> None:
        name = f"{self.name}.first"
        with tag("label", cls="points ask"):
            radio = tag("input", type="radio", name=name, value=value, data_keep=name)
            radio.set(data_key=key if len(key) == 1 else None, checked=self.values.get(name) == value)
            radio.on_value(self.widget.enter(name))
            tag("span", label)
