"""The scale of a comparison: how much better either answer is, or neither."""

from custodes.registry import widget
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.widgets import Point

POINTS = [
    Point("3", "A much better", "1"),
    Point("2", "A better", "2"),
    Point("1", "A slightly better", "3"),
    Point("tie", "Equal", "4 t"),
    Point("-1", "B slightly better", "5"),
    Point("-2", "B better", "6"),
    Point("-3", "B much better", "7"),
    Point("both_bad", "Both bad", "b"),
    Point("cannot_judge", "Cannot judge", "c"),
]


@widget
class ComparisonWidget(QuestionWidget):
    def show(self) -> None:
        overall = self.question.axis == "overall"
        legend = "Which answer is better?" if overall else f"Which is better: {self.axis['title']}?"
        row = self.choose(self.name, legend, POINTS, "scale", self.ends)
        row.set(data_optional="" if self.question.optional else None)
