"""A rank for each answer."""

from custodes.registry import widget
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.widgets import ChoiceOption


@widget
class RankingWidget(QuestionWidget):
    def show(self) -> None:
        many = len(self.form.item["answers"])
        options = [
            ChoiceOption(str(n), {1: "1 best", many: f"{n} worst"}.get(n, str(n)), str(n)) for n in range(1, many + 1)
        ]
        title = "Rank" if self.question.axis == "overall" else f"Rank, {self.axis.title}"
        self.choose_each(title, options, "digits", "Equal ranks are ties.")
