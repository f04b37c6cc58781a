"""BIG-Bench-Mistake (arXiv 2311.08516): ``mistake_index`` is the first wrong step, from 0; none where all are right."""

from __future__ import annotations

from custodes.feedback.form import DatasetForm, mark_steps
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.types import Message


@form
class BigBenchMistake(DatasetForm):
    """Marks on the steps up to the first wrong one."""

    needs = ("input", "steps", "target")
    uses = ("mistake_index",)

    def read(self, row: FeedbackRow) -> None:
        steps = row.texts("steps")
        if row.values.get("mistake_index") is None:
            marks = dict.fromkeys(range(len(steps)), 1)
        else:
            wrong = int(row.number("mistake_index", 0, len(steps) - 1))
            marks = dict.fromkeys(range(wrong), 1) | {wrong: -1}
        mark_steps(row, (Message("user", row.text("input")),), steps, marks)
