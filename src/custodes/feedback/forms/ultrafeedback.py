"""UltraFeedback, raw (arXiv 2310.01377): four axes from 1 to 5 and an overall score from 1 to 10, by GPT-4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.dialogue import as_completion
from custodes.feedback.form import DatasetForm, holds_list
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.prompts import PROMPT_COLUMNS, asked
from custodes.feedback.source import FeedbackRow, number_of
from custodes.registry import form


@form
class UltraFeedback(DatasetForm):
    """``completions`` hold responses with their annotations, scores and critiques."""

    needs = ("instruction", "completions")
    uses = PROMPT_COLUMNS

    def holds(self, values: Mapping[str, Any]) -> bool:
        return holds_list(values["completions"], dict)

    def read(self, row: FeedbackRow) -> None:
        prompt, by = asked(row) or (), {"annotator": "gpt-4", "by": "ai"}
        for held in row.items("completions", 1):
            if not isinstance(held, dict) or not isinstance(held.get("response"), str):
                raise row.bad("completions", "every completion should hold response and annotations")
            rated = (as_completion(held["response"]),)
            for axis, given in (held.get("annotations") or {}).items():
                one = given[0] if isinstance(given, list) and given else given
                value = number_of(one.get("Rating")) if isinstance(one, dict) else None
                if value is None or not 1 <= value <= 5:
                    row.leave_out("ratings that are no number (N/A)")
                else:
                    row.say(Rating, prompt, rated, axis=axis.replace("_", " "), value=value, lowest=1, highest=5, **by)
            overall = number_of(held.get("overall_score"))
            if overall is not None and 1 <= overall <= 10:
                row.say(Rating, prompt, rated, value=overall, lowest=1, highest=10, **by)
            if isinstance(held.get("critique"), str) and held["critique"].strip():
                row.say(Comment, prompt, rated, text=held["critique"], **by)
            if held.get("custom_system_prompt"):
                row.leave_out("custom_system_prompt: the ratings are of answers to the instruction alone")
