"""WebGPT comparisons (arXiv 2112.09332): ``score_0`` and ``score_1`` from -1 to 1, the higher is better."""

from __future__ import annotations

from custodes.feedback.form import DatasetForm, strength_fields
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.types import Message


@form
class WebGpt(DatasetForm):
    """Two answers to a question, each with a score."""

    needs = ("question", "answer_0", "answer_1", "score_0", "score_1")

    def read(self, row: FeedbackRow) -> None:
        question = row.values.get("question")
        text = question.get("full_text") if isinstance(question, dict) else question
        if not isinstance(text, str):
            raise row.bad("question", f"found {type(text).__name__}; it should be text")
        first, second = (row.number(name, -1, 1) for name in ("score_0", "score_1"))
        pair = (row.answer("answer_0"), row.answer("answer_1"))
        row.compare(Comparison, (Message("user", text),), pair, **strength_fields((first > second) - (first < second)))
