"""The scale of a comparison: how much better either answer is, or neither."""

from custodes.registry import widget
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.widgets import ChoiceOption

OPTIONS = [
    ChoiceOption("3", "A much better", "1"),
    ChoiceOption("2", "A better", "2"),
    ChoiceOption("1", "A slightly better", "3"),
    ChoiceOption("tie", "Equal", "4 t"),
    ChoiceOption("-1", "B slightly better", "5"),
    ChoiceOption("-2", "B better", "6"),
    ChoiceOption("-3", "B much better", "7"),
    ChoiceOption("both_bad", "Both bad", "b"),
    ChoiceOption("cannot_judge", "Cannot judge", "c"),
]


@widget
class ComparisonWidget(QuestionWidget):
    def show(self) -> None:
        overall = self.question.axis == "overall"
        legend = "Which answer is better?" if overall else f"Which is better: {self.axis.title}?"
        row = self.choose(self.name, legend, OPTIONS, "scale", self.ends)
        row.set(data_optional="" if self.question.optional else None)
