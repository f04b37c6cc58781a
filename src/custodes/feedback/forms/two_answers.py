"""A prompt, two answers A and B, and a column that names the better one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.feedback.form import ANNOTATOR, DatasetForm, winner_fields
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.prompts import PROMPT_COLUMNS, asked
from custodes.feedback.source import FeedbackRow
from custodes.registry import form

PAIRS = [(f"{name}_{a}", f"{name}_{b}") for name in ("response", "completion", "answer") for a, b in ("ab", "AB")]
VERDICTS = ("winner", "preference", "preferred", "label")


@form
class TwoAnswers(DatasetForm):
    """``response_a`` and ``response_b``, or other words for them, and ``winner``."""

    needs = ("|".join(a for a, _ in PAIRS), "|".join(b for _, b in PAIRS), "|".join(VERDICTS))
    uses = (*PROMPT_COLUMNS, *ANNOTATOR)
    rank = 3

    def holds(self, values: Mapping[str, Any]) -> bool:
        return any(a in values and b in values for a, b in PAIRS)

    def read(self, row: FeedbackRow) -> None:
        names = next((pair for pair in PAIRS if all(name in row.values for name in pair)), PAIRS[0])
        verdict = next((name for name in VERDICTS if name in row.values), VERDICTS[0])
        pair = tuple(row.answer(name) for name in names)
        said, by = winner_fields(row, verdict), row.annotator(*ANNOTATOR)
        row.compare(Comparison, asked(row) or (), pair, annotator=by, **said)
