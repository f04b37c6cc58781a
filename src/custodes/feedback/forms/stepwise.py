"""TRL's stepwise supervision: ``completions`` are the steps of one answer, ``labels`` whether each is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.feedback.form import DatasetForm, holds_list, mark_steps
from custodes.feedback.prompts import PROMPT_COLUMNS, asked
from custodes.feedback.source import FeedbackRow, only_text
from custodes.registry import form


@form
class Stepwise(DatasetForm):
    """One label for each step."""

    needs = ("completions", "labels")
    uses = (*PROMPT_COLUMNS, "annotator")

    def holds(self, values: Mapping[str, Any]) -> bool:
        return holds_list(values["completions"], str)

    def read(self, row: FeedbackRow) -> None:
        steps, given = row.items("completions", 1), row.items("labels")
        if not only_text(steps) or len(steps) != len(given):
            raise row.bad("labels", f"{len(given)} labels of {len(steps)} steps; give one each")
        marks = {n: 1 if row.truth("labels", one) else -1 for n, one in enumerate(given)}
        mark_steps(row, asked(row) or (), steps, marks, row.annotator("annotator"))
