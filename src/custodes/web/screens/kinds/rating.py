"""A number on the axis's scale for each answer: one of a row, or typed where the scale is long."""

from custodes.registry import widget
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.widgets import ChoiceOption

MOST_OPTIONS = 11
"""Numbers that stand in a row; a number of a longer scale is typed."""


@widget
class RatingWidget(QuestionWidget):
    def show(self) -> None:
        axis = self.axis
        numbers = range(axis.lowest, axis.highest + 1)
        if len(numbers) <= MOST_OPTIONS:
            hint = f"of {axis.highest}" if axis.lowest == 1 else f"on {axis.lowest} to {axis.highest}"
            options = [ChoiceOption(str(n), str(n), str(n) if 0 <= n <= 9 else "", f"{n} {hint}") for n in numbers]
            return self.choose_each(axis.title, options, "digits", self.ends)
        with self.beside():
            for place, legend in self.each(axis.title):
                name = f"{self.name}.{place}"
                label = f"{legend}, {axis.lowest} to {axis.highest}{self.maybe}"
                widgets.number_field(label, self.form.values.get(name, ""), self.enter(name), name, axis, self.ends)
