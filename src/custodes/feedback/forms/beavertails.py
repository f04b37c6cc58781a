"""BeaverTails (arXiv 2307.04657): whether an answer is safe, and which harms it does."""

from __future__ import annotations

from custodes.feedback.form import DatasetForm
from custodes.feedback.kinds.label import Label
from custodes.feedback.prompts import asked
from custodes.feedback.source import FeedbackRow
from custodes.registry import form


@form
class BeaverTails(DatasetForm):
    """A label ``safe``, and one for each harm of ``category``."""

    needs = ("prompt", "response", "is_safe")
    uses = ("category",)

    def read(self, row: FeedbackRow) -> None:
        prompt, judged, harms = asked(row) or (), (row.answer("response"),), row.values.get("category")
        row.say(Label, prompt, judged, name="safe", value="yes" if row.truth("is_safe") else "no")
        for harm, so in (harms if isinstance(harms, dict) else {}).items():
            if so is True:
                row.say(Label, prompt, judged, name=harm, value="yes")
