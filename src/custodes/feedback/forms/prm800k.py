"""PRM800K (arXiv 2305.20050): the steps that were taken, each with its rating, and the alternatives to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.feedback.form import DatasetForm, mark_steps
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.types import Message


@form
class Prm800k(DatasetForm):
    """``label`` holds ``steps``, each with ``completions`` and the number of the ``chosen_completion``."""

    needs = ("question", "label")
    uses = ("labeler",)

    def holds(self, values: Mapping[str, Any]) -> bool:
        return isinstance(values["label"], dict) and "steps" in values["label"]

    def read(self, row: FeedbackRow) -> None:
        problem, rounds = row.part("question").get("problem"), row.part("label").get("steps")
        if not isinstance(problem, str) or not isinstance(rounds, list):
            raise row.bad("label", "it should hold steps, and the question a problem")
        prompt, by = (Message("user", problem),), row.annotator("labeler")
        taken: list[str] = []
        marks: dict[int, int] = {}
        for one in rounds:
            choices = [
                c for c in one.get("completions") or [] if isinstance(c, dict) and isinstance(c.get("text"), str)
            ]
            chosen, own = one.get("chosen_completion"), one.get("human_completion")
            for n, choice in enumerate(choices):
                if choice.get("rating") not in (-1, 0, 1):
                    continue
                if n == chosen:
                    marks[len(taken)] = choice["rating"]
                else:
                    mark_steps(row, prompt, [*taken, choice["text"]], {len(taken): choice["rating"]}, by)
            if isinstance(chosen, int) and 0 <= chosen < len(choices):
                taken.append(choices[chosen]["text"])
            elif own:
                row.assume("a step that the labeler wrote stands where none was chosen, without a mark")
                taken.append(own["text"] if isinstance(own, dict) else str(own))
            else:
                break
        if marks:
            mark_steps(row, prompt, taken, marks, by)
