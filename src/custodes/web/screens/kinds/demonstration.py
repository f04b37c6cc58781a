"""A field for an answer of one's own."""

from custodes.registry import widget
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget


@widget
class DemonstrationWidget(QuestionWidget):
    def show(self) -> None:
        label, value = "The answer that you would give" + self.maybe, self.form.values.get(self.name, "")
        widgets.text_area(label, value, self.enter(self.name), self.name, 12, "Markdown is fine.")
