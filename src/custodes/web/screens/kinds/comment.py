"""A field for each answer."""

from custodes.registry import widget
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget


@widget
class CommentWidget(QuestionWidget):
    def show(self) -> None:
        with self.beside():
            for place, legend in self.each("Comment"):
                name = f"{self.name}.{place}"
                widgets.text_area(legend + self.maybe, self.form.values.get(name, ""), self.enter(name), name)
