"""Rows that name what was chosen and what was rejected: TRL's columns and their many relatives."""

from __future__ import annotations

from custodes.dialogue import Messages, is_dialogue
from custodes.feedback.forms.prompts import asked, check_answer, only_text, together
from custodes.feedback.forms.source import SKIP, Source, bad, content, number, number_of, value, who
from custodes.tables import Row
from custodes.types import InputError

ANNOTATOR = ("annotator", "annotator_id", "worker", "worker_id", "labeler", "rater", "judge")
SCORES = {
    side: (f"score_{side}", f"{side}_score", f"{side}-rating", f"{side}_rating", f"rating_{side}")
    for side in ("chosen", "rejected")
}
SIDES = {
    "chosen": ("chosen", "response_j", "chosen_response"),
    "rejected": ("rejected", "response_k", "rejected_response"),
}


def preferences(row: Row, source: Source) -> None:
    """``chosen`` and ``rejected`` (one answer or several each), with or without a prompt."""
    names = [next((name for name in SIDES[side] if row.values.get(name) is not None), "") for side in SIDES]
    if not all(names):
        missing = list(SIDES)[names.index("")]
        raise InputError(
            f"{row.place}: column {missing!r} is missing; found {', '.join(row.values) or 'no column'}, "
            f"expected chosen and rejected, and optionally prompt ({SKIP})."
        )
    label = number(row, "label", 0, 1) if "label" in row.values else 1.0
    weight = number(row, "weight", 0, float("inf")) if "weight" in row.values else 1.0
    margin = number(row, "margin", -float("inf"), float("inf")) if "margin" in row.values else 0.0
    found = [
        next((number_of(row.values.get(name)) for name in SCORES[side] if name in row.values), None) for side in SIDES
    ]
    sides = [_answers(row, name) for name in names]
    whole = all(isinstance(a, tuple) and a[:1] and a[0].role != "assistant" for side in sides for a in side)
    annotator, prompt = who(row, *ANNOTATOR), asked(row, source, _turns(row), whole)
    if len(sides[0]) * len(sides[1]) > 1:
        source.assume("of several answers on a side every chosen one is better than every rejected one")
    for chosen in sides[0]:
        for rejected in sides[1]:
            if isinstance(chosen, str) != isinstance(rejected, str):
                raise bad(row, names[1], f"text and messages are mixed; give both in the same form ({SKIP}).")
            start, one, other = together(row, source, prompt, chosen, rejected)
            silent = is_dialogue(chosen) and one is not chosen and prompt is None
            for name, completion in zip(names, (one, other), strict=True):
                check_answer(row, name, completion, silent)
            source.prefer(
                start,
                one,
                other,
                label=label,
                weight=weight,
                margin=margin,
                scores=(found[0], found[1]),
                annotator=annotator,
            )
    if not start:
        source.assume("there is no prompt and nothing that chosen and rejected share: the answers stand alone")


def _answers(row: Row, name: str) -> list[str | Messages]:
    """The answers of one side: text, messages, or a list of either."""
    given = value(row, name)
    if only_text(given):
        return list(given)
    if isinstance(given, list) and given and all(isinstance(one, list) for one in given):
        several = [Row(row.path, row.number, {name: one}) for one in given]
        return [content(one, name) for one in several]
    return [content(row, name)]


def _turns(row: Row) -> tuple[str, ...]:
    """Columns that may hold the conversation so far: not those that end with an answer, as UltraFeedback's messages do."""
    held = []
    for name in ("conversations", "conversation", "messages", "trajectory"):
        given = value(row, name)
        last = given[-1] if isinstance(given, list) and given else None
        role = (last.get("role") or last.get("from")) if isinstance(last, dict) else None
        if role not in (None, "assistant", "gpt"):
            held.append(name)
    return tuple(held)
