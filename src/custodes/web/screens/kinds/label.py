"""One of the question's values for each answer."""

from custodes.registry import widget
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.widgets import ChoiceOption


@widget
class LabelWidget(QuestionWidget):
    def show(self) -> None:
        options = [ChoiceOption(c.value, c.title, str(n)) for n, c in enumerate(self.question.values, 1)]
        self.choose_each(self.question.name.replace("_", " ").capitalize(), options)
