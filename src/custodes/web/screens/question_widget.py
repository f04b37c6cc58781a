"""How a question looks on a work screen: the base of every kind's widget.

The widget of a kind is a class derived from :class:`QuestionWidget` and marked with :data:`custodes.registry.widget`, in a
file of the kind's name. Ours are in :mod:`custodes.web.screens.kinds`. What is entered is kept by name, as
:class:`~custodes.feedback.questions.AnswerForm` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from custodes import registry
from custodes.feedback.questions import LETTERS, AnswerForm, Axis
from custodes.web.screens import widgets
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.widgets import ChoiceOption

Changed = Callable[[str, str], Any]


class QuestionWidget:
    """One question of a form: its rows, and what it does in the view of the answers."""

    shows_answer: ClassVar[bool] = False
    """Whether it shows the answer itself, so that nothing else needs to where it is asked alone."""
    marks: ClassVar[str] = ""
    """Title of the view in which it marks the answers; "" where it marks none."""

    def __init__(self, form: AnswerForm, number: int, changed: Changed) -> None:
        self.form, self.changed, self.name = form, changed, f"q{number}"
        self.question: Any = form.questions[number - 1]

    def show(self) -> None:
        """Draws the question's rows."""
        raise NotImplementedError

    def show_answer(self, place: int) -> None:
        """Draws an answer so that it can be marked, where the kind has ``marks``."""
        raise NotImplementedError

    # ------------------------------------------------------------ what many kinds need

    def enter(self, name: str) -> Callable[[str], Any]:
        """Takes a value and enters it under ``name``."""
        return lambda value: self.changed(name, value)

    def choose(self, name: str, legend: str, options: Sequence[ChoiceOption], cls: str = "", about: str = "") -> Tag:
        """One of several options, entered under ``name``."""
        return widgets.choice(legend, options, self.form.values.get(name), self.enter(name), name, cls, about)

    def choose_each(self, title: str, options: Sequence[ChoiceOption], cls: str = "", about: str = "") -> None:
        """One of several options for every answer shown."""
        with self.beside():
            for place, legend in self.each(title):
                self.choose(f"{self.name}.{place}", legend + self.maybe, options, cls, about)

    def each(self, legend: str) -> list[tuple[int, str]]:
        """(place, legend) of every answer shown."""
        places = range(len(self.form.item["answers"]))
        return [(place, f"{legend}: answer {LETTERS[place]}" if len(places) > 1 else legend) for place in places]

    def beside(self) -> Tag:
        """Rows about the answers stand as the answers do."""
        return tag("div", cls=f"beside of-{len(self.form.item['answers'])}")

    @property
    def axis(self) -> Axis:
        """The axis that the question asks about."""
        scale: Axis = self.question.scale
        return scale

    @property
    def ends(self) -> str:
        """What the ends of the axis mean."""
        ends = ((self.axis.lowest, self.axis.low), (self.axis.highest, self.axis.high))
        return " · ".join(f"{n}: {meaning}" for n, meaning in ends if meaning)

    @property
    def maybe(self) -> str:
        return " (optional)" if self.question.optional else ""


def widgets_of(form: AnswerForm, changed: Changed) -> list[QuestionWidget]:
    """The widgets of a form's questions, in order. Raises InputError for a kind without one."""
    classes = [registry.widget.find(question.kind) for question in form.questions]
    return [widget(form, number, changed) for number, widget in enumerate(classes, 1)]
