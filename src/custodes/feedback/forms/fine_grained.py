"""Fine-grained RLHF (arXiv 2306.01693): spans of prediction 1 with errors, its correction, and six comparisons."""

from __future__ import annotations

from itertools import combinations

from custodes.dialogue import as_completion
from custodes.feedback.form import DatasetForm, strength_fields
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.types import Message

PREDICTIONS = tuple(f"prediction {n}" for n in range(1, 5))


@form
class FineGrained(DatasetForm):
    """``feedback`` is on prediction 1, ``preference`` on every two of the four."""

    needs = ("question", "feedback", *PREDICTIONS)
    uses = ("preference", "passages")

    def read(self, row: FeedbackRow) -> None:
        row.assume("the prompt is the question, without its passages")
        answers = [as_completion(row.text(name)) for name in PREDICTIONS]
        prompt, feedback, first = (Message("user", row.text("question")),), row.part("feedback"), answers[:1]
        for error in feedback.get("errors") or []:
            start, end = error.get("start"), error.get("end")
            whole = isinstance(start, int) and isinstance(end, int)
            if not whole or not 0 <= start < end <= len(answers[0][0].content):
                raise row.bad("feedback", f"an error from {start} to {end} is no part of prediction 1")
            row.say(SpanMark, prompt, first, start=start, end=end, category=str(error.get("error type", "error")))
        for missing in feedback.get("missing-info") or []:
            row.say(Label, prompt, first, name="missing", value=str(missing.get("error type", "")))
        if feedback.get("corrected-prediction"):
            row.say(Correction, prompt, first, text=feedback["corrected-prediction"])
        better = row.values.get("preference") or []
        if better and (len(better) != 6 or not all(one in (0, 1, 2) for one in better)):
            raise row.bad("preference", f"{better}; it should be six of 0, 1 and 2")
        for pair, one in zip(combinations(answers, 2), better, strict=False):
            row.compare(Comparison, prompt, pair, **strength_fields((0, 1, -1)[one]))
