"""A rank for each answer."""

from custodes.registry import widget
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.widgets import Point


@widget
class RankingWidget(QuestionWidget):
    def show(self) -> None:
        many = len(self.form.item["answers"])
        points = [Point(str(n), {1: "1 best", many: f"{n} worst"}.get(n, str(n)), str(n)) for n in range(1, many + 1)]
        title = "Rank" if self.question.axis == "overall" else f"Rank, {self.axis['title']}"
        self.choose_each(title, points, "digits", "Equal ranks are ties.")
