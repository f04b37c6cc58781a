"""Stanford Human Preferences: which of two answers the crowd of a forum liked better."""

from __future__ import annotations

from custodes.feedback.form import DatasetForm, strength_fields
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.types import Message


@form
class Shp(DatasetForm):
    """``labels`` is 1 where answer A is better, 0 where B."""

    needs = ("history", "human_ref_A", "human_ref_B", "labels")

    def read(self, row: FeedbackRow) -> None:
        said = strength_fields((-1, 1)[int(row.number("labels", 0, 1))])
        row.assume("a forum's crowd judged: nobody is named")
        pair = (row.answer("human_ref_A"), row.answer("human_ref_B"))
        row.compare(Comparison, (Message("user", row.text("history")),), pair, **said)
