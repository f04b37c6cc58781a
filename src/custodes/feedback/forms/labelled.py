"""A completion with ``label`` (true: acceptable), as KTO wants it."""

from __future__ import annotations

from custodes.feedback.collection import LABEL
from custodes.feedback.form import ANNOTATOR, DatasetForm
from custodes.feedback.kinds.label import Label
from custodes.feedback.prompts import ANSWERS, PROMPT_COLUMNS, WHOLE, one_answer
from custodes.feedback.source import FeedbackRow
from custodes.registry import form

VERDICTS = ("label", "kto_tag")


@form
class Labelled(DatasetForm):
    """Labels named "acceptable"."""

    needs = ("|".join((*ANSWERS, *WHOLE)), "|".join(VERDICTS))
    uses = (*PROMPT_COLUMNS, "weight", *ANNOTATOR)
    rank = 4

    def read(self, row: FeedbackRow) -> None:
        prompt, completion = one_answer(row)
        verdict = next((name for name in VERDICTS if name in row.values), None)
        if verdict is None:
            raise row.bad("label", "it is missing; it should be true or false")
        said = {"name": LABEL, "value": "yes" if row.truth(verdict) else "no", "annotator": row.annotator(*ANNOTATOR)}
        row.say(Label, prompt, (completion,), **said)
