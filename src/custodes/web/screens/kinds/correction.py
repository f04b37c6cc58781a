"""Each answer in a field to be edited. Beside a comparison the field waits folded."""

from custodes.feedback.questions import LETTERS
from custodes.registry import widget
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.tags import tag


@widget
class CorrectionWidget(QuestionWidget):
    def show(self) -> None:
        several = len(self.form.texts) > 1
        with self.beside():
            for place, text in enumerate(self.form.texts):
                name = f"{self.name}.{place}"
                value = self.form.values.get(name, text)
                label = f"Edit answer {LETTERS[place]} to what would be ideal" if several else "Edit until it is right"
                rows = min(24, max(6, len(text) // 70 + text.count("\n") + 1))
                with tag("details", cls="ask", data_row=name, open=not self.question.optional or value != text):
                    tag("summary", label + self.maybe, data_key="eE"[place] if several and place < 2 else "e")
                    widgets.text_area(label, value, self.enter(name), name, rows)
