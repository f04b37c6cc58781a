"""Rows that name what was chosen and what was rejected: TRL's columns and their many relatives."""

from __future__ import annotations

from typing import Any

from custodes.dialogue import Messages, is_dialogue
from custodes.feedback.form import ANNOTATOR, DatasetForm
from custodes.feedback.prompts import PROMPT_COLUMNS, asked, check_answer, together
from custodes.feedback.source import FeedbackRow, number_of, only_text
from custodes.registry import form

SCORES = {
    side: (f"score_{side}", f"{side}_score", f"{side}-rating", f"{side}_rating", f"rating_{side}")
    for side in ("chosen", "rejected")
}
SIDES = {
    "chosen": ("chosen", "response_j", "chosen_response"),
    "rejected": ("rejected", "response_k", "rejected_response"),
}


@form
class Preferences(DatasetForm):
    """``chosen`` and ``rejected`` (one answer or several each), with or without a prompt."""

    needs = ("|".join(SIDES["chosen"]), "|".join(SIDES["rejected"]))
    uses = (*PROMPT_COLUMNS, "label", "weight", "margin", *ANNOTATOR, *SCORES["chosen"], *SCORES["rejected"])
    rank = 1

    def read(self, row: FeedbackRow) -> None:
        names = [next((name for name in SIDES[side] if row.values.get(name) is not None), "") for side in SIDES]
        if not all(names):
            raise row.wrong(
                f"column {list(SIDES)[names.index('')]!r} is missing; found {', '.join(row.values) or 'no column'}, "
                "expected chosen and rejected, and optionally prompt"
            )
        endless = float("inf")
        ranges = {"label": (0, 1, 1.0), "weight": (0, endless, 1.0), "margin": (-endless, endless, 0.0)}
        about: dict[str, Any] = {
            n: row.number(n, lo, hi) if n in row.values else default for n, (lo, hi, default) in ranges.items()
        }
        scores = tuple(
            next((number_of(row.values.get(n)) for n in SCORES[side] if n in row.values), None) for side in SIDES
        )
        sides = [_answers(row, name) for name in names]
        whole = all(isinstance(a, tuple) and a[:1] and a[0].role != "assistant" for side in sides for a in side)
        annotator, prompt = row.annotator(*ANNOTATOR), asked(row, _turns(row), whole)
        if len(sides[0]) * len(sides[1]) > 1:
            row.assume("of several answers on a side every chosen one is better than every rejected one")
        for chosen, rejected in ((c, r) for c in sides[0] for r in sides[1]):
            if isinstance(chosen, str) != isinstance(rejected, str):
                raise row.bad(names[1], "text and messages are mixed; give both in the same form")
            start, *completions = together(row, prompt, chosen, rejected)
            silent = is_dialogue(chosen) and completions[0] is not chosen and prompt is None
            for name, completion in zip(names, completions, strict=True):
                check_answer(row, name, completion, silent)
            row.prefer(start, *completions, scores=scores, annotator=annotator, **about)
        if not start:
            row.assume("there is no prompt and nothing that chosen and rejected share: the answers stand alone")


def _answers(row: FeedbackRow, name: str) -> list[str | Messages]:
    """The answers of one side: text, messages, or a list of either."""
    given = row.value(name)
    if only_text(given):
        return list(given)
    if isinstance(given, list) and given and all(isinstance(one, list) for one in given):
        return [row.content(name, one) for one in given]
    return [row.content(name)]


def _turns(row: FeedbackRow) -> tuple[str, ...]:
    """Columns that may hold the conversation so far: not those that end with an answer, as UltraFeedback's messages do."""
    held = []
    for name in ("conversations", "conversation", "messages", "trajectory"):
        given = row.value(name)
        last = given[-1] if isinstance(given, list) and given else None
        role = (last.get("role") or last.get("from")) if isinstance(last, dict) else None
        if role not in (None, "assistant", "gpt"):
            held.append(name)
    return tuple(held)
