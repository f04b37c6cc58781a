"""Nectar: answers ranked by a model, ``rank`` 1 is best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.feedback.form import DatasetForm, holds_list
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.prompts import PROMPT_COLUMNS, asked
from custodes.feedback.source import FeedbackRow
from custodes.registry import form


@form
class Nectar(DatasetForm):
    """``answers`` holds objects with ``answer`` and ``rank``."""

    needs = ("prompt", "answers")
    uses = PROMPT_COLUMNS

    def holds(self, values: Mapping[str, Any]) -> bool:
        return holds_list(values["answers"], dict)

    def read(self, row: FeedbackRow) -> None:
        answers = [one if isinstance(one, dict) else {} for one in row.items("answers", 2)]
        texts = [row.answer("answers", one.get("answer")) for one in answers]
        ranks: list[Any] = [one.get("rank") for one in answers]
        if not all(isinstance(rank, int | float) and rank >= 1 for rank in ranks):
            raise row.bad("answers", "every answer needs a rank, 1 or more")
        row.assume("the ranks are those of a model (GPT-4), as the set's authors say")
        about = {"annotator": "gpt-4", "by": "ai"}
        row.compare(Ranking, asked(row) or (), texts, ranks=tuple(int(rank) for rank in ranks), **about)
