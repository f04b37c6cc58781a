"""An answer to imitate; of several turns the last, and those before it are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.feedback.form import ANNOTATOR, DatasetForm
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.prompts import ANSWERS, PROMPT_COLUMNS, WHOLE, one_answer
from custodes.feedback.source import FeedbackRow
from custodes.registry import form

JUDGED = [
    "rating",
    "ratings",
    "score",
    "scores",
    "rank",
    "reward",
    "winner",
    "preference",
    "feedback",
    "votes",
    "is_safe",
]
"""Columns of answers that somebody judged: these are no demonstrations."""


@form
class Demonstrations(DatasetForm):
    """``completion``, ``messages`` or ``text``, with or without a prompt."""

    needs = ("|".join((*ANSWERS, *WHOLE)),)
    uses = (*PROMPT_COLUMNS, "weight", *ANNOTATOR)
    rank = 5

    def holds(self, values: Mapping[str, Any]) -> bool:
        return not any(name in values for name in JUDGED)

    def read(self, row: FeedbackRow) -> None:
        prompt, completion = one_answer(row)
        prompt, by = (*prompt, *completion[:-1]), row.annotator(*ANNOTATOR)
        row.say(Demonstration, prompt, (), text=completion[-1].content, annotator=by)
