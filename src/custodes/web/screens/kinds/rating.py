"""A number from 1 to 7 for each answer."""

from custodes.registry import widget
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.widgets import ChoiceOption


@widget
class RatingWidget(QuestionWidget):
    def show(self) -> None:
        options = [ChoiceOption(str(n), str(n), str(n), f"{n} of 7") for n in range(1, 8)]
        self.choose_each(self.axis["title"], options, "digits", self.ends)
